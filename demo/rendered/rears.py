"""The rear face: tailgate, bumper, and plate."""

import numpy as np

from rendered.canvas import dense, mixed, rounded
from rendered.geometry import TWO_BOX
from rendered.lamps import Face, face_of
from rendered.scene import Scene, disc, rectangle
from rendered.sides import ink


def draw_rear(scene: Scene) -> None:
    """Everything on the rear face but the lamps."""
    face = face_of(scene, -1.0)
    _draw_shut_lines(scene, face)
    _draw_tailgate(scene, face)
    _draw_bumper(scene, face)
    _draw_plate(scene, face)


def _draw_shut_lines(scene: Scene, face: Face) -> None:
    w, low, high = face.half_width, face.height(0.3), face.height(1.0)
    corners = np.array([[-0.82 * w, high], [-0.8 * w, low], [0.8 * w, low], [0.82 * w, high]])
    scene.canvas.line(scene.on_end(dense(corners, closed=False), -1.0), ink(scene), 1.0)
    if scene.car.body_type == "van":
        middle = dense(np.array([[0, low], [0, high]]), closed=False)
        scene.canvas.line(scene.on_end(middle, -1.0), ink(scene), 1.0)
    bumper = dense(np.array([[-1.05 * w, face.height(0.27)], [1.3 * w, face.height(0.27)]]), closed=False)
    scene.canvas.line(scene.on_end(bumper, -1.0), ink(scene), 0.9)
    if scene.car.body_type not in TWO_BOX:
        lip = dense(np.array([[-0.9 * w, high - 0.01], [0.9 * w, high - 0.01]]), closed=False)
        light = mixed(scene.main.colour, (255, 255, 255), 0.35)
        scene.canvas.line(scene.on_end(lip, -1.0), light, 1.2, opacity=0.6)


def _draw_tailgate(scene: Scene, face: Face) -> None:
    w = face.half_width
    match scene.value("tailgate"):
        case "chrome_strip":
            z = face.height(0.5)
            strip = scene.on_end(rectangle(-0.5 * w, z - 0.03, 0.5 * w, z + 0.035), -1.0)
            scene.canvas.line(strip, (46, 48, 52), 1.0, closed=True)
            top, bottom = strip[:, 1].min(), strip[:, 1].max()
            stops = [(0, (255, 255, 255)), (0.5, (226, 230, 235)), (0.62, (128, 134, 142)), (1, (236, 239, 243))]
            scene.canvas.fill(strip, scene.canvas.gradient(np.array([0, top]), np.array([0, bottom]), stops))
        case "black_panel":
            panel = rectangle(-0.5 * w, face.height(0.5), 0.5 * w, face.height(0.86))
            flat = scene.on_end(rounded(panel, 0.02), -1.0)
            scene.canvas.fill(flat, (5, 5, 6))
            scene.canvas.line(flat, (96, 98, 103) if sum(scene.main.colour) < 120 else (20, 20, 22), 1.2, closed=True)
            shine = dense(np.array([[-0.44 * w, face.height(0.79)], [0.44 * w, face.height(0.79)]]), closed=False)
            scene.canvas.line(scene.on_end(shine, -1.0), (150, 156, 164), 1.3, opacity=0.8)
        case _:
            return


def _draw_bumper(scene: Scene, face: Face) -> None:
    w, canvas = face.half_width, scene.canvas
    low, high = face.height(0.0), face.height(0.22)
    match scene.value("rear_bumper"):
        case "diffuser":
            panel = dense(
                np.array([[-0.6 * w, low - 0.03], [0.6 * w, low - 0.03], [0.68 * w, high], [-0.68 * w, high]])
            )
            canvas.fill(scene.on_end(panel, -1.0), (10, 10, 11))
            fins = [
                scene.on_end(dense(np.array([[x * w, low - 0.05], [x * w, high]]), closed=False), -1.0)
                for x in np.linspace(-0.52, 0.52, 7)
            ]
            canvas.strokes(fins, (126, 129, 134), 1.8)
        case "twin_exhaust":
            for arc in (-0.68 * w, -0.5 * w, 0.5 * w, 0.68 * w):
                for radius, colour in ((0.088, (30, 31, 33)), (0.075, (238, 240, 243)), (0.044, (8, 8, 9))):
                    z = (low + high) / 2 - 0.02
                    canvas.fill(scene.on_end(disc((arc, z), radius), -1.0), colour)
        case "skid_plate":
            corners = [
                [-0.34 * w, low - 0.02],
                [0.34 * w, low - 0.02],
                [0.46 * w, high + 0.02],
                [-0.46 * w, high + 0.02],
            ]
            flat = scene.on_end(dense(np.array(corners)), -1.0)
            top, bottom = flat[:, 1].min(), flat[:, 1].max()
            stops = [(0, (244, 246, 248)), (0.5, (196, 200, 205)), (1, (150, 154, 160))]
            canvas.fill(flat, canvas.gradient(np.array([0, top]), np.array([0, bottom]), stops))
            canvas.line(flat, (40, 41, 44), 1.3, closed=True)
        case _:
            return


def _draw_plate(scene: Scene, face: Face) -> None:
    chance = scene.chance("rear plate")
    z, tint = face.height(0.38), chance.choice([(232, 234, 236), (226, 206, 96), (190, 214, 232)])
    scene.canvas.fill(scene.on_end(rectangle(-0.26, z - 0.055, 0.26, z + 0.055), -1.0), tint)
    scene.canvas.line(scene.on_end(rectangle(-0.26, z - 0.055, 0.26, z + 0.055), -1.0), (60, 62, 66), 0.7, closed=True)
    scene.canvas.line(scene.on_end(dense(np.array([[-0.17, z], [0.17, z]]), closed=False), -1.0), (80, 82, 90), 1.8)
