"""Where a car stands: five kinds of place, each drawn from the seed alone, and the shadow on the ground."""

import random
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from rendered.camera import Points, Projection
from rendered.geometry import Car
from rendered.paint import Rgb

KINDS = ("studio", "street", "hills", "parking", "night")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Palette:
    """Colours from the picture's top to its bottom."""

    sky: tuple[Rgb, Rgb]
    ground: tuple[Rgb, Rgb]


def background(seed: int, projection: Projection, car_length_m: float) -> Image.Image:
    """The place, with nothing in it."""
    chance = random.Random(f"{seed} background")
    kind = chance.choices(KINDS, weights=(3, 3, 3, 2, 1))[0]
    horizon = _horizon_px(projection, car_length_m)
    picture = _gradient(projection.width_px, projection.height_px, horizon, _palette(kind, chance), kind == "studio")
    draw = ImageDraw.Draw(picture)
    match kind:
        case "street" | "night":
            _draw_houses(draw, projection, horizon, chance, night=kind == "night")
        case "hills":
            _draw_hills(draw, projection, horizon, chance)
        case "parking":
            _draw_parking(draw, projection, horizon, chance, car_length_m)
        case _:
            pass
    return picture


def _horizon_px(projection: Projection, car_length_m: float) -> float:
    """The row of a line on the ground well behind the car: where ground meets scenery."""
    flat_ahead = projection.axes[2] * np.array([1.0, 1.0, 0.0])
    flat_ahead /= np.linalg.norm(flat_ahead)
    behind = flat_ahead * (0.75 * car_length_m + 7.0)
    row = float(projection(behind)[1])
    return min(max(row, 0.16 * projection.height_px), 0.6 * projection.height_px)


def _palette(kind: str, chance: random.Random) -> _Palette:
    tone = chance.randint(-14, 14)

    def near(colour: Rgb) -> Rgb:
        red, green, blue = (max(0, min(255, c + tone + chance.randint(-6, 6))) for c in colour)
        return red, green, blue

    match kind:
        case "studio":
            level = chance.choice([(206, 210, 214), (150, 155, 162), (176, 168, 158), (120, 128, 140)])
            light = (min(level[0] + 30, 246), min(level[1] + 30, 246), min(level[2] + 30, 246))
            return _Palette(sky=(near(level), near(light)), ground=(near(light), near(level)))
        case "street":
            return _Palette(
                sky=((168, 190, 214), near((214, 222, 230))), ground=(near((138, 138, 140)), near((108, 108, 111)))
            )
        case "hills":
            ground = chance.choice([((150, 146, 128), (124, 120, 106)), ((132, 140, 104), (108, 118, 84))])
            return _Palette(
                sky=(near((120, 168, 218)), near((206, 222, 236))), ground=(near(ground[0]), near(ground[1]))
            )
        case "parking":
            return _Palette(
                sky=(near((186, 196, 206)), near((222, 226, 230))),
                ground=(near((146, 146, 148)), near((122, 122, 125))),
            )
        case _:
            return _Palette(sky=((28, 32, 56), near((92, 84, 110))), ground=(near((92, 92, 100)), near((66, 66, 74))))


def _gradient(width: int, height: int, horizon: float, palette: _Palette, soft: bool) -> Image.Image:
    rows = np.arange(height) / height
    at = horizon / height
    stops = [0, max(at - 0.02, 0.05), at + 0.12, 1] if soft else [0, at - 0.002, at + 0.002, 1]
    colours = np.array([*palette.sky, *palette.ground], float)
    column = np.stack([np.interp(rows, stops, colours[:, k]) for k in range(3)], axis=-1)
    picture = np.repeat(column[:, None].astype(np.uint8), width, axis=1)
    return Image.fromarray(picture)


def _draw_houses(
    draw: ImageDraw.ImageDraw, projection: Projection, horizon: float, chance: random.Random, *, night: bool
) -> None:
    width, u = projection.width_px, projection.unit_px
    x = -20.0 * u
    while x < width:
        wide, tall = chance.uniform(36, 100) * u, chance.uniform(40, 150) * u
        shade = chance.randint(28, 62) if night else chance.randint(120, 200)
        colour = (shade + chance.randint(-8, 14), shade, shade + chance.randint(-14, 10))
        draw.rectangle((x, horizon - tall, x + wide, horizon), fill=colour)
        glass = (214, 180, 110) if night else (shade - 34, shade - 26, shade - 16)
        step = chance.uniform(11, 17) * u
        for row in np.arange(horizon - tall + 6 * u, horizon - 12 * u, step):
            for column in np.arange(x + 5 * u, x + wide - 8 * u, step):
                if not night or chance.random() < 0.3:
                    draw.rectangle((column, row, column + step * 0.5, row + step * 0.6), fill=glass)
        x += wide + chance.choice([0, 0, 8]) * u
    kerb = tuple(chance.randint(150, 176) if not night else 84 for _ in range(1)) * 3
    draw.rectangle((0, horizon, width, horizon + 7 * u), fill=kerb)


def _draw_hills(draw: ImageDraw.ImageDraw, projection: Projection, horizon: float, chance: random.Random) -> None:
    width, u = projection.width_px, projection.unit_px
    across = np.linspace(0, width, 50)
    for layer in range(3):
        tall = (46 - 14 * layer) * u
        wave = sum(
            np.sin(across / width * chance.uniform(3, 9) * (k + 1) + chance.uniform(0, 6)) / (k + 1) for k in range(3)
        )
        top = horizon - tall * (1.1 + 0.45 * wave)
        far = 1 - layer / 2.5
        colour = (int(74 + 84 * far), int(104 + 70 * far), int(70 + 120 * far))
        points = [(0.0, horizon), *zip(across.tolist(), top.tolist(), strict=True), (float(width), horizon)]
        draw.polygon(points, fill=colour)


def _draw_parking(
    draw: ImageDraw.ImageDraw, projection: Projection, horizon: float, chance: random.Random, length: float
) -> None:
    """Painted bays, a hedge, and a few plain cars far behind."""
    u = projection.unit_px
    for k in range(-4, 5):
        line = np.array([[-0.62 * length, k * 2.9 + 1.4, 0.0], [0.62 * length, k * 2.9 + 1.4, 0.0]])
        if (projection.depth(line) < 2.5).any():
            continue
        draw.line([tuple(p) for p in projection(line).tolist()], fill=(206, 206, 204), width=max(1, int(2.2 * u)))
    hedge = chance.choice([(88, 116, 74), (112, 126, 96), (150, 142, 132)])
    draw.rectangle((0, horizon - 26 * u, projection.width_px, horizon), fill=hedge)
    for _ in range(chance.randint(2, 5)):
        x, tone = chance.uniform(0, projection.width_px), chance.randint(70, 180)
        draw.rounded_rectangle((x, horizon - 15 * u, x + 52 * u, horizon - 1 * u), 5 * u, fill=(tone, tone, tone + 8))
        draw.rounded_rectangle((x + 10 * u, horizon - 24 * u, x + 42 * u, horizon - 12 * u), 6 * u, fill=(60, 66, 74))


def with_shadow(picture: Image.Image, car: Car, projection: Projection, light: Points) -> Image.Image:
    """The picture with the car's shadow on the ground, softer the farther from the car."""
    small = 4
    mask = Image.new("L", (picture.width // small, picture.height // small), 0)
    draw = ImageDraw.Draw(mask)
    ring = car.body.ring(0.3)
    for stretch, drift, dark in ((1.1, 0.5, 70), (1.02, 0.15, 130), (0.94, 0.0, 205)):
        ground = ring * np.array([stretch, stretch, 0.0]) - np.array([light[0], light[1], 0.0]) * drift
        draw.polygon([tuple(p) for p in (projection(ground) / small).tolist()], fill=dark)
    mask = mask.filter(ImageFilter.GaussianBlur(projection.unit_px * 5 / small))
    mask = mask.resize(picture.size, Image.Resampling.BILINEAR)
    picture.paste((14, 14, 18), mask=mask)
    return picture


def key_light(seed: int) -> NDArray[np.float64]:
    """A unit vector toward the light, always from above and on the near side, so that the seen side is lit."""
    chance = random.Random(f"{seed} light")
    toward = np.array([chance.uniform(-0.8, 0.8), chance.uniform(0.35, 0.9), chance.uniform(0.7, 1.1)])
    unit: NDArray[np.float64] = toward / np.linalg.norm(toward)
    return unit
