"""What a photo's faults are told by: sharpness, light, proportions, and marks on a plain ground. Pure arithmetic.

All is measured on a preview of at most 768 pixels, and said so that it does not depend on that size.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from carscribe.records import Preview

PREVIEW_PX = 768
"""Longer side of the preview: little more than what a screen or one tile shows of a photo."""

REBLUR_PX = 1.5
"""Standard deviation of the blur that edges are blurred by once more to see how sharp they were."""

STRONG_SHARE, STRONG_STEP = 0.03, 4.0
"""Edges are the steepest so many pixels of each direction, if they rise by at least so many of 255 levels a pixel."""

SHARP_PX = 0.5
"""Blur of the sharpest picture that pixels can show; it is taken off, so that a small photo is not called blurry."""

SHARPEST_SHARE = 0.25
"""A picture is as sharp as the sharpest quarter of its edges: a background may be out of focus."""

NO_EDGES = 50.0
"""Blur of a picture that has no edges at all, in ‰."""

CLIPPED_LEVEL, PAPER_LEVEL = 250, 254
"""Brightness that is as good as white; brightness of a ground that is white on purpose."""

GROUND_SHARE = 0.9
"""A picture has a white ground where so much of its rim is white."""

GROUND_BLACK = 0.09
"""And where the darkest hundredth of it is no brighter than this."""

MARK_STEP = 60
"""Levels by which ink differs from the ground it is on."""

_CELL_PX, _THIN_PX = 8, 9
_FEWEST_EDGES, _FEWEST_PIXELS = 30, 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Measures:
    """What a photo measures.

    `shorter_px`: the shorter side at full size. `aspect`: longer side by shorter. `brightness`: that of the brightest
    hundredth, 0 to 1. `clipped`: share of the picture that is white, a white ground apart: of a cut-out, the share of
    the car. `blur`: standard deviation of the blur that
    the sharpest edges have, in ‰ of the longer side; None where it is too dark to tell. `marks`: share of the picture
    where thin marks, such as letters and lines, stand on the one commonest colour.
    """

    shorter_px: int
    aspect: float
    brightness: float
    clipped: float
    blur: float | None
    marks: float


def measure(preview: Preview, *, too_dark: float = 0.0) -> Measures:
    """All that is measured. Below a brightness of `too_dark` blur is not."""
    picture = Image.fromarray(preview.pixels)
    grey = picture.convert("L")
    luma = np.asarray(grey)
    brightness = float(np.quantile(luma, 0.99)) / 255
    longer_px, shorter_px = sorted((preview.width_px, preview.height_px), reverse=True)
    return Measures(
        shorter_px=shorter_px,
        aspect=longer_px / shorter_px,
        brightness=brightness,
        clipped=_clipped(luma),
        blur=None if brightness < too_dark else _blur(grey),
        marks=_marks(preview.pixels, luma),
    )


def _blur(grey: Image.Image) -> float:
    """Blur in ‰ of the longer side, of the least sharp of four directions: a moving camera leaves one of them sharp.

    An edge of standard deviation s, blurred by t once more, is flatter by r = s / sqrt(s² + t²), whatever its contrast;
    so s = t r / sqrt(1 - r²).
    Source: Zhuo and Sim, "Defocus map estimation from a single image", Pattern Recognition 44 (2011).
    """
    if min(grey.size) < 3:
        return NO_EDGES
    across, down = _slopes(np.asarray(grey, np.float32))
    steepness = np.hypot(across, down)
    again = np.hypot(*_slopes(np.asarray(grey.filter(ImageFilter.GaussianBlur(REBLUR_PX)), np.float32)))
    direction = np.round(np.arctan2(down, across) / (np.pi / 4)).astype(np.int8) % 4
    widest = 0.0
    for way in range(4):
        own = direction == way
        steep, steep_again = steepness[own], again[own]
        if steep.size < _FEWEST_PIXELS:
            continue
        strong = steep >= max(float(np.quantile(steep[::3], 1 - STRONG_SHARE)), STRONG_STEP)
        if np.count_nonzero(strong) < _FEWEST_EDGES:
            continue
        ratio = np.clip(steep_again[strong] / steep[strong], 0.02, 0.998)
        spread_px = REBLUR_PX * ratio / np.sqrt(1 - ratio**2)
        own_px = float(np.quantile(spread_px, SHARPEST_SHARE))
        widest = max(widest, max(own_px**2 - SHARP_PX**2, 1e-6) ** 0.5)
    return min(NO_EDGES, 1000 * widest / max(grey.size)) if widest else NO_EDGES


def _slopes(levels: NDArray[np.float32]) -> tuple[NDArray[Any], NDArray[Any]]:
    across = (levels[1:-1, 2:] - levels[1:-1, :-2]) / 2
    down = (levels[2:, 1:-1] - levels[:-2, 1:-1]) / 2
    return across, down


def _cells(levels: NDArray[np.generic]) -> NDArray[np.generic]:
    """A picture [height, width] as cells [rows, columns, 8 × 8]; what is over at the right and below is left out."""
    rows, columns = (max(1, side // _CELL_PX) for side in levels.shape)
    height, width = (min(_CELL_PX, side) for side in levels.shape)
    whole = levels[: rows * height, : columns * width].reshape(rows, height, columns, width)
    return whole.swapaxes(1, 2).reshape(rows, columns, height * width)


def _clipped(luma: NDArray[np.uint8]) -> float:
    """Share of white without a white ground and the cells beside it; 1 where all is ground.

    There is a ground where nine tenths of the picture's rim are white and something is still black: paper, or the
    background of a cut-out. Too much light leaves no black.
    """
    cells = _cells(luma)
    white = cells.min(2) >= PAPER_LEVEL
    rim = np.concatenate([white[0], white[-1], white[1:-1, 0], white[1:-1, -1]])
    if rim.mean() < GROUND_SHARE or np.quantile(luma, 0.01) > GROUND_BLACK * 255:
        return float((luma >= CLIPPED_LEVEL).mean())
    paper = Image.fromarray(np.pad(white, 1, constant_values=True).astype(np.uint8)).copy()
    ImageDraw.floodfill(paper, (0, 0), 2)
    ground = np.asarray(paper) == 2
    near = [np.roll(ground, (down, across), (0, 1)) for down in (-1, 0, 1) for across in (-1, 0, 1)]
    inside = ~np.any(near, axis=0)[1:-1, 1:-1]
    return float((cells[inside] >= CLIPPED_LEVEL).mean()) if inside.any() else 1.0


def _marks(pixels: NDArray[np.uint8], luma: NDArray[np.uint8]) -> float:
    """Share of cells of which a third or more is the commonest colour, with something thin upon it."""
    codes = (pixels >> 2).astype(np.int32) @ np.array([1 << 12, 1 << 6, 1], np.int32)
    common = codes == np.bincount(codes.ravel()).argmax()
    ground = [int(np.median(pixels[..., channel][common])) for channel in range(3)]
    on_ground = np.ones(luma.shape, bool)
    for channel, of_ground in enumerate(ground):
        level = pixels[..., channel]
        on_ground &= (level >= max(0, of_ground - 3)) & (level <= min(255, of_ground + 3))
    level_of_ground = round(float(np.dot(ground, [0.299, 0.587, 0.114])))
    ink = (luma >= level_of_ground + MARK_STEP) | (luma <= level_of_ground - MARK_STEP)
    thin = ink & _closed(on_ground)
    marked = (_cells(on_ground).mean(2) >= 0.3) & _cells(thin).any(2)
    return float(marked.mean())


def _closed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask with gaps of up to 8 pixels filled (morphological closing): what is thin is in, what is wide not."""
    padded = np.pad(mask, _THIN_PX, mode="edge")
    filled: NDArray[np.bool_] = _covered(_covered(padded) == 0) == 0
    return filled[_THIN_PX:-_THIN_PX, _THIN_PX:-_THIN_PX]


def _covered(mask: NDArray[np.bool_]) -> NDArray[np.int32]:
    """How many pixels of the 9 by 9 around each are in a mask."""
    counts = mask.astype(np.int32)
    for axis in (0, 1):
        width = [(0, 0), (0, 0)]
        width[axis] = (_THIN_PX // 2 + 1, _THIN_PX // 2)
        sums = np.cumsum(np.pad(counts, width), axis=axis, dtype=np.int32)
        ahead, behind = np.split(sums, [_THIN_PX], axis=axis)[1], sums.take(range(sums.shape[axis] - _THIN_PX), axis)
        counts = ahead - behind
    return counts
