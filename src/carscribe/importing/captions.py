"""Captions that other tools left: a text beside each photo, or a table. One at a time, a million in flat memory.

Knows nothing of workspaces.
"""

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

from carscribe.errors import InputError, MetadataError
from carscribe.named import Named
from carscribe.photos.folders import printable
from carscribe.photos.imagefolders import METADATA_NAMES, SPLITS
from carscribe.photos.rows import row_reader
from carscribe.photos.sources import Places, find_photos
from carscribe.photos.streaming import stream_table
from carscribe.photos.tables import TABLE_SUFFIXES, RawRow, decode_text
from carscribe.plaintext import counted, plain_line, plain_lines
from carscribe.records import Metadata, PhotoFile

SIDECAR_SUFFIXES = (".txt", ".caption")
"""What a caption beside a photo ends in, the first of two first: kohya's, TagGUI's and JoyCaption's; kohya's other."""

CAPTION_COLUMNS = ("text", "caption", "prompt", "captions", "description", "tags", "캡션", "설명", "프롬프트", "태그")
"""Columns that hold captions, the first of several first."""

CAPTION_BYTES = 1 << 20
"""A larger text beside a photo is no caption."""

FIRST_ROWS = 1000
"""Rows that are looked at for the names of a table's columns: lines of JSON need not all have the same."""

_TABLES = tuple(name for name in (*METADATA_NAMES, "captions.jsonl", "captions.csv"))
_OWN_CSV = ("image", "prompt", "name", "kind", "tokens", "budget", "photo", "sha256")
_GUARD = re.compile("(^|;)(\\s*)'(?=[=+@\\-＝＋＠－﹣﹢﹫﹦])")


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCaption:
    """A caption and the photo that it belongs to. `where` says where it stands, for people."""

    file: PhotoFile
    text: str
    where: str


@dataclass(slots=True, kw_only=True)
class LeftOut:
    """Captions that cannot be taken: of no photo that is there; of a file or row that has none; two of one photo."""

    without_photo: Named = field(default_factory=Named)
    empty: Named = field(default_factory=Named)
    second: Named = field(default_factory=Named)
    unreadable: Named = field(default_factory=Named)


@dataclass(slots=True, kw_only=True)
class TableRows:
    """Rows of a table that have a caption, and how many of them match a photo that is there.

    `named` is the photo that the first row without one names, None where none of them names any. `columns` are the
    table's.
    """

    captioned: int = 0
    matched: int = 0
    named: str | None = None
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSource:
    """Where captions are: `table`, or texts below `folder` that lie as the photos do. `origin` names the format."""

    photos: Path
    origin: str
    table: Path | None = None
    folder: Path | None = None


def find_captions(photos: Path, captions: Path | None = None) -> CaptionSource:
    """Where the captions of some photos are.

    `photos` is a folder, a photo or a table that has both; `captions` a table or a folder, None where they lie beside
    the photos: as texts of the same stem, or as a table by one of its usual names.

    Raises: PhotosError, InputError when there are none, or some of two kinds.
    """
    if captions is not None:
        if not photos.exists() or captions.is_dir():
            find_photos(photos)  # which says what is wrong with them
        if captions.is_dir():
            return CaptionSource(photos=photos, origin="kohya", folder=captions)
        return CaptionSource(photos=photos, origin=_origin(captions), table=_checked(captions))
    if photos.suffix.lower() in TABLE_SUFFIXES and not photos.is_dir():
        return CaptionSource(photos=photos, origin=_origin(photos), table=_checked(photos))
    if not photos.is_dir():
        find_photos(photos)
        return CaptionSource(photos=photos, origin="kohya", folder=photos.parent)
    texts = [suffix for suffix in SIDECAR_SUFFIXES if find_photos(photos).ignored.get(suffix)]
    tables = [place for place in _usual_tables(photos) if place.is_file()]
    if texts and tables:
        raise InputError(
            f"{photos} holds captions of two kinds: files ending in {texts[0]}, and {tables[0].name}. Say which: "
            f"--captions {photos} or --captions {tables[0]}"
        )
    if len(tables) > 1:
        raise InputError(f"{photos} holds several tables of captions. Say which: --captions {tables[0]}")
    if not texts and not tables:
        raise InputError(
            f"No captions beside the photos of {photos}: no {' or '.join(SIDECAR_SUFFIXES)} files, and no "
            f"{', '.join(_TABLES)}. Name a table or a folder of texts with --captions."
        )
    return CaptionSource(
        photos=photos,
        origin=_origin(tables[0]) if tables else "kohya",
        table=tables[0] if tables else None,
        folder=None if tables else photos,
    )


def read_captions(
    source: CaptionSource,
    left_out: LeftOut,
    *,
    column: str | None = None,
    keys: Mapping[str, str] | None = None,
    rows: TableRows | None = None,
) -> Iterator[FoundCaption]:
    """The captions, one by one. `column` of a table holds them, `keys` says which hold the image and the name.

    What a caption has in several lines stays in lines; control characters go. `left_out` grows on the way, and of a
    table `rows`.

    Raises: InputError; MetadataError where a table cannot be read, after the rows before it.
    """
    if source.table is not None:
        read = _TableReading(table=source.table, photos=source.photos, column=column, keys=keys)
        yield from _of_table(read, left_out, TableRows() if rows is None else rows)
    elif source.folder is not None:
        yield from _of_texts(source.photos, source.folder, left_out)


def why_none_matched(source: CaptionSource, rows: TableRows) -> str | None:
    """What was looked for where no row's photo is there, an example of both sides, and what to do; else None."""
    if source.table is None or rows.matched or not rows.captioned:
        return None
    head = f"No row of {source.table} ({counted(rows.captioned, 'row')} with a caption)"
    if rows.named is None:
        return (
            f"{head} names a photo: looked for in columns called image, file, file_name, path, photo …, and there are "
            f"{', '.join(rows.columns) or 'none'}. Say which holds the photos' file names: --metadata-keys image=COLUMN"
        )
    beside = source.table.parent
    places = [str(beside)] + [str(source.photos)] * (source.photos.is_dir() and source.photos != beside)
    photo = None if source.photos == source.table else find_photos(source.photos).files[0].key
    there = f", and a photo is called {photo}" if photo else ""
    return (
        f"{head} matches a photo: they name files such as {rows.named}, looked for in {' and '.join(places)}{there}. "
        "Write the paths in the table as the photos' are, suffix and all, give the folder that they start from, or say "
        "which column holds them: --metadata-keys image=COLUMN"
    )


def language_of(text: str) -> str:
    """`ko` where a quarter of the letters is Hangul (a syllable says as much as three letters), else `en`.

    >>> language_of("컴팩트 SUV, LED 램프"), language_of("Kia K5 (기아), long hood")
    ('ko', 'en')
    """
    letters = [letter for letter in unicodedata.normalize("NFC", text) if letter.isalpha()]
    hangul = sum("\uac00" <= letter <= "\ud7a3" or "\u3131" <= letter <= "\u318e" for letter in letters)
    return "ko" if letters and 4 * hangul >= len(letters) else "en"


def _usual_tables(folder: Path) -> Iterator[Path]:
    places = [folder / name for name in _TABLES]
    if not any(place.is_file() for place in places):
        places = [folder / split / name for split in SPLITS for name in METADATA_NAMES]
    return iter(places)


def _origin(table: Path) -> str:
    return "imagefolder" if table.name in METADATA_NAMES else table.suffix.lower().removeprefix(".")


def _checked(table: Path) -> Path:
    if table.suffix.lower() not in TABLE_SUFFIXES:
        known = ", ".join(sorted(TABLE_SUFFIXES))
        raise InputError(f"{table} is no table of captions by its suffix. Tables end in {known}.")
    if not table.is_file():
        raise InputError(f"{table} does not exist, or is no file: check the path.")
    return table


def _of_texts(photos: Path, folder: Path, left_out: LeftOut) -> Iterator[FoundCaption]:
    beside = folder == photos or not photos.is_dir()
    for file in find_photos(photos).files:
        place = file.location if beside else os.path.join(folder, file.key)  # noqa: PTH118 - text: a million of them
        stem = os.path.splitext(place)[0]  # noqa: PTH122 - as above
        first: str | None = None
        for suffix in SIDECAR_SUFFIXES:
            text = _sidecar(stem + suffix, left_out)
            if text is None:
                continue
            where = os.path.basename(stem) + suffix  # noqa: PTH119 - as above
            if first is None:
                first = text
                yield FoundCaption(file=file, text=text, where=printable(where))
            elif text != first:
                left_out.second.add(f"{file.key}: {where} says otherwise than {SIDECAR_SUFFIXES[0]}")


def _sidecar(location: str, left_out: LeftOut) -> str | None:
    """The caption in a file; None where there is none."""
    path = Path(location)
    try:
        with path.open("rb") as file:
            content = file.read(CAPTION_BYTES + 1)
    except OSError as error:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            left_out.unreadable.add(f"{printable(path.name)}: {error.strerror or error}")
        return None
    if len(content) > CAPTION_BYTES:
        left_out.unreadable.add(f"{printable(path.name)}: is over {CAPTION_BYTES >> 20} MiB, no caption")
        return None
    try:
        text = _plain(decode_text(path, content))
    except MetadataError as error:
        left_out.unreadable.add(str(error))
        return None
    if not text:
        left_out.empty.add(printable(path.name))
    return text or None


@dataclass(frozen=True, slots=True, kw_only=True)
class _TableReading:
    """A table of captions, where its photos are, and which of its columns were named to hold what."""

    table: Path
    photos: Path
    column: str | None
    keys: Mapping[str, str] | None


def _of_table(read: _TableReading, left_out: LeftOut, counts: TableRows) -> Iterator[FoundCaption]:
    table = read.table
    rows = stream_table(table)
    first = list(islice(rows, FIRST_ROWS))
    if not first:
        raise InputError(f"{table} has no rows.")
    columns = list(dict.fromkeys(name for row in first for name in row.fields))
    counts.columns = tuple(columns)
    of_caption = _caption_columns(table, columns, read.column)
    guarded = table.suffix.lower() == ".csv" and tuple(columns) == _OWN_CSV
    interpret = row_reader(table, columns, read.keys)
    find = _finder(read.photos, table)
    for row in chain(first, rows):
        text = _caption_in(row, of_caption, guarded)
        meant = interpret(row if not guarded else _unguarded_row(row))
        named = " ".join(meant.images) or meant.metadata.name or "no photo named"
        if not text:
            left_out.empty.add(f"{row.where} ({named})")
            continue
        counts.captioned += 1
        found = [file for image in meant.images if (file := find(image))]
        if found:
            counts.matched += 1
        else:
            left_out.without_photo.add(f"{row.where} ({named})")
            counts.named = counts.named or next(map(plain_line, meant.images), None)
        metadata = Metadata(name=meant.metadata.name, kind=meant.metadata.kind)
        for file in found:
            yield FoundCaption(file=replace(file, metadata=metadata), text=text, where=f"{table.name}, {row.where}")


def _caption_columns(table: Path, columns: Sequence[str], column: str | None) -> tuple[str, ...]:
    """The columns to look for a caption in, the first first."""
    if column is not None:
        if column not in columns:
            raise InputError(f"{table} has no column {column!r}; its columns: {', '.join(columns) or 'none'}.")
        return (column,)
    known = {each.strip().lstrip("\ufeff").casefold(): each for each in reversed(columns)}
    found = tuple(known[name] for name in CAPTION_COLUMNS if name in known)
    if not found:
        raise InputError(
            f"{table} has no column of captions ({', '.join(CAPTION_COLUMNS[:4])} …), only "
            f"{', '.join(columns) or 'a list'}. Say which: --column NAME"
        )
    return found


def _caption_in(row: RawRow, columns: Iterable[str], guarded: bool) -> str:
    for column in columns:
        text = _plain(_as_text(row.fields.get(column)))
        if text:
            return _GUARD.sub(r"\1\2", text) if guarded else text
    return ""


def _as_text(value: Any) -> str:
    """A cell as text; of a list, as TagGUI and datasets write tags, its items with commas."""
    match value:
        case str():
            return value
        case None:
            return ""
        case list() | tuple():
            return ", ".join(text for item in value if (text := _as_text(item).strip()))
        case _:
            return str(value)


def _plain(text: str) -> str:
    return plain_lines(text).strip()


def _unguarded_row(row: RawRow) -> RawRow:
    """A row of Carscribe's own CSV without the apostrophes that keep a spreadsheet from calculating."""
    fields = {key: _GUARD.sub(r"\1\2", text) if isinstance(text, str) else text for key, text in row.fields.items()}
    return replace(row, fields=fields)


def _finder(photos: Path, table: Path) -> Callable[[str], PhotoFile | None]:
    """What finds the photo that a table's path means: from the table's folder, then from the photos', by whole path and
    by its ends, then by their ways of writing. None where there is no such file."""
    beside, root = Places(table.parent), photos if photos.is_dir() else None
    inside = Places(root) if root is not None else None
    real_root = None if root is None else os.path.join(os.path.realpath(root), "")  # noqa: PTH118 - text, for speed

    def find(image: str) -> PhotoFile | None:
        path, key = beside.locate(image)
        if not path.is_file() and inside is not None:
            parts = image.replace("\\", "/").split("/")
            for start in range(len(parts)):
                path, key = inside.locate("/".join(parts[start:]))
                if path.is_file():
                    break
        if not path.is_file():
            return None
        if real_root is not None and (real := os.path.realpath(path)).startswith(real_root):
            key = real.removeprefix(real_root).replace(os.sep, "/")
        return PhotoFile(location=os.fspath(path), key=printable(key))

    return find
