"""Keeps a fetched picture: is it one, is it large enough, under which name does it lie in `images/`."""

import hashlib
import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from carscribe.collect.journal import Photo
from carscribe.photos.decode import photo_size
from carscribe.photos.signature import HEAD_BYTES, SUFFIXES, describe_stranger, format_of

_PART = ".part"
_STEM_CHARACTERS = 48  # of Hangul, 144 of the 255 bytes that a name may have


@dataclass(frozen=True, slots=True, kw_only=True)
class NotKept:
    """Why a picture is not kept: it is none (`failed`), or smaller than wanted (`small`)."""

    state: Literal["failed", "small"]
    reason: str


def sha256_of(content: bytes) -> str:
    """What a photo is known by."""
    return hashlib.sha256(content).hexdigest()


def store(images: Path, content: bytes, *, name: str | None, min_side_px: int) -> Photo | NotKept:
    """Write a picture into a folder: beside, then in place, so that a file that is there is whole.

    Raises: OSError when it cannot be written.
    """
    head = content[:HEAD_BYTES]
    format_ = format_of(head)
    if format_ is None:
        return NotKept(state="failed", reason=f"it is {describe_stranger(head)}" if content else "it is empty")
    sha256 = sha256_of(content)
    part = images / f".{sha256}{_PART}"
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    size = photo_size(part)
    if size is None:
        part.unlink()
        return NotKept(state="failed", reason=f"it is a damaged {format_}")
    if min(size) < min_side_px:
        part.unlink()
        return NotKept(state="small", reason=f"{size[0]} × {size[1]} px, and min_side_px is {min_side_px}")
    stem = file_stem(name)
    file_name = f"{stem}-{sha256[:12]}{SUFFIXES[format_]}" if stem else f"{sha256[:16]}{SUFFIXES[format_]}"
    part.replace(images / file_name)
    return Photo(sha256=sha256, file=file_name, width_px=size[0], height_px=size[1], size_bytes=len(content))


def remove_leftovers(images: Path) -> None:
    """Remove what a killed run was writing."""
    for part in images.glob(f".*{_PART}"):
        part.unlink(missing_ok=True)


def file_stem(name: str | None) -> str:
    """A car's name as the beginning of a file's: letters and digits of any script, all else as single hyphens.

    >>> file_stem("현대 그랜저 (IG) 2.4"), file_stem("../?")
    ('현대-그랜저-ig-2-4', '')
    """
    folded = unicodedata.normalize("NFC", name or "").casefold()
    words = "".join(letter if letter.isalnum() else " " for letter in folded).split()
    return "-".join(words)[:_STEM_CHARACTERS].rstrip("-")
