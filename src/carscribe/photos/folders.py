"""Walk a folder of photos: what is one, what is not, in natural order, each file once."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from carscribe.photos.rows import PHOTO_SUFFIXES
from carscribe.records import PhotoFile

UNREADABLE = "(folder that cannot be opened)"

# Made by systems and viewers beside the photos; `@eaDir` (Synology) is full of thumbnails that end in .jpg.
_SYSTEM_NAMES = frozenset({"__macosx", "@eadir", "$recycle.bin", "thumbs.db", "desktop.ini"})
_NUMBERS = re.compile("([0-9]+)")


Pieces = tuple[str | int, ...]
"""A name's texts and numbers in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The photos of a folder in natural order, and by suffix the count of its other files.

    A photo's key is its path from the folder, with forward slashes; its identity is its real path.
    """

    files: tuple[PhotoFile, ...]
    identities: tuple[str, ...]
    ignored: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """A folder to be looked into: the way that led to it, its real path, and the beginning of its files' keys."""

    location: str
    real: str
    prefix: str
    order: tuple[Pieces, ...] = ()

    def below(self, entry: os.DirEntry[str], real: str) -> "_Folder":
        return _Folder(
            location=entry.path,
            real=real,
            prefix=f"{self.prefix}{entry.name}/",
            order=(*self.order, natural_order(entry.name)),
        )


def walk_photos(folder: Path) -> Walk:
    """All photos of a folder and the folders below it, those behind symbolic links included.

    Hidden and system files and folders are passed over, without being counted. A file that links lead to twice is
    there once, under the first of its keys. A folder below that cannot be opened is counted in `ignored`.

    Raises: OSError when the folder itself cannot be opened.
    """
    ignored: Counter[str] = Counter()
    # What is sorted by, the key that settles it, the way to the photo, its real path. Text and plain tuples, for a
    # folder may hold a million photos.
    places: list[tuple[tuple[Pieces, ...], str, str, str]] = []
    root = os.path.realpath(folder)
    entered: set[str] = set()  # a link in a circle would otherwise be followed for ever
    # Links are followed after all real folders, so that a file is known by its own place, not by a link to it.
    waiting = [_Folder(location=os.fspath(folder), real=root, prefix="")]
    linked: list[_Folder] = []
    while waiting or linked:
        at = waiting.pop() if waiting else linked.pop(0)
        if at.real in entered or (at.prefix and _is_above(at.real, root)):
            continue
        entered.add(at.real)
        inside = os.path.join(at.real, "")  # noqa: PTH118 - text, as above
        for entry in _entries(at.location, ignored, top=not at.prefix):
            name, kind = entry.name, _kind(entry)
            if kind == "folder":
                # Asked even when it says that it is no link, for Windows has some that do not say so.
                real = os.path.realpath(entry.path)
                (waiting if real == inside + name else linked).append(at.below(entry, real))
            elif kind == "file":
                suffix = name[name.rfind(".") :].lower() if "." in name else ""
                if suffix in PHOTO_SUFFIXES:
                    real = os.path.realpath(entry.path) if entry.is_symlink() else inside + name
                    order = (*at.order, natural_order(name))
                    places.append((order, at.prefix + name, entry.path, os.path.normcase(real)))
                else:
                    ignored[suffix] += 1
    places.sort()
    first = {place[3]: place[1] for place in reversed(places)}  # of several ways to a file, the first stays
    kept = [place for place in places if first[place[3]] == place[1]] if len(first) < len(places) else places
    return Walk(
        files=tuple(PhotoFile(location=location, key=printable(key)) for _, key, location, _ in kept),
        identities=tuple(place[3] for place in kept),
        ignored=dict(ignored),
    )


def natural_order(name: str) -> Pieces:
    """What to sort names by so that a person finds them in order: 2 before 10, small beside capital letters.

    >>> sorted(["b10.jpg", "b2.jpg", "B3.jpg", "a.jpg"], key=natural_order)
    ['a.jpg', 'b2.jpg', 'B3.jpg', 'b10.jpg']
    """
    # Split by a group, texts and numbers alternate: like is always compared with like.
    pieces: list[str | int] = list(
        _NUMBERS.split(name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold())
    )
    pieces[1::2] = map(int, pieces[1::2])
    return tuple(pieces)


def printable(name: str) -> str:
    """A name as text that can be written as UTF-8: bytes that are none (an old Korean disk's) become `\\xb0`."""
    if name.isascii():
        return name
    try:
        name.encode()
    except UnicodeEncodeError:
        return os.fsencode(name).decode("utf-8", "backslashreplace")
    return name


def _entries(folder: str, ignored: Counter[str], *, top: bool) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not _is_hidden(entry.name)]
    except OSError:
        if top:
            raise
        ignored[UNREADABLE] += 1
        return []


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    """What an entry leads to. Pipes, sockets, links to nothing and links in a circle are "other"."""
    try:
        return "file" if entry.is_file() else "folder" if entry.is_dir() else "other"
    except OSError:
        return "other"


def _is_above(folder: str, root: str) -> bool:
    """Whether a link leads to a folder around the one the user gave: what else lies there was not asked for."""
    return root.startswith(folder.rstrip(os.sep) + os.sep)
