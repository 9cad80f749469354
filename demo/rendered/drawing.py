"""The order of drawing: place, shadow, surfaces, and the crisp shapes over them."""

import random

import numpy as np
from PIL import Image

from rendered.attributes import CarRecord
from rendered.backgrounds import background, key_light, with_shadow
from rendered.camera import Projection, aim
from rendered.canvas import Canvas
from rendered.elements import draw_elements, element_surfaces
from rendered.fronts import draw_front
from rendered.geometry import Car, build_car
from rendered.lamps import draw_headlamps, draw_taillamps
from rendered.mesh import Surface, paint_surfaces
from rendered.opentop import draw_windscreen_frame
from rendered.paint import main_paint
from rendered.rears import draw_rear
from rendered.scene import Scene, far_limit
from rendered.sides import draw_end_glass, draw_side
from rendered.surfaces import car_surfaces, roof_paint
from rendered.wheels import draw_wheels


def frame_size(seed: int) -> tuple[int, int]:
    """Width and height in pixels: 480 to 900 wide, and an aspect ratio that is cut into 4x3 tiles."""
    chance = random.Random(f"{seed} size")
    width = round(480 + 420 * chance.random() ** 3)
    return width, round(width / chance.uniform(1.29, 1.39))


def place_camera(record: CarRecord, car: Car, surfaces: list[Surface]) -> Projection:
    """The camera of a record, with all surfaces in its frame."""
    chance = random.Random(f"{record.seed} frame")
    points = np.concatenate([surface.grid.reshape(-1, 3) for surface in surfaces])
    return aim(
        record.camera,
        length_m=car.length,
        points=points,
        size_px=frame_size(record.seed),
        filled=chance.uniform(0.82, 0.9),
        jitter=np.array([chance.uniform(-1, 1), chance.uniform(-1, 1)]),
    )


def draw_car(record: CarRecord) -> Image.Image:
    """The car in its place, before any damage."""
    car = build_car(record)
    main = main_paint(record.attributes["main_colour"], record.attributes["finish"], record.seed)
    surfaces = car_surfaces(record, car, main) + element_surfaces(record, car, main)
    projection, light = place_camera(record, car, surfaces), key_light(record.seed)
    picture = with_shadow(background(record.seed, projection, car.length), car, projection, light)
    picture = paint_surfaces(picture, surfaces, projection, light, np.random.default_rng(record.seed))
    scene = Scene(
        record=record,
        car=car,
        main=main,
        roof=roof_paint(record, main),
        projection=projection,
        canvas=Canvas(*picture.size),
        light=light,
        far_limits={facing: far_limit(car, projection, facing) for facing in (1.0, -1.0)},
    )
    draw_shapes(scene)
    return scene.canvas.over(picture)


def draw_shapes(scene: Scene) -> None:
    """The second layer, in the order in which one thing covers another."""
    draw_end_glass(scene)
    draw_windscreen_frame(scene)
    draw_side(scene)
    match scene.record.view:
        case "front":
            draw_front(scene)
            draw_wheels(scene)
            draw_headlamps(scene)
        case "rear":
            draw_rear(scene)
            draw_wheels(scene)
            draw_taillamps(scene)
        case _:
            draw_wheels(scene)
    draw_elements(scene)
