"""Faults planted in pictures, each with a severity that goes down to nothing. For bench/cleaning.py.

Of each, `from_` is the severity from which on a person who looks for it calls it a fault at first sight, set by eye on
renders and real photographs.
"""

import io
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

Picture = Image.Image

_WORDS = [
    *(
        "Search",
        "Home",
        "Models",
        "Configure",
        "Price",
        "Compare",
        "Dealers",
        "2026",
        "Sedan",
        "SUV",
        "Electric",
        "Save",
    ),
    *(
        "Contact",
        "Login",
        "Share",
        "Reviews",
        "Gallery",
        "Options",
        "Overview",
        "Finance",
        "Book",
        "a",
        "test",
        "drive",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A way to spoil a picture: severities from 0 to `most`, what they count, and the flag that is right."""

    flag: str
    unit: str
    most: float
    from_: float
    plant: Callable[[Picture, float, random.Random], Picture]


def _light(picture: Picture) -> NDArray[np.float32]:
    levels = np.asarray(picture, np.float32) / 255
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)


def _shown(light: NDArray[np.float32]) -> Picture:
    light = np.clip(light, 0, 1)
    levels = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return Image.fromarray((255 * levels + 0.5).astype(np.uint8))


def exposed(picture: Picture, stops: float) -> Picture:
    """The picture at so many stops from what a meter would choose, which makes 18 % of the light that is there."""
    light = _light(picture)
    return _shown(light * (0.18 / max(float(light.mean()), 1e-6) * 2**stops))


def _out_of_focus(picture: Picture, permille: float, _: random.Random) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(permille / 1000 * max(picture.size)))


def _shaken(picture: Picture, permille: float, chance: random.Random) -> Picture:
    """Moved along a line, as far as a box of that standard deviation is long."""
    length_px = permille / 1000 * max(picture.size) * 12**0.5
    steps = max(1, round(2 * length_px))
    angle = chance.uniform(0, np.pi)
    total = np.zeros((picture.height, picture.width, 3), np.float32)
    for step in range(steps):
        at = (step / max(1, steps - 1) - 0.5) * length_px if steps > 1 else 0.0
        moved = (1, 0, at * float(np.cos(angle)), 0, 1, at * float(np.sin(angle)))
        total += np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, moved, Image.Resampling.BILINEAR))
    margin = round(length_px / 2) + 1
    whole = Image.fromarray((total / steps + 0.5).astype(np.uint8))
    return whole.crop((margin, margin, picture.width - margin, picture.height - margin))


def _small(picture: Picture, shrunk: float, _: random.Random) -> Picture:
    """Its shorter side at 512 px less so many octaves."""
    scale = 512 / 2**shrunk / min(picture.size)
    width, height = (max(1, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _stretch(picture: Picture, octaves: float, chance: random.Random) -> Picture:
    """A strip of the picture, whose longer side is 2 to so many octaves by its shorter."""
    aspect = 2**octaves
    width, height = picture.size
    if chance.random() < 0.5:
        strip_px = min(height, max(1, round(width / aspect)))
        top = chance.randint(0, height - strip_px)
        return picture.crop((0, top, round(strip_px * aspect), top + strip_px))
    strip_px = min(width, max(1, round(height / aspect)))
    left = chance.randint(0, width - strip_px)
    return picture.crop((left, 0, left + strip_px, round(strip_px * aspect)))


def _screenshot(picture: Picture, share: float, chance: random.Random) -> Picture:
    """The picture in a page of text that takes so much of the frame."""
    width, height = picture.size
    dark = chance.random() < 0.3
    ground = (24, 26, 30) if dark else chance.choice([(255, 255, 255), (250, 250, 250), (242, 244, 247)])
    page = Image.new("RGB", picture.size, ground)
    pen = ImageDraw.Draw(page)
    size_px = max(9, round(height * 0.032))
    font = ImageFont.load_default(size_px)
    bar = chance.choice([(59, 95, 154), (200, 64, 47), (20, 20, 20), (46, 139, 87)])
    pen.rectangle((0, 0, width, round(size_px * 1.8)), fill=bar)
    pen.text((size_px, size_px * 0.3), " ".join(chance.choices(_WORDS, k=4)), font=font, fill=(255, 255, 255))
    top = round(size_px * 2.4)
    while top < height:
        line = " ".join(chance.choices(_WORDS, k=chance.randint(6, 14)))
        pen.text((size_px, top), line, font=font, fill=(225, 226, 230) if dark else (32, 33, 36))
        top += round(size_px * chance.choice([1.4, 1.4, 2.4]))
    inner = tuple(max(1, round(side * (1 - share) ** 0.5)) for side in picture.size)
    left = chance.randint(0, width - inner[0])
    top = height - inner[1] if chance.random() < 0.5 else chance.randint(0, height - inner[1])
    page.paste(picture.resize(inner, Image.Resampling.LANCZOS), (left, top))
    return page


def _line_drawing(picture: Picture, opacity: float, _: random.Random) -> Picture:
    """Its outlines in ink on white (extended difference of Gaussians), laid over it."""
    grey, spread_px = picture.convert("L"), max(picture.size) / 500
    fine, coarse = (np.asarray(grey.filter(ImageFilter.GaussianBlur(spread_px * by)), np.float32) for by in (1.0, 1.6))
    edge = fine - 0.98 * coarse
    ink = np.where(edge >= 1, 255, 255 * (1 + np.tanh(0.6 * (edge - 1))))
    drawn = Image.fromarray(np.clip(ink, 0, 255).astype(np.uint8)).convert("RGB")
    return Image.blend(picture, drawn, opacity)


FAULTS: Mapping[str, Planted] = {
    "out of focus": Planted(flag="blurry", unit="blur (standard deviation), ‰", most=8, from_=3, plant=_out_of_focus),
    "shaken": Planted(flag="blurry", unit="blur (standard deviation), ‰", most=8, from_=3.5, plant=_shaken),
    "too little light": Planted(
        flag="dark", unit="stops below the meter", most=6, from_=3, plant=lambda p, stops, _: exposed(p, -stops)
    ),
    "too much light": Planted(
        flag="blown_out", unit="stops above the meter", most=6, from_=3.5, plant=lambda p, stops, _: exposed(p, stops)
    ),
    "small": Planted(flag="too_small", unit="octaves below 512 px", most=4, from_=1.5, plant=_small),
    "strip": Planted(flag="odd_aspect", unit="octaves of longer by shorter", most=3.5, from_=1.7, plant=_stretch),
    "screenshot": Planted(flag="graphic", unit="share of page and text", most=0.9, from_=0.4, plant=_screenshot),
    "line drawing": Planted(flag="graphic", unit="opacity of the drawing", most=1, from_=0.97, plant=_line_drawing),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """A way to copy a picture. From `most` on down to 0 copies are liker; up to `to` a person sees one picture."""

    unit: str
    most: float
    to: float
    copy: Callable[[Picture, float, random.Random], Picture]
    quality: Callable[[float], int] = lambda _: 85


def _cropped(picture: Picture, cut: float, chance: random.Random) -> Picture:
    width, height = picture.size
    left, top = (chance.random() * cut * side for side in picture.size)
    return picture.crop((round(left), round(top), round(left + width * (1 - cut)), round(top + height * (1 - cut))))


def _resized(picture: Picture, octaves: float, _: random.Random) -> Picture:
    width, height = (max(1, round(side / 2**octaves)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.LANCZOS)


def _all_at_once(picture: Picture, cut: float, chance: random.Random) -> Picture:
    return _resized(_cropped(picture, cut, chance), chance.uniform(-0.5, 1.5), chance)


COPIES: Mapping[str, Copied] = {
    "cropped": Copied(unit="cut off each side's length", most=0.45, to=0.2, copy=_cropped),
    "resized": Copied(unit="octaves smaller", most=6, to=3, copy=_resized),
    "recompressed": Copied(
        unit="100 less JPEG quality", most=98, to=90, copy=lambda p, *_: p, quality=lambda by: max(1, round(100 - by))
    ),
    "all of it": Copied(unit="cut off each side's length", most=0.45, to=0.2, copy=_all_at_once, quality=lambda _: 60),
}


def jpeg(picture: Picture, quality: int = 85) -> bytes:
    """The picture as a JPEG file."""
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return stream.getvalue()
