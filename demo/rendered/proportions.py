"""Body types in metres, as a design sketch has them: the differences are larger than on the road."""

from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True, kw_only=True)
class Proportions:
    """A body type in metres; pairs are short and long.

    `cowl` is the windscreen's foot behind the front axle, `screen` its length along x. `roof_end` is the roof's end
    ahead of the rear axle, as a share of the rear overhang behind it when negative. `deck` is what lies behind the rear
    window; `shift` how far "forward" and "rearward" move the cabin. `tyre` is a radius, `sill` the ground clearance,
    `doors` how many are on one side.
    """

    wheelbase: tuple[float, float]
    front: tuple[float, float]
    rear: tuple[float, float]
    half_width: float
    height: float
    nose: float
    cowl_height: float
    belt: float
    deck_height: float
    cowl: float
    screen: float
    roof_end: float
    deck: float
    tyre: float = 0.365
    sill: float = 0.21
    doors: int = 2
    shift: float = 0.38


PROPORTIONS = MappingProxyType(
    {
        "sedan": Proportions(
            wheelbase=(2.3, 3.2),
            front=(0.64, 1.08),
            rear=(0.8, 1.3),
            half_width=0.9,
            height=1.45,
            nose=0.74,
            cowl_height=0.96,
            belt=1.0,
            deck_height=1.0,
            cowl=0.5,
            screen=0.75,
            roof_end=0.2,
            deck=0.55,
        ),
        "fastback": Proportions(
            wheelbase=(2.35, 3.26),
            front=(0.64, 1.08),
            rear=(0.76, 1.24),
            half_width=0.91,
            height=1.38,
            nose=0.7,
            cowl_height=0.93,
            belt=0.97,
            deck_height=0.95,
            cowl=0.55,
            screen=0.85,
            roof_end=0.85,
            deck=0.1,
        ),
        "hatchback": Proportions(
            wheelbase=(2.16, 2.94),
            front=(0.58, 0.99),
            rear=(0.56, 0.93),
            half_width=0.88,
            height=1.5,
            nose=0.76,
            cowl_height=0.98,
            belt=1.03,
            deck_height=1.0,
            cowl=0.35,
            screen=0.75,
            roof_end=-0.25,
            deck=0.05,
        ),
        "wagon": Proportions(
            wheelbase=(2.3, 3.15),
            front=(0.64, 1.08),
            rear=(0.85, 1.35),
            half_width=0.9,
            height=1.46,
            nose=0.74,
            cowl_height=0.96,
            belt=1.0,
            deck_height=0.98,
            cowl=0.5,
            screen=0.75,
            roof_end=-0.72,
            deck=0.05,
        ),
        "suv": Proportions(
            wheelbase=(2.26, 3.1),
            front=(0.62, 1.06),
            rear=(0.62, 1.06),
            half_width=0.96,
            height=1.8,
            nose=1.0,
            cowl_height=1.18,
            belt=1.2,
            deck_height=1.18,
            cowl=0.42,
            screen=0.55,
            roof_end=-0.72,
            deck=0.05,
            tyre=0.42,
            sill=0.28,
        ),
        "coupe": Proportions(
            wheelbase=(2.21, 2.99),
            front=(0.64, 1.08),
            rear=(0.66, 1.13),
            half_width=0.92,
            height=1.27,
            nose=0.67,
            cowl_height=0.88,
            belt=0.92,
            deck_height=0.93,
            cowl=0.72,
            screen=0.75,
            roof_end=0.38,
            deck=0.28,
            tyre=0.365,
            doors=1,
        ),
        "convertible": Proportions(
            wheelbase=(2.21, 2.99),
            front=(0.64, 1.08),
            rear=(0.7, 1.19),
            half_width=0.91,
            height=1.3,
            nose=0.69,
            cowl_height=0.9,
            belt=0.93,
            deck_height=0.95,
            cowl=0.55,
            screen=0.55,
            roof_end=0.55,
            deck=0.7,
            tyre=0.365,
            doors=1,
        ),
        "pickup_truck": Proportions(
            wheelbase=(2.69, 3.68),
            front=(0.7, 1.1),
            rear=(0.82, 1.35),
            half_width=0.98,
            height=1.82,
            nose=1.04,
            cowl_height=1.17,
            belt=1.2,
            deck_height=1.2,
            cowl=0.5,
            screen=0.6,
            roof_end=0.8,
            deck=0.0,
            tyre=0.435,
            sill=0.32,
            shift=0.4,
        ),
        "minivan": Proportions(
            wheelbase=(2.5, 3.31),
            front=(0.66, 1.04),
            rear=(0.58, 1.03),
            half_width=0.95,
            height=1.76,
            nose=0.84,
            cowl_height=1.06,
            belt=1.08,
            deck_height=1.06,
            cowl=-0.12,
            screen=1.05,
            roof_end=-0.7,
            deck=0.05,
            tyre=0.37,
            shift=0.0,
        ),
        "van": Proportions(
            wheelbase=(2.59, 3.52),
            front=(0.74, 1.14),
            rear=(0.7, 1.19),
            half_width=0.98,
            height=2.2,
            nose=0.98,
            cowl_height=1.2,
            belt=1.2,
            deck_height=1.2,
            cowl=-0.1,
            screen=0.75,
            roof_end=-0.9,
            deck=0.04,
            tyre=0.39,
            sill=0.26,
            shift=0.0,
        ),
        "limousine": Proportions(
            wheelbase=(4.1, 4.3),
            front=(0.7, 1.13),
            rear=(0.89, 1.43),
            half_width=0.93,
            height=1.5,
            nose=0.79,
            cowl_height=1.0,
            belt=1.03,
            deck_height=1.03,
            cowl=0.55,
            screen=0.7,
            roof_end=0.1,
            deck=0.55,
            tyre=0.38,
            doors=3,
            shift=0.36,
        ),
    }
)
