"""Brings the images into an export: copied, hard-linked or made anew, and only of the bytes that were described.

Knows nothing of formats or pixels: an image is the photo's own file, unchanged, or what a masker makes of it.
"""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal, Protocol

from carscribe.errors import PhotoError
from carscribe.export.draft import Draft
from carscribe.export.manifest import Entry
from carscribe.export.names import safe_parts, split_suffix
from carscribe.export.report import ImageMode, Notes
from carscribe.records import MaskedImage, PhotoFile

_CHUNK_BYTES = 1 << 20

Outcome = Literal["copied", "linked", "missing", "changed"]


_KEPT_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png"})
_OTHER_SUFFIXES = frozenset({".heic", ".heif", ".hif", ".avif", ".webp", ".tif", ".tiff", ".bmp", ".gif"})


class Masker(Protocol):
    """Makes an image anew, without what tells who is in it: `privacy.masking.Masking` is the one there is."""

    def mask(self, photo: PhotoFile, sha256: str, content: bytes, format_: Literal["JPEG", "PNG"]) -> MaskedImage:
        """The image to be exported in the place of `content`, the photo's file. Raises: PhotoError, naming why."""
        ...


class Images:
    """Places the images of one export. With a masker no byte of a photo's file gets into it."""

    def __init__(self, draft: Draft, mode: ImageMode, notes: Notes, masker: Masker | None = None) -> None:
        self.mode: ImageMode = mode
        self._draft = draft
        self._notes = notes
        self._masker = masker
        if masker is not None:
            notes.of_masks()

    @property
    def masked(self) -> bool:
        """Whether images are made anew: upright then, and the photos' own files are not to be named."""
        return self._masker is not None

    def parts(self, key: str) -> tuple[str, ...]:
        """A photo's folders and file name, as `safe_parts`, with the suffix of what is written: see `masked_name`."""
        *folders, name = safe_parts(key)
        return (*folders, masked_name(name) if self.masked else name)

    def place(self, file: PhotoFile, sha256: str, name: str) -> bool:
        """Put a photo's image at `name`. False, and noted, when it is missing or no longer what was described.

        Raises: OutputError.
        """
        if self._masker is not None:
            return self._place_masked(self._masker, file, sha256, name)
        entry = Entry(file=name, photo=file.key, sha256=sha256)
        if self._is_in_place(file, sha256, name):
            self._notes.kept += 1
            self._draft.add(entry)
            return True
        with self._draft.writing():
            target = self._draft.next_file()
            outcome = bring(file.path, target, sha256, link=self.mode == "link")
            size_bytes = target.stat().st_size if outcome == "copied" else 0
        match outcome:
            case "missing":
                self._notes.missing.add(file.key)
                return False
            case "changed":
                self._notes.changed.add(file.key)
                return False
            case "copied":
                self._notes.copied += 1
                self._notes.link_refused += self.mode == "link"
            case "linked":
                self._notes.linked += 1
        self._draft.add(entry, size_bytes=size_bytes)
        return True

    def read(self, file: PhotoFile, sha256: str) -> bytes | None:
        """A photo's image, masked where that is wished, for a file of many. None, and noted, when it cannot be had."""
        if self._masker is not None:
            image = self._masked(self._masker, file, sha256, self.parts(file.key)[-1])
            return None if image is None else image.content
        content = self._described(file, sha256)
        self._notes.copied += content is not None
        return content

    def _place_masked(self, masker: Masker, file: PhotoFile, sha256: str, name: str) -> bool:
        """Always anew, whatever an earlier export left: it may have masked less, or nothing."""
        image = self._masked(masker, file, sha256, name)
        if image is None:
            return False
        with self._draft.writing():
            self._draft.next_file().write_bytes(image.content)
        self._draft.add(
            Entry(file=name, photo=file.key, sha256=sha256, masked=image.boxes), size_bytes=len(image.content)
        )
        return True

    def _masked(self, masker: Masker, file: PhotoFile, sha256: str, name: str) -> MaskedImage | None:
        """What the masker makes of a photo; None, and noted, when it cannot be had."""
        suffix = split_suffix(name)[1].lower()
        assert suffix in _KEPT_SUFFIXES, f"{name}: a masked image is named by Images.parts"
        content = self._described(file, sha256)
        if content is None:
            return None
        masks = self._notes.of_masks()
        try:
            image = masker.mask(file, sha256, content, "PNG" if suffix == ".png" else "JPEG")
        except PhotoError as error:
            masks.unmasked.add(f"{file.key}: {error}")
            return None
        self._notes.copied += 1
        masks.made += 1
        masks.with_boxes += bool(image.boxes)
        masks.boxes.update(image.boxes)
        return image

    def _described(self, file: PhotoFile, sha256: str) -> bytes | None:
        """A photo's bytes. None, and noted, when it is missing or no longer what was described."""
        content = _content(file.path)
        if content is None or hashlib.sha256(content).hexdigest() != sha256:
            (self._notes.missing if content is None else self._notes.changed).add(file.key)
            return None
        return content

    def _is_in_place(self, file: PhotoFile, sha256: str, name: str) -> bool:
        """Whether an earlier export put these bytes there, and both files are as they were (size, time of change)."""
        if self._draft.earlier_sha256(name) != sha256:
            return False
        try:
            there, source = (self._draft.folder / name).lstat(), file.path.stat()
        except (OSError, ValueError):
            return False
        if not stat.S_ISREG(there.st_mode):
            return False
        if (there.st_size, there.st_mtime_ns) != (source.st_size, source.st_mtime_ns):
            return False
        is_link = os.path.samestat(there, source)
        return is_link == (self.mode == "link") or there.st_dev != source.st_dev


def masked_name(name: str) -> str:
    """The name of the image that is made of a photo: JPEG stays JPEG, PNG stays PNG, all else becomes JPEG.

    >>> masked_name("a.JPG"), masked_name("a.png"), masked_name("a.heic"), masked_name("audi 2.0")
    ('a.JPG', 'a.png', 'a.jpg', 'audi 2.0.jpg')
    """
    stem, suffix = split_suffix(name)
    if suffix.lower() in _KEPT_SUFFIXES:
        return name
    return f"{stem if suffix.lower() in _OTHER_SUFFIXES else name}.jpg"


def bring(source: Path, target: Path, sha256: str, *, link: bool) -> Outcome:
    """Make `target` the file `source`, if it has these bytes; else there is no `target`.

    A link that the file system refuses becomes a copy. A copy keeps the time of change. Raises: OSError when `target`
    cannot be written.
    """
    try:
        status = source.stat()
    except (OSError, ValueError):  # ValueError: a zero byte in a listed path
        return "missing"
    if not stat.S_ISREG(status.st_mode):
        return "missing"
    outcome: Outcome
    if link and _linked(source, target):
        outcome, found = "linked", _digest(target)
    else:
        with target.open("xb") as copy:
            outcome, found = "copied", _digest(source, copy)
    if found != sha256:
        target.unlink()
        return "missing" if found is None else "changed"
    if outcome == "copied":
        with suppress(OSError):  # then the next export copies it again
            os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns))
    return outcome


def _content(source: Path) -> bytes | None:
    """A file's bytes; None when it is not there, is no file, or cannot be read."""
    try:
        return source.read_bytes() if stat.S_ISREG(source.stat().st_mode) else None
    except (OSError, ValueError):  # ValueError: a zero byte in a listed path
        return None


def _linked(source: Path, target: Path) -> bool:
    """Whether a hard link could be made: not across file systems, nor on those that have none, nor to others' files."""
    try:
        # The real path: a link to a symbolic link would break when that one's target moves.
        os.link(os.path.realpath(source), target)
    except (OSError, NotImplementedError):
        return False
    return True


def _digest(source: Path, copy: IO[bytes] | None = None) -> str | None:
    """The SHA-256 of a file, copied on the way; None when it cannot be read. Raises: OSError of the copy."""
    digest = hashlib.sha256()
    try:
        file = source.open("rb")
    except OSError:
        return None
    with file:
        while True:
            try:
                chunk = file.read(_CHUNK_BYTES)
            except OSError:
                return None
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)
            if copy is not None:
                copy.write(chunk)
