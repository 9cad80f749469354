"""Draws a few placeholder cars and their metadata, so that there is something to describe without a photograph.

usage: python demo/placeholder_cars.py FOLDER
"""

import json
import sys
from pathlib import Path

from PIL import Image, ImageDraw

# name, kind, file, size in px, body colour, roofline as (x, y) in tenths of the body's length and height
CARS = (
    ("Placeholder Sedan", "세단", "sedan.jpg", (1600, 1200), "#b3202a", ((2, 5), (3.4, 1.6), (6.4, 1.5), (8.2, 4.8))),
    ("Placeholder SUV", "SUV", "suv.png", (1500, 1000), "#2b4c7e", ((2, 4.6), (3, 0.8), (8.6, 0.7), (9.6, 4.6))),
    (
        "Placeholder Hatchback",
        "해치백",
        "hatchback.jpg",
        (1920, 1080),
        "#e0b000",
        ((2, 5), (3.4, 1.4), (7.6, 1.4), (9.4, 4.8)),
    ),
    ("Placeholder Van", "밴", "van.webp", (900, 900), "#d9d9d4", ((1, 4.6), (2.2, 0.2), (9.6, 0.2), (9.8, 5))),
    ("Placeholder Coupé", "쿠페", "쿠페 빨강.jpg", (1200, 400), "#20242b", ((2.4, 5), (4.4, 2), (6.2, 2), (9, 5))),
    ("Placeholder Pickup", "픽업", "pickup.png", (800, 1200), "#4a5d3a", ((2, 5), (3.2, 1.4), (5.6, 1.4), (6, 5))),
)


def draw_car(size: tuple[int, int], colour: str, roof: tuple[tuple[float, float], ...]) -> Image.Image:
    """A car seen from its left side, on a grey ground."""
    image = Image.new("RGB", size, "#c9d3da")
    pen = ImageDraw.Draw(image)
    width, height = size
    length = 0.86 * width
    tall = min(0.5 * height, 0.42 * length)
    left, top, ground = 0.07 * width, height * 0.82 - tall, height * 0.82

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x / 10 * length, top + y / 10 * tall

    pen.rectangle((0, ground, width, height), fill="#8c8f91")
    pen.polygon([at(x, y) for x, y in roof], fill="#7fa3b8", outline=colour, width=max(2, width // 100))
    pen.rounded_rectangle((*at(0, 4.6), *at(10, 8.8)), radius=tall / 7, fill=colour)
    pen.line((*at(0.5, 6), *at(9.5, 5.8)), fill="white", width=max(1, width // 300))
    pen.ellipse((*at(0.05, 5.4), *at(0.6, 6.6)), fill="#fff4c2")
    pen.rectangle((*at(9.6, 5.4), *at(9.95, 6.6)), fill="#d01818")
    radius = tall * 0.19
    for x in (1.9, 8):
        centre_x, centre_y = at(x, 8.6)
        for share, fill in ((1.0, "#151515"), (0.62, "#b8bcc0"), (0.2, "#404448")):
            r = radius * share
            pen.ellipse((centre_x - r, centre_y - r, centre_x + r, centre_y + r), fill=fill)
    return image


def draw_all(folder: Path) -> Path:
    """Draw every car into `folder`/images; the path of the metadata file beside them."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    for _, _, file, size, colour, roof in CARS:
        draw_car(size, colour, roof).save(images / file)
    rows = [{"name": name, "kind": kind, "image": file} for name, kind, file, *_ in CARS]
    metadata = folder / "cars.json"
    metadata.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    return metadata


if __name__ == "__main__":
    print(draw_all(Path(sys.argv[1])))
