"""Lamps of both ends: an outline, and a light signature that is lit within it or beside it.

Shapes are polygons [N, 2] of arc and height on the end face, in metres, for the near lamp; the far one mirrors them.
"""

from dataclasses import dataclass

import numpy as np

from rendered.camera import Points
from rendered.canvas import dense, mixed, rounded
from rendered.paint import Rgb
from rendered.scene import Scene, disc, rectangle

LIT: Rgb = (250, 253, 255)
HOUSING: Rgb = (30, 33, 38)
RED_LIT: Rgb = (255, 44, 36)
RED_DIM: Rgb = (104, 6, 12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """An end face in metres: heights of its lower and upper edge, half its width, 1 for front or -1 for rear."""

    bottom: float
    top: float
    half_width: float
    facing: float

    def height(self, share: float) -> float:
        """The height at a share of the face, 0 at its lower edge."""
        return self.bottom + share * (self.top - self.bottom)


def face_of(scene: Scene, facing: float) -> Face:
    """The scene's front or rear face."""
    car = scene.car
    tip = car.front if facing > 0 else car.rear
    body = car.body
    return Face(
        bottom=float(np.interp(tip, *body.floor)),
        top=float(np.interp(tip - facing * 0.1, *body.ceiling)),
        half_width=car.half_width,
        facing=facing,
    )


def _mirrored(scene: Scene, face: Face, shape: Points) -> list[Points]:
    """Pixels of a near shape and of its far sister."""
    far = shape * np.array([-1.0, 1.0])
    return [scene.on_end(s, face.facing) for s in (far, shape)]


def _glow(scene: Scene, points: Points, colour: Rgb, width: float, *, closed: bool = False) -> None:
    """A lit line, with a halo."""
    scene.canvas.line(points, colour, width * 2.4, opacity=0.28, closed=closed)
    scene.canvas.line(points, colour, width, closed=closed)
    scene.canvas.line(points, mixed(colour, (255, 255, 255), 0.6), width * 0.45, closed=closed)


def _headlamp_shapes(kind: str, face: Face) -> list[Points]:
    """The outlines of one headlamp: two when it is split."""
    w, mid = face.half_width, face.height(0.72)
    match kind:
        case "slim":
            return [rectangle(0.58 * w, mid - 0.035, 1.12 * w, mid + 0.045)]
        case "round":
            return [disc((0.72 * w, mid - 0.02), 0.16)]
        case "rectangular":
            return [rounded(rectangle(0.56 * w, mid - 0.12, 1.04 * w, mid + 0.1), 0.03)]
        case "swept":
            corners = [[0.5 * w, mid - 0.13], [0.92 * w, mid - 0.15], [1.5 * w, mid + 0.16], [1.2 * w, mid + 0.13]]
            return [dense(np.array(corners))]
        case _:
            low = face.height(0.42)
            strip = rectangle(0.54 * w, face.height(0.86), 1.12 * w, face.height(0.86) + 0.05)
            return [rounded(rectangle(0.62 * w, low - 0.09, 0.98 * w, low + 0.09), 0.05), strip]


def headlamp_anchor(kind: str, face: Face) -> tuple[float, float]:
    """Arc and height about which a signature is lit."""
    share = 0.42 if kind == "split" else 0.72
    return 0.74 * face.half_width, face.height(share) - (0.02 if kind in {"round", "swept"} else 0.0)


def draw_headlamps(scene: Scene) -> None:
    """Both headlamps and their signature."""
    face, kind = face_of(scene, 1.0), scene.value("headlamp")
    rim = (206, 210, 216)
    shapes = _headlamp_shapes(kind, face)
    for k, shape in enumerate(shapes):
        for flat in _mirrored(scene, face, shape):
            scene.canvas.line(flat, (10, 10, 12), 2.8, closed=True)
            top, bottom = flat[:, 1].min(), flat[:, 1].max()
            stops = [(0, (104, 112, 122)), (0.45, HOUSING), (1, (58, 62, 70))]
            colour = scene.canvas.gradient(np.array([0, top]), np.array([0, bottom]), stops)
            scene.canvas.fill(flat, (206, 216, 228) if k else colour)
            scene.canvas.line(flat, rim, 0.9, closed=True)
    _draw_lenses(scene, face, kind)
    _draw_front_signature(scene, face, headlamp_anchor(kind, face))


def _draw_lenses(scene: Scene, face: Face, kind: str) -> None:
    """Dim projector lenses, so that a lamp is a lamp before its signature is lit."""
    arc, z = headlamp_anchor(kind, face)
    radius = {"slim": 0.028, "round": 0.085}.get(kind, 0.05)
    for shift in (0.0,) if kind == "round" else (-0.13, 0.13):
        for flat in _mirrored(scene, face, disc((arc + shift, z), radius, 14)):
            scene.canvas.fill(flat, (120, 128, 138))
            scene.canvas.line(flat, (176, 184, 194), 0.6, closed=True)


def _draw_front_signature(scene: Scene, face: Face, anchor: tuple[float, float]) -> None:
    arc, z = anchor
    match scene.value("front_signature"):
        case "light_bar":
            reach = np.linspace(-0.98 * face.half_width, 0.98 * face.half_width, 60)
            line = np.stack([reach, np.full_like(reach, face.height(0.97))], axis=-1)
            _glow(scene, scene.on_end(line, 1.0), LIT, 3.6)
        case "l_shaped":
            corner = np.array([[arc - 0.2, z + 0.13], [arc - 0.2, z - 0.1], [arc + 0.2, z - 0.1]])
            for flat in _mirrored(scene, face, dense(corner, closed=False)):
                _glow(scene, flat, LIT, 3.0)
        case "ring":
            for flat in _mirrored(scene, face, disc((arc, z), 0.115)):
                scene.canvas.fill(flat, HOUSING)
                _glow(scene, flat, LIT, 2.8, closed=True)
        case "pixel":
            for shift in (-0.16, -0.053, 0.053, 0.16):
                for flat in _mirrored(
                    scene, face, rectangle(arc + shift - 0.034, z - 0.034, arc + shift + 0.034, z + 0.034)
                ):
                    scene.canvas.line(flat, LIT, 1.5, opacity=0.25, closed=True)
                    scene.canvas.fill(flat, LIT)
        case _:
            for dz in (-0.06, 0.06):
                bar = dense(np.array([[arc - 0.22, z + dz], [arc + 0.24, z + dz]]), closed=False)
                for flat in _mirrored(scene, face, bar):
                    _glow(scene, flat, LIT, 2.6)


def _taillamp_shape(kind: str, face: Face) -> Points:
    """The outline of one taillamp."""
    w, mid = face.half_width, face.height(0.72)
    match kind:
        case "slim":
            return rectangle(0.52 * w, mid - 0.035, 1.1 * w, mid + 0.045)
        case "round":
            return disc((0.7 * w, mid - 0.02), 0.15)
        case "rectangular":
            return rounded(rectangle(0.54 * w, mid - 0.11, 1.02 * w, mid + 0.1), 0.025)
        case "vertical":
            return rectangle(0.84 * w, face.height(0.3), 1.02 * w, face.height(1.0))
        case _:
            left, right, low, high = 0.52 * w, 1.0 * w, face.height(0.38), face.height(0.94)
            arm = 0.085
            corners = [
                *([left, high], [right, high], [right, low], [left, low], [left, low + arm]),
                *([right - arm * 1.4, low + arm], [right - arm * 1.4, high - arm], [left, high - arm]),
            ]
            return dense(np.array(corners))


def draw_taillamps(scene: Scene) -> None:
    """Both taillamps and their signature."""
    face, kind, signature = face_of(scene, -1.0), scene.value("taillamp"), scene.value("rear_signature")
    shape = _taillamp_shape(kind, face)
    fill = {"outline": (38, 4, 8), "solid": RED_LIT, "pixel": (64, 4, 8)}.get(signature, (150, 10, 16))
    for flat in _mirrored(scene, face, shape):
        scene.canvas.line(flat, (12, 8, 9), 2.4, closed=True)
        scene.canvas.fill(flat, fill)
        if signature == "outline":
            _glow(scene, flat, RED_LIT, 2.0, closed=True)
        elif signature == "solid":
            scene.canvas.line(flat, RED_LIT, 4.5, opacity=0.3, closed=True)
            middle = flat.mean(axis=0)
            scene.canvas.fill(
                middle + (flat - middle) * 0.5, (255, 120, 104), opacity=0.0 if kind == "c_shaped" else 0.8
            )
    if signature == "pixel":
        _draw_pixels(scene, face, kind)
    if signature == "light_bar":
        reach = np.linspace(-0.96 * face.half_width, 0.96 * face.half_width, 60)
        line = np.stack([reach, np.full_like(reach, face.height(0.9))], axis=-1)
        scene.canvas.line(scene.on_end(line, -1.0), (24, 4, 6), 5.0)
        _glow(scene, scene.on_end(line, -1.0), RED_LIT, 3.2)


def _draw_pixels(scene: Scene, face: Face, kind: str) -> None:
    """Lit squares that fill the lamp, well apart."""
    w, mid, low, high = face.half_width, face.height(0.72), face.height(0.3), face.height(1.0)
    places: list[tuple[float, float]]
    match kind:
        case "vertical":
            places = [(0.93 * w, low + (high - low) * share) for share in (0.13, 0.38, 0.62, 0.87)]
        case "c_shaped":
            low, high = face.height(0.38) + 0.042, face.height(0.94) - 0.042
            places = [(x * w, z) for z in (low, high) for x in (0.58, 0.71, 0.84)]
            places += [(0.935 * w, (low + high) / 2), (0.935 * w, low + 0.02), (0.935 * w, high - 0.02)]
        case "round":
            places = [(0.7 * w + x, mid - 0.02 + z) for x in (-0.05, 0.05) for z in (-0.05, 0.05)]
        case "slim":
            places = [(x * w, mid + 0.005) for x in (0.58, 0.7, 0.82, 0.94)]
        case _:
            places = [(x * w, mid - 0.005 + z) for x in (0.6, 0.72, 0.84, 0.96) for z in (-0.052, 0.048)]
    half = 0.03
    for arc, z in places:
        for flat in _mirrored(scene, face, rectangle(arc - half, z - half, arc + half, z + half)):
            scene.canvas.fill(flat, (255, 96, 84))
