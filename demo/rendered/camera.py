"""Perspective: from metres to pixels. Knows nothing of cars but the points that must be in the frame.

Axes: x forward, y to the car's left, z up, in metres; pixels grow to the right and down. The near side of the car is
always y > 0: a camera at its right side sees the mirror image, since a car is its own mirror image.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rendered.attributes import Camera

Points = NDArray[np.float64]
"""Float [..., 3] in metres, or [..., 2] in pixels."""

Coordinate = Points | float
"""One coordinate of many points, or of all of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """A pinhole camera. `axes` are right, up, and forward, one a row; `mirror` is -1 at the car's right side."""

    eye: Points
    axes: Points
    mirror: float
    roll_rad: float
    focal_px: float = 1.0
    offset_px: tuple[float, float] = (0.0, 0.0)
    width_px: int = 1
    height_px: int = 1

    def __call__(self, points: Points) -> Points:
        """Pixels [..., 2] of points [..., 3]."""
        seen = (points - self.eye) @ self.axes.T
        depth = np.maximum(seen[..., 2], 0.05)
        x, y = self.mirror * seen[..., 0] / depth, -seen[..., 1] / depth
        cos, sin = math.cos(self.roll_rad), math.sin(self.roll_rad)
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
        return turned * self.focal_px + np.array(self.offset_px)

    def depth(self, points: Points) -> NDArray[np.float64]:
        """Distance from the eye, in metres."""
        away: NDArray[np.float64] = np.sqrt(((points - self.eye) ** 2).sum(axis=-1))
        return away

    @property
    def unit_px(self) -> float:
        """How many pixels of this picture are one pixel of the 448 px copy."""
        return self.width_px / 448


def aim(
    camera: Camera, *, length_m: float, points: Points, size_px: tuple[int, int], filled: float, jitter: Points
) -> Projection:
    """A camera that has all `points` in the frame, `filled` of its width (less if the height would not hold them).

    `jitter` [2] in -1..1 shifts the car within the margin that is left.
    """
    azimuth, elevation = math.radians(abs(camera.azimuth_deg)), math.radians(camera.elevation_deg)
    away = np.array([math.cos(azimuth) * math.cos(elevation), math.sin(azimuth) * math.cos(elevation)])
    eye = np.append(away, math.sin(elevation)) * camera.distance * length_m + np.array([0.0, 0.0, 0.6])
    forward = np.array([0.0, 0.0, 0.62]) - eye
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), forward])
    mirror = 1.0 if camera.azimuth_deg >= 0 else -1.0
    roll = math.radians(camera.roll_deg)
    width, height = size_px
    unfit = Projection(eye=eye, axes=axes, mirror=mirror, roll_rad=roll)(points)
    low, high = unfit.min(axis=0), unfit.max(axis=0)
    focal = min(filled * width / (high[0] - low[0]), 0.8 * height / (high[1] - low[1]))
    margin = (np.array(size_px) - focal * (high - low)) / 2
    centre = np.array([0.5 * width, 0.53 * height]) + 0.5 * jitter * (margin - 0.03 * height) * np.array([1.0, 0.5])
    offset = centre - focal * (low + high) / 2
    return Projection(
        eye=eye,
        axes=axes,
        mirror=mirror,
        roll_rad=roll,
        focal_px=float(focal),
        offset_px=(float(offset[0]), float(offset[1])),
        width_px=width,
        height_px=height,
    )
