"""File names for photos: readable, safe on every file system, no two alike. Pure; knows nothing of what is on disk."""

import hashlib
import re
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count

from carscribe.export.captions import visible

PART_BYTES = 200
"""The longest a file or folder name gets, in UTF-8. File systems take 255; trainers append endings of their own."""

PATH_BYTES = 400
"""The longest a path below the export's folder gets; past that its folders are left out."""

_SUFFIX_BYTES = 16
_RESERVED = str.maketrans(dict.fromkeys('<>:"|?*;', "_"))
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\.|$)", re.IGNORECASE)


def safe_parts(key: str) -> tuple[str, ...]:
    """A photo's key as folders and a file name that Windows, macOS and Linux take, all inside one folder.

    >>> safe_parts("기아/니로 2.jpg"), safe_parts("../../etc/con.jpg"), safe_parts("C:\\\\cars\\\\what?.jpg")
    (('기아', '니로 2.jpg'), ('etc', '_con.jpg'), ('C_', 'cars', 'what_.jpg'))
    """
    parts = [part for part in re.split(r"[/\\]", key) if part not in {"", ".", ".."}]
    return tuple(_safe_part(part) for part in parts) or ("photo",)


def split_suffix(name: str) -> tuple[str, str]:
    """The stem and the suffix with its dot. An ending too long to be a suffix is part of the stem.

    >>> split_suffix("a.b.jpg"), split_suffix("niro")
    (('a.b', '.jpg'), ('niro', ''))
    """
    stem, dot, suffix = name.rpartition(".")
    if not stem or len(suffix.encode()) >= _SUFFIX_BYTES:
        return name, ""
    return stem, dot + suffix


class NameBook:
    """Gives out paths below the export's folder, each once.

    Two paths count as one where some file system would say so: case and Unicode form aside. `claims` says what a path
    takes up, if that is not the path itself: with one caption for each stem, `a.jpg` and `a.png` both take `a.txt`.
    """

    def __init__(self, *, reserved: Iterable[str] = (), claims: Callable[[str], str] = str) -> None:
        self._claims = claims
        self._files, self._folders = _Digests(), _Digests()
        for path in reserved:
            self._files.add(_folded(path))

    def take(self, folder: str, parts: Sequence[str], key: str) -> str:
        """The path of the photo `key` in `folder` ("" for the export's own): `parts`, if it can be.

        Otherwise a mark is made of the key and put behind the stem, so that a name depends on the key and on the names
        given out before, never on chance.
        """
        path = next(path for path in _candidates(folder, parts, key) if self._is_free(_folded(self._claims(path))))
        folded = _folded(self._claims(path))
        self._files.add(folded)
        for above in _above(folded):
            self._folders.add(above)
        return path

    def _is_free(self, folded: str) -> bool:
        if folded in self._files or folded in self._folders:
            return False
        return not any(folder in self._files for folder in _above(folded))


class _Digests:
    """Which texts were there, in 16 to 32 bytes each, where a set of the texts takes 130: a million names fit anywhere.

    It holds 64 bits of a hash, open addressing. Of a million names two share theirs once in 40 million exports; then
    the later one is taken for given out, and gets a mark that it would not have needed.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))
        self._count = 0

    def __contains__(self, text: str) -> bool:
        digest = _digest(text)
        return self._slots[self._place(digest)] == digest

    def add(self, text: str) -> None:
        """One more, or one that is there."""
        digest = _digest(text)
        place = self._place(digest)
        if self._slots[place] == digest:
            return
        self._slots[place] = digest
        self._count += 1
        if 2 * self._count > len(self._slots):
            self._grow()

    def _place(self, digest: int) -> int:
        """Where a digest is, or is to be: 0 is an empty slot."""
        slots, mask = self._slots, len(self._slots) - 1
        place = digest & mask
        while slots[place] and slots[place] != digest:
            place = (place + 1) & mask
        return place

    def _grow(self) -> None:
        held = self._slots
        self._slots = array("Q", bytes(16 * len(held)))
        for digest in held:
            if digest:
                self._slots[self._place(digest)] = digest


def _digest(text: str) -> int:
    encoded = text.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest()) or 1


def _candidates(folder: str, parts: Sequence[str], key: str) -> Iterator[str]:
    """Paths for a photo, the best first, without end."""
    *above, name = parts
    if len("/".join([folder, *parts]).encode()) > PATH_BYTES:
        above = []
    elif len(name.encode()) <= PART_BYTES:
        yield _joined(folder, above, name)
    stem, suffix = split_suffix(name)
    for number in count():
        mark = hashlib.sha256(f"{key}\0{number}".encode("utf-8", "surrogatepass")).hexdigest()[:8]
        cut = _cut(stem, PART_BYTES - len(suffix.encode()) - len(mark) - 1)
        # A second mark is needed when a file has the name of a folder: then nothing can lie in it.
        yield _joined(folder, [] if number else above, f"{cut}-{mark}{suffix}")


def _joined(folder: str, above: Sequence[str], name: str) -> str:
    return "/".join([folder, *(_cut(part, PART_BYTES) for part in above), name]).lstrip("/")


def _safe_part(part: str) -> str:
    part = visible(part).translate(_RESERVED)
    if part.startswith("."):  # hidden, and passed over by those who read the export
        part = f"_{part[1:]}"
    part = part.rstrip(" .") or "_"
    return f"_{part}" if _DEVICE.match(part) else part


def _cut(text: str, limit_bytes: int) -> str:
    """Text of at most so many bytes of UTF-8, cut between characters, fit to end a name."""
    encoded = text.encode()
    if len(encoded) <= limit_bytes:
        return text
    return encoded[:limit_bytes].decode("utf-8", "ignore").rstrip(" .") or "_"


def _folded(path: str) -> str:
    if path.isascii():
        return path.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _above(path: str) -> Iterator[str]:
    """The folders a path lies in, the nearest first."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path


def is_text(path: str) -> bool:
    """Whether a path can stand in UTF-8."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
