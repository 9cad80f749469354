"""Choose the grid for a photo and cut it into tiles, pixel for pixel as transformers' `GotOcr2ImageProcessorPil` does.

Knows nothing of files, colour or models: an RGB image comes in, uint8 tiles go out (not rescaled, not normalised).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carscribe.records import Tiling

# A tie goes to the larger grid while the photo covers more than this share of it: no tiles for pixels nobody took.
_COVERED_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """How many tiles a photo is cut into, across and down."""

    columns: int
    rows: int

    @property
    def tiles(self) -> int:
        """Tiles of one photo: the grid, and a thumbnail when it is more than one.

        >>> Grid(columns=1, rows=1).tiles, Grid(columns=3, rows=2).tiles
        (1, 7)
        """
        cells = self.columns * self.rows
        return cells if cells == 1 else cells + 1

    def canvas_px(self, tile_px: int) -> tuple[int, int]:
        """Width and height in pixels that the photo is resized to before it is cut.

        >>> Grid(columns=3, rows=2).canvas_px(448)
        (1344, 896)
        """
        return self.columns * tile_px, self.rows * tile_px


@lru_cache(maxsize=64)
def _candidates(min_tiles: int, max_tiles: int) -> tuple[Grid, ...]:
    """Every grid of `min_tiles` to `max_tiles` tiles, small ones first, narrow before wide among equals."""
    sides = range(1, max_tiles + 1)
    grids = [Grid(columns=columns, rows=rows) for columns in sides for rows in sides]
    fitting = [grid for grid in grids if min_tiles <= grid.columns * grid.rows <= max_tiles]
    return tuple(sorted(fitting, key=lambda grid: grid.columns * grid.rows))


def choose_grid(width_px: int, height_px: int, tiling: Tiling) -> Grid:
    """The grid whose aspect is nearest to that of a photo of this size (its full size, after rotation).

    Raises: ValueError when a side is not positive.
    Source: `get_optimal_tiled_canvas` in transformers' models/got_ocr2/image_processing_pil_got_ocr2.py.

    >>> choose_grid(4000, 3000, Tiling()).tiles  # 4:3, 12 megapixels
    13
    >>> choose_grid(6000, 4000, Tiling()).tiles  # 3:2
    7
    >>> choose_grid(3840, 2160, Tiling()).tiles  # 16:9
    9
    >>> choose_grid(1024, 576, Tiling()).tiles  # 16:9 under 0.8 megapixels
    3
    >>> choose_grid(4000, 3000, Tiling(max_tiles=1)).tiles
    1
    """
    if width_px <= 0 or height_px <= 0:
        raise ValueError(f"a photo has positive sides, not {width_px} × {height_px} px")
    best = Grid(columns=1, rows=1)
    if tiling.max_tiles == 1:
        return best
    aspect = width_px / height_px
    area_px = width_px * height_px
    best_distance = float("inf")
    for grid in _candidates(tiling.min_tiles, tiling.max_tiles):
        distance = abs(aspect - grid.columns / grid.rows)
        # The products in this order, as in transformers: a float rounded otherwise would break a tie the other way.
        covered = area_px > _COVERED_SHARE * tiling.tile_px * tiling.tile_px * grid.columns * grid.rows
        if distance < best_distance or (distance == best_distance and covered):
            best_distance, best = distance, grid
    return best


def mirrored(tiles: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The tiles of the photo seen in a mirror: left and right changed in every tile, and in the grid.

    uint8 [grid.tiles, tile_px, tile_px, 3] in and out.
    """
    cells = grid.columns * grid.rows
    order = np.arange(cells).reshape(grid.rows, grid.columns)[:, ::-1].ravel()
    return np.ascontiguousarray(tiles[[*order, *range(cells, len(tiles))], :, ::-1])


def cut(image: Image.Image, grid: Grid, tiling: Tiling) -> NDArray[np.uint8]:
    """Resize an RGB image to the grid's canvas and cut it, row by row, thumbnail last.

    Returns: uint8 [grid.tiles, tile_px, tile_px, 3], RGB, contiguous.
    Raises: ValueError when the image is not RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"cut takes an RGB image, not {image.mode}")
    side = tiling.tile_px
    resample = Image.Resampling(tiling.resample)
    tiles = np.empty((grid.tiles, side, side, 3), dtype=np.uint8)
    canvas = np.asarray(image.resize(grid.canvas_px(side), resample))
    # [rows × side, columns × side, 3] -> [rows, columns, side, side, 3]
    cells = canvas.reshape(grid.rows, side, grid.columns, side, 3).swapaxes(1, 2)
    tiles[: grid.rows * grid.columns].reshape(grid.rows, grid.columns, side, side, 3)[:] = cells
    if grid.tiles > 1:
        tiles[-1] = np.asarray(image.resize((side, side), resample))
    return tiles
