"""Tiles equal those of transformers, grid and pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from carscribe.photos.tiles import Grid, choose_grid, cut, mirrored
from carscribe.records import Tiling

got_ocr2 = pytest.importorskip("transformers.models.got_ocr2.image_processing_pil_got_ocr2")


def noise(width_px: int, height_px: int) -> Image.Image:
    pixels = np.random.default_rng(width_px * 7919 + height_px).integers(0, 256, (height_px, width_px, 3))
    return Image.fromarray(pixels.astype(np.uint8))


@settings(deadline=None, max_examples=500)
@given(
    width_px=st.integers(1, 20_000),
    height_px=st.integers(1, 20_000),
    tile_px=st.sampled_from([14, 224, 448]),
    min_tiles=st.integers(1, 6),
    extra_tiles=st.integers(0, 18),
)
def test_grid_is_that_of_transformers(width_px, height_px, tile_px, min_tiles, extra_tiles):
    tiling = Tiling(tile_px=tile_px, min_tiles=min_tiles, max_tiles=min_tiles + extra_tiles)
    grid = choose_grid(width_px, height_px, tiling)
    if tiling.max_tiles == 1:  # the processor does not ask for a canvas then
        assert (grid.columns, grid.rows) == (1, 1)
        return
    expected = got_ocr2.get_optimal_tiled_canvas(
        (height_px, width_px), (tile_px, tile_px), tiling.min_tiles, tiling.max_tiles
    )
    assert (grid.columns, grid.rows) == expected


@settings(deadline=None, max_examples=300)
@given(columns=st.integers(1, 12), rows=st.integers(1, 12), scale=st.integers(1, 2000))
def test_grid_breaks_ties_as_transformers_does(columns, rows, scale):
    size = (columns * scale, rows * scale)  # exactly the aspect of a grid: where two grids are equally near
    grid = choose_grid(*size, Tiling())
    assert (grid.columns, grid.rows) == got_ocr2.get_optimal_tiled_canvas(size[::-1], (448, 448), 1, 12)


@pytest.mark.parametrize(
    ("size", "tiles"),
    [
        ((448, 448), 1),
        ((300, 301), 1),
        ((960, 481), 3),
        ((481, 960), 3),
        ((1201, 800), 7),
        ((799, 1200), 7),
        ((1921, 1079), 9),
        ((450, 4049), 10),
        ((1333, 1001), 13),
        ((37, 29), 13),
        ((1, 500), 13),
        ((1792, 1344), 13),  # the canvas itself: nothing to resize
    ],
)
def test_tiles_equal_transformers_bit_for_bit(size, tiles):
    image = noise(*size)
    processor = got_ocr2.GotOcr2ImageProcessorPil(
        size={"height": 448, "width": 448}, crop_to_patches=True, do_rescale=False, do_normalize=False
    )
    expected = np.stack([np.asarray(tile) for tile in processor(image)["pixel_values"]])
    grid = choose_grid(*size, Tiling())
    ours = cut(image, grid, Tiling())
    assert ours.dtype == np.uint8
    assert ours.shape == (tiles, 448, 448, 3)
    assert ours.flags.c_contiguous
    np.testing.assert_array_equal(ours.transpose(0, 3, 1, 2), expected)


@pytest.mark.parametrize("resample", [2, 1])
def test_other_filters_and_tile_sizes_are_honoured(resample):
    image = noise(640, 427)
    processor = got_ocr2.GotOcr2ImageProcessorPil(
        size={"height": 224, "width": 224},
        crop_to_patches=True,
        max_patches=6,
        resample=Image.Resampling(resample),
        do_rescale=False,
        do_normalize=False,
    )
    tiling = Tiling(tile_px=224, max_tiles=6, resample=resample)
    expected = np.stack([np.asarray(tile) for tile in processor(image)["pixel_values"]])
    ours = cut(image, choose_grid(640, 427, tiling), tiling)
    np.testing.assert_array_equal(ours.transpose(0, 3, 1, 2), expected)


def test_one_tile_at_most_means_one_tile():
    grid = choose_grid(4000, 3000, Tiling(max_tiles=1))
    assert grid == Grid(columns=1, rows=1)
    assert cut(noise(400, 300), grid, Tiling(max_tiles=1)).shape == (1, 448, 448, 3)


def test_thumbnail_is_last():
    image = Image.new("RGB", (896, 448), "red")
    image.paste((0, 0, 255), (448, 0, 896, 448))
    tiles = cut(image, Grid(columns=2, rows=1), Tiling())
    assert [tuple(tile[224, 10]) for tile in tiles] == [(255, 0, 0), (0, 0, 255), (255, 0, 0)]
    assert tuple(tiles[-1][224, -10]) == (0, 0, 255)


@pytest.mark.parametrize("size", [(0, 10), (10, 0), (-1, 5)])
def test_no_grid_for_a_photo_without_pixels(size):
    with pytest.raises(ValueError, match="positive sides"):
        choose_grid(*size, Tiling())


def test_only_rgb_is_cut():
    with pytest.raises(ValueError, match="RGB image, not L"):
        cut(Image.new("L", (10, 10)), Grid(columns=1, rows=1), Tiling())


@pytest.mark.parametrize("size", [(100, 100), (300, 200), (200, 390)])
def test_mirrored_tiles_are_the_tiles_of_the_mirrored_photo(size: tuple[int, int]) -> None:
    tiling = Tiling(tile_px=28)
    image = Image.fromarray(np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), np.uint8))
    image = image.resize((size[0] // 2 * 2, size[1]))
    grid = choose_grid(*image.size, tiling)
    turned = cut(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), grid, tiling)
    apart = np.abs(mirrored(cut(image, grid, tiling), grid).astype(int) - turned.astype(int))
    assert apart.max() <= 1  # resampling rounds otherwise from the other side
    assert not np.array_equal(turned, cut(image, grid, tiling))
