"""Say what the fields of a crawled row mean: which one is the car's name, its kind, its photos."""

import ast
import json
import math
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from carscribe.errors import MetadataError
from carscribe.photos.tables import RawRow, read_table
from carscribe.records import Metadata

Role = Literal["name", "kind", "image"]

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".heic", ".heif", ".hif"}
    | {".tif", ".tiff", ".bmp", ".dib", ".gif"}
)
"""Suffixes, in lower case, of files that are taken for photos."""

# In order of preference: of a row's `name` and `model`, `name` is the name and `model` goes to the other fields.
_COLUMNS: Mapping[Role, tuple[str, ...]] = {
    "name": ("name", "title", "model", "car", "이름", "차명", "모델", "모델명", "차량명"),
    "kind": ("kind", "type", "category", "body", "bodytype", "class", "종류", "차종", "유형", "분류"),
    "image": (
        *("image", "images", "file", "files", "filename", "filenames", "path", "paths", "photo", "photos"),
        *("picture", "pictures", "imagepath", "imagefile", "이미지", "파일", "파일명", "사진", "경로"),
    ),
}
_RANK = {folded: (role, rank) for role, names in _COLUMNS.items() for rank, folded in enumerate(names)}
_MAPPED_RANK = -1
# Where an object that stands for a photo keeps its path, as in Hugging Face's image column.
_PATH_FIELDS = ("path", "file_name", "filename", "file", "src", "url")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataRow:
    """One row of a metadata file. `images` are its photos as written; `where` is its place: "row 3", "line 7"."""

    metadata: Metadata
    images: tuple[str, ...]
    where: str


def read_rows(path: Path, *, keys: Mapping[str, str] | None = None) -> tuple[MetadataRow, ...]:
    """Read a metadata file: rows of objects (JSON, JSON lines, CSV, TSV, Parquet), or a JSON object keyed by file or
    by name, or one list of rows inside a JSON object, or a JSON list of file names.

    `keys` maps "name", "kind" or "image" to the file's own column and wins over the known names of columns.

    Raises: MetadataError, naming the file, the place in it and what to do; MissingExtraError for Parquet without
    pyarrow.
    """
    raw = read_table(path)
    columns = _columns_of(raw)
    mapped = _mapped_columns(path, columns, keys or {})
    if _is_one_row(raw, mapped):
        raw = [RawRow(where="row 1", fields={str(row.key): row.bare for row in raw})]
        columns = _columns_of(raw)
    own = tuple(mapped.items())
    rows = tuple(_interpret(row, own) for row in raw)
    if columns and not any(row.images or row.metadata.name or row.metadata.kind for row in rows):
        raise MetadataError(
            f"{path} has no column for a name, a kind or an image, only {_listed(columns)}. Say which is which with "
            'keys, such as {"name": "' + columns[0] + '"}; the first line of a CSV file must name its columns.'
        )
    return rows


def row_reader(
    path: Path, columns: Sequence[str], keys: Mapping[str, str] | None = None
) -> Callable[[RawRow], MetadataRow]:
    """What makes sense of rows that are read one by one. `columns` are those of the first, `keys` as in `read_rows`.

    Raises: MetadataError when `keys` names a column that is not among them.
    """
    own = tuple(_mapped_columns(path, columns, keys or {}).items())
    return lambda row: _interpret(row, own)


def columns_in(path: Path) -> tuple[str, ...]:
    """The names of a metadata file's columns in order of appearance, for messages."""
    return tuple(_columns_of(read_table(path)))


def column_role(column: str) -> Role | None:
    """What a column of that name is taken for, if for anything.

    >>> column_role("Body Type"), column_role("year")
    ('kind', None)
    """
    return _RANK.get(_folded(column), (None, 0))[0]


def looks_like_photo(text: str) -> bool:
    """Whether a text names a photo's file or address, by its suffix."""
    stem, dot, suffix = text.partition("?")[0].rpartition(".")
    return bool(stem) and f"{dot}{suffix}".lower() in PHOTO_SUFFIXES


def plain_text(value: Any) -> str | None:
    """A field as text, None when it says nothing. A list is its items with commas, a whole number has no point (tables
    turn whole numbers into floats where one of the column is missing).

    >>> plain_text(320.0), plain_text("  Audi\\n A4 "), plain_text(["red", "blue"]), plain_text(float("nan"))
    ('320', 'Audi A4', 'red, blue', None)
    """
    match value:
        case str():  # first, for nearly all are
            return " ".join((value if value.isascii() else unicodedata.normalize("NFC", value)).split()) or None
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case float() if not math.isfinite(value):
            return None
        case float() if value.is_integer():
            return str(int(value))
        case list() if not any(isinstance(item, dict | list) for item in value):
            return ", ".join(dict.fromkeys(text for item in value if (text := plain_text(item)))) or None
        case dict() | list():
            return json.dumps(value, ensure_ascii=False, default=str) if value else None
        case _:
            return plain_text(str(value))


@lru_cache(maxsize=4096)
def _folded(column: str) -> str:
    """A column's name without case, spaces, underscores, hyphens and Unicode form."""
    text = unicodedata.normalize("NFKC", column).casefold()
    return "".join(letter for letter in text if letter not in " \t_-.\ufeff")


def _columns_of(raw: Sequence[RawRow]) -> list[str]:
    return list(dict.fromkeys(column for row in raw for column in row.fields))


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(repr(column) for column in columns[:20])
    return shown + (f" and {len(columns) - 20} more" if len(columns) > 20 else "")


def _mapped_columns(path: Path, columns: Sequence[str], keys: Mapping[str, str]) -> dict[Role, str]:
    """The user's own columns by role, as the file spells them."""
    mapped: dict[Role, str] = {}
    for key, wanted in keys.items():
        role = next((role for role in _COLUMNS if role == key), None)
        if role is None:
            raise MetadataError(f"keys maps {key!r}, which is none of 'name', 'kind' and 'image'.")
        exact = [column for column in columns if column == wanted]
        alike = exact or [column for column in columns if _folded(column) == _folded(wanted)]
        if not alike:
            raise MetadataError(
                f"{path} has no column {wanted!r} for the {role}. Its columns: {_listed(columns) or 'none'}."
            )
        mapped[role] = alike[0]
    return mapped


def _is_one_row(raw: Sequence[RawRow], mapped: Mapping[Role, str]) -> bool:
    """Whether an object that was taken to be keyed by file or name is itself one row: its keys are columns."""
    if not raw or mapped or any(row.key is None or row.fields for row in raw):
        return False
    roles = {_RANK[folded][0] for row in raw if (folded := _folded(str(row.key))) in _RANK}
    return "image" in roles or "name" in roles


@lru_cache(maxsize=4096)
def _roles(filled: tuple[str, ...], mapped: tuple[tuple[Role, str], ...]) -> Mapping[Role, str]:
    """Which column of a row plays which role, of those that are not blank; the user's own come first."""
    chosen = dict(mapped)
    taken = set(chosen.values())
    ranks: dict[Role, int] = dict.fromkeys(chosen, _MAPPED_RANK)
    for column in filled:
        role, rank = _RANK.get(_folded(column), (None, 0))
        if role is not None and column not in taken and (role not in chosen or rank < ranks[role]):
            chosen[role], ranks[role] = column, rank
    return chosen


def _interpret(row: RawRow, mapped: tuple[tuple[Role, str], ...]) -> MetadataRow:
    filled = tuple(column for column, value in row.fields.items() if value is not None and value != "")
    roles = _roles(filled, mapped)
    used = set(roles.values())
    of_role = {role: row.fields.get(column) for role, column in roles.items()}
    name, kind = plain_text(of_role.get("name")), plain_text(of_role.get("kind"))
    images = _image_names(of_role.get("image"))
    if row.key is not None:
        name, kind, images = _with_key(row, name, kind, images)
    elif row.bare is not None:
        images = _image_names(row.bare)
    extra = {column: text for column in filled if column not in used and (text := plain_text(row.fields[column]))}
    return MetadataRow(metadata=Metadata(name=name, kind=kind, extra=extra), images=images, where=row.where)


def _with_key(
    row: RawRow, name: str | None, kind: str | None, images: tuple[str, ...]
) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Settle what an object's key is, a file or a name, and what its value is when that is no object."""
    key = str(row.key)
    key_is_file = looks_like_photo(key)
    if isinstance(row.bare, list) or (isinstance(row.bare, str) and looks_like_photo(row.bare) and not key_is_file):
        return plain_text(key), kind, _image_names(row.bare)
    text = plain_text(row.bare)
    if key_is_file:
        return name or text, kind, tuple(dict.fromkeys((key, *images)))
    if name is not None and not images:  # {"audi-a4": {"name": "Audi A4"}}: the key can only be the file's stem
        return name, kind, (key,)
    return name or plain_text(key), kind or text, images


def _image_names(value: Any) -> tuple[str, ...]:
    """The paths in an image field: a text, a list of them, a list written out in a CSV cell, objects with a path."""
    match value:
        case None:
            return ()
        case str():
            text = value.strip()
            written = _written_list(text) if text.startswith("[") and text.endswith("]") else None
            return _image_names(written) if written is not None else ((text,) if text else ())
        case dict():
            found = (value.get(field) for field in _PATH_FIELDS)
            return _image_names(next((path for path in found if isinstance(path, str) and path), None))
        case list() | tuple():
            return tuple(dict.fromkeys(name for item in value for name in _image_names(item)))
        case _:
            text = plain_text(value) or ""
            return (text,) if text else ()


def _written_list(text: str) -> list[Any] | None:
    """A list as JSON or as Python wrote it into a cell; None when the text is neither."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, list):
            return value
    return None
