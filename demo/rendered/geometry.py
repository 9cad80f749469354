"""The car in metres: where its wheels, hood, cabin, and tail are, and the two shells it is lofted from.

Knows nothing of cameras or paint. What a record says of proportions, stance, body type, and shoulder is decided here;
the differences are those of a design sketch, larger than on the road, since they must be told at 448 pixels.
"""

import random
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from rendered.attributes import CarRecord
from rendered.camera import Coordinate, Points
from rendered.proportions import PROPORTIONS, Proportions
from rendered.shells import Curve, Shell, smooth_curve

TWO_BOX = frozenset({"hatchback", "wagon", "suv", "minivan", "van"})
"""Body types whose glasshouse ends at the tail."""

_STANCE_LIFT = {"low": -0.12, "level": 0.0, "raised": 0.2}
"""How far a stance moves the body against its wheels, in metres."""

LEVELS = np.concatenate([np.linspace(0, 0.8, 19)[:-1], np.linspace(0.8, 1, 12)])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Layout:
    """All of a car but its shells, in metres; the origin is on the ground between its bumpers.

    `lift` is what the stance adds to every height of the body. `cowl` and `glass_foot` are the x of the windscreen's
    and the rear window's feet, `header` and `roof_end` those of the roof's layout.
    """

    body_type: str
    shape: Proportions
    front: float
    rear: float
    front_axle: float
    rear_axle: float
    lift: float
    cowl: float
    header: float
    roof_end: float
    glass_foot: float
    half_width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Car(_Layout):
    """A car's geometry: its layout, and the shells of its lower body and its greenhouse."""

    body: Shell
    house: Shell

    @property
    def length(self) -> float:
        """From bumper to bumper."""
        return self.front - self.rear

    @property
    def sill(self) -> float:
        """Height of the body's lower edge between the wheels."""
        return self.shape.sill + self.lift

    @property
    def tyre(self) -> float:
        """The tyres' radius."""
        return self.shape.tyre

    @property
    def arch(self) -> float:
        """The wheel arches' radius, about the point `arch_height` above the ground."""
        return self.tyre + (0.03 if self.lift < 0 else 0.06)

    @property
    def arch_height(self) -> float:
        """Height of the wheel arches' centre."""
        return self.tyre + self.lift * 0.75

    def belt(self, x: Coordinate) -> Points:
        """Height of the lower body's upper edge along x."""
        return np.interp(x, *self.body.ceiling)

    def roof_height(self, x: float) -> float:
        """Height of the roof's middle line at x."""
        return float(np.interp(x, *self.house.ceiling)) + 0.05

    @property
    def open_top(self) -> bool:
        """Whether there is no roof to paint."""
        return self.body_type == "convertible"


def build_car(record: CarRecord) -> Car:
    """The geometry a record asks for, with small variations of its own that depend on the seed alone."""
    chance = random.Random(f"{record.seed} shape")
    vary = [chance.uniform(-1, 1) for _ in range(12)]
    layout = _lay_out(record, vary)
    body = _lower_body(layout, record.attributes["shoulder"] == "strong", vary)
    house = _greenhouse(layout, body.ceiling, vary)
    return Car(**{f.name: getattr(layout, f.name) for f in fields(layout)}, body=body, house=house)


def _lay_out(record: CarRecord, vary: list[float]) -> _Layout:
    attributes = record.attributes
    shape = PROPORTIONS[attributes["body_type"]]
    wheelbase = shape.wheelbase[attributes["wheelbase"] == "long"] * (1 + 0.012 * vary[0])
    long = attributes["overhangs"] == "long"
    ahead, behind = shape.front[long] + 0.02 * vary[1], shape.rear[long] + 0.02 * vary[2]
    front = (wheelbase + ahead + behind) / 2
    shift = shape.shift * {"forward": 1, "central": 0, "rearward": -1}[attributes["cabin"]] + 0.02 * vary[3]
    cowl = front - ahead - shape.cowl + shift
    header = cowl - shape.screen * (1 + 0.06 * vary[4])
    glass_foot, roof_end = _rear_of_cabin(attributes["body_type"], shape, -front, behind, shift, header)
    lift = _STANCE_LIFT[attributes["stance"]]
    return _Layout(
        body_type=attributes["body_type"],
        shape=shape,
        front=front,
        rear=-front,
        front_axle=front - ahead,
        rear_axle=behind - front,
        lift=lift,
        cowl=cowl,
        header=header,
        roof_end=roof_end,
        glass_foot=glass_foot,
        half_width=shape.half_width * (1 + 0.01 * vary[6]),
        height=shape.height * (1 + 0.012 * vary[5]) + lift,
    )


def _rear_of_cabin(
    body_type: str, shape: Proportions, rear: float, behind: float, shift: float, header: float
) -> tuple[float, float]:
    """The x of the rear window's foot, and of the roof's end; no roof is so short that it could not be seen."""
    rear_axle = rear + behind
    if body_type in TWO_BOX:
        foot = rear + shape.deck + 0.02
        return foot, max(rear_axle + shape.roof_end * behind + 0.5 * shift, foot + 0.06)
    roof_end = rear_axle + shape.roof_end + shift
    if body_type == "pickup_truck":
        roof_end = min(roof_end, header - 1.05)
        return roof_end - 0.1, roof_end
    if body_type == "fastback":
        return rear + shape.deck, min(roof_end, header - 0.62)
    deck = max(shape.deck + 0.7 * shift + 0.5 * (behind - shape.rear[0]), 0.26)
    return rear + deck, min(max(roof_end, rear + deck + 0.3), header - 0.62)


def _profile(knots: dict[float, float]) -> NDArray[np.float64]:
    return np.interp(LEVELS, *smooth_curve(*knots.items(), softness_m=0.12))


def _lower_body(layout: _Layout, strong: bool, vary: list[float]) -> Shell:
    shape, lift, half_width = layout.shape, layout.lift, layout.half_width
    two_box = layout.body_type in TWO_BOX
    ahead, behind = layout.front - layout.front_axle, layout.rear_axle - layout.rear
    nose, cowl_height, belt, deck = (
        z + lift + 0.012 * v
        for z, v in zip((shape.nose, shape.cowl_height, shape.belt, shape.deck_height), vary[7:11], strict=True)
    )
    ceiling = smooth_curve(
        (layout.front, nose), (layout.front - 0.35, nose + 0.35 * (cowl_height - nose)), (layout.cowl, cowl_height),
        (layout.glass_foot + 0.25, belt), (layout.glass_foot - 0.001, belt), (layout.rear - 0.02, deck), softness_m=0.4
    )  # fmt: skip
    sill = shape.sill + lift
    floor: Curve = smooth_curve(
        (layout.front, sill + 0.06),
        (layout.front - ahead, sill),
        (layout.rear + behind, sill),
        (layout.rear, sill + 0.1),
    )
    if strong:
        width = {0: 0.93, 0.12: 0.97, 0.35: 0.985, 0.62: 0.95, 0.7: 0.952, 0.78: 1.02, 0.85: 1.025, 0.9: 0.94, 1: 0.84}
    else:
        width = {0: 0.93, 0.14: 0.975, 0.35: 1.0, 0.6: 0.99, 0.8: 0.96, 0.92: 0.92, 1: 0.84}
    lean = 0.03 * vary[11]
    front = {0: -0.1, 0.14: -0.02, 0.35: 0.0, 0.55: -0.01, 0.8: -0.05 - lean, 0.92: -0.11 - lean, 1: -0.22}
    rear = {0: 0.14, 0.16: 0.02, 0.35: 0.0, 0.55: 0.02, 0.85: 0.05, 0.95: 0.06, 1: 0.07 if two_box else 0.16}
    return Shell(
        levels=LEVELS,
        width=half_width * _profile(width),
        front=layout.front + _profile(front),
        rear=layout.rear + _profile(rear),
        floor=floor,
        ceiling=ceiling,
        front_corner=min(0.5, ahead * 0.62),
        rear_corner=min(0.5, behind * 0.62),
        roundness=3.7,
    )


def _greenhouse(layout: _Layout, belt: Curve, vary: list[float]) -> Shell:
    shape, half_width, height = layout.shape, layout.half_width, layout.height
    two_box = layout.body_type in TWO_BOX
    boxy = shape.height > 1.6
    top = half_width * (0.82 if boxy else 0.72) * (1 + 0.02 * vary[3])
    base = half_width * 0.93 * (0.99 if boxy else 0.965)
    level = np.concatenate([np.linspace(0, 0.8, 7)[:-1], np.linspace(0.8, 1, 7)])
    rounding = np.clip((level - 0.8) / 0.2, 0, 1) ** 2
    lean = level + 0.12 * np.sin(np.pi * level) * (0 if boxy else 1)
    ceiling = smooth_curve(
        (layout.cowl + 0.1, height - 0.09), (layout.header, height - 0.045), (layout.header - 0.6, height),
        (min(layout.roof_end + 0.6, layout.header - 0.65), height - (0.01 if two_box else 0.02)),
        (layout.roof_end, height - 0.07), (layout.glass_foot - 0.1, height - 0.13), softness_m=0.5
    )  # fmt: skip
    return Shell(
        levels=level,
        width=base + (top - base) * level - 0.07 * rounding,
        front=layout.cowl + (layout.header - layout.cowl) * lean - 0.06 * rounding,
        rear=layout.glass_foot + (layout.roof_end - layout.glass_foot) * lean + 0.05 * rounding,
        floor=(belt[0], belt[1] - 0.01),
        ceiling=ceiling,
        front_corner=0.5,
        rear_corner=0.42,
        roundness=2.8 if not boxy else 3.4,
        bulge=0.04,
    )
