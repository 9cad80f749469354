"""What can be told of a rendered car: a record of attributes, one value each, and how records are drawn at random.

Knows nothing of pictures or words. A value is an id; `words.py` says it in English and Korean, `drawing.py` shows it.
An attribute belongs to one of the eight aspects of the `designer` recipe. Some are seen from the front alone, some from
the rear alone; from the side, lamps and grille are not seen: `visible` says which.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

View = Literal["front", "rear", "side"]
"""Three-quarter from the front, three-quarter from the rear, or square from the side."""

ASPECTS = ("body", "colour", "unique", "proportions", "lighting", "grille", "wheels", "surface")
"""The eight aspects, in the order of the `designer` recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One thing that can be told of a car. `views` are those from which it is seen."""

    aspect: str
    values: tuple[str, ...]
    views: tuple[View, ...] = ("front", "rear", "side")


ATTRIBUTES: Mapping[str, Attribute] = MappingProxyType(
    {
        "body_type": Attribute(
            aspect="body",
            values=(
                *("sedan", "fastback", "hatchback", "wagon", "suv", "coupe", "convertible", "pickup_truck"),
                *("minivan", "van", "limousine"),
            ),
        ),
        "stance": Attribute(aspect="body", values=("low", "level", "raised")),
        "main_colour": Attribute(
            aspect="colour",
            values=(
                *("white", "black", "gray", "silver", "red", "blue", "green", "yellow", "orange", "brown"),
                *("beige", "gold", "purple", "pink"),
            ),
        ),
        "finish": Attribute(aspect="colour", values=("solid", "metallic", "pearl", "matte")),
        "roof": Attribute(aspect="colour", values=("same", "black", "white", "silver")),
        "element": Attribute(
            aspect="unique",
            values=(
                *("none", "digital_mirrors", "roof_box", "roof_rails", "rear_spoiler", "gullwing_doors"),
                *("lidar_pod", "fender_skirts", "side_pipes", "snorkel"),
            ),
        ),
        "wheelbase": Attribute(aspect="proportions", values=("short", "long")),
        "overhangs": Attribute(aspect="proportions", values=("short", "long")),
        "cabin": Attribute(aspect="proportions", values=("forward", "central", "rearward")),
        "headlamp": Attribute(
            aspect="lighting", values=("slim", "round", "rectangular", "swept", "split"), views=("front",)
        ),
        "front_signature": Attribute(
            aspect="lighting", values=("light_bar", "l_shaped", "ring", "pixel", "double_bar"), views=("front",)
        ),
        "taillamp": Attribute(
            aspect="lighting", values=("slim", "round", "rectangular", "vertical", "c_shaped"), views=("rear",)
        ),
        "rear_signature": Attribute(
            aspect="lighting", values=("light_bar", "pixel", "outline", "solid"), views=("rear",)
        ),
        "grille_pattern": Attribute(
            aspect="grille",
            values=("horizontal", "vertical", "mesh", "honeycomb", "diamond", "closed"),
            views=("front",),
        ),
        "grille_shape": Attribute(aspect="grille", values=("wide", "tall", "twin", "slim"), views=("front",)),
        "rear_bumper": Attribute(
            aspect="grille", values=("plain", "diffuser", "twin_exhaust", "skid_plate"), views=("rear",)
        ),
        "tailgate": Attribute(aspect="grille", values=("plain", "chrome_strip", "black_panel"), views=("rear",)),
        "wheel": Attribute(
            aspect="wheels",
            values=("five_spoke", "twin_spoke", "y_spoke", "multi_spoke", "turbine", "mesh", "aero_disc", "snowflake"),
        ),
        "wheel_finish": Attribute(aspect="wheels", values=("silver", "black", "diamond_cut")),
        "wheel_size": Attribute(aspect="wheels", values=("small", "large")),
        "character_line": Attribute(aspect="surface", values=("none", "straight", "rising", "double")),
        "shoulder": Attribute(aspect="surface", values=("soft", "strong")),
        "cladding": Attribute(aspect="surface", values=("none", "arches", "full")),
    }
)

HELD_BACK: Mapping[str, frozenset[str]] = MappingProxyType({"wheel": frozenset({"snowflake"})})
"""Values that the demo model is never shown: what it learns from corrections, in the tutorial."""

_IMPOSSIBLE = {
    "convertible": {"element": {"roof_box", "roof_rails", "lidar_pod", "gullwing_doors"}, "roof": {"white", "silver"}},
    "pickup_truck": {"element": {"gullwing_doors", "fender_skirts"}, "cabin": {"rearward"}},
    "minivan": {"cabin": {"rearward", "central"}, "stance": {"low"}},
    "van": {"cabin": {"rearward", "central"}, "stance": {"low"}, "element": {"gullwing_doors"}},
    "suv": {"stance": {"low"}},
    "limousine": {"wheelbase": {"short"}, "cabin": {"forward"}, "stance": {"raised"}},
    "coupe": {"cabin": {"forward"}, "stance": {"raised"}},
}
"""What a body type rules out, since nobody could tell it, or it is no such car."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Where a car is seen from. `azimuth_deg` is counted from square in front of it, positive to its left side.

    `elevation_deg` is above the horizon, `distance` in car lengths from its middle, `roll_deg` the horizon's tilt.
    """

    azimuth_deg: float
    elevation_deg: float
    distance: float
    roll_deg: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CarRecord:
    """A car and how it is seen: all of it decides the picture, together with `seed` (shades, background, damage).

    `attributes` has one value for every name of `ATTRIBUTES`, also for what is not visible from here.
    """

    seed: int
    view: View
    camera: Camera
    attributes: Mapping[str, str]

    @property
    def visible(self) -> Mapping[str, str]:
        """What can be told from this view."""
        return {name: value for name, value in self.attributes.items() if self.view in ATTRIBUTES[name].views}


def draw_record(
    seed: int, *, held_back: Mapping[str, frozenset[str]] = HELD_BACK, fixed: Mapping[str, str] | None = None
) -> CarRecord:
    """A record at random, the same for the same arguments: every value that is possible is as likely as its sisters.

    `fixed` are attributes that are not left to chance; they win over `held_back`.

    Raises: ValueError for a value in `fixed` that does not exist, or that the body type rules out.
    """
    chance, fixed = random.Random(seed), fixed or {}
    attributes: dict[str, str] = {}
    for name, attribute in ATTRIBUTES.items():
        ruled_out = _IMPOSSIBLE.get(attributes.get("body_type", ""), {}).get(name, set())
        if name == "roof":
            ruled_out = ruled_out | {attributes["main_colour"]}  # the same picture as a roof in the body's colour
        possible = [v for v in attribute.values if v not in ruled_out and v not in held_back.get(name, ())]
        attributes[name] = _choice(chance, possible)
        if name in fixed:
            if fixed[name] not in attribute.values or fixed[name] in ruled_out:
                raise ValueError(f"{name} {fixed[name]!r} is not possible; {', '.join(possible)} are.")
            attributes[name] = fixed[name]
    view: View = chance.choices(("front", "rear", "side"), weights=(5, 4, 1))[0]
    side = chance.choice((-1, 1))
    azimuth_deg = {
        "front": chance.uniform(33, 57),
        "rear": chance.uniform(123, 147),
        "side": chance.uniform(86, 94),
    }[view]
    camera = Camera(
        azimuth_deg=side * azimuth_deg,
        elevation_deg=chance.uniform(4, 14),
        distance=chance.uniform(1.5, 2.4),
        roll_deg=chance.uniform(-2, 2),
    )
    return CarRecord(seed=seed, view=view, camera=camera, attributes=MappingProxyType(attributes))


def _choice(chance: random.Random, values: Sequence[str]) -> str:
    return values[chance.randrange(len(values))]
