"""Boxes that a person, or another program, wrote down: read from a file, all of them or none."""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from carscribe.errors import InputError
from carscribe.photos.tables import TABLE_SUFFIXES, as_one_row, read_table
from carscribe.plaintext import plain_line
from carscribe.privacy.boxes import Box
from carscribe.records import PhotoFile

_SIDES = ("x0", "y0", "x1", "y1")
_COLUMNS = frozenset({"photo", "kind", *_SIDES})
_ROW = '{"photo": "kia/niro.jpg", "kind": "plate", "x0": 310, "y0": 402.5, "x1": 398, "y1": 431}'
_KIND_LETTERS = 40
_PROBLEMS_SHOWN = 10
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ListedBoxes:
    """Boxes by photo: the photo's key, or the SHA-256 of its file."""

    def __init__(self, boxes: Mapping[str, Iterable[Box]] | None = None) -> None:
        self._boxes = {_folded(photo): tuple(of_photo) for photo, of_photo in (boxes or {}).items()}
        self._names = {_folded(photo): photo for photo in boxes or {}}

    def of(self, photo: PhotoFile, sha256: str) -> tuple[Box, ...]:
        """A photo's boxes. The photo counts as met."""
        names = {_folded(photo.key), sha256}
        for name in names:
            self._names.pop(name, None)
        return tuple(box for name in sorted(names) for box in self._boxes.get(name, ()))

    def not_met(self) -> tuple[str, ...]:
        """Photos that have boxes and that nobody has asked about."""
        return tuple(self._names.values())


def read_boxes(path: Path) -> ListedBoxes:
    """The boxes of a file of rows: `photo`, `kind`, and `x0`, `y0`, `x1`, `y1` in pixels of the upright photo.

    Raises: InputError with what is wrong, row by row; MetadataError when the file cannot be read.
    """
    if path.suffix.lower() not in TABLE_SUFFIXES:
        known = ", ".join(sorted(TABLE_SUFFIXES))
        raise InputError(f"{path} ends in {path.suffix or 'no suffix'}: boxes are read from {known}. A row is {_ROW}")
    boxes: dict[str, list[Box]] = defaultdict(list)
    problems: list[str] = []
    rows = as_one_row(read_table(path))
    for row in rows:
        try:
            photo, box = _box(row.fields)
        except InputError as error:
            problems.append(f"{row.where}: {error}")
        else:
            boxes[photo].append(box)
    if problems:
        more = f"\n… and {len(problems) - _PROBLEMS_SHOWN} more" if len(problems) > _PROBLEMS_SHOWN else ""
        raise InputError(
            f"Nothing was exported, for {len(problems)} of {len(rows)} rows of {path} are no boxes:\n"
            + "\n".join(map(plain_line, problems[:_PROBLEMS_SHOWN]))
            + f"{more}\nA row is {_ROW}"
        )
    if not boxes:
        raise InputError(f"{path} holds no box. A row is {_ROW}")
    return ListedBoxes(boxes)


def _box(fields: Mapping[str, Any]) -> tuple[str, Box]:
    values = {str(key).strip().lower(): value for key, value in fields.items()}
    if lacking := [name for name in ("photo", "kind", *_SIDES) if values.get(name) in (None, "")]:
        raise InputError(f"lacks {', '.join(lacking)}")
    photo, kind = str(values["photo"]), plain_line(str(values["kind"])).lower()
    if not kind or len(kind) > _KIND_LETTERS:
        raise InputError(f"kind is a word such as face or plate, of at most {_KIND_LETTERS} letters")
    left, top, right, bottom = (_number(name, values[name]) for name in _SIDES)
    if left >= right or top >= bottom:
        raise InputError(
            f"x0 < x1 and y0 < y1 are the upper left and the lower right corner, not x {left:g} to {right:g}, "
            f"y {top:g} to {bottom:g}"
        )
    return photo, Box(kind=kind, left=left, top=top, right=right, bottom=bottom)


def _number(name: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{name} is a number of pixels, not {str(value)[:40]!r}")
    return number


def _folded(photo: str) -> str:
    """A key in one form, for a Mac writes Hangul in another than a person does; a hash in lower case."""
    lower = photo.lower()
    return lower if _SHA256.fullmatch(lower) else unicodedata.normalize("NFC", photo)
