"""Which surfaces a car consists of, and with what paint: everything of the first layer."""

import random

import numpy as np

from rendered.attributes import CarRecord
from rendered.camera import Points
from rendered.geometry import TWO_BOX, Car
from rendered.mesh import Surface, blob, cylinder
from rendered.paint import ROOF_COLOURS, Paint, Rgb

RUBBER = Paint(colour=(24, 24, 26), finish="matte")
TRIM = Paint(colour=(34, 35, 38), finish="matte")
LEATHERS: tuple[Rgb, ...] = ((150, 92, 52), (196, 182, 156), (112, 34, 32), (88, 90, 94))

FLAKES = 360.0
"""Metal flakes a square metre: coarse, for 448 pixels."""


def roof_paint(record: CarRecord, main: Paint) -> Paint:
    """What the roof, its rails, and the pillars are painted with."""
    colour = ROOF_COLOURS.get(record.attributes["roof"])
    finish = "matte" if main.finish == "matte" else "satin"
    return main if colour is None else Paint(colour=colour, finish=finish)


def car_surfaces(record: CarRecord, car: Car, main: Paint) -> list[Surface]:
    """The body, the greenhouse or what an open car shows, and the tyres."""
    flakes = FLAKES if main.finish == "metallic" else 0.0
    roof = roof_paint(record, main)
    roof_flakes = flakes if record.attributes["roof"] == "same" else 0.0
    if roof.finish != "matte":
        # A glint on a pillar would be taken for a second colour.
        roof = Paint(colour=roof.colour, finish="satin")
    surfaces = [Surface(grid=car.body.walls(), paint=main, two_sided=False, flakes=flakes)]
    surfaces += _lids(car, main, flakes)
    if car.open_top:
        surfaces += _cockpit(record, car, main)
    else:
        walls = car.house.walls()
        surfaces.append(Surface(grid=walls, paint=roof, two_sided=False, flakes=roof_flakes, nearer_m=0.15))
        lid = car.house.lid(np.linspace(1, 0, 7), 0.05)
        surfaces.append(Surface(grid=lid, paint=roof, two_sided=False, flakes=roof_flakes, nearer_m=0.15))
    return surfaces + tyres(car)


def tyres(car: Car) -> list[Surface]:
    """The four tyres, as plain cylinders; farther than they are, since the body covers them."""
    surfaces = []
    for axle in (car.front_axle, car.rear_axle):
        for side in (1, -1):
            outer = wheel_face(car, axle)
            grid = cylinder((axle, side * (outer - 0.15), car.tyre), car.tyre, 0.12)
            surfaces.append(Surface(grid=grid, paint=RUBBER, nearer_m=-0.3))
    return surfaces


def wheel_face(car: Car, axle: float) -> float:
    """The y of a near wheel's outer face."""
    return float(car.body.half_width(np.array(axle), np.array(0.35))) * 0.985


def _centres(grid: Points) -> Points:
    return (grid[:-1, :-1] + grid[1:, 1:] + grid[1:, :-1] + grid[:-1, 1:]) / 4


def _lids(car: Car, main: Paint, flakes: float) -> list[Surface]:
    """Hood and deck, without what the greenhouse covers; dark where a bed or a cockpit is."""
    insets = np.concatenate([np.linspace(1, 0.84, 4), np.linspace(0.7, 0, 5)])
    grid = car.body.lid(insets, 0.0)
    # The hood is crowned; the deck and what the greenhouse stands on are flat, lest they cover its foot.
    hood = np.interp(grid[..., 0], [car.cowl, car.cowl + 0.35], [0.1, 1.0])
    grid += (car.body.lid(insets, 0.05) - grid) * hood[..., None]
    middle = _centres(grid)
    within = np.abs(middle[..., 1]) < car.half_width * 0.8
    covered = within & (middle[..., 0] < car.cowl + 0.02) & (middle[..., 0] > car.glass_foot - 0.02)
    if car.open_top:
        covered = within & (middle[..., 0] < car.cowl - 0.25) & (middle[..., 0] > car.glass_foot - 0.15)
    if car.body_type in TWO_BOX:
        covered &= middle[..., 0] > car.rear
    surfaces = []
    dark = np.zeros_like(covered)
    if car.body_type == "pickup_truck":
        dark = (np.abs(middle[..., 1]) < car.half_width * 0.76) & (middle[..., 0] < car.glass_foot - 0.02)
        dark &= middle[..., 0] > car.rear + 0.14
    if car.open_top:
        dark = covered
    surfaces.append(Surface(grid=grid, paint=main, keep=~covered & ~dark, two_sided=False, flakes=flakes))
    if dark.any():
        surfaces.append(Surface(grid=grid - np.array([0, 0, 0.03]), paint=TRIM, keep=dark, two_sided=False))
    return surfaces


def _cockpit(record: CarRecord, car: Car, main: Paint) -> list[Surface]:
    """Seats, and what lies behind them: a folded black top, or humps in the car's colour."""
    surfaces = []
    leather = Paint(colour=random.Random(f"{record.seed} leather").choice(LEATHERS), finish="matte")
    belt = float(car.belt(np.array(car.cowl - 1.0)))
    for x in (car.cowl - 1.2, max(car.cowl - 1.95, car.glass_foot + 0.05)):
        for side in (0.4, -0.4):
            surfaces.append(Surface(grid=blob((x, side, belt - 0.02), (0.12, 0.25, 0.24), 3.2), paint=leather))
            surfaces.append(Surface(grid=blob((x - 0.04, side, belt + 0.29), (0.07, 0.14, 0.09), 3.0), paint=leather))
    behind = car.glass_foot - 0.2
    deck = float(car.belt(np.array(behind))) + 0.02
    if record.attributes["roof"] == "black":
        grid = blob((behind, 0, deck + 0.06), (0.3, car.half_width * 0.8, 0.15), 3.0)
        surfaces.append(Surface(grid=grid, paint=RUBBER))
    else:
        for side in (0.4, -0.4):
            surfaces.append(Surface(grid=blob((behind, side, deck - 0.02), (0.36, 0.24, 0.13)), paint=main))
    return surfaces
