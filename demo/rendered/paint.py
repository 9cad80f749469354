"""Colours of paint, and what light does to them. Shapes: normals and points are float [N, 3], colours 0..255."""

import colorsys
import random
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rendered.camera import Points

Rgb = tuple[int, int, int]

SHADES: MappingProxyType[str, tuple[Rgb, ...]] = MappingProxyType(
    {
        "white": ((246, 247, 249), (240, 241, 240)),
        "black": ((12, 12, 14), (22, 22, 26)),
        "gray": ((78, 81, 86), (96, 98, 100)),
        "silver": ((148, 152, 158), (166, 170, 175)),
        "red": ((176, 14, 24), (206, 22, 28)),
        "blue": ((18, 54, 146), (34, 92, 196)),
        "green": ((12, 84, 50), (44, 122, 60)),
        "yellow": ((244, 204, 16), (250, 218, 52)),
        "orange": ((236, 104, 12), (244, 124, 26)),
        "brown": ((84, 50, 32), (104, 64, 40)),
        "beige": ((212, 193, 156), (225, 208, 174)),
        "gold": ((178, 138, 52), (194, 152, 62)),
        "purple": ((84, 36, 128), (116, 56, 162)),
        "pink": ((242, 152, 184), (236, 128, 170)),
    }
)
"""Two ends of each colour's clear range; a car's shade lies between them."""

ROOF_COLOURS: MappingProxyType[str, Rgb] = MappingProxyType(
    {"black": (16, 16, 18), "white": (244, 245, 246), "silver": (156, 160, 166)}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Paint:
    """One paint: `colour` RGB 0..255, `finish` as in the records, or "satin": no crisp highlights."""

    colour: Rgb
    finish: str


def main_paint(colour: str, finish: str, seed: int) -> Paint:
    """The paint of a car: a shade of `colour` that depends on the seed alone."""
    at = random.Random(f"{seed} shade").random()
    low, high = SHADES[colour]
    red, green, blue = (round(a + (b - a) * at) for a, b in zip(low, high, strict=True))
    return Paint(colour=(red, green, blue), finish=finish)


def shade(paint: Paint, normals: Points, points: Points, *, eye: Points, light: Points) -> NDArray[np.uint8]:
    """What is seen of paint, uint8 [N, 3]; `light` is a unit vector toward the key light."""
    base = np.array(paint.colour, float) / 255
    if base.min() > 0.9:
        base = base * 1.08  # White in the shade must not be taken for silver.
    view = eye - points
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    facing = np.clip((normals * view).sum(axis=1), 0, 1)
    mirrored = 2 * (normals * view).sum(axis=1)[:, None] * normals - view
    lit = np.clip(normals @ light, 0, 1)
    glint = np.clip(mirrored @ light, 0, 1)
    ground = 0.86 + 0.14 * np.clip((points[:, 2] - 0.1) / 0.45, 0, 1)
    match paint.finish:
        case "matte":
            seen = base * (0.89 + 0.1 * normals[:, 2] + 0.13 * lit)[:, None]
        case "satin":
            seen = base * (0.88 + 0.1 * normals[:, 2] + 0.14 * lit)[:, None]
            seen += (0.7 * _clearcoat(facing) * _sky(mirrored[:, 2]) + 0.1 * glint**20)[:, None]
        case "metallic":
            flop = 0.58 + 0.46 * facing**1.3 + 0.14 * normals[:, 2] + 0.22 * lit
            sheen = 0.55 * glint**7 + 0.3 * glint**40
            seen = base * flop[:, None] + sheen[:, None] * (0.45 * base + 0.4)
            seen += (_clearcoat(facing) * _sky(mirrored[:, 2]))[:, None] * 0.8
        case "pearl":
            seen = base * (0.87 + 0.1 * normals[:, 2] + 0.16 * lit)[:, None]
            seen = _pearl(seen, base, facing, glint, normals[:, 2], points[:, 2])
            seen += (_clearcoat(facing) * _sky(mirrored[:, 2]) * 0.6)[:, None]
        case _:
            seen = base * (0.87 + 0.1 * normals[:, 2] + 0.15 * lit)[:, None]
            seen += (_clearcoat(facing) * _sky(mirrored[:, 2]) + 0.75 * (glint > 0.955) + 0.2 * glint**30)[:, None]
    return (255 * np.clip(seen * ground[:, None], 0, 1) + 0.5).astype(np.uint8)


def _clearcoat(facing: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.05 + 0.55 * (1 - facing) ** 4


def _sky(rise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Brightness of what a mirror sees at this rise (z of a unit vector): ground, a dark horizon, a bright sky."""
    return np.interp(rise, [-1, -0.25, -0.03, 0.03, 0.1, 0.4, 1], [0.15, 0.4, 0.1, 0.1, 1.0, 0.85, 0.6])


def _pearl(
    seen: NDArray[np.float64],
    base: NDArray[np.float64],
    facing: NDArray[np.float64],
    glint: NDArray[np.float64],
    normal_z: NDArray[np.float64],
    height: NDArray[np.float64],
) -> NDArray[np.float64]:
    """A sheen whose hue runs to two neighbours of the paint's own, one above and one below, as mica's does."""
    hue, level, _ = colorsys.rgb_to_hls(*base)
    lightness = min(max(level + 0.14, 0.36), 0.82)
    colourful = float((base.max() - base.min()) / base.max())
    gray = colourful < 0.2
    pale = colourful < 0.3
    hues = (0.88, 0.52) if gray else (hue + 0.1, hue - 0.12)
    warm, cool = (np.array(colorsys.hls_to_rgb(h % 1, lightness, 0.45 if gray and level < 0.85 else 0.8)) for h in hues)
    up, down = np.clip((height - 0.6) / 0.5, 0, 1), np.clip((0.6 - height) / 0.35, 0, 1)
    rising = np.clip(normal_z * 1.3 - 0.15, 0, 1) * (0.32 if pale else 0.22) + 0.2 * up + 0.25 * glint**6
    grazing = np.minimum((1 - facing) ** 2 * (0.8 if pale else 0.6) + 0.3 * down, 0.8)
    seen = seen * (1 - rising)[:, None] + warm * rising[:, None]
    return seen * (1 - grazing)[:, None] + cool * grazing[:, None] * 0.95 + (0.4 * glint**26)[:, None]
