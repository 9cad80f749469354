"""The front face: grille, its frame and pattern, lower intake, and plate."""

from collections.abc import Callable

import numpy as np

from rendered.camera import Points
from rendered.canvas import dense, mixed, rounded
from rendered.lamps import Face, face_of
from rendered.scene import Scene, rectangle
from rendered.sides import ink

BARS = (188, 192, 198)


def draw_front(scene: Scene) -> None:
    """Everything on the front face but the lamps."""
    face = face_of(scene, 1.0)
    _draw_hood_edge(scene)
    if scene.value("grille_shape") != "tall":
        lower = rectangle(-0.62 * face.half_width, face.height(0.03), 0.62 * face.half_width, face.height(0.13))
        scene.canvas.fill(scene.on_end(rounded(lower, 0.03), 1.0), (18, 18, 20))
    for opening in grille_openings(scene.value("grille_shape"), face):
        _draw_grille(scene, opening)
    _draw_plate(scene, face)


def _draw_hood_edge(scene: Scene) -> None:
    """The hood's shut lines, toward the windscreen."""
    car = scene.car
    x = np.linspace(car.front - 0.3, car.cowl, 12)
    for side in (-1.0, 1.0):
        rim = car.body.at(x, 1.0)
        rim[:, 1] *= side * np.linspace(0.8, 0.9, 12)
        rim[:, 2] += 0.012
        scene.canvas.line(scene.projection(rim), ink(scene), 0.8, opacity=0.75)


def grille_openings(shape: str, face: Face) -> list[tuple[float, float, float, float]]:
    """Rectangles of left, bottom, right, and top on the face, in metres."""
    w, z = face.half_width, face.height
    match shape:
        case "wide":
            return [(-0.5 * w, z(0.18), 0.5 * w, z(0.9))]
        case "tall":
            return [(-0.27 * w, z(0.0), 0.27 * w, z(0.9))]
        case "twin":
            return [(-0.46 * w, z(0.2), -0.05 * w, z(0.88)), (0.05 * w, z(0.2), 0.46 * w, z(0.88))]
        case _:
            return [(-0.5 * w, z(0.52), 0.5 * w, z(0.86))]


def _draw_grille(scene: Scene, opening: tuple[float, float, float, float]) -> None:
    left, bottom, right, top = opening
    radius = {"wide": 0.06, "tall": 0.07, "twin": 0.12, "slim": 0.03}[scene.value("grille_shape")]
    corners = np.array([[left, bottom], [right, bottom], [right, top], [left, top]])
    shape = scene.on_end(dense(rounded(corners, radius)), 1.0)
    pattern, canvas = scene.value("grille_pattern"), scene.canvas
    if pattern == "closed":
        high, low = shape[:, 1].min(), shape[:, 1].max()
        tone = mixed(scene.main.colour, (255, 255, 255) if sum(scene.main.colour) < 300 else (0, 0, 0), 0.22)
        sheen = [(0, mixed(tone, (255, 255, 255), 0.3)), (0.5, tone), (1, mixed(tone, (0, 0, 0), 0.25))]
        canvas.fill(shape, canvas.gradient(np.array([0, high]), np.array([0, low]), sheen))
    else:
        canvas.fill(shape, (10, 10, 12))
        with canvas.clipped(shape):
            lines = [scene.on_end(line, 1.0) for line in _PATTERNS[pattern](left, bottom, right, top)]
            canvas.strokes(lines, BARS, {"horizontal": 2.0, "vertical": 2.0}.get(pattern, 1.25))
    chrome = scene.chance("grille frame").random() < 0.6
    canvas.line(shape, (216, 220, 225) if chrome else (24, 24, 26), 1.8, closed=True)


def _horizontal(left: float, bottom: float, right: float, top: float) -> list[Points]:
    count = max(round((top - bottom) / 0.062), 2)
    return [
        dense(np.array([[left, z], [right, z]]), closed=False)
        for z in bottom + (top - bottom) * (np.arange(count) + 0.5) / count
    ]


def _vertical(left: float, bottom: float, right: float, top: float) -> list[Points]:
    count = max(round((right - left) / 0.075), 3)
    return [
        dense(np.array([[y, bottom], [y, top]]), closed=False)
        for y in left + (right - left) * (np.arange(count) + 0.5) / count
    ]


def _mesh(left: float, bottom: float, right: float, top: float) -> list[Points]:
    """Upright squares."""
    rows, columns = max(round((top - bottom) / 0.085), 3), max(round((right - left) / 0.105), 3)
    lines = [np.array([[left, z], [right, z]]) for z in np.linspace(bottom, top, rows + 1)[1:-1]]
    lines += [np.array([[y, bottom], [y, top]]) for y in np.linspace(left, right, columns + 1)[1:-1]]
    return [dense(line, closed=False) for line in lines]


def _diamond(left: float, bottom: float, right: float, top: float) -> list[Points]:
    """Rhombi: two families of slanting lines."""
    tall, wide = top - bottom, right - left
    step = min(0.17, tall * 0.9)
    lines = []
    for start in np.arange(-tall, wide + step, step):
        for direction in (1, -1):
            a = left + start if direction > 0 else right - start
            lines.append(np.array([[a, bottom], [a + direction * tall, top]]))
    return [dense(line, closed=False) for line in lines]


def _honeycomb(left: float, bottom: float, right: float, top: float) -> list[Points]:
    """Hexagons standing on a corner."""
    size = min(0.088, (top - bottom) * 0.42)
    across, up = size * 3**0.5, size * 1.5
    turn = np.pi / 6 + np.arange(7) * np.pi / 3
    cell = np.stack([np.cos(turn), np.sin(turn)], axis=-1) * size
    middle = np.array([(left + right) / 2, (bottom + top) / 2])
    rows, columns = int((top - bottom) / up) // 2 + 1, int((right - left) / across) // 2 + 1
    return [
        middle + cell + np.array([(c + 0.5 * (r % 2)) * across, r * up])
        for r in range(-rows, rows + 1)
        for c in range(-columns - 1, columns + 1)
    ]


_PATTERNS: dict[str, Callable[[float, float, float, float], list[Points]]] = {
    "horizontal": _horizontal,
    "vertical": _vertical,
    "mesh": _mesh,
    "diamond": _diamond,
    "honeycomb": _honeycomb,
}


def _draw_plate(scene: Scene, face: Face) -> None:
    """A licence plate below the grille; some cars have none."""
    chance = scene.chance("front plate")
    if chance.random() < 0.45:
        return
    z, tint = face.height(0.09), chance.choice([(232, 234, 236), (226, 206, 96), (190, 214, 232)])
    scene.canvas.fill(scene.on_end(rectangle(-0.24, z - 0.05, 0.24, z + 0.05), 1.0), tint)
    scene.canvas.line(scene.on_end(dense(np.array([[-0.16, z], [0.16, z]]), closed=False), 1.0), (90, 92, 98), 1.6)
