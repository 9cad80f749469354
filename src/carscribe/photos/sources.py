"""Find the photos in what a user gives: folders, photo files, lists of photos, or several of these.

Knows nothing of what is inside a photo; whether one can be read is told when it is read.
"""

import difflib
import hashlib
import os
import re
import stat
import unicodedata
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from carscribe.errors import MetadataError, PhotosError
from carscribe.found import PhotoList, Photos
from carscribe.photos.folders import FolderPhotos, Walk, printable, walk_photos
from carscribe.photos.metadata import merge_metadata, read_rows
from carscribe.photos.packed import has_photo_bytes, holds_packed, packed_ending, unpack_command
from carscribe.photos.rows import PHOTO_SUFFIXES, columns_in
from carscribe.photos.signature import HEAD_BYTES, format_of
from carscribe.photos.tables import TABLE_SUFFIXES
from carscribe.records import Metadata, PhotoFile

_NO_PATH = "(row without a photo)"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPhotos:
    """The photos of a source, and what was left out.

    `ignored` counts, by suffix in lower case ("" for none), the files in folders that are no photos; besides, under
    names in brackets, folders that may not be opened and rows of a list that name no photo.
    """

    files: Photos
    ignored: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """The photos of one thing the user gave. An identity is the same for every way to reach a file."""

    files: Photos
    identities: Iterable[str]
    folder: str


def find_photos(source: Path | Sequence[Path], *, keys: Mapping[str, str] | None = None) -> FoundPhotos:
    """Every photo of a folder (with those below it), a photo file, a list of photos, or a sequence of these.

    Folders give their photos in natural order (2 before 10), lists in their own. Hidden files and folders are passed
    over. A file reached twice appears once, with the metadata of every row that lists it. A listed file that does not
    exist stays. Keys are distinct: of two sources with a photo of the same key, both get their folder's name in front.
    `keys` says which columns of a list hold "image", "name" and "kind": see `read_rows`.

    Raises: PhotosError, in one line, when a source holds no photo; MetadataError when a list cannot be read;
    MissingExtraError for a Parquet list without pyarrow.
    """
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not sources:
        raise PhotosError("No source of photos was given. Give a folder, a photo or a list of photos.")
    ignored: Counter[str] = Counter()
    found = [_of_source(Path(each), keys, ignored) for each in sources]
    photos = found[0].files
    if len(found) > 1 or not isinstance(photos, FolderPhotos) or not photos.are_text:
        photos = _each_once(found)  # in one folder each photo is there once and has a key of its own
    return FoundPhotos(files=photos, ignored=dict(sorted(ignored.items())))


def _each_once(sources: Sequence[_Source]) -> PhotoList:
    """The photos of all sources, each once, with distinct keys."""
    files: list[PhotoFile] = []
    folders: list[str] = []
    places: dict[str, int] = {}  # where in `files` a file is, by its identity
    for one in sources:
        for file, identity in zip(one.files, one.identities, strict=True):
            place = places.setdefault(identity, len(files))
            if place == len(files):
                files.append(file)
                folders.append(one.folder)
            else:
                files[place] = _joined(files[place], file.metadata)
    return PhotoList(_with_distinct_keys(files, folders))


def _joined(known: PhotoFile, metadata: Metadata) -> PhotoFile:
    """The same photo reached again: the first key stays, blanks of its metadata are filled."""
    merged = merge_metadata(known.metadata, metadata)
    return known if merged is known.metadata else replace(known, metadata=merged)


def _of_source(source: Path, keys: Mapping[str, str] | None, ignored: Counter[str]) -> _Source:
    suffix = source.suffix.lower()
    try:
        exists, is_folder, is_file = source.exists(), source.is_dir(), source.is_file()
    except (OSError, ValueError) as error:  # a name too long, or a folder above that may not be entered
        raise PhotosError(f"{source} cannot be looked up: {error}. Check the path.") from error
    if is_folder:
        return _in_folder(source, ignored)
    if not exists:
        raise PhotosError(f"{source} does not exist. {_close_names(source)}")
    if not is_file:
        raise PhotosError(f"{source} is a pipe or a device. Give a folder, a photo or a list of photos.")
    if suffix in PHOTO_SUFFIXES:
        file = PhotoFile(location=os.fspath(source), key=printable(source.name))
        return _Source(files=PhotoList([file]), identities=[_identity(source)], folder=_folder_name(source.parent))
    if suffix in TABLE_SUFFIXES:
        return _in_list(source, keys, ignored)
    if packed_ending(source.name):
        raise PhotosError(f"{source} has its photos packed in it. Take them out first: {unpack_command(source)}")
    raise PhotosError(f"{source} is no photo by its suffix ({suffix or 'none'}). {_advice(source)}")


def _in_folder(folder: Path, ignored: Counter[str]) -> _Source:
    try:
        walk = walk_photos(folder)
    except OSError as error:
        raise PhotosError(f"{folder} cannot be opened: {error.strerror or error}. Check your permissions.") from error
    ignored.update(walk.ignored)
    if not walk.photos and holds_packed(walk.ignored):
        raise PhotosError(
            f"No photo lies in {folder}: {_contents(walk)}. Take photos out of these with: {unpack_command(folder)}"
        )
    if not walk.photos:
        raise PhotosError(
            f"No photo in {folder}: {_contents(walk)}. Photos end in .jpg, .png, .webp, .avif, .heic, .tif, .bmp, .gif."
        )
    return _Source(files=walk.photos, identities=walk.photos.identities(), folder=_folder_name(folder))


def _contents(walk: Walk) -> str:
    if not walk.ignored:
        return "it is empty, or holds only hidden files"
    most = sorted(walk.ignored.items(), key=lambda item: (-item[1], item[0]))
    counts = ", ".join(f"{count:,} × {suffix or 'without suffix'}" for suffix, count in most[:8])
    return f"it holds {counts}"


def _in_list(path: Path, keys: Mapping[str, str] | None, ignored: Counter[str]) -> _Source:
    packed = path.suffix.lower() == ".parquet" and has_photo_bytes(path)
    inside = PhotosError(f"{path} has its photos in it as bytes. Take them out first: {unpack_command(path)}")
    try:
        rows = read_rows(path, keys=keys)
    except MetadataError as error:
        raise inside if packed else error from None
    named = [(image, row.metadata) for row in rows for image in row.images]
    if not rows:
        raise PhotosError(f"{path} lists no photos: it has no rows.")
    places = Places(path.parent)
    located = [(*places.locate(image), metadata) for image, metadata in named]
    if packed and not any(os.path.lexists(file) for file, _, _ in located):
        raise inside
    if not named:
        columns = ", ".join(repr(column) for column in columns_in(path)[:20])
        raise PhotosError(
            f"{path} names no photo in any of its {len(rows):,} rows; its columns: {columns or 'none'}. "
            'Say which holds the path with keys, such as {"image": "…"}. '
            "To give metadata to photos in a folder, pass the folder here and this file as the metadata."
        )
    if all("://" in image for image, _ in named):
        raise PhotosError(
            f"{path} lists addresses ({named[0][0]}), not files. Download them first, then list the files."
        )
    ignored.update({_NO_PATH: without} if (without := sum(not row.images for row in rows)) else {})
    return _Source(
        files=PhotoList(
            PhotoFile(location=os.fspath(file), key=printable(key), metadata=metadata)
            for file, key, metadata in located
        ),
        identities=[places.identity(file) for file, _, _ in located],
        folder=_folder_name(path.parent),
    )


class Places:
    """Finds the files that a list names; remembers folders, for a list has millions of files in few of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._real: dict[str, str] = {}

    def locate(self, image: str) -> tuple[Path, str]:
        """The file a list's path means, and its key. The path as written when there is no such file."""
        key = image.replace("\\", "/")
        written = self._folder / image
        if os.path.lexists(written):
            return written, image if os.sep == "/" else key
        # A list written on Windows has backslashes, one written on a Mac may have decomposed Hangul and accents.
        for spelling in dict.fromkeys((key, *(unicodedata.normalize(form, key) for form in ("NFC", "NFD")))):
            if os.path.lexists(candidate := self._folder / spelling):
                return candidate, key
        return self._folder / key, key

    def identity(self, file: Path) -> str:
        """As `_identity`, at the cost of one look at the file."""
        parent = str(file.parent)
        if os.path.islink(file) or "\0" in parent:  # noqa: PTH114 - Path.is_symlink raises on a name too long
            return _identity(file)
        if parent not in self._real:
            self._real[parent] = os.path.realpath(parent)
        return os.path.normcase(os.path.join(self._real[parent], file.name))  # noqa: PTH118 - text, for speed


def _identity(path: Path) -> str:
    """The file's real place, the same for every way to it."""
    try:
        return os.path.normcase(os.path.realpath(path))
    except ValueError:  # a zero byte in a listed path: no such file, and reading it will say so
        return str(path)


def _folder_name(folder: Path) -> str:
    return printable(folder.name or folder.resolve().name)


def _with_distinct_keys(files: Sequence[PhotoFile], folders: Sequence[str]) -> tuple[PhotoFile, ...]:
    """The photos, keys made distinct: first by the names of their sources' folders, then by numbers."""
    if len({file.key for file in files}) == len(files):
        return tuple(files)
    count = Counter(file.key for file in files)
    keys = [
        f"{folder}/{file.key}" if count[file.key] > 1 and folder else file.key
        for file, folder in zip(files, folders, strict=True)
    ]
    # Keys that nobody shares go first to whom they belong: a number never takes the name of another photo.
    shared = Counter(keys)
    taken = {key for key in keys if shared[key] == 1}
    numbers: Counter[str] = Counter()
    distinct = []
    for file, key in zip(files, keys, strict=True):
        unique = key if shared[key] == 1 else _numbered(key, numbers, taken)
        distinct.append(file if unique == file.key else replace(file, key=unique))
    return tuple(distinct)


def _numbered(key: str, numbers: Counter[str], taken: set[str]) -> str:
    """The first of `a.jpg`, `a (2).jpg`, `a (3).jpg` … that is free; it is taken then."""
    folder, slash, name = key.rpartition("/")
    stem, dot, suffix = name.rpartition(".")
    while True:
        numbers[key] += 1
        number = numbers[key]
        mark = f" ({number})" if number > 1 else ""
        unique = f"{folder}{slash}{stem}{mark}{dot}{suffix}" if stem else f"{key}{mark}"
        if unique not in taken:
            taken.add(unique)
            return unique


def _close_names(path: Path) -> str:
    """What the user may have meant by a path that does not exist."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", str(path)):
        return "It is an address: download the photos first, and give their folder."
    there = next((parent for parent in path.absolute().parents if parent.is_dir()), None)
    if there is None:
        return "Check the path."
    wanted = path.absolute().relative_to(there).parts[0]
    try:
        names = {entry.name.casefold(): entry.name for entry in os.scandir(there)}
    except OSError:
        names = {}
    close = difflib.get_close_matches(wanted.casefold(), list(names), n=3, cutoff=0.6)
    meant = " or ".join(str(there / names[name]) for name in close)
    return f"Did you mean {meant}?" if meant else f"{there} exists, and has no {wanted} in it. Check the path."


def _advice(path: Path) -> str:
    """What to do with a file whose suffix says it is neither a photo nor a list."""
    try:
        with path.open("rb") as file:
            format_ = format_of(file.read(HEAD_BYTES))
    except OSError:
        format_ = None
    if format_ is not None:
        return f"It holds a {format_}: rename it to {path.name}.{format_.lower()}."
    lists = ", ".join(sorted(TABLE_SUFFIXES))
    return f"Give a folder, a photo (.jpg, .png, .webp, .avif, .heic, .tif, .bmp, .gif) or a list ({lists})."


def same_bytes(files: Iterable[PhotoFile]) -> tuple[tuple[str, ...], ...]:
    """Groups of keys of photos that are the same, byte for byte, in the order given. Unreadable ones are left out.

    Only files of equal size are read.
    """
    return tuple(
        tuple(file.key for file in same) for alike in _grouped(files, _size_bytes) for same in _grouped(alike, _sha256)
    )


def _grouped(files: Iterable[PhotoFile], trait: Callable[[Path], Hashable]) -> list[list[PhotoFile]]:
    """The files that share a trait with another; one whose trait cannot be read is with none."""
    groups: dict[Hashable, list[PhotoFile]] = {}
    for file in files:
        try:
            groups.setdefault(trait(file.path), []).append(file)
        except (OSError, ValueError):
            continue
    return [group for group in groups.values() if len(group) > 1]


def _size_bytes(path: Path) -> int:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is no file")
    return status.st_size


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
