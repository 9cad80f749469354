"""Small photographs on disk, quick to write and to read, each with its own bytes."""

from pathlib import Path

import numpy as np
from PIL import Image


def write_photos(folder: Path, count: int, *, start: int = 0) -> Path:
    """`count` pictures of 32 by 24 pixels, none like another, called `차 0.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        pixels = np.random.default_rng(i).integers(0, 255, (24, 32, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"차 {i}.png")
    return folder
