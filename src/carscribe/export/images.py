"""Brings the images into an export: copied or hard-linked, and only with the bytes that were described.

Knows nothing of formats. Images are never decoded or changed.
"""

import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import IO, Literal

from carscribe.export.draft import Draft
from carscribe.export.manifest import Entry
from carscribe.export.report import ImageMode, Notes
from carscribe.records import PhotoFile

_CHUNK_BYTES = 1 << 20

Outcome = Literal["copied", "linked", "missing", "changed"]


class Images:
    """Places the images of one export."""

    def __init__(self, draft: Draft, mode: ImageMode, notes: Notes) -> None:
        self.mode: ImageMode = mode
        self._draft = draft
        self._notes = notes

    def place(self, file: PhotoFile, sha256: str, name: str) -> bool:
        """Put a photo's image at `name`. False, and noted, when it is missing or no longer what was described.

        Raises: OutputError.
        """
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
