"""The windscreen of an open car: a frame, and glass one sees through."""

import numpy as np

from rendered.scene import Scene


def draw_windscreen_frame(scene: Scene) -> None:
    """A frame in the roof's colour, black when the folded top is black."""
    car = scene.car
    if not car.open_top:
        return
    level = np.linspace(0.0, 0.97, 8)
    half = np.interp(level, car.house.levels, car.house.width) * 0.95
    across = np.linspace(-1, 1, 16)
    arc = np.concatenate([-half, half[-1] * across, half[::-1]])
    at = np.concatenate([level, np.full(16, level[-1]), level[::-1]])
    flat = scene.projection(car.house.end_at_level(arc, at, 1.0))
    scene.canvas.fill(flat, (120, 142, 156), opacity=0.42)
    scene.canvas.line(flat, (18, 18, 20), 4.6)
    scene.canvas.line(flat, scene.roof.colour, 3.2)
