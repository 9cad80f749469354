"""Wheels: eight designs, three finishes, drawn in the plane of the wheel and then projected.

A design is a list of bars and a list of holes in the unit circle of the rim; a bar is a middle line [N, 2] with half
its width [N]. Silver bars stand before a dark barrel, black ones before a light one, so that both designs are seen.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rendered.camera import Points
from rendered.canvas import mixed, outline
from rendered.geometry import Car
from rendered.paint import Rgb
from rendered.scene import Scene, disc
from rendered.surfaces import wheel_face

Bar = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finish:
    """Colours of a wheel. `face` is machined bright onto the middle of each bar."""

    bar: Rgb
    lip: Rgb
    barrel: Rgb
    face: Rgb | None = None
    face_share: float = 0.55
    widen: float = 1.0


_FINISHES = {
    "silver": _Finish(bar=(206, 209, 214), lip=(222, 225, 229), barrel=(34, 35, 38)),
    "black": _Finish(bar=(14, 14, 16), lip=(20, 20, 22), barrel=(142, 145, 150)),
    "diamond_cut": _Finish(
        bar=(16, 17, 19), lip=(18, 19, 21), barrel=(104, 107, 112), face=(248, 250, 252), face_share=0.5, widen=1.45
    ),
}

RIM_SHARE = {"small": 0.69, "large": 0.88}
"""The rim's radius in tyre radii."""


def _polar(radius: float | NDArray[np.float64], turn: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack(np.broadcast_arrays(radius * np.cos(turn), radius * np.sin(turn)), axis=-1)


def _straight(turn: float, start: float, end: float, half_start: float, half_end: float) -> Bar:
    return _polar(np.array([start, end]), turn), np.array([half_start, half_end])


def _bars(wheel: str) -> list[Bar]:
    """The bars of a design, within the unit circle."""
    match wheel:
        case "five_spoke":
            return [_straight(t, 0.1, 0.97, 0.15, 0.2) for t in _around(5)]
        case "twin_spoke":
            return [
                (_polar(np.array([0.1, 0.97]), t) + 0.135 * _polar(1.0, t + side * math.pi / 2), np.full(2, 0.052))
                for t in _around(5)
                for side in (-1, 1)
            ]
        case "y_spoke":
            return [_straight(t, 0.1, 0.52, 0.1, 0.085) for t in _around(5)] + [
                (np.stack([_polar(0.48, t), _polar(0.98, t + side * 0.36)]), np.array([0.075, 0.065]))
                for t in _around(5)
                for side in (-1, 1)
            ]
        case "multi_spoke":
            return [_straight(t, 0.12, 0.97, 0.036, 0.04) for t in _around(15)]
        case "turbine":
            way = np.linspace(0.16, 0.97, 7)
            return [(_polar(way, t + 1.25 * way**1.4), np.linspace(0.045, 0.115, 7)) for t in _around(8)]
        case "mesh":
            way = np.linspace(0.2, 0.97, 6)
            return [
                (_polar(way, t + side * 1.0 * (way - 0.2)), np.full(6, 0.034)) for t in _around(9) for side in (-1, 1)
            ]
        case "aero_disc":
            return []
        case "snowflake":
            return [_straight(t, 0.08, 0.97, 0.065, 0.065) for t in _around(6)] + [
                (np.stack([_polar(root, t), _polar(root, t) + _polar(0.34, t + side * 0.95)]), np.full(2, 0.056))
                for t in _around(6)
                for root in (0.36, 0.63)
                for side in (-1, 1)
            ]
        case _:
            raise ValueError(f"No wheel is called {wheel!r}; ATTRIBUTES lists those that are.")


def _around(count: int) -> list[float]:
    return [2 * math.pi * k / count for k in range(count)]


def _strip(bar: Bar, share: float) -> Points:
    """The outline of a bar, its width times `share`."""
    line, half = bar
    ahead = np.gradient(line, axis=0)
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    aside = np.stack([-ahead[:, 1], ahead[:, 0]], axis=-1) * half[:, None] * share
    return np.concatenate([line + aside, (line - aside)[::-1]])


def draw_wheels(scene: Scene) -> None:
    """Both near wheels, in their arches."""
    car = scene.car
    turn = scene.chance("wheels").uniform(0, 2 * math.pi)
    for axle in (car.front_axle, car.rear_axle):
        arch = arch_outline(car, axle, car.arch)
        scene.canvas.fill(scene.on_side(arch), (9, 9, 10))
        below = np.array([[axle - 2 * car.arch, -0.4], [axle + 2 * car.arch, -0.4]])
        opening = np.concatenate([scene.on_side(arch), _plane(scene, axle, below, 0.0)])
        with scene.canvas.clipped(opening):
            _draw_wheel(scene, axle, turn)


def arch_outline(car: Car, axle: float, radius: float) -> Points:
    """x and z of a wheel arch, from its front foot over the top to its rear foot."""
    turn = np.linspace(-0.45, math.pi + 0.45, 40)
    x, z = axle + radius * np.cos(turn), car.arch_height + radius * np.sin(turn)
    x = np.clip(x, car.rear + 0.1, car.front - 0.1)
    floor = np.interp(x, *car.body.floor)
    return np.stack([x, np.clip(z, floor, np.interp(x, *car.body.ceiling) - 0.05)], axis=-1)


def _plane(scene: Scene, axle: float, corners: Points, inset: float) -> Points:
    """Pixels of x and z in the plane of a near wheel's face, or `inset` metres behind it."""
    y = np.full(len(corners), wheel_face(scene.car, axle) - inset)
    return scene.projection(np.stack([corners[:, 0], y, corners[:, 1]], axis=-1))


def _draw_wheel(scene: Scene, axle: float, turn: float) -> None:
    canvas, tyre = scene.canvas, scene.car.tyre
    finish = _FINISHES[scene.value("wheel_finish")]
    rim = tyre * RIM_SHARE[scene.value("wheel_size")]

    def circle(radius: float, inset: float = 0.0) -> Points:
        return _plane(scene, axle, disc((axle, tyre), radius, 36), inset)

    canvas.fill(circle(tyre, 0.2), (15, 15, 16))
    canvas.fill(circle(tyre, 0.1), (19, 19, 20))
    canvas.fill(circle(tyre, 0.03), (24, 24, 25))
    canvas.fill(circle(tyre * 0.965), (33, 33, 35))
    canvas.line(circle((tyre + rim) / 2), (52, 52, 54), 0.7, closed=True)
    canvas.fill(circle(rim), finish.lip)
    canvas.fill(circle(rim * 0.92, 0.02), finish.barrel)
    canvas.fill(circle(rim * 0.86, 0.06), mixed(finish.barrel, (0, 0, 0), 0.2))
    _draw_design(scene, axle, rim, turn, finish)
    if finish.face:
        canvas.line(circle(rim * 0.965), finish.face, 1.5, closed=True)
    else:
        canvas.line(circle(rim * 0.985), finish.lip, 1.4, closed=True)


def _draw_design(scene: Scene, axle: float, rim: float, turn: float, finish: _Finish) -> None:
    canvas, tyre = scene.canvas, scene.car.tyre

    def placed(points: Points) -> Points:
        x = points[:, 0] * math.cos(turn) - points[:, 1] * math.sin(turn)
        z = points[:, 0] * math.sin(turn) + points[:, 1] * math.cos(turn)
        return _plane(scene, axle, np.stack([axle + rim * x, tyre + rim * z], axis=-1), 0.012)

    if scene.value("wheel") == "aero_disc":
        _draw_disc(scene, placed, finish)
    else:
        bars = _bars(scene.value("wheel"))
        for bar in bars:
            canvas.fill(placed(_strip(bar, finish.widen)), finish.bar)
        canvas.fill(placed(disc((0, 0), 0.2)), finish.bar)
        if finish.face:
            for bar in bars:
                canvas.fill(placed(_strip(bar, finish.widen * finish.face_share)), finish.face)
            canvas.fill(placed(disc((0, 0), 0.15)), finish.face)
    canvas.fill(placed(disc((0, 0), 0.09, 12)), (96, 98, 102))


def _draw_disc(scene: Scene, placed: Callable[[Points], Points], finish: _Finish) -> None:
    """A closed cover with short slots near its rim."""
    canvas = scene.canvas
    face = disc((0, 0), 0.95, 36)
    slots = [_strip((_polar(0.74, t + np.linspace(-0.2, 0.2, 5)), np.full(5, 0.065)), 1.0) for t in _around(6)]
    canvas.fill(placed(face), finish.bar)
    top, bottom = placed(np.array([[0.0, 0.6]])), placed(np.array([[0.0, -0.6]]))
    shine = canvas.gradient(top[0], bottom[0], [(0, "#ffffff"), (0.5, "#808080"), (1, "#202020")])
    canvas.fill(placed(disc((0, 0), 0.6)), shine, opacity=0.18)
    if finish.face:
        for t in _around(6):
            canvas.fill(placed(_strip(_straight(t + math.pi / 6, 0.24, 0.92, 0.03, 0.1), 1.0)), finish.face)
    canvas.path("".join(outline(placed(slot)) for slot in slots), finish.barrel)
