"""Crisp reflections on solid paint: a skyline along the doors, and bright windows on the body. Matte has none."""

import numpy as np

from rendered.camera import Points
from rendered.scene import Scene


def draw_reflections(scene: Scene) -> None:
    """What a polished body mirrors, with hard edges: dark and bright, so that white and black cars show it, too."""
    if scene.value("finish") != "solid":
        return
    car, chance = scene.car, scene.chance("reflections")
    x = np.linspace(car.front - 0.3, car.rear + 0.25, 60)
    phase, waves = chance.uniform(0, 6), chance.uniform(2.5, 4.5)
    skyline = 0.43 + 0.05 * np.sin(waves * x + phase) + 0.03 * np.sign(np.sin(2.7 * waves * x + 2 * phase))
    band = np.concatenate([car.body.at(x, skyline), car.body.at(x, 0.1)[::-1]])
    dark = sum(scene.main.colour) < 120
    scene.canvas.fill(scene.projection(band), (255, 255, 255) if dark else (0, 0, 0), opacity=0.15)
    start = car.front_axle - chance.uniform(0.5, 0.7)
    for ahead, behind in ((start, start - 0.75), (start - 0.85, start - 1.05)):
        scene.canvas.fill(_patch(scene, ahead, behind, 0.885, 0.955), (255, 255, 255), opacity=0.9)
    _draw_windows(scene, chance.uniform(0.25, 0.45))


def _patch(scene: Scene, ahead: float, behind: float, low: float, high: float) -> Points:
    """A slanting patch of the near wall."""
    x = np.linspace(ahead, behind, 10)
    points = [scene.car.body.at(x, low), scene.car.body.at(x - 0.06, high)[::-1]]
    return scene.projection(np.concatenate(points))


def _draw_windows(scene: Scene, share: float) -> None:
    """Bright panes with hard edges on the hood, or on the deck when that is what is seen."""
    car = scene.car
    front = scene.record.view != "rear"
    near, far = (car.front - 0.3, car.cowl + 0.1) if front else (car.rear + 0.18, car.glass_foot - 0.06)
    if abs(far - near) < 0.12:
        return
    for low, high in ((0.1, 0.42), (0.5, 0.82)):
        x = np.array([near + (far - near) * low] * 2 + [near + (far - near) * high] * 2)
        rim = car.body.at(x, 1.0)
        rim[:, 1] *= np.array([share, share + 0.3, share + 0.3, share])
        rim[:, 2] += 0.03 if front else 0.002
        scene.canvas.fill(scene.projection(rim), (255, 255, 255), opacity=0.62)
