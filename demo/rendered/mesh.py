"""The drawing's first layer: shaded surfaces, painted far to near as small quadrilaterals.

Pillow paints them, at twice the size (resvg takes 20 times as long for thousands of small shapes). A surface is a grid
of points [rows, columns, 3]; what lies to the left of its rows' way seen along its columns' way is its outer side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from rendered.camera import Points, Projection
from rendered.paint import Paint, shade

SCALE = 2
"""Pixels painted for one pixel of the picture, each way."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Surface:
    """A grid and what it is painted with. `keep` [rows - 1, columns - 1] leaves out quadrilaterals.

    `two_sided` surfaces are painted from within, too. `flakes` is how many metal flakes a square metre shows.
    `nearer_m` is by how much it counts as nearer than it is: what stands on a surface covers it where they meet.
    """

    grid: Points
    paint: Paint
    keep: NDArray[np.bool_] | None = None
    two_sided: bool = True
    flakes: float = 0.0
    nearer_m: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Quads:
    """Painted quadrilaterals: corners [Q, 4, 3], colours uint8 [Q, 3], flakes and depth [Q]."""

    corners: Points
    colours: NDArray[np.uint8]
    flakes: NDArray[np.float64]
    depths: NDArray[np.float64]


def paint_surfaces(
    picture: Image.Image, surfaces: list[Surface], projection: Projection, light: Points, chance: np.random.Generator
) -> Image.Image:
    """The picture with the surfaces painted over it, nearest last."""
    parts = [_quads(surface, projection, light) for surface in surfaces]
    corners = np.concatenate([p.corners for p in parts])
    colours = np.concatenate([p.colours for p in parts])
    flakes = np.concatenate([p.flakes for p in parts])
    order = np.argsort(-np.concatenate([p.depths for p in parts]), kind="stable")
    corners, colours, flakes = corners[order], colours[order], flakes[order]
    flat = projection(corners)
    middle = flat.mean(axis=1, keepdims=True)
    outward = flat - middle
    # Each is grown by a little, lest the background shows in the seams.
    flat = flat + outward * (0.45 / np.maximum(np.linalg.norm(outward, axis=2, keepdims=True), 0.3))
    big = picture.resize((picture.width * SCALE, picture.height * SCALE), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(big)
    flat *= SCALE
    many = chance.poisson(flakes).tolist()
    fills = list(map(tuple, colours.tolist()))
    for polygon, fill, count in zip(flat.reshape(-1, 8).tolist(), fills, many, strict=True):
        draw.polygon(polygon, fill)
        if count:
            _draw_flakes(draw, polygon, fill, count, chance, projection.unit_px * SCALE)
    return big.reduce(SCALE)


def _quads(surface: Surface, projection: Projection, light: Points) -> _Quads:
    grid = surface.grid
    corners = np.stack([grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]], axis=2)
    normals = np.cross(grid[1:, 1:] - grid[:-1, :-1], grid[:-1, 1:] - grid[1:, :-1])
    corners, normals = corners.reshape(-1, 4, 3), normals.reshape(-1, 3)
    area = np.linalg.norm(normals, axis=1) / 2
    centres = corners.mean(axis=1)
    normals = normals / np.maximum(2 * area, 1e-12)[:, None]
    toward = (normals * (projection.eye - centres)).sum(axis=1)
    keep = area > 1e-8
    if surface.keep is not None:
        keep &= surface.keep.reshape(-1)
    if surface.two_sided:
        normals = np.where(toward[:, None] < 0, -normals, normals)
    else:
        keep &= toward > 0
    corners, normals, centres, area = corners[keep], normals[keep], centres[keep], area[keep]
    return _Quads(
        corners=corners,
        colours=shade(surface.paint, normals, centres, eye=projection.eye, light=light),
        flakes=area * surface.flakes,
        depths=projection.depth(centres) - surface.nearer_m,
    )


def _draw_flakes(
    draw: ImageDraw.ImageDraw,
    polygon: list[float],
    fill: tuple[int, ...],
    count: int,
    chance: np.random.Generator,
    unit_px: float,
) -> None:
    """Bright and a few dark specks on one quadrilateral."""
    ax, ay, bx, by, cx, cy, dx, dy = polygon
    for u, v, kind in chance.random((count, 3)).tolist():
        x = (1 - v) * (ax + (bx - ax) * u) + v * (dx + (cx - dx) * u)
        y = (1 - v) * (ay + (by - ay) * u) + v * (dy + (cy - dy) * u)
        size = unit_px * (0.55 + 0.35 * kind)
        shine = 110 if kind < 0.7 else -50
        speck = tuple(max(0, min(255, c + shine)) for c in fill)
        draw.rectangle((x, y, x + size, y + size), fill=speck)


def _turns(count: int) -> NDArray[np.float64]:
    return np.linspace(0, 2 * np.pi, count + 1)


def blob(centre: tuple[float, float, float], radii: tuple[float, float, float], boxiness: float = 2.0) -> Points:
    """The grid of an ellipsoid; of a rounded box when `boxiness` is above 2."""
    tilt, turn = np.linspace(-np.pi / 2, np.pi / 2, 11)[:, None], _turns(20)[None, :]

    def bent(wave: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.sign(wave) * np.abs(wave) ** (2 / boxiness)

    x, y = -bent(np.cos(tilt)) * bent(np.cos(turn)), bent(np.cos(tilt)) * bent(np.sin(turn))
    z = bent(np.sin(tilt)) * np.ones_like(turn)
    return np.stack([x, y, z], axis=-1) * np.array(radii) + np.array(centre)


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> list[Points]:
    """The grids of a box's six faces, each finely divided for the painter's sake."""
    (x0, y0, z0), (x1, y1, z1) = low, high
    u, v = np.meshgrid(np.linspace(0, 1, 7), np.linspace(0, 1, 4))
    faces = []
    for z in (z0, z1):
        faces.append(np.stack([x0 + (x1 - x0) * u, y0 + (y1 - y0) * v, np.full_like(u, z)], axis=-1))
    for y in (y0, y1):
        faces.append(np.stack([x0 + (x1 - x0) * u, np.full_like(u, y), z0 + (z1 - z0) * v], axis=-1))
    for x in (x0, x1):
        faces.append(np.stack([np.full_like(u, x), y0 + (y1 - y0) * u, z0 + (z1 - z0) * v], axis=-1))
    return faces


def tube(path: Points, radius: float, around: int = 8) -> Points:
    """The grid of a tube along a path [N, 3]."""
    path = np.asarray(path, float)
    ahead = np.gradient(path, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    aside = np.cross(ahead, [0.31, 0.62, 0.72])
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    above = np.cross(ahead, aside)
    turn = _turns(around)[None, :, None]
    return path[:, None] + radius * (np.cos(turn) * aside[:, None] + np.sin(turn) * above[:, None])


def cylinder(centre: tuple[float, float, float], radius: float, half_length: float) -> Points:
    """The grid of a closed cylinder whose axis is y: a tyre."""
    turn = _turns(28)
    rows = [(0.0, -1), (0.93, -1), (1.0, -0.8), (1.0, 0.8), (0.93, 1), (0.0, 1)]
    grid = [
        np.stack([radius * r * np.cos(turn), np.full_like(turn, half_length * y), radius * r * np.sin(turn)], axis=-1)
        for r, y in rows
    ]
    return np.stack(grid) + np.array(centre)
