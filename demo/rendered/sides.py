"""The near side: windows, shut lines, handles, creases, cladding; and the glass of both ends."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from rendered.camera import Points
from rendered.canvas import mixed, outline
from rendered.geometry import Car
from rendered.gloss import draw_reflections
from rendered.paint import Rgb
from rendered.scene import Scene
from rendered.wheels import arch_outline

PLASTIC: Rgb = (47, 48, 51)
"""Cladding."""

WINDOW_FOOT, WINDOW_TOP = 0.1, 0.8
"""Levels of the greenhouse between which there is glass."""


def door_lines(car: Car) -> list[float]:
    """The x of the shut lines, front to back."""
    first = min(car.front_axle - car.arch - 0.08, car.cowl + 0.05)
    if car.body_type == "van":
        return [first, first - 1.0, first - 2.05]
    if car.body_type == "minivan":
        return [first, first - 1.0, min(car.rear_axle + car.arch + 0.02, first - 1.9)]
    last = car.rear_axle + car.arch * (0.8 if car.shape.doors > 1 else 1.1)
    if car.body_type == "pickup_truck":
        last = car.glass_foot + 0.1
    if not car.open_top:
        last = max(last, float(car.house.rear[4]) + 0.3)
    if car.body_type == "limousine":
        return [first, first - 0.95, last + 0.95, last]
    return [float(x) for x in np.linspace(first, last, car.shape.doors + 1)]


def ink(scene: Scene) -> Rgb:
    """The colour of a shut line: darker than the paint, lighter on black."""
    return mixed(scene.main.colour, (0, 0, 0), 0.72) if sum(scene.main.colour) > 120 else (78, 79, 84)


def draw_side(scene: Scene) -> None:
    """Everything on the near wall but the wheels."""
    draw_reflections(scene)
    _draw_shoulder(scene)
    _draw_creases(scene)
    _draw_shut_lines(scene)
    if not scene.car.open_top:
        _draw_side_glass(scene)
    _draw_cladding(scene)


def _draw_shoulder(scene: Scene) -> None:
    """A strong shoulder catches the light along its edge, and throws a shadow below."""
    if scene.value("shoulder") != "strong":
        return
    car = scene.car
    x = np.linspace(car.front - 0.5, car.rear + 0.42, 40)

    def band(low: float, high: float) -> Points:
        points = np.concatenate([car.body.at(x, low), car.body.at(x, high)[::-1]])
        return scene.projection(points)

    scene.canvas.fill(band(0.6, 0.745), (0, 0, 0), opacity=0.26)
    scene.canvas.fill(band(0.79, 0.87), mixed(scene.main.colour, (255, 255, 255), 0.6), opacity=0.75)


def _draw_creases(scene: Scene) -> None:
    """The character lines of the body's side."""
    car = scene.car
    spans: dict[str, list[tuple[float, float]]] = {
        "none": [],
        "straight": [(0.52, 0.52)],
        "rising": [(0.2, 0.7)],
        "double": [(0.62, 0.62), (0.36, 0.36)],
    }
    x = np.linspace(car.front_axle + 0.1, car.rear + 0.3, 40)
    if scene.value("character_line") == "rising":
        x = np.linspace(car.front_axle - car.arch - 0.05, car.rear + 0.3, 40)
    light = mixed(scene.main.colour, (255, 255, 255), 0.55)
    for start, end in spans[scene.value("character_line")]:
        share = np.linspace(start, end, 40)
        foot = car.sill
        z = foot + share * (car.belt(x) - foot)
        upper, lower = (scene.projection(car.body.side(x, z + dz)) for dz in (0.018, -0.022))
        deep = scene.projection(car.body.side(x, z - 0.075))
        scene.canvas.fill(np.concatenate([lower, deep[::-1]]), (0, 0, 0), opacity=0.16)
        scene.canvas.line(upper, light, 1.5, opacity=0.95)
        scene.canvas.line(lower, mixed(scene.main.colour, (0, 0, 0), 0.75), 1.9, opacity=0.9)


def _draw_shut_lines(scene: Scene) -> None:
    car, canvas = scene.car, scene.canvas
    lines = door_lines(car)
    top = 0.97
    cuts = []
    for k, x in enumerate(lines):
        level = np.linspace(0.1, top, 12)
        lean = 0.06 * level if k == 0 else -0.03 * level
        cuts.append(scene.projection(car.body.at(x + lean, level)))
    sill = np.linspace(lines[0], lines[-1], 20)
    cuts.append(scene.projection(car.body.at(sill, 0.1)))
    canvas.strokes(cuts, ink(scene), 1.0)
    if car.body_type in {"van", "minivan"}:
        rail = np.linspace(lines[-1], car.rear + 0.35, 10)
        canvas.line(scene.projection(car.body.at(rail, 0.74)), ink(scene), 1.6)
    if car.body_type == "pickup_truck":
        gap = np.linspace(0.05, 1, 10)
        canvas.line(scene.projection(car.body.at(car.glass_foot - 0.06, gap)), (12, 12, 13), 2.2)
    handles = [scene.projection(car.body.at(np.linspace(x + 0.1, x + 0.28, 4), 0.8)) for x in lines[1:]]
    canvas.strokes(handles, ink(scene), 2.8)
    canvas.strokes(handles, mixed(scene.main.colour, (255, 255, 255), 0.5), 1.3)


def glass(scene: Scene, points: Points, *, opacity: float = 1.0) -> None:
    """A pane: dark at its foot, the sky at its top, and a slanting reflection."""
    foot, sky = scene.tint
    top, bottom = points[:, 1].min(), points[:, 1].max()
    colour = scene.canvas.gradient(np.array([0, top]), np.array([0, bottom]), [(0, sky), (0.6, foot), (1, foot)])
    scene.canvas.fill(points, colour, opacity=opacity)


def _pane(scene: Scene, front: NDArray[np.float64], rear: NDArray[np.float64], levels: NDArray[np.float64]) -> Points:
    """Pixels of a side window between two edges, x for each level."""
    keep = front - rear > 0.05
    front, rear, levels = front[keep], rear[keep], levels[keep]
    if len(levels) < 2:
        return np.zeros((0, 2))
    across = np.linspace(0, 1, 8)[1:-1]
    top = front[-1] + (rear[-1] - front[-1]) * across
    foot = rear[0] + (front[0] - rear[0]) * across
    x = np.concatenate([front, top, rear[::-1], foot])
    level = np.concatenate([levels, np.full(6, levels[-1]), levels[::-1], np.full(6, levels[0])])
    return scene.projection(scene.car.house.at(x, level))


def side_window_edges(car: Car, levels: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The x of the side glass's front and rear edge at each level."""
    front = np.interp(levels, car.house.levels, car.house.front) - 0.33
    pillar = {"coupe": 0.34, "sedan": 0.36, "limousine": 0.36, "hatchback": 0.42, "fastback": 0.5}
    rear = np.interp(levels, car.house.levels, car.house.rear) + pillar.get(car.body_type, 0.28)
    if car.body_type == "van":
        rear = np.full_like(levels, door_lines(car)[1] + 0.06)
    return front, rear


def _draw_side_glass(scene: Scene) -> None:
    car = scene.car
    levels = np.linspace(WINDOW_FOOT, WINDOW_TOP, 9)
    front, rear = side_window_edges(car, levels)
    scene.canvas.fill(_pane(scene, front + 0.035, rear - 0.035, np.linspace(0.07, 0.825, 9)), (12, 12, 14))
    cuts = [x for x in door_lines(car)[1:] if rear[0] + 0.2 < x < front[0] - 0.2]
    if car.body_type == "hatchback":
        cuts = cuts[:1]
    for ahead, behind in pairwise([99.0, *cuts, -99.0]):
        pane = _pane(scene, np.minimum(front, ahead - 0.035), np.maximum(rear, behind + 0.035), levels)
        if len(pane):
            glass(scene, pane)
    if scene.value("roof") == "same" and scene.chance("trim").random() < 0.4:
        foot = np.linspace(front[0], rear[0], 16)
        scene.canvas.line(scene.projection(car.house.at(foot, 0.06)), (214, 217, 221), 1.2)


def draw_end_glass(scene: Scene) -> None:
    """The windscreen and the rear window, as far as they face the camera."""
    car = scene.car
    if car.open_top:
        return
    shown = {"front": (1.0,), "rear": (-1.0,), "side": (1.0, -1.0)}[scene.record.view]
    for facing in shown:
        level = np.linspace(0.07 if facing > 0 else 0.14, 0.84, 8)
        half = np.interp(level, car.house.levels, car.house.width) * 0.87
        far = np.zeros_like(half) if scene.record.view == "side" else -half
        across = np.linspace(0, 1, 12)
        foot = far[0] + (half[0] - far[0]) * across
        top = (far[-1] + (half[-1] - far[-1]) * across)[::-1]
        arc = np.concatenate([foot, half, top, far[::-1]])
        at = np.concatenate([np.full(12, level[0]), level, np.full(12, level[-1]), level[::-1]])
        if facing < 0 and car.body_type == "van":
            for low, high in ((0.04, 1), (-1, -0.04)):
                glass(scene, scene.projection(car.house.end_at_level(np.clip(arc, low * 9, high * 9), at, facing)))
            continue
        glass(scene, scene.projection(car.house.end_at_level(arc, at, facing)))


def _draw_cladding(scene: Scene) -> None:
    """Dark plastic about the arches, and, when full, on sills, lower doors, and the bumpers' lower edge."""
    kind, car, canvas = scene.value("cladding"), scene.car, scene.canvas
    if kind == "none":
        for axle in (car.front_axle, car.rear_axle):
            canvas.line(scene.on_side(arch_outline(car, axle, car.arch + 0.012)), ink(scene), 0.8, opacity=0.7)
        return
    edge = (92, 93, 97)
    if kind == "full":
        top = 0.3
        x = np.linspace(car.front - 0.45, car.rear + 0.4, 40)
        side = np.concatenate([car.body.at(x, 0.0), car.body.at(x, top)[::-1]])
        canvas.fill(scene.projection(side), PLASTIC)
        canvas.line(scene.projection(car.body.at(x, top)), edge, 0.8)
        for facing in {"front": (1.0,), "rear": (-1.0,), "side": (1.0, -1.0)}[scene.record.view]:
            start = -scene.far_limits[facing] if scene.record.view != "side" else 0.5
            arc = np.linspace(start, car.half_width + 0.45, 40)
            band = [car.body.end_at_level(arc, 0.0, facing), car.body.end_at_level(arc, top, facing)[::-1]]
            canvas.fill(scene.projection(np.concatenate(band)), PLASTIC)
    for axle in (car.front_axle, car.rear_axle):
        outer, inner = arch_outline(car, axle, car.arch + 0.115), arch_outline(car, axle, car.arch)
        canvas.path(outline(scene.on_side(np.concatenate([outer, inner[::-1]]))), PLASTIC)
        canvas.line(scene.on_side(outer), edge, 0.8)
