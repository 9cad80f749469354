"""A shell: a lofted surface with a rounded outline in plan, of which a car has two, the lower body and the greenhouse.

A shell is a stack of outlines. `levels` run from its floor (0) to its ceiling (1); at each level the outline reaches
`width` to both sides, and from `rear` to `front`. Floor and ceiling are heights along x. All in metres.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from rendered.camera import Coordinate, Points

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Heights along x: x ascending, and z."""


def smooth_curve(*knots: tuple[float, float], softness_m: float = 0.25) -> Curve:
    """A polyline with its corners rounded off over `softness_m`."""
    ordered = sorted(knots)
    xs, zs = np.array([k[0] for k in ordered]), np.array([k[1] for k in ordered])
    at = np.linspace(xs[0], xs[-1], 121)
    reach = np.linspace(-softness_m / 2, softness_m / 2, 9)
    slope_low, slope_high = (zs[1] - zs[0]) / (xs[1] - xs[0]), (zs[-1] - zs[-2]) / (xs[-1] - xs[-2])
    wide = at[:, None] + reach[None, :]
    flat = np.interp(wide, xs, zs)
    flat += np.minimum(wide - xs[0], 0) * slope_low + np.maximum(wide - xs[-1], 0) * slope_high
    return at, flat.mean(axis=1)


@lru_cache(maxsize=64)
def _corner(roundness: float, depth: float, width: float) -> tuple[Points, Points, Points]:
    """Of an end's outline from its middle to where the side begins: metres along it, and shares of depth and width."""
    turn = np.linspace(np.pi / 2, 0, 40)
    ahead, across = np.sin(turn) ** (2 / roundness), np.cos(turn) ** (2 / roundness)
    way = np.append(0, np.cumsum(np.hypot(np.diff(ahead) * depth, np.diff(across) * width)))
    return way, ahead, across


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shell:
    """One lofted surface; `roundness` is the exponent of its superelliptic corners (the higher, the boxier)."""

    levels: NDArray[np.float64]
    width: NDArray[np.float64]
    front: NDArray[np.float64]
    rear: NDArray[np.float64]
    floor: Curve
    ceiling: Curve
    front_corner: float
    rear_corner: float
    roundness: float = 3.2
    bulge: float = 0.02

    def height(self, x: Coordinate, level: Coordinate) -> Points:
        """z at x and level."""
        low, high = np.interp(x, *self.floor), np.interp(x, *self.ceiling)
        return low + level * (high - low)

    def level(self, x: Coordinate, z: Coordinate) -> Points:
        """The level at x and z."""
        low, high = np.interp(x, *self.floor), np.interp(x, *self.ceiling)
        return np.clip((z - low) / (high - low), 0, 1)

    def half_width(self, x: Coordinate, level: Coordinate) -> Points:
        """Half the width at x and level: narrower toward both ends."""
        front, rear = np.interp(level, self.levels, self.front), np.interp(level, self.levels, self.rear)
        ahead = np.clip((x - front) / self.front_corner + 1, 0, 1)
        behind = np.clip((rear - x) / self.rear_corner + 1, 0, 1)
        n = self.roundness
        taper = (1 - ahead**n) ** (1 / n) * (1 - behind**n) ** (1 / n)
        middle, half = (front + rear) / 2, (front - rear) / 2
        return np.interp(level, self.levels, self.width) * taper * (1 - self.bulge * ((x - middle) / half) ** 2)

    def at(self, x: Coordinate, level: Coordinate, side: float = 1.0) -> Points:
        """Points [N, 3] of the side wall at x and level."""
        x, level = np.broadcast_arrays(np.asarray(x, float), np.asarray(level, float))
        return np.stack([x, side * self.half_width(x, level), self.height(x, level)], axis=-1)

    def side(self, x: Coordinate, z: Coordinate, side: float = 1.0) -> Points:
        """Points [N, 3] of the side wall at x and z."""
        x, z = np.broadcast_arrays(np.asarray(x, float), np.asarray(z, float))
        return np.stack([x, side * self.half_width(x, self.level(x, z)), z], axis=-1)

    def end(self, arc: Coordinate, z: Coordinate, facing: float) -> Points:
        """Points [N, 3] of the front (`facing` 1) or rear (-1) face: `arc` metres along its outline from its middle.

        Beyond the corner the way goes on along the side wall; the arc's sign is that of y.
        """
        arc, z = np.broadcast_arrays(np.asarray(arc, float), np.asarray(z, float))
        tip = self.front[0] if facing > 0 else self.rear[0]
        level = self.level(np.full_like(z, tip - facing * 0.1), z)
        for _ in range(2):
            points = self._end_at_level(arc, level, facing)
            level = self.level(points[..., 0], z)
        points[..., 2] = z
        return points

    def end_at_level(self, arc: Coordinate, level: Coordinate, facing: float) -> Points:
        """As `end`, at a level instead of a height."""
        arc, level = np.broadcast_arrays(np.asarray(arc, float), np.asarray(level, float))
        points = self._end_at_level(arc, level, facing)
        points[..., 2] = self.height(points[..., 0], level)
        return points

    def _end_at_level(self, arc: Points, level: Points, facing: float) -> Points:
        corner = self.front_corner if facing > 0 else self.rear_corner
        tip = np.interp(level, self.levels, self.front if facing > 0 else self.rear)
        width = np.interp(level, self.levels, self.width)
        way, ahead, across = _corner(self.roundness, corner, float(self.width.mean()))
        beyond = np.maximum(np.abs(arc) - way[-1], 0)
        x = tip - facing * (corner * (1 - np.interp(np.abs(arc), way, ahead)) + beyond)
        half = np.minimum(self.half_width(x, level), width * np.interp(np.abs(arc), way, across) + beyond)
        return np.stack([x, np.sign(arc) * half, np.zeros_like(x)], axis=-1)

    def ring(self, level: float, columns: int = 36, corner_columns: int = 13) -> Points:
        """The whole outline at a level, points [M, 3], from the rear's middle along y > 0 to the front and back."""
        turn = np.linspace(0, np.pi / 2, corner_columns) ** 1.0
        bend, across = np.sin(turn) ** (2 / self.roundness), np.cos(turn) ** (2 / self.roundness)
        front, rear = float(np.interp(level, self.levels, self.front)), float(np.interp(level, self.levels, self.rear))
        straight = np.linspace(rear + self.rear_corner, front - self.front_corner, columns)
        x = np.concatenate(
            [rear + self.rear_corner * (1 - bend[:0:-1]), straight, front - self.front_corner * (1 - bend[1:])]
        )
        taper = np.concatenate([across[:0:-1], np.ones(columns), across[1:]])
        middle, half = (front + rear) / 2, (front - rear) / 2
        y = float(np.interp(level, self.levels, self.width)) * taper * (1 - self.bulge * ((x - middle) / half) ** 2)
        y[0] = y[-1] = 0.0
        z = self.height(x, np.full_like(x, level))
        near = np.stack([x, y, z], axis=-1)
        far = near[-2:0:-1] * np.array([1.0, -1.0, 1.0])
        return np.concatenate([near, far, near[:1]])

    def walls(self) -> Points:
        """A grid [levels, M, 3] of the outlines, bottom to top."""
        return np.stack([self.ring(float(level)) for level in self.levels])

    def lid(self, insets: NDArray[np.float64], crown_m: float) -> Points:
        """A grid [insets, M, 3] from the topmost outline inward to the middle line, `crown_m` higher there."""
        rim = self.ring(1.0)
        grid = np.repeat(rim[None], len(insets), axis=0)
        grid[..., 1] *= insets[:, None]
        share = np.abs(rim[:, 1]) / max(np.abs(rim[:, 1]).max(), 1e-6)
        grid[..., 2] += crown_m * (1 - insets[:, None] ** 2) * share[None, :]
        return grid
