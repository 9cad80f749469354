"""Photos with something in them that must not get out, in every place where a file can hold it."""

import base64
import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from carscribe.privacy.boxes import Box

WIDTH_PX, HEIGHT_PX = 240, 160
PLANTED = (120, 60, 168, 92)
"""Left, top, right, bottom of what is planted, in the upright photo."""

SECRET = b"kim.minji-52GA3108"
"""Stands in metadata, and behind the end of a file."""

_COLOURFUL = 60
_TURN_BACK = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


def photo() -> Image.Image:
    """A smooth grey picture with a patch of colourful noise: any colour in what is made of it was in the patch."""
    across, down = np.meshgrid(np.linspace(40, 200, WIDTH_PX), np.linspace(0, 50, HEIGHT_PX))
    pixels = np.repeat((across + down)[..., None], 3, axis=2).astype(np.uint8)
    left, top, right, bottom = PLANTED
    noise = np.random.default_rng(7).integers(0, 2, (bottom - top, right - left, 3), np.uint8) * 255
    pixels[top:bottom, left:right] = noise | np.array([255, 0, 0], np.uint8)  # never grey: red is full, or more
    return Image.fromarray(pixels)


def colourful(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which pixels of [height, width, 3] are of the patch."""
    levels = pixels.astype(np.int16)
    return np.asarray(levels.max(axis=2) - levels.min(axis=2) > _COLOURFUL)


class ColourDetector:
    """Finds the patch by its colour, as a detector finds a face: in whatever size it is shown."""

    def __init__(self, longer_px: int = 4096, kind: str = "face") -> None:
        self.longer_px, self._kind = longer_px, kind
        self.shown: list[tuple[int, ...]] = []

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Box]:
        self.shown.append(picture.shape)
        rows, columns = np.nonzero(colourful(picture))
        if not len(rows):
            return []
        left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        return [Box(kind=self._kind, left=float(left), top=float(top), right=float(right), bottom=float(bottom))]


def thumbnail() -> bytes:
    stream = io.BytesIO()
    photo().resize((WIDTH_PX // 2, HEIGHT_PX // 2)).save(stream, "JPEG", quality=90, comment=SECRET)
    return stream.getvalue()


def exif(orientation: int) -> bytes:
    """EXIF with an orientation, an artist, a maker note, GPS and a thumbnail, as a camera writes it."""
    small = thumbnail()
    blob = bytearray(b"MM\0*\0\0\0\x08")
    data_at = 8 + 2 + 4 * 12 + 4 + 2 + 3 * 12 + 4  # behind both directories
    artist_at, gps_at = data_at, data_at + len(SECRET) + 1
    gps = struct.pack(">HHHI4sI", 1, 1, 2, 2, b"N\0\0\0", 0)
    small_at = gps_at + len(gps)
    blob += struct.pack(">H", 4)
    blob += struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    blob += struct.pack(">HHII", 0x013B, 2, len(SECRET) + 1, artist_at)
    blob += struct.pack(">HHII", 0x8825, 4, 1, gps_at)
    blob += struct.pack(">HHII", 0x927C, 7, len(SECRET), artist_at)
    blob += struct.pack(">I", 8 + 2 + 4 * 12 + 4)
    blob += struct.pack(">H", 3)
    blob += struct.pack(">HHIHH", 0x0103, 3, 1, 6, 0)
    blob += struct.pack(">HHII", 0x0201, 4, 1, small_at)
    blob += struct.pack(">HHII", 0x0202, 4, 1, len(small))
    blob += struct.pack(">I", 0)
    return b"Exif\0\0" + bytes(blob) + SECRET + b"\0" + gps + small


def xmp() -> bytes:
    image = base64.b64encode(thumbnail()).decode()
    return f'<x:xmpmeta xmlns:x="adobe:ns:meta/" by="{SECRET.decode()}"><xmpGImg:image>{image}</xmpGImg:image>'.encode()


def jpeg(orientation: int = 1, *, profile: bytes | None = None) -> bytes:
    """EXIF, XMP, IPTC with Photoshop's thumbnail, a comment, a second picture (MPF), and bytes behind the end."""
    lying = turned(orientation)
    stream = io.BytesIO()
    options = {"icc_profile": profile} if profile else {}
    lying.save(stream, "MPO", save_all=True, append_images=[lying.resize((60, 40))], quality=92, **options)
    content = stream.getvalue()
    small = thumbnail()
    irb = b"Photoshop 3.0\x008BIM\x04\x0c\0\0" + struct.pack(">I", 28 + len(small)) + bytes(28) + small
    iptc = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(SECRET) + 5) + b"\x1c\x02\x50\0" + bytes([len(SECRET)]) + SECRET
    segments = (
        (0xE1, exif(orientation)),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp()),
        (0xED, irb + iptc),
        (0xFE, SECRET),
    )
    inserted = b"".join(bytes([0xFF, mark]) + struct.pack(">H", len(body) + 2) + body for mark, body in segments)
    return content[:2] + inserted + content[2:] + b"trailer " + SECRET + small


def png() -> bytes:
    """Text chunks, plain and packed, EXIF, a second frame, and bytes behind the end."""
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", SECRET.decode())
    texts.add_text("Comment", SECRET.decode() * 9, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", xmp().decode(), zip=True)
    stream = io.BytesIO()
    image = photo()
    image.save(
        stream, "PNG", pnginfo=texts, exif=exif(1)[6:], save_all=True, append_images=[image.rotate(180)], duration=9
    )
    return stream.getvalue() + SECRET + thumbnail()


def other(format_: str, suffix: str) -> tuple[str, bytes]:
    """A file of a format with more than one picture, or with metadata, named by its suffix."""
    stream = io.BytesIO()
    image = photo()
    options: dict[str, object] = {"exif": exif(1)[6:]} if format_ in {"WEBP", "AVIF", "TIFF"} else {}
    if format_ in {"GIF", "TIFF"}:
        options |= {"save_all": True, "append_images": [image.rotate(180)]}
    if format_ in {"WEBP", "AVIF"}:
        options |= {"quality": 90, "xmp": xmp()} if format_ == "WEBP" else {"quality": 90}
    image.save(stream, format_, **options)
    return suffix, stream.getvalue()


def heic() -> bytes:
    import pillow_heif

    stream = io.BytesIO()
    pillow_heif.from_pillow(photo()).save(stream, quality=90, exif=exif(1), xmp=xmp())
    return stream.getvalue()


def turned(orientation: int) -> Image.Image:
    """The photo as it is stored when EXIF says that it is to be turned."""
    method = _TURN_BACK[orientation]
    return photo() if method is None else photo().transpose(method)


def secrets() -> list[bytes]:
    """What no file of an export may hold: names, and stretches of the thumbnail, plain and as base64."""
    small = thumbnail()
    scan = small.index(b"\xff\xda") + 16  # the tables before are in every JPEG
    stretches = [small[at : at + 24] for at in range(scan, len(small) - 24, 24)]
    encoded = base64.b64encode(small)
    return [SECRET, *stretches, *(encoded[at : at + 32] for at in range(scan * 4 // 3, len(encoded) - 32, 96))]


def leaks(folder: Path) -> list[str]:
    """What of the patch, and of what was said of it, can be found in a folder: every file, pixel and byte looked at."""
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        found += [f"{name}: {secret[:20]!r}" for secret in secrets() if secret in content]
        if content[:2] == b"\xff\xd8":
            found += [f"{name}: {part}" for part in _in_jpeg(content)]
        elif content[:4] == b"\x89PNG":
            found += [f"{name}: {part}" for part in _in_png(content)]
        elif path.suffix.lower() not in {".jsonl", ".json", ".csv", ".txt", ".md"}:
            found.append(f"{name}: a file of unknown kind")
            continue
        else:
            continue
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                found.append(f"{name}: {image.n_frames} frames")
            if colourful(np.asarray(image.convert("RGB"))).any():
                found.append(f"{name}: pixels")
    return found


def _in_jpeg(content: bytes) -> list[str]:
    """Segments that are not of a plain JFIF file, and bytes behind its end."""
    found, at = [], 2
    while content[at + 1] != 0xDA:
        mark, length = content[at + 1], int.from_bytes(content[at + 2 : at + 4])
        if mark not in {0xE0, 0xDB, 0xC0, 0xC4}:
            found.append(f"segment {mark:02x}")
        elif mark == 0xE0 and content[at + 4 : at + 2 + length] != b"JFIF\0\1\1\0\0\1\0\1\0\0":
            found.append("a JFIF header with something in it")
        at += 2 + length
    end = content.index(b"\xff\xd9", at) + 2
    if end != len(content):
        found.append(f"{len(content) - end} bytes behind the end")
    return found


def _in_png(content: bytes) -> list[str]:
    found, at, last = [], 8, b""
    while last != b"IEND" and at < len(content):
        length, last = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if last not in {b"IHDR", b"IDAT", b"IEND"}:
            found.append(f"chunk {last.decode()}")
        assert zlib.crc32(content[at + 4 : at + 8 + length]) == int.from_bytes(
            content[at + 8 + length : at + 12 + length]
        )
        at += 12 + length
    if at != len(content):
        found.append(f"{len(content) - at} bytes behind the end")
    return found
