"""The drawing's second layer: crisp shapes over the painted body, written as SVG and rasterised by resvg.

Knows nothing of cars. Widths are in pixels of the 448 px copy (`unit_px` of the projection scales them), points are
pixels [N, 2] of the picture.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from rendered.camera import Points

Colour = str | tuple[int, int, int] | NDArray[np.uint8]
"""An SVG colour, a reference to a gradient, or red, green, and blue of 0..255."""


def rgb(colour: Colour) -> str:
    """SVG's spelling of a colour."""
    return colour if isinstance(colour, str) else "#{:02x}{:02x}{:02x}".format(*(int(c) for c in colour))


def mixed(a: Sequence[float], b: Sequence[float], share_of_b: float) -> tuple[int, int, int]:
    """A colour between two.

    >>> mixed((0, 0, 0), (200, 100, 50), 0.5)
    (100, 50, 25)
    """
    red, green, blue = (round(p + (q - p) * share_of_b) for p, q in zip(a, b, strict=True))
    return red, green, blue


def outline(points: Points, *, closed: bool = True) -> str:
    """SVG path data of a polygon or polyline."""
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points.tolist()) + ("Z" if closed else "")


def rounded(points: Points, radius: float) -> Points:
    """A polygon [N, 2] with its corners rounded by up to `radius`, in the same unit as the points."""
    corners = np.asarray(points, float)
    parts = []
    for before, corner, after in zip(np.roll(corners, 1, 0), corners, np.roll(corners, -1, 0), strict=True):
        arms = [before - corner, after - corner]
        cuts = [min(radius, 0.5 * float(np.hypot(*arm))) / max(float(np.hypot(*arm)), 1e-9) for arm in arms]
        start, end = corner + arms[0] * cuts[0], corner + arms[1] * cuts[1]
        at = np.linspace(0, 1, 6)[:, None]
        parts.append((1 - at) ** 2 * start + 2 * at * (1 - at) * corner + at**2 * end)
    return np.concatenate(parts)


def dense(points: Points, *, step: float = 0.09, closed: bool = True) -> Points:
    """A polyline [N, D] with no segment longer than `step`, so that it can be bent onto a surface."""
    corners = np.asarray(points, float)
    ends = np.roll(corners, -1, axis=0) if closed else corners[1:]
    parts = [
        start
        + (end - start) * np.linspace(0, 1, max(int(np.linalg.norm(end - start) / step), 1), endpoint=False)[:, None]
        for start, end in zip(corners, ends, strict=False)
    ]
    return np.concatenate(parts if closed else [*parts, corners[-1:]])


def hull(points: Points) -> Points:
    """The convex hull [M, 2] of points [N, 2]."""
    ordered = sorted(map(tuple, np.asarray(points).tolist()))
    chains = []
    for run in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in run:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        chains += chain[:-1]
    return np.array(chains)


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


class Canvas:
    """Collects shapes in the order they are drawn, and rasterises them once."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.width_px, self.height_px = width_px, height_px
        self.unit_px = width_px / 448
        self._parts: list[str] = []
        self._names = 0
        self._low, self._high = np.full(2, np.inf), np.full(2, -np.inf)

    def fill(self, points: Points, colour: Colour, *, opacity: float = 1.0) -> None:
        """A polygon."""
        self._reach(points)
        self.path(outline(points), colour, opacity=opacity)

    def path(self, data: str, colour: Colour, *, opacity: float = 1.0) -> None:
        """A filled shape of path data; of overlapping outlines, every second is a hole."""
        faint = f' fill-opacity="{opacity:.2f}"' if opacity < 1 else ""
        self._parts.append(f'<path fill="{rgb(colour)}" fill-rule="evenodd"{faint} d="{data}"/>')

    def line(self, points: Points, colour: Colour, width: float, *, opacity: float = 1.0, closed: bool = False) -> None:
        """A polyline `width` thick (in pixels of the 448 px copy)."""
        self.strokes([points], colour, width, opacity=opacity, closed=closed)

    def strokes(
        self, lines: Sequence[Points], colour: Colour, width: float, *, opacity: float = 1.0, closed: bool = False
    ) -> None:
        """Polylines of one colour and width, drawn as one shape."""
        for points in lines:
            self._reach(points)
        data = "".join(outline(points, closed=closed) for points in lines)
        faint = f' stroke-opacity="{opacity:.2f}"' if opacity < 1 else ""
        self._parts.append(
            f'<path fill="none" stroke="{rgb(colour)}" stroke-width="{width * self.unit_px:.2f}" '
            f'stroke-linejoin="round" stroke-linecap="round"{faint} d="{data}"/>'
        )

    def _reach(self, points: Points) -> None:
        """Only the part of the picture that has shapes is rasterised; what `path` draws lies within it."""
        if len(points):
            self._low, self._high = np.minimum(self._low, points.min(0)), np.maximum(self._high, points.max(0))

    def gradient(self, start: Points, end: Points, stops: Sequence[tuple[float, Colour]]) -> str:
        """A linear gradient from one pixel to another, to be used as a colour."""
        self._names += 1
        (x1, y1), (x2, y2) = np.asarray(start).tolist(), np.asarray(end).tolist()
        inner = "".join(f'<stop offset="{at}" stop-color="{rgb(colour)}"/>' for at, colour in stops)
        self._parts.append(
            f'<linearGradient id="n{self._names}" gradientUnits="userSpaceOnUse" x1="{x1:.1f}" y1="{y1:.1f}" '
            f'x2="{x2:.1f}" y2="{y2:.1f}">{inner}</linearGradient>'
        )
        return f"url(#n{self._names})"

    @contextmanager
    def clipped(self, points: Points) -> Iterator[None]:
        """What is drawn within is cut to a polygon."""
        self._names += 1
        name = f"n{self._names}"
        self._parts.append(
            f'<clipPath id="{name}"><path d="{outline(points)}"/></clipPath><g clip-path="url(#{name})">'
        )
        yield
        self._parts.append("</g>")

    def over(self, picture: Image.Image) -> Image.Image:
        """The picture with all shapes drawn over it."""
        left, top = (max(0, int(edge) - 8) for edge in self._low)
        wide, high = (
            min(self.width_px, int(self._high[0]) + 8) - left,
            min(self.height_px, int(self._high[1]) + 8) - top,
        )
        size = f'width="{wide}" height="{high}" viewBox="{left} {top} {wide} {high}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>'
        png = resvg_py.svg_to_bytes(svg_string="".join([head, *self._parts, "</svg>"]), skip_system_fonts=True)
        shapes = Image.open(io.BytesIO(bytes(png))).convert("RGBA")
        picture.paste(shapes, (left, top), mask=shapes)
        return picture
