"""Rendered cars: the same record gives the same picture, and what a record says is seen where it should be."""

import io
from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from rendered.attributes import ATTRIBUTES, CarRecord, View, draw_record
from rendered.camera import Points, Projection
from rendered.drawing import place_camera
from rendered.elements import element_surfaces
from rendered.geometry import Car, build_car
from rendered.paint import SHADES, main_paint
from rendered.render import render, render_jpeg
from rendered.surfaces import car_surfaces, wheel_face

COPY_PX = (448, 336)
"""The size at which a model sees a picture."""

_SEEN: dict[tuple[int, View, tuple[tuple[str, str], ...]], NDArray[np.float64]] = {}
"""Pictures that several tests compare with."""


def record_of(view: View, seed: int = 0, fixed: Mapping[str, str] | None = None) -> CarRecord:
    candidates = (draw_record(seed + 500 * k, fixed=fixed) for k in range(200))
    return next(record for record in candidates if record.view == view)


def with_value(record: CarRecord, name: str, value: str) -> CarRecord:
    return replace(record, attributes={**record.attributes, name: value})


def seen(record: CarRecord) -> NDArray[np.float64]:
    key = (record.seed, record.view, tuple(record.attributes.items()))
    if key not in _SEEN:
        _SEEN[key] = np.asarray(render(record).resize(COPY_PX, Image.Resampling.BICUBIC), float)
    return _SEEN[key]


def placed(record: CarRecord) -> tuple[Car, Projection, Points]:
    """The car, its camera, and where all its points are, in pixels [N, 2]."""
    car = build_car(record)
    main = main_paint(record.attributes["main_colour"], record.attributes["finish"], record.seed)
    surfaces = car_surfaces(record, car, main) + element_surfaces(record, car, main)
    projection = place_camera(record, car, surfaces)
    return car, projection, projection(np.concatenate([s.grid.reshape(-1, 3) for s in surfaces]))


def lab(colour: NDArray[np.float64]) -> NDArray[np.float64]:
    """CIELAB of sRGB 0..255, in which distances are those that people see."""
    linear = np.where(colour > 10.3, ((colour / 255 + 0.055) / 1.055) ** 2.4, colour / 255 / 12.92)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x, y, z = np.cbrt(to_xyz @ linear / np.array([0.9505, 1.0, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("view", get_args(View))
def test_the_same_record_gives_the_same_picture(view: View) -> None:
    record = record_of(view)
    assert render_jpeg(record) == render_jpeg(record)


def test_another_seed_gives_another_picture_of_the_same_attributes() -> None:
    record = record_of("front")
    assert np.abs(seen(record) - seen(replace(record, seed=record.seed + 1))).mean() > 2


@pytest.mark.parametrize("view", get_args(View))
@pytest.mark.parametrize("body_type", ATTRIBUTES["body_type"].values)
def test_every_body_type_is_drawn_from_every_view_at_a_size_of_four_by_three_tiles(body_type: str, view: View) -> None:
    picture = render(record_of(view, fixed={"body_type": body_type}))
    assert picture.mode == "RGB"
    assert 480 <= picture.width <= 900
    assert 1.28 <= picture.width / picture.height <= 1.40


def test_a_jpeg_keeps_the_size() -> None:
    record = record_of("rear")
    assert Image.open(io.BytesIO(render_jpeg(record))).size == render(record).size


@pytest.mark.parametrize("seed", range(24))
def test_the_car_lies_inside_the_frame_and_fills_most_of_its_width(seed: int) -> None:
    _, projection, points = placed(draw_record(seed))
    low, high = points.min(axis=0), points.max(axis=0)
    assert (low >= 0).all()
    assert (high <= [projection.width_px, projection.height_px]).all()
    assert 0.6 <= (high[0] - low[0]) / projection.width_px <= 0.91


def variants() -> list[tuple[str, str, View]]:
    """Every value of every attribute but its first, and a view from which it is seen."""
    return [
        (name, value, attribute.views[k % len(attribute.views)])
        for name, attribute in ATTRIBUTES.items()
        for k, value in enumerate(attribute.values[1:])
    ]


@pytest.mark.parametrize(("name", "value", "view"), variants())
def test_changing_a_visible_attribute_changes_the_picture_clearly(name: str, value: str, view: View) -> None:
    fixed = {"body_type": "sedan", "main_colour": "blue", "roof": "same", "element": "none", "cladding": "none"}
    record = record_of(view, seed=3, fixed=fixed)
    first = with_value(record, name, ATTRIBUTES[name].values[0])
    change = np.abs(seen(first) - seen(with_value(record, name, value))).max(axis=2)
    assert (change > 32).sum() > 60, f"only {(change > 32).sum()} pixels differ"


@pytest.mark.parametrize("view", get_args(View))
def test_an_attribute_that_is_not_visible_leaves_the_picture_as_it_is(view: View) -> None:
    record = record_of(view)
    hidden = {name: a.values[-1] for name, a in ATTRIBUTES.items() if view not in a.views}
    shown = {name: a.values[0] for name, a in ATTRIBUTES.items() if view not in a.views}
    assert hidden
    pictures = [render(replace(record, attributes={**record.attributes, **v})).tobytes() for v in (hidden, shown)]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("name", ["wheel", "wheel_finish", "wheel_size"])
def test_wheels_change_where_the_wheels_are_and_nowhere_else(name: str) -> None:
    record = record_of("front", fixed={"element": "none"})
    values = ATTRIBUTES[name].values
    one, other = (np.asarray(render(with_value(record, name, v)), float) for v in values[:2])
    car, projection, _ = placed(record)
    elsewhere = np.ones(one.shape[:2], bool)
    reach = car.arch * 1.1
    for axle in (car.front_axle, car.rear_axle):
        corners = [[axle + x, wheel_face(car, axle), z] for x in (-reach, reach) for z in (0, car.arch_height + reach)]
        flat = projection(np.array(corners))
        (left, top), (right, bottom) = (flat.min(axis=0) - 9).astype(int), (flat.max(axis=0) + 9).astype(int)
        elsewhere[max(top, 0) : bottom, max(left, 0) : right] = False
    change = np.abs(one - other).max(axis=2)
    assert (change[~elsewhere] > 32).sum() > 100
    assert change[elsewhere].max() <= 2


@pytest.mark.parametrize("finish", ATTRIBUTES["finish"].values)
@pytest.mark.parametrize("colour", ATTRIBUTES["main_colour"].values)
def test_the_doors_have_the_colour_that_the_record_names(colour: str, finish: str) -> None:
    fixed = {"main_colour": colour, "finish": finish, "element": "none", "character_line": "none", "cladding": "none"}
    record = draw_record(11, fixed=fixed)
    car, projection, _ = placed(record)
    x = np.linspace(car.front_axle - car.arch - 0.25, car.rear_axle + car.arch + 0.25, 40)
    on_door = projection(car.body.at(np.repeat(x, 10), np.tile(np.linspace(0.45, 0.57, 10), 40))).astype(int)
    measured = np.median(np.asarray(render(record), float)[on_door[:, 1], on_door[:, 0]], axis=0)
    references = {name: np.array(ends, float).mean(axis=0) for name, ends in SHADES.items()}
    nearest = min(references, key=lambda name: float(np.linalg.norm(lab(references[name]) - lab(measured))))
    assert nearest == colour
