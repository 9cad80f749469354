"""What is true of photos, as people or a crawl say it: read from a file, matched to photos and to the vocabulary.

A file holds an object keyed by photo, `{"a.jpg": {"body_type": ["sedan"], "colour": "dark blue"}}`, or rows (JSON, JSON
lines, CSV, TSV, Parquet) with a photo and either `attribute` and `value` or a column for each attribute. An empty list,
"none" and "없음" say that a photo has nothing of the kind.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from carscribe.errors import InputError, MetadataError
from carscribe.evaluate.answers import AnsweredPhoto
from carscribe.evaluate.vocabulary import Attribute, Vocabulary, folded
from carscribe.photos.tables import RawRow, one_row_of, read_table

Source = Literal["labels", "kind"]

_PHOTO_COLUMNS = ("photo", "image", "file", "filename", "file_name", "key", "path", "sha256", "사진", "파일", "이미지")
_ATTRIBUTE_COLUMNS, _VALUE_COLUMNS = ("attribute", "속성"), ("value", "values", "label", "labels", "값")
_NOTHING = frozenset({"none", "nothing", "없음", "[]"})
_LEAST_HASH = 6
_HASH = re.compile(rf"[0-9a-f]{{{_LEAST_HASH},64}}")
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What is right of one attribute of one photo: any of `right`; nothing at all when it is empty."""

    sha256: str
    attribute: str
    right: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """Labels of one source. `photos` of the workspace have one; `notes` say what was passed over, a line each."""

    source: Source
    labels: tuple[Label, ...]
    photos: int
    notes: tuple[str, ...] = ()

    def by_photo(self) -> Mapping[tuple[str, str], Label]:
        """By hash and attribute."""
        return {(label.sha256, label.attribute): label for label in self.labels}


def right_by_photo(labels: Sequence[LabelSet]) -> Mapping[tuple[str, str], tuple[str, ...]]:
    """What is right, by hash and attribute: as the first of the sources has it that says anything."""
    return {key: label.right for each in reversed(labels) for key, label in each.by_photo().items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One statement of a file: of this photo this attribute has these values."""

    photo: str
    attribute: str
    values: tuple[str, ...]


def read_labels(path: Path, photos: Sequence[AnsweredPhoto], vocabulary: Vocabulary) -> LabelSet:
    """The labels of a file, as far as photos and vocabulary know what they name.

    Raises: InputError when the file cannot be read, none of its photos is there, or none of its attributes is known.
    """
    try:
        rows = read_table(path)
        if any(not row.fields and row.key and folded(row.key) in _PHOTO_COLUMNS for row in rows):  # a file of one row
            rows = [one_row_of(rows)]
        lines = [line for row in rows for line in _lines(path, row)]
    except MetadataError as error:
        raise InputError(str(error)) from None
    index, passed = _index(photos), _Passed()
    right: dict[tuple[str, str], set[str]] = {}
    for line in lines:
        photo, attribute = index.find(line.photo), vocabulary.find(line.attribute)
        if photo is None:
            passed.photos[line.photo] += 1
        elif attribute is None:
            passed.attributes[line.attribute] += 1
        elif (values := _values(attribute, line.values, passed)) is not None:
            right.setdefault((photo, attribute.name), set()).update(values)
    matched = {line.photo for line in lines} - passed.photos.keys()
    if not matched:
        called = _some(photo.key for photo in photos[:3])
        raise InputError(
            f"None of the {len(passed.photos):,} photos that {path} names (such as {_some(list(passed.photos)[:1])}) "
            f"is in this workspace, where they are called {called}. Name photos by key, file name, stem or the "
            "beginning of their SHA-256."
        )
    if not right:
        raise InputError(
            f"{path} labels nothing that can be judged. Not known: {_some(passed.attributes or passed.values)}. "
            f"Attributes are {', '.join(vocabulary.attributes)}; add others with --vocabulary."
        )
    return _label_set("labels", right, passed.notes())


def labels_of_kinds(photos: Sequence[AnsweredPhoto], vocabulary: Vocabulary) -> LabelSet | None:
    """The kinds that were crawled, as labels of the body type; None where no kind is known."""
    attribute = vocabulary.find("body_type")
    kinds = [(photo, photo.kind) for photo in photos if photo.kind]
    if attribute is None or not kinds:
        return None
    passed = _Passed()
    right: dict[tuple[str, str], set[str]] = {}
    for photo, kind in kinds:
        if values := _values(attribute, (kind,), passed):
            right[photo.sha256, attribute.name] = set(values)
    return _label_set("kind", right, passed.notes("kinds of the metadata")) if right else None


def _label_set(source: Source, right: Mapping[tuple[str, str], set[str]], notes: tuple[str, ...]) -> LabelSet:
    labels = tuple(
        Label(sha256=sha256, attribute=attribute, right=tuple(sorted(values)))
        for (sha256, attribute), values in right.items()
    )
    return LabelSet(source=source, labels=labels, photos=len({label.sha256 for label in labels}), notes=notes)


class _Passed:
    """What was named and is not known."""

    def __init__(self) -> None:
        self.photos: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.values: Counter[str] = Counter()

    def notes(self, values: str = "values") -> tuple[str, ...]:
        told = (
            (self.photos, "photos that are not in the workspace, or of which several are so called"),
            (self.attributes, "attributes that are not in the vocabulary"),
            (self.values, f"{values} that are not in the vocabulary"),
        )
        return tuple(f"Passed over: {what} ({len(found):,}): {_some(found)}" for found, what in told if found)


@dataclass(frozen=True, slots=True)
class _Index:
    """The names of photos. A name that several have leads to none."""

    names: Mapping[str, str | None]
    hashes: tuple[str, ...]

    def find(self, name: str) -> str | None:
        """The hash of the photo that is meant."""
        name = unicodedata.normalize("NFC", name.strip())
        last = PurePosixPath(name.replace("\\", "/")).name
        for known in (name, last):
            if photo := self.names.get(known):
                return photo
        if not _HASH.fullmatch(name.lower()):
            return None
        found = [sha256 for sha256 in self.hashes if sha256.startswith(name.lower())]
        return found[0] if len(found) == 1 else None


def _index(photos: Sequence[AnsweredPhoto]) -> _Index:
    """Keys and paths before file names, these before stems."""
    names: dict[str, str | None] = {}
    for level in range(3):
        own: dict[str, str | None] = {}
        for photo in photos:
            for name in (name for key in (*photo.keys, *photo.locations) for name in _called(key)[level]):
                own[name] = photo.sha256 if own.get(name, photo.sha256) == photo.sha256 else None
        names = own | names
    return _Index(names=names, hashes=tuple(photo.sha256 for photo in photos))


def _called(key: str) -> tuple[tuple[str, ...], ...]:
    path = PurePosixPath(unicodedata.normalize("NFC", key))
    return (str(path),), (path.name,), (path.stem,)


def _lines(path: Path, row: RawRow) -> Iterator[_Line]:
    fields = {folded(str(name)).replace(" ", "_"): value for name, value in row.fields.items()}
    photo = row.key or _first(fields, _PHOTO_COLUMNS)
    if not photo or row.bare is not None:
        raise InputError(
            f"{path}: {row.where} names no photo. A row has photo, attribute and value, or photo and a column for each "
            'attribute; or the file is {"a.jpg": {"body_type": "sedan"}}.'
        )
    attribute = None if row.key else _first(fields, _ATTRIBUTE_COLUMNS)
    if attribute:
        value = next((fields[name] for name in _VALUE_COLUMNS if name in fields), None)
        named = {str(attribute): value}
    else:
        named = {name: value for name, value in fields.items() if row.key or name not in _PHOTO_COLUMNS}
    for name, value in named.items():
        if (values := _listed(value)) is not None:
            yield _Line(photo=str(photo), attribute=name, values=values)


def _first(fields: Mapping[str, Any], names: Iterable[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name)), None)


def _listed(value: Any) -> tuple[str, ...] | None:
    """The values of a field; None where it says nothing, an empty list where it says that there is none."""
    match value:
        case None | "":
            return None
        case list() | tuple():
            return tuple(text for item in value if item not in (None, "") for text in (_listed(item) or ()))
        case _:
            text = str(value).strip()
            return () if folded(text) in _NOTHING else tuple(part.strip() for part in re.split(r"[|;]", text))


def _values(attribute: Attribute, said: Sequence[str], passed: _Passed) -> tuple[str, ...] | None:
    """The values that are meant, "none" being one where the vocabulary has it; None when not one is known."""
    if not said:
        return ("none",) if "none" in attribute.values else ()
    found: list[str] = []
    for text in said:
        meant = attribute.values_of(text)
        if not meant:
            passed.values[f"{text} ({attribute.name})"] += 1
        found += meant
    return tuple(found) or None


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (" …" if len(listed) > _SHOWN else "")
