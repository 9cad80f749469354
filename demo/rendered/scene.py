"""What every part of the drawing needs: the car, its paint, the camera, and the canvas it draws on."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from rendered.attributes import CarRecord
from rendered.camera import Points, Projection
from rendered.canvas import Canvas, dense, hull, mixed
from rendered.geometry import Car
from rendered.paint import Paint, Rgb

GLASS_TINTS: tuple[tuple[Rgb, Rgb], ...] = (
    ((22, 26, 30), (74, 86, 96)),
    ((18, 28, 40), (70, 96, 122)),
    ((20, 32, 28), (76, 100, 92)),
    ((14, 15, 18), (44, 48, 54)),
)
"""Glass at its foot and at its top."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """One car before one camera. `light` is a unit vector toward the key light.

    `far_limits` says of the front (1.0) and rear (-1.0) face how far from its middle, on the side away from the camera,
    one can see, in metres along its outline.
    """

    record: CarRecord
    car: Car
    main: Paint
    roof: Paint
    projection: Projection
    canvas: Canvas
    light: Points
    far_limits: Mapping[float, float]

    def value(self, name: str) -> str:
        """The record's value of an attribute."""
        return self.record.attributes[name]

    def chance(self, part: str) -> random.Random:
        """Chance for a part of the drawing, the same whatever the attributes are."""
        return random.Random(f"{self.record.seed} {part}")

    @property
    def tint(self) -> tuple[Rgb, Rgb]:
        """The windows' glass, at its foot and at its top."""
        return self.chance("tint").choice(GLASS_TINTS)

    def on_side(self, corners: Points) -> Points:
        """Pixels of a polygon [N, 2] of x and z that lies on the near side wall."""
        return self.projection(self.car.body.side(corners[:, 0], corners[:, 1]))

    def on_end(self, corners: Points, facing: float) -> Points:
        """Pixels of a polygon [N, 2] of arc and z on the front (1) or rear (-1) face; its unseen part is folded in."""
        arc = np.maximum(corners[:, 0], -self.far_limits[facing])
        return self.projection(self.car.body.end(arc, corners[:, 1], facing))

    def solid(self, grid: Points, colour: Rgb, *, shine: float = 0.35) -> None:
        """A convex thing, lit from above, over all that was drawn."""
        flat = hull(self.projection(grid.reshape(-1, 3)))
        top, bottom = flat[:, 1].min(), flat[:, 1].max()
        middle = flat[:, 0].mean()
        stops = [(0.0, mixed(colour, (255, 255, 255), shine)), (0.45, colour), (1.0, mixed(colour, (0, 0, 0), 0.5))]
        self.canvas.fill(flat, self.canvas.gradient(np.array([middle, top]), np.array([middle, bottom]), stops))


def far_limit(car: Car, projection: Projection, facing: float) -> float:
    """How far along an end face's outline, on the side away from the camera, one can see, in metres."""
    arcs = -np.linspace(0, car.half_width * 1.3, 40)
    height = car.sill + 0.35
    flat = projection(car.body.end(arcs, np.full_like(arcs, height), facing))[:, 0]
    near = projection(car.body.end(np.array([0.5]), np.array([height]), facing))[0, 0]
    return float(-arcs[np.argmax(np.abs(flat - near))])


def rectangle(left: float, bottom: float, right: float, top: float) -> Points:
    """The corners of a rectangle, in whatever plane, with enough points between them to be bent."""
    return dense(np.array([[left, bottom], [right, bottom], [right, top], [left, top]]))


def disc(centre: tuple[float, float], radius: float, points: int = 24) -> Points:
    """The outline of a circle."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([centre[0] + radius * np.cos(turn), centre[1] + radius * np.sin(turn)], axis=-1)
