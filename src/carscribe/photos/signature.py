"""Tell from its first bytes what a file is, whatever its suffix says."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

Format = Literal["JPEG", "PNG", "WebP", "AVIF", "HEIC", "TIFF", "BMP", "GIF"]

SUFFIXES: Mapping[Format, str] = MappingProxyType(
    {
        "JPEG": ".jpg",
        "PNG": ".png",
        "WebP": ".webp",
        "AVIF": ".avif",
        "HEIC": ".heic",
        "TIFF": ".tif",
        "BMP": ".bmp",
        "GIF": ".gif",
    }
)
"""How the name of such a file ends."""

HEAD_BYTES = 1024
"""How many bytes from the start `format_of` and `describe_stranger` want."""

_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),  # BigTIFF
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
)
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})

# What crawls and camera cards leave among photos, in the words of an error message.
_STRANGERS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer, not a photo: run git lfs pull"),
    (b"%PDF", "a PDF document, not a photo: save its picture as JPEG or PNG"),
    (b"8BPS", "a Photoshop document: save it as JPEG, PNG or TIFF"),
    (b"PK\x03\x04", "a zip archive, not a photo: unpack it"),
    (b"\x1f\x8b", "a gzip archive, not a photo: unpack it"),
    (b"\xff\x0a", "a JPEG XL image, which is not read: save it as JPEG or PNG"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL image, which is not read: save it as JPEG or PNG"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 image, which is not read: save it as JPEG or PNG"),
    (b"\0\0\x01\0", "an icon, not a photo"),
    (b"\x1aE\xdf\xa3", "a video, not a photo: save a frame of it as JPEG"),
    (b"FUJIFILMCCD-RAW", "a camera raw file, which is not read: export it as JPEG"),
)


def _brands(head: bytes) -> frozenset[bytes]:
    """The brands of an ISO media file (`ftyp` box), empty for any other file."""
    if head[4:8] != b"ftyp":
        return frozenset()
    box = head[: int.from_bytes(head[:4], "big")]
    return frozenset([head[8:12], *(box[at : at + 4] for at in range(16, len(box), 4))])


def format_of(head: bytes) -> Format | None:
    r"""The format of a photo that starts with these bytes; None for anything that is not read as a photo.

    >>> format_of(b"\xff\xd8\xff\xe0"), format_of(b"<!doctype html>")
    ('JPEG', None)
    """
    for magic, format_ in _MAGIC:
        if head.startswith(magic):
            return format_
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    brands = _brands(head)
    if brands & _AVIF_BRANDS:
        return "AVIF"
    return "HEIC" if brands & _HEIC_BRANDS else None


def _describe_text(head: bytes) -> str | None:
    """What a file of text is, or None for a binary one."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<") and (b"<html" in text or b"<!doctype html" in text or b"<head" in text):
        return "an HTML page, not a photo: the site answered with a page (an error, a log-in); download it again"
    if text.startswith(b"<") and b"<svg" in text:
        return "an SVG drawing, not a photo: save it as PNG"
    if text.startswith((b"<?xml", b"<error")):
        return "an XML document, not a photo: the site answered with a message; download it again"
    if text.startswith((b"{", b"[")):
        return "JSON text, not a photo: the site answered with a message; download it again"
    control = sum(byte < 32 and byte not in b"\t\n\r\f" for byte in head)
    return None if control or not text else "text, not a photo"


def describe_stranger(head: bytes) -> str:
    r"""What a file is that `format_of` does not know, and what to do, to be read after the word "is".

    >>> describe_stranger(b"%PDF-1.7")
    'a PDF document, not a photo: save its picture as JPEG or PNG'
    """
    for magic, words in _STRANGERS:
        if head.startswith(magic):
            return words
    brands = _brands(head)
    if b"crx " in brands:
        return "a camera raw file, which is not read: export it as JPEG"
    if brands:
        return "a video, not a photo: save a frame of it as JPEG"
    if not head.strip(b"\0"):
        return "nothing but zero bytes, as a broken download or copy leaves: fetch it again"
    formats = "JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP or GIF"
    return _describe_text(head) or f"not an image that can be read: photos are {formats}"
