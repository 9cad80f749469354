"""Walk a folder of photos: what is one, what is not, in natural order, each file once."""

import os
import re
import unicodedata
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal

from carscribe.found import BLOCK, Block
from carscribe.photos.rows import PHOTO_SUFFIXES
from carscribe.records import PhotoFile

UNREADABLE = "(folder that cannot be opened)"

# Made by systems and viewers beside the photos; `@eaDir` (Synology) is full of thumbnails that end in .jpg.
_SYSTEM_NAMES = frozenset({"__macosx", "@eadir", "$recycle.bin", "thumbs.db", "desktop.ini"})
_NUMBERS = re.compile("0*([0-9]+)")
_DIGITS = {ord(digit): "0" for digit in "123456789"}
_BETWEEN = "/"
"""Joins names, for none has it in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The photos of a folder in natural order, and by suffix the count of its other files."""

    photos: "FolderPhotos"
    ignored: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class _Folder:
    """A folder: the way that led to it, its real path, the beginning of its files' keys, and what sorts them.

    `names` are those of its photos, joined, sorted as text. `links` has the real paths of those that are links.
    """

    location: str
    real: str
    prefix: str
    order: tuple[str, ...] = ()
    names: str = ""
    links: dict[str, str] = field(default_factory=dict)

    def below(self, name: str, real: str) -> "_Folder":
        return _Folder(
            location=os.path.join(self.location, name),  # noqa: PTH118 - text: a folder may hold a million photos
            real=real,
            prefix=f"{self.prefix}{name}/",
            order=(*self.order, natural_order(name)),
        )


@dataclass(slots=True, kw_only=True)
class _Stretch:
    """Photos of one folder that follow each other. Their names are sorted as text, then naturally once that counts."""

    folder: _Folder
    names: str
    is_in_order: bool

    def in_order(self) -> list[str]:
        names = self.names.split(_BETWEEN)
        if not self.is_in_order:
            names = _in_natural_order(names)
            self.names, self.is_in_order = _BETWEEN.join(names), True
        return names

    @property
    def way(self) -> str:
        return os.path.join(self.folder.location, "")  # noqa: PTH118 - as above

    def keys(self, names: Iterable[str]) -> list[str]:
        keys = [self.folder.prefix + name for name in names]
        return keys if self.folder.prefix.isascii() and self.names.isascii() else list(map(printable, keys))


class FolderPhotos:
    """The photos of a folder and of those below it, in natural order: names are held, some 20 bytes for each.

    A photo's key is its path from the folder, with forward slashes. To sort names naturally takes longer than to find
    them, and is done for those folders of which a photo is asked for by its place.
    """

    def __init__(self, stretches: Sequence[_Stretch]) -> None:
        counts = (stretch.names.count(_BETWEEN) + 1 for stretch in stretches)
        self._stretches = stretches
        self._starts = list(accumulate(counts, initial=0))
        self._last: tuple[int, list[str]] = (-1, [])

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, place: int, /) -> PhotoFile:
        if not 0 <= place < len(self):
            raise IndexError(place)
        number = bisect_right(self._starts, place) - 1
        stretch = self._stretches[number]
        if self._last[0] != number:
            self._last = number, stretch.in_order()
        name = self._last[1][place - self._starts[number]]
        return PhotoFile(location=stretch.way + name, key=stretch.keys([name])[0])

    def __iter__(self) -> Iterator[PhotoFile]:
        return map(self.__getitem__, range(len(self)))

    def at(self, places: Sequence[int]) -> list[PhotoFile]:
        """As `Photos.at`."""
        return [self[place] for place in places]

    def blocks(self) -> Iterator[Block]:
        """As `Photos.blocks`."""
        first = 0
        for number, end in enumerate(self._starts[1:]):
            if end - self._starts[first] >= BLOCK or end == len(self):
                yield self._block(range(first, number + 1))
                first = number + 1

    def identities(self) -> Iterator[str]:
        """The real path of each photo: the same for every way to reach it."""
        for stretch in self._stretches:
            inside = os.path.join(stretch.folder.real, "")  # noqa: PTH118 - as above
            for name in stretch.in_order():
                yield os.path.normcase(stretch.folder.links.get(name) or inside + name)

    @property
    def are_text(self) -> bool:
        """Whether all names are text: of those that are not, two may come to one key."""
        return all(_is_text(stretch.folder.prefix) and _is_text(stretch.names) for stretch in self._stretches)

    def _block(self, numbers: range) -> Block:
        named = [(number, self._stretches[number].names.split(_BETWEEN)) for number in numbers]
        return Block(
            folders=[(self._stretches[number].way, names) for number, names in named],
            keys=[each for number, names in named for each in self._stretches[number].keys(names)],
            metadata=None,
            places=partial(self._places, named),
        )

    def _places(self, named: Sequence[tuple[int, Sequence[str]]]) -> list[int]:
        places: list[int] = []
        for number, names in named:
            ordered = self._stretches[number].in_order()
            place = {name: i for i, name in enumerate(ordered, self._starts[number])}
            places += map(place.__getitem__, names)
        return places


def walk_photos(folder: Path) -> Walk:
    """All photos of a folder and the folders below it, those behind symbolic links included.

    Hidden and system files and folders are passed over, without being counted. A file that links lead to twice is
    there once, under the first of its keys. A folder below that cannot be opened is counted in `ignored`.

    Raises: OSError when the folder itself cannot be opened.
    """
    ignored: Counter[str] = Counter()
    root = os.path.realpath(folder)
    entered: dict[str, _Folder] = {}  # a link in a circle would otherwise be followed for ever
    # Links are followed after all real folders, so that a file is known by its own place, not by a link to it.
    waiting = [_Folder(location=os.fspath(folder), real=root, prefix="")]
    linked: list[_Folder] = []
    while waiting or linked:
        at = waiting.pop() if waiting else linked.pop(0)
        if at.real in entered or (at.prefix and _is_above(at.real, root)):
            continue
        entered[at.real] = at
        inside = os.path.join(at.real, "")  # noqa: PTH118 - text, as above
        for name, real in _look_into(at, ignored):
            (waiting if real == inside + name else linked).append(at.below(name, real))
    _keep_first_ways(entered)
    return Walk(photos=FolderPhotos(_in_stretches(list(entered.values()))), ignored=dict(ignored))


def natural_order(name: str) -> str:
    """What to sort names by so that a person finds them in order: 2 before 10, small beside capital letters.

    >>> sorted(["b10.jpg", "b2.jpg", "B3.jpg", "b.jpg", "b02.gif", "a.jpg"], key=natural_order)
    ['a.jpg', 'b02.gif', 'b2.jpg', 'B3.jpg', 'b10.jpg', 'b.jpg']
    """
    folded = name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()
    return _NUMBERS.sub(_by_length, folded)


def _by_length(number: re.Match[str]) -> str:
    """A number as text that sorts by its value: behind a mark that no name has stands its length."""
    return f"\0{chr(len(number[1]))}{number[1]}"


def printable(name: str) -> str:
    """A name as text that can be written as UTF-8: bytes that are none (an old Korean disk's) become `\\xb0`."""
    if _is_text(name):
        return name
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _is_text(name: str) -> bool:
    if name.isascii():
        return True
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _in_natural_order(names: list[str]) -> list[str]:
    """Names that are sorted as text, sorted naturally: nothing is to be done where they differ in digits alone."""
    if len({name.translate(_DIGITS) for name in names}) == 1:
        return names
    return sorted(names, key=natural_order)


def _look_into(at: _Folder, ignored: Counter[str]) -> list[tuple[str, str]]:
    """Note the photos of a folder; the names of the folders in it, each with its real path."""
    below: list[tuple[str, str]] = []
    names: list[str] = []
    others: Counter[str] = Counter()
    inside = os.path.join(at.real, "")  # noqa: PTH118 - text, as above
    try:
        with os.scandir(at.location) as entries:
            for entry in entries:
                name = entry.name
                suffix = name[name.rfind(".") :].lower()
                if name.startswith(".") or (suffix not in PHOTO_SUFFIXES and name.casefold() in _SYSTEM_NAMES):
                    continue
                kind = _kind(entry)
                if kind == "file" and suffix in PHOTO_SUFFIXES:
                    names.append(name)
                    if entry.is_symlink():
                        at.links[name] = os.path.realpath(entry.path)
                elif kind == "file":
                    others[suffix if "." in name else ""] += 1
                elif kind == "folder":
                    # Windows has links that do not say so.
                    is_link = entry.is_symlink() or os.name == "nt"
                    below.append((name, os.path.realpath(entry.path) if is_link else inside + name))
    except OSError:
        if not at.prefix:
            raise
        ignored[UNREADABLE] += 1
        return []
    ignored.update(others)
    at.names = _BETWEEN.join(sorted(names))
    return below


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    """What an entry leads to. Pipes, sockets, links to nothing and links in a circle are "other"."""
    try:
        return "file" if entry.is_file() else "folder" if entry.is_dir() else "other"
    except OSError:
        return "other"


def _is_above(folder: str, root: str) -> bool:
    """Whether a link leads to a folder around the one the user gave: what else lies there was not asked for."""
    return root.startswith(folder.rstrip(os.sep) + os.sep)


def _keep_first_ways(entered: Mapping[str, _Folder]) -> None:
    """Of the ways that links to photos make to one photo, keep the one that comes first."""
    ways: defaultdict[str, list[tuple[tuple[str, ...], str, _Folder, str]]] = defaultdict(list)
    for folder in entered.values():
        for name, real in folder.links.items():
            ways[real].append(_way(folder, name))
    names: dict[str, set[str]] = {}
    dropped: defaultdict[str, set[str]] = defaultdict(set)
    for real, found in ways.items():
        inside, name = os.path.split(real)
        if inside in entered:
            if inside not in names:
                names[inside] = set(entered[inside].names.split(_BETWEEN)) - entered[inside].links.keys()
            if name in names[inside]:
                found.append(_way(entered[inside], name))
        for _, _, folder, other in sorted(found, key=lambda way: way[:2])[1:]:
            dropped[folder.real].add(other)
    for real, without in dropped.items():
        folder = entered[real]
        folder.names = _BETWEEN.join(name for name in folder.names.split(_BETWEEN) if name not in without)


def _way(folder: _Folder, name: str) -> tuple[tuple[str, ...], str, _Folder, str]:
    """A photo with what sorts it, and the key that settles that."""
    return (*folder.order, natural_order(name)), folder.prefix + name, folder, name


def _in_stretches(folders: Sequence[_Folder]) -> list[_Stretch]:
    """The photos of all folders in natural order: a folder's are cut where photos of others come between them."""
    orders = sorted(folder.order for folder in folders)
    sharing = Counter(folder.order for folder in folders if folder.names)
    found: list[tuple[tuple[str, ...], bool, str, _Stretch]] = []
    for folder in folders:
        if not folder.names:
            continue
        below = set(_next_below(folder.order, orders))
        if not below and sharing[folder.order] == 1 and folder.names.count(_BETWEEN) < BLOCK:
            whole = _Stretch(folder=folder, names=folder.names, is_in_order=False)
            found.append((folder.order, True, "", whole))
            continue
        names = _in_natural_order(folder.names.split(_BETWEEN))
        cuts = {bisect_right(names, order, key=natural_order) for order in below}
        cuts.update(range(0, len(names), BLOCK if sharing[folder.order] == 1 else 1), (len(names),))
        for start, end in pairwise(sorted(cuts | {0})):
            piece = _Stretch(folder=folder, names=_BETWEEN.join(names[start:end]), is_in_order=True)
            found.append(((*folder.order, natural_order(names[start])), False, folder.prefix + names[start], piece))
    found.sort(key=lambda each: each[:3])
    return [stretch for _, _, _, stretch in found]


def _next_below(order: tuple[str, ...], orders: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """What the folders below those of one order are sorted by among these; all orders are given, sorted."""
    at = bisect_right(orders, order)
    while at < len(orders) and orders[at][: len(order)] == order:
        yield orders[at][len(order)]
        at += 1
