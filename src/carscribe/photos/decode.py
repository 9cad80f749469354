"""Read one photo from disk: bytes, hash, pixels in sRGB, tiles or a preview. Safe to call from many threads at once.

Knows nothing of folders, lists or models. Whatever is wrong with a file becomes a PhotoError.
"""

import hashlib
import io
import re
import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, assert_never

import numpy as np
from PIL import Image, ImageFile
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from carscribe.errors import PhotoError
from carscribe.photos.colour import to_srgb
from carscribe.photos.signature import HEAD_BYTES, Format, describe_stranger, format_of
from carscribe.photos.tiles import choose_grid, cut
from carscribe.records import PIXEL_LIMIT, Preview, TiledPhoto, Tiling

_ORIENTATION_TAG = 0x0112
_SUBFILE_TYPE_TAG = 0x00FE
_DNG_VERSION_TAG = 0xC612
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDES_SWAPPED = frozenset({5, 6, 7, 8})
_SHRINK = Image.Resampling.LANCZOS
_AGAIN = "download or copy it again"

_LeastPx = Callable[[int, int], tuple[int, int]]
"""From a photo's full size, upright, the width and height below which it must not be shrunk on load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decoded:
    """RGB pixels, upright, perhaps shrunk on load, and the full size they stand for."""

    image: Image.Image
    width_px: int
    height_px: int


def read_photo(path: Path, tiling: Tiling, *, pixel_limit: int = PIXEL_LIMIT, exact: bool = False) -> TiledPhoto:
    """Read a file and tile it: see `tile_photo`. Raises: PhotoError, in one line without the path."""
    return tile_photo(_read_bytes(path), tiling, pixel_limit=pixel_limit, exact=exact)


def tile_photo(content: bytes, tiling: Tiling, *, pixel_limit: int = PIXEL_LIMIT, exact: bool = False) -> TiledPhoto:
    """Decode, turn upright, convert to sRGB and cut one photo, given the bytes of its file.

    A JPEG much larger than its canvas is decoded at a half, a quarter or an eighth (never below the canvas), which is
    two to three times as fast and changes pixels a little; `exact` decodes every pixel. The first picture of a file
    with several is taken. Raises the process-wide `PIL.Image.MAX_IMAGE_PIXELS` to `pixel_limit` and silences the
    warnings of Pillow's and pi-heif's modules: see `_prepare_pillow`.

    Raises: PhotoError, in one line without the path, whatever is wrong with the file.
    """

    def canvas_px(width_px: int, height_px: int) -> tuple[int, int]:
        return choose_grid(width_px, height_px, tiling).canvas_px(tiling.tile_px)

    _prepare_pillow(pixel_limit)
    try:
        decoded = _decode(content, None if exact else canvas_px, pixel_limit=pixel_limit)
        tiles = cut(decoded.image, choose_grid(decoded.width_px, decoded.height_px, tiling), tiling)
    except MemoryError as error:
        raise _too_large(content) from error
    digest = hashlib.sha256(content).hexdigest()
    return TiledPhoto(sha256=digest, width_px=decoded.width_px, height_px=decoded.height_px, tiles=tiles)


def read_preview(path: Path, longer_px: int, *, pixel_limit: int = PIXEL_LIMIT) -> Preview:
    """Read a file and make it small: see `preview_photo`. Raises: PhotoError, in one line without the path."""
    return preview_photo(_read_bytes(path), longer_px, pixel_limit=pixel_limit)


def preview_photo(content: bytes, longer_px: int, *, pixel_limit: int = PIXEL_LIMIT) -> Preview:
    """Decode, turn upright, convert to sRGB and shrink one photo to `longer_px` on its longer side; never enlarge it.

    Shrinks JPEGs on load and prepares Pillow as `tile_photo` does. Raises: PhotoError.
    """

    def size_px(width_px: int, height_px: int) -> tuple[int, int]:
        scale = min(1.0, longer_px / max(width_px, height_px))
        return max(1, round(width_px * scale)), max(1, round(height_px * scale))

    _prepare_pillow(pixel_limit)
    try:
        decoded = _decode(content, size_px, pixel_limit=pixel_limit)
        wanted = size_px(decoded.width_px, decoded.height_px)
        small = decoded.image if decoded.image.size == wanted else decoded.image.resize(wanted, _SHRINK)
        pixels = np.asarray(small)
    except MemoryError as error:
        raise _too_large(content) from error
    digest = hashlib.sha256(content).hexdigest()
    return Preview(sha256=digest, width_px=decoded.width_px, height_px=decoded.height_px, pixels=pixels)


def _too_large(content: bytes) -> PhotoError:
    return PhotoError(
        f"does not fit in memory ({len(content):,} bytes on disk): make it smaller, or read fewer photos at once"
    )


def photo_size(path: Path) -> tuple[int, int] | None:
    """Width and height in pixels after rotation, from the file's header alone; None where that tells nothing."""
    _prepare_pillow(PIXEL_LIMIT)
    try:
        with path.open("rb") as file:
            format_ = format_of(file.read(HEAD_BYTES))
            file.seek(0)
            if format_ is None:
                return None
            if format_ == "HEIC":
                import pi_heif

                size: tuple[int, int] = pi_heif.open_heif(file).size
                return size
            image = _open(file, format_)
            return image.size[::-1] if _orientation(image) in _SIDES_SWAPPED else image.size
    except Exception:  # noqa: BLE001 - as in _decode; what is wrong with the file is told when it is read
        return None


def is_turned(path: Path) -> bool:
    """Whether EXIF has the photo turned or mirrored: who passes over EXIF sees it lying, or on its head."""
    _prepare_pillow(PIXEL_LIMIT)
    try:
        with path.open("rb") as file:
            format_ = format_of(file.read(HEAD_BYTES))
            file.seek(0)
            return format_ not in {None, "HEIC"} and _orientation(_open(file, format_)) != 1
    except Exception:  # noqa: BLE001 - as in photo_size
        return False


def _read_bytes(path: Path) -> bytes:
    try:
        # Opening a pipe or a device could wait for ever, so ask first what it is.
        if not stat.S_ISREG(path.stat().st_mode):
            raise PhotoError("is a folder or a device, not a file: give the photos inside it")
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise PhotoError("does not exist: it was moved, renamed or never downloaded") from error
    except PermissionError as error:
        raise PhotoError("may not be read: give yourself permission to read it") from error
    except (OSError, ValueError) as error:  # ValueError: a name no file can have, such as one with a zero byte
        raise PhotoError(f"cannot be read from disk: {_reason(error)}") from error
    except MemoryError as error:
        raise PhotoError("does not fit in memory: it is too large to be a photo") from error
    if not content:
        raise PhotoError(f"is empty (0 bytes): {_AGAIN}")
    return content


def _prepare_pillow(pixel_limit: int) -> None:
    """Fit the two settings Pillow only has for the whole process; a thread may call this while others decode.

    The limit is only ever raised, and by one assignment, so no thread sees it below its own; ours is checked per photo
    before decoding and gives a better message. The filter goes in once and stays: `warnings.catch_warnings` swaps the
    filters of all threads and is unsafe here. It is looked for on every call since a `catch_warnings` elsewhere (pytest
    has one around each test) takes it away again. It covers warnings that come from inside Pillow and pi-heif only.
    """
    if Image.MAX_IMAGE_PIXELS is not None and pixel_limit > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = pixel_limit
    modules = r"(PIL|pi_heif)\."
    if ("ignore", None, Warning, re.compile(modules), 0) not in warnings.filters:
        warnings.filterwarnings("ignore", category=Warning, module=modules)


def _decode(content: bytes, least_px: _LeastPx | None, *, pixel_limit: int) -> _Decoded:
    """Pixels of a file. Without `least_px` every pixel is decoded."""
    head = content[:HEAD_BYTES]
    format_ = format_of(head)
    if format_ is None:
        raise PhotoError(f"is {describe_stranger(head)}")
    try:
        if format_ == "HEIC":
            return _decode_heic(content, pixel_limit)
        return _decode_with_pillow(content, format_, least_px, pixel_limit=pixel_limit)
    except (PhotoError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # Pillow's own, at twice our limit, before we can ask for the size
        raise PhotoError(
            f"has more pixels than the limit of {pixel_limit:,}: make it smaller, or raise the limit"
        ) from error
    # Pillow and libheif promise no closed set of exceptions for damaged bytes: struct.error, zlib.error, KeyError and
    # RuntimeError have all been seen. Our own code in this block does little else than call them.
    except Exception as error:
        raise PhotoError(f"is a damaged or cut-off {format_} ({_reason(error)}): {_AGAIN}") from error


def _decode_heic(content: bytes, pixel_limit: int) -> _Decoded:
    import pi_heif

    heic = pi_heif.open_heif(io.BytesIO(content))
    _check_size(heic.size, pixel_limit)
    image = to_srgb(heic.to_pillow())  # libheif turns it upright; its EXIF orientation is a leftover
    return _Decoded(image=image, width_px=image.width, height_px=image.height)


def _decode_with_pillow(content: bytes, format_: Format, least_px: _LeastPx | None, *, pixel_limit: int) -> _Decoded:
    image = _open(io.BytesIO(content), format_)
    _check_size(image.size, pixel_limit)
    if isinstance(image, TiffImageFile):
        _refuse_raw(image)
    # In one piece: Pillow would hand over 64 KiB at a time and take the interpreter in between, and for each a thread
    # waits as long as 5 ms while the one that feeds the engine computes.
    image.decodermaxblock = len(content)
    orientation = _orientation(image)
    swapped = orientation in _SIDES_SWAPPED
    width_px, height_px = image.size[::-1] if swapped else image.size
    if isinstance(image, JpegImageFile) and least_px is not None:
        least = least_px(width_px, height_px)
        # Pillow picks the smallest eighth, quarter, half or whole that is at least this on both sides.
        image.draft(None, least[::-1] if swapped else least)
    image.load()
    upright = to_srgb(_positive(image), bits=_depth_bits(image))
    method = _TRANSPOSE.get(orientation)
    if method is not None:
        upright = upright.transpose(method)
    return _Decoded(image=upright, width_px=width_px, height_px=height_px)


def _open(stream: IO[bytes], format_: Format) -> ImageFile.ImageFile:
    """Read the header. The classes are called directly: `Image.open` would guess, and try formats not asked for."""
    match format_:
        case "JPEG":
            return JpegImageFile(stream)
        case "PNG":
            return PngImageFile(stream)
        case "WebP":
            return WebPImageFile(stream)
        case "AVIF":
            return AvifImageFile(stream)
        case "TIFF":
            return TiffImageFile(stream)
        case "BMP":
            return BmpImageFile(stream)
        case "GIF":
            return GifImageFile(stream)
        case "HEIC":
            raise AssertionError("pi-heif reads HEIC")
        case _:
            assert_never(format_)


def _check_size(size: tuple[int, int], pixel_limit: int) -> None:
    """Raise PhotoError when the header promises no pixels, or more than the limit."""
    width_px, height_px = size
    pixels = width_px * height_px
    if min(size) <= 0:
        raise PhotoError(f"has no pixels ({width_px} × {height_px}): {_AGAIN}")
    if pixels > pixel_limit:
        raise PhotoError(
            f"is {width_px} × {height_px} = {pixels:,} pixels and the limit is {pixel_limit:,}: "
            "make it smaller, or raise the limit"
        )


def _refuse_raw(image: TiffImageFile) -> None:
    """A camera raw file (NEF, DNG, ARW) is a TIFF whose first picture is a thumbnail: no stand-in for the photo."""
    reduced = image.tag_v2.get(_SUBFILE_TYPE_TAG, 0)
    if _DNG_VERSION_TAG in image.tag_v2 or (isinstance(reduced, int) and reduced & 1):
        raise PhotoError("is a camera raw file or holds a thumbnail first, which is not read: export it as JPEG")


def _orientation(image: ImageFile.ImageFile) -> int:
    """EXIF orientation still to be applied, 1 to 8; damaged EXIF counts as 1."""
    if isinstance(image, TiffImageFile):
        return 1  # Pillow turns a TIFF itself while loading, and reports the turned size before
    try:
        found = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # noqa: BLE001 - as in _decode: damaged EXIF raises anything, and the pixels are still good
        return 1
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def _depth_bits(image: ImageFile.ImageFile) -> int:
    """Bits a sample of a deep image really has: a 12-bit TIFF arrives unscaled in a 16-bit mode."""
    depth = image.tag_v2.get(BITSPERSAMPLE) if isinstance(image, TiffImageFile) else None
    return depth[0] if isinstance(depth, tuple) and depth and 8 < depth[0] <= 16 else 16


def _positive(image: ImageFile.ImageFile) -> Image.Image:
    """Undo "white is zero" of a 16-bit TIFF: Pillow does so for 8 bits only."""
    if not (isinstance(image, TiffImageFile) and image.mode.startswith("I;16")):
        return image
    if image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) != 0:
        return image
    full = np.uint16((1 << _depth_bits(image)) - 1)
    positive = Image.fromarray(full - np.minimum(np.asarray(image).astype(np.uint16), full))
    positive.info = image.info
    return positive


def _reason(error: BaseException) -> str:
    """What a library's error says, in one line of at most 160 characters."""
    text = " ".join(str(error.strerror if isinstance(error, OSError) and error.strerror else error).split())
    if not any(letter.isalpha() for letter in text):  # libtiff's errors are bare numbers
        text = f"{type(error).__name__} {text}".strip()
    return text[:160]
