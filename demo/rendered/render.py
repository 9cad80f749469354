"""Pictures of rendered cars: the public functions. The same record gives the same picture, always."""

from PIL import Image

from rendered.attributes import CarRecord
from rendered.damage import as_jpeg, damaged
from rendered.drawing import draw_car


def render(record: CarRecord) -> Image.Image:
    """An RGB picture, 480 to 900 pixels wide and 1.28 to 1.40 times as wide as high."""
    return damaged(draw_car(record), record.seed)


def render_jpeg(record: CarRecord) -> bytes:
    """The picture as a JPEG file of quality 60 to 95."""
    return as_jpeg(render(record), record.seed)
