"""What a real photo suffers: brightness, white balance, lost resolution, blur, noise, JPEG. All from the seed."""

import io
import random

import numpy as np
from PIL import Image, ImageFilter

GRAIN_PX = 230


def damaged(picture: Image.Image, seed: int) -> Image.Image:
    """The picture as a camera might have kept it; mild enough that every attribute can still be told."""
    chance = random.Random(f"{seed} damage")
    unit_px = picture.width / 448
    if chance.random() < 0.4:
        share = chance.uniform(0.62, 0.9)
        small = (max(448, int(picture.width * share)), max(336, int(picture.height * share)))
        picture = picture.resize(small, Image.Resampling.BILINEAR).resize(picture.size, Image.Resampling.BICUBIC)
    if chance.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(chance.uniform(0.15, 0.6) * unit_px))
    gain = chance.uniform(0.95, 1.05)
    balance = [gain * chance.uniform(0.98, 1.02) for _ in range(3)]
    picture = picture.point([min(255, round(level * share)) for share in balance for level in range(256)])
    noise = chance.choice([0.0, 1.5, 3.0, 5.0])
    return _grainy(picture, noise, chance.getrandbits(32)) if noise else picture


def _grainy(picture: Image.Image, noise: float, seed: int) -> Image.Image:
    """The picture with gray noise of this deviation; one patch of it is repeated, which nobody sees and is faster."""
    patch = np.random.default_rng(seed).standard_normal((GRAIN_PX, GRAIN_PX), dtype=np.float32) * noise
    repeats = (-(-picture.height // GRAIN_PX), -(-picture.width // GRAIN_PX))
    grain = np.tile(patch.round().astype(np.int16), repeats)[: picture.height, : picture.width]
    return Image.fromarray(np.clip(np.asarray(picture) + grain[..., None], 0, 255).astype(np.uint8))


def as_jpeg(picture: Image.Image, seed: int) -> bytes:
    """JPEG bytes of a quality between 60 and 95."""
    quality = random.Random(f"{seed} jpeg").randint(60, 95)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()
