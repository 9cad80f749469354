"""Walk a folder of photos: what is one, what is not, in natural order, each file once."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from carscribe.photos.rows import PHOTO_SUFFIXES

UNREADABLE = "(folder that cannot be opened)"

# Made by systems and viewers beside the photos; `@eaDir` (Synology) is full of thumbnails that end in .jpg.
_SYSTEM_NAMES = frozenset({"__macosx", "@eadir", "$recycle.bin", "thumbs.db", "desktop.ini"})
_NUMBERS = re.compile("([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedFile:
    """A photo below the folder: `key` is its path from there with forward slashes, `identity` its real path."""

    path: Path
    key: str
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The photos of a folder in natural order, and by suffix the count of its other files."""

    files: tuple[WalkedFile, ...]
    ignored: Mapping[str, int]


def walk_photos(folder: Path) -> Walk:
    """All photos of a folder and the folders below it, those behind symbolic links included.

    Hidden and system files and folders are passed over, without being counted. A file that links lead to twice is
    there once, under the first of its keys. A folder below that cannot be opened is counted in `ignored`.

    Raises: OSError when the folder itself cannot be opened.
    """
    ignored: Counter[str] = Counter()
    files: list[WalkedFile] = []
    root = os.path.realpath(folder)
    entered: set[str] = set()  # a link in a circle would otherwise be followed for ever
    # Links are followed after all real folders, so that a file is known by its own place, not by a link to it.
    waiting: list[tuple[Path, str, str]] = [(folder, "", root)]
    linked: list[tuple[Path, str, str]] = []
    while waiting or linked:
        at, prefix, real = waiting.pop() if waiting else linked.pop(0)
        if real in entered or (prefix and _is_above(real, root)):
            continue
        entered.add(real)
        inside = os.path.join(real, "")  # noqa: PTH118 - text: a Path for each of a million files is slow
        for entry in _entries(at, ignored, top=not prefix):
            key = f"{prefix}{entry.name}"
            place = f"{inside}{entry.name}"
            is_folder = _is_folder(entry)
            # A file that is no link is where it is; folders are asked, for Windows has links that do not say so.
            target = os.path.realpath(entry.path) if is_folder or entry.is_symlink() else place
            if is_folder:
                (waiting if target == place else linked).append((at / entry.name, f"{key}/", target))
            else:
                _sort_file(entry, key, target, files, ignored)
    files.sort(key=lambda file: natural_order(file.key))
    once = {file.identity: file for file in reversed(files)}  # of several ways to a file, the first stays
    return Walk(files=tuple(file for file in files if once[file.identity] is file), ignored=dict(ignored))


def natural_order(key: str) -> tuple[tuple[tuple[str | int, ...], ...], str]:
    """What to sort paths by so that a person finds them in order: 2 before 10, small beside capital letters.

    >>> sorted(["b/10.jpg", "b/2.jpg", "B/3.jpg", "a.jpg"], key=natural_order)
    ['a.jpg', 'b/2.jpg', 'B/3.jpg', 'b/10.jpg']
    """
    folded = key.lower() if key.isascii() else unicodedata.normalize("NFC", key).casefold()
    return tuple(map(_pieces, folded.split("/"))), key


def _pieces(part: str) -> tuple[str | int, ...]:
    """A name's texts and numbers. Split by a group they alternate: like is always compared with like."""
    pieces: list[str | int] = list(_NUMBERS.split(part))
    pieces[1::2] = map(int, pieces[1::2])
    return tuple(pieces)


def _entries(folder: Path, ignored: Counter[str], *, top: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not _is_hidden(entry.name)]
    except OSError:
        if top:
            raise
        ignored[UNREADABLE] += 1
        return []


def _is_above(folder: str, root: str) -> bool:
    """Whether a link leads to a folder around the one the user gave: what else lies there was not asked for."""
    return root.startswith(folder.rstrip(os.sep) + os.sep)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _sort_file(entry: os.DirEntry[str], key: str, target: str, files: list[WalkedFile], ignored: Counter[str]) -> None:
    """Put a file with the photos, or count it. Pipes, sockets and links to nothing are passed over."""
    try:
        is_file = entry.is_file()
    except OSError:
        is_file = False
    suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - as above
    if is_file and suffix in PHOTO_SUFFIXES:
        files.append(WalkedFile(path=Path(entry.path), key=key, identity=os.path.normcase(target)))
    elif is_file:
        ignored[suffix] += 1
