"""Makes an image anew: upright, in sRGB, its boxes filled, and nothing of the old file in the new one.

A box is filled with one colour, which is taken from around it. A blur can be undone in part (by deconvolution, and by
trying every plate of a known typeface), and so can a mosaic of more than a few cells; one colour from outside says
nothing of what was inside. Source: Hill, Zhou, Saul and Shacham, On the (In)effectiveness of Mosaicing and Blurring as
Tools for Document Redaction, 2016.
"""

import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carscribe.errors import PhotoError
from carscribe.photos.decode import preview_photo
from carscribe.plaintext import plain_line
from carscribe.privacy.boxes import Box, Detector
from carscribe.privacy.listed import ListedBoxes
from carscribe.records import MaskedImage, PhotoFile

MARGIN = 0.15
"""A box grows by this share of its width to the left and right, of its height up and down: detectors leave out ears,
chins and the edges of a tilted plate."""

MARGIN_PX = 8
"""It grows by this at least: as far as JPEG's blocks carry traces of what was in the box."""

RING_PX = 8
"""So far around what is filled its colour is looked for."""

JPEG_QUALITY = 95
_FULL_SIZE_PX = 1 << 31
_GREY = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Whole pixels of a picture: columns `left` up to but not `right`, rows `top` up to but not `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def slices(self) -> tuple[slice, slice]:
        """As an index of [height, width, …]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


class Masking:
    """Hides what detectors find and what was listed; `export.write` and `write_set` take it as `masker`."""

    def __init__(self, detectors: Sequence[Detector] = (), listed: ListedBoxes | None = None) -> None:
        self.listed = listed or ListedBoxes()
        self._detectors = detectors

    def mask(self, photo: PhotoFile, sha256: str, content: bytes, format_: Literal["JPEG", "PNG"]) -> MaskedImage:
        """The image to be exported in the place of `content`, a photo's file, whether or not anything was found in it.

        Takes about ten bytes a pixel, whatever is found: one photo is held, and detectors see a smaller one.

        Raises: PhotoError when the photo cannot be decoded, or a listed box lies outside it.
        """
        listed = self.listed.of(photo, sha256)
        pixels = np.array(preview_photo(content, _FULL_SIZE_PX).pixels)
        height_px, width_px = pixels.shape[:2]
        areas = [area_of(box, width_px, height_px) for box in listed]
        if None in areas:
            box = listed[areas.index(None)]
            raise PhotoError(
                f"its listed box {box.kind} at x {box.left:g} to {box.right:g}, y {box.top:g} to {box.bottom:g} lies "
                f"outside its {width_px} × {height_px} pixels: boxes are in pixels of the upright photo"
            )
        found = [box for detector in self._detectors for box in found_by(detector, pixels)]
        areas += [area_of(box, width_px, height_px) for box in found]
        fill(pixels, [area for area in areas if area is not None])
        kinds = Counter(plain_line(box.kind) for box in (*listed, *found))
        return MaskedImage(content=_encoded(pixels, format_), boxes=dict(sorted(kinds.items())))


def found_by(detector: Detector, pixels: NDArray[np.uint8]) -> list[Box]:
    """What a detector finds in a picture [height, width, 3], shown smaller if need be, in pixels of that picture."""
    height_px, width_px = pixels.shape[:2]
    scale = detector.longer_px / max(width_px, height_px)
    if scale >= 1:
        return list(detector.find(pixels))
    size_px = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    small = np.asarray(Image.fromarray(pixels).resize(size_px, Image.Resampling.BILINEAR, reducing_gap=3.0))
    across, down = width_px / size_px[0], height_px / size_px[1]
    return [
        Box(
            kind=box.kind,
            left=box.left * across,
            top=box.top * down,
            right=box.right * across,
            bottom=box.bottom * down,
            score=box.score,
        )
        for box in detector.find(small)
    ]


def area_of(box: Box, width_px: int, height_px: int) -> Area | None:
    """The pixels to fill: the box with its margin, rounded outwards, within the picture. None for a box outside.

    >>> area_of(Box(kind="face", left=20.5, top=30, right=120.5, bottom=80), 640, 110)
    Area(left=5, top=22, right=136, bottom=88)
    """
    if box.right <= 0 or box.bottom <= 0 or box.left >= width_px or box.top >= height_px:
        return None
    across = max(MARGIN_PX, MARGIN * (box.right - box.left))
    down = max(MARGIN_PX, MARGIN * (box.bottom - box.top))
    return Area(
        left=max(0, math.floor(box.left - across)),
        top=max(0, math.floor(box.top - down)),
        right=min(width_px, math.ceil(box.right + across)),
        bottom=min(height_px, math.ceil(box.bottom + down)),
    )


def fill(pixels: NDArray[np.uint8], areas: Iterable[Area]) -> None:
    """Fill areas of a picture [height, width, 3] in place, each with the median colour around it.

    What lies in another area is no part of that colour; where nothing else is left, the colour is grey.
    """
    areas = list(areas)
    hidden = np.zeros(pixels.shape[:2], dtype=np.bool_)
    for area in areas:
        hidden[area.slices] = True
    for area in areas:
        rows = slice(max(0, area.top - RING_PX), area.bottom + RING_PX)
        columns = slice(max(0, area.left - RING_PX), area.right + RING_PX)
        around = pixels[rows, columns][~hidden[rows, columns]]
        pixels[area.slices] = np.median(around, axis=0).astype(np.uint8) if len(around) else _GREY


def _encoded(pixels: NDArray[np.uint8], format_: Literal["JPEG", "PNG"]) -> bytes:
    """A file that holds these pixels and nothing else: made of an array, so that nothing can have come along."""
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    match format_:
        case "JPEG":
            image.save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
        case "PNG":
            image.save(stream, "PNG")
        case _:
            assert_never(format_)
    return stream.getvalue()
