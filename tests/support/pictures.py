"""Small pictures as files, and how to look at what became of them."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

from carscribe.photos.decode import read_photo
from carscribe.records import Tiling

ONE_TILE = Tiling(tile_px=64, max_tiles=1)
RED = (220, 30, 20)


def smooth(width_px: int, height_px: int) -> Image.Image:
    across, down = np.meshgrid(np.linspace(0, 255, width_px), np.linspace(0, 255, height_px))
    return Image.fromarray(np.stack([across, down, (across + down) / 2], axis=-1).astype(np.uint8))


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format_, **options)
    return stream.getvalue()


def write(folder: Path, content: bytes, name: str = "photo.bin") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def centre(path: Path) -> tuple[int, ...]:
    return tuple(int(level) for level in read_photo(path, ONE_TILE).tiles[0, 32, 32])


def near(colour: tuple[int, ...], expected: tuple[int, ...], within: int = 6) -> bool:
    return max(abs(one - other) for one, other in zip(colour, expected, strict=True)) <= within


def wide_profile() -> bytes:
    """An RGB profile that is not sRGB, made by giving sRGB's red and green colourants to each other."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
