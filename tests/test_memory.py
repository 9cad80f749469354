"""What a model needs of memory is a sum of named parts; one arithmetic plans a batch, here or elsewhere."""

import json
import re
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Literal

import pytest

from carscribe.engines.choosing import TYPICAL_ROW
from carscribe.memory import (
    FAMILY,
    GIB,
    NAMED_ONLY,
    ON_CPU,
    ON_GPU,
    QUANTISED,
    RUNTIME_BYTES,
    USED_SHARE,
    BatchBytes,
    Limits,
    ModelShape,
    RowShape,
    asked_at_once,
    batch_bytes,
    dequantised_bytes,
    largest_that_fits,
    plan_batch,
    read_at_once,
    rows_that_fit,
    short_step,
    vision_bytes,
    weight_bytes,
)

ROW = RowShape(tiles=7, branch_tokens=576, columns=8, new_tokens=40)
EIGHT = FAMILY["OpenGVLab/InternVL3-8B-hf"]
CELLS = Path(__file__).parents[1] / "bench" / "results" / "memory"
CELL_NAMES = [
    *map("-".join, product(("1B", "2B", "8B", "14B"), ("bfloat16", *QUANTISED), ("1", "7", "13"))),
    "8B-bfloat16-13-48",
]
"""A model's size, dtype and tiles; and once 48 questions, which are asked of the 8B."""

BIG_ROW = RowShape(tiles=13, branch_tokens=1472, columns=16, new_tokens=320)
CHOICES_ALONE = RowShape(tiles=1, branch_tokens=64, columns=0, new_tokens=0)


@pytest.mark.parametrize("shape", [*FAMILY.values(), *NAMED_ONLY.values()], ids=[*FAMILY, *NAMED_ONLY])
@pytest.mark.parametrize("row", [ROW, BIG_ROW, CHOICES_ALONE])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "fp8", "int8", "int4"])
def test_the_parts_of_a_batch_add_up(shape: ModelShape, row: RowShape, dtype: str) -> None:
    parts = batch_bytes(shape, row, dtype, ON_GPU, photos=5)
    larger = max(parts.vision, parts.reading, parts.asking, parts.choosing)
    assert parts.total == parts.prefix_cache + parts.branch_cache + larger + parts.graphs
    assert parts.choosing >= parts.graphs >= dequantised_bytes(shape, dtype)
    here, elsewhere = (
        batch_bytes(shape, row, dtype, limits, photos=5, compiled=False)
        for limits in (ON_GPU, replace(ON_GPU, graphs=False))
    )
    assert (elsewhere.total, elsewhere.idle) == (here.total - here.graphs, 0)
    assert here.idle > 0


def test_graphs_hold_a_short_step_at_most() -> None:
    short = short_step(EIGHT) // ROW.columns
    held = [
        batch_bytes(EIGHT, ROW, "bfloat16", ON_GPU, photos=photos).graphs for photos in (short // 2, short + 1, 384)
    ]
    assert held[0] < held[1] == held[2] == short_step(EIGHT) * EIGHT.vocabulary * 2


def test_no_cell_lacks_and_none_is_left_out() -> None:
    assert sorted(cell.stem for cell in CELLS.glob("*.json")) == sorted(CELL_NAMES)


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_what_was_measured_on_a_gpu_is_predicted_within_5_percent(cell: str) -> None:
    found = json.loads((CELLS / f"{cell}.json").read_text("utf-8"))
    shape = {**FAMILY, **NAMED_ONLY}[f"OpenGVLab/InternVL3-{found['size']}-hf"]
    row = RowShape(**{name: found["row"][name] for name in ("tiles", "branch_tokens", "columns", "new_tokens")})
    batch = batch_bytes(shape, row, found["dtype"], ON_GPU, photos=found["photos"], compiled=found["compiled"])
    predicted = (RUNTIME_BYTES + weight_bytes(shape, found["dtype"]) + batch.reserved) / GIB
    assert predicted == pytest.approx(found["measured_gib"]["process"], rel=0.05)


@pytest.mark.parametrize("dtype", ["bfloat16", "fp8"])
def test_compiled_layers_take_less_and_fp8_on_a_gpu_is_compiled_from_the_start(dtype: str) -> None:
    as_it_begins, compiled, uncompiled = (
        batch_bytes(EIGHT, ROW, dtype, ON_GPU, photos=56, compiled=each) for each in (None, True, False)
    )
    assert as_it_begins == (compiled if dtype == "fp8" else uncompiled)
    for part in ("vision", "reading", "asking", "idle"):
        assert getattr(compiled, part) < getattr(uncompiled, part)
    assert (compiled.prefix_cache, compiled.graphs) == (uncompiled.prefix_cache, uncompiled.graphs)
    fitting = [rows_that_fit(EIGHT, ROW, dtype, 20 * GIB, ON_GPU, compiled=each) for each in (True, False)]
    assert fitting[0] > fitting[1]


def test_more_photos_add_caches_and_logits_but_no_larger_passes() -> None:
    full = read_at_once(ROW.tiles, ON_GPU), asked_at_once(ROW.branch_tokens, ON_GPU)
    assert full == (9, 28)
    some, more = (batch_bytes(EIGHT, ROW, "bfloat16", ON_GPU, photos=photos) for photos in (28, 56))
    assert (some.asking, more.reading) == (
        more.asking,
        8 * batch_bytes(EIGHT, ROW, "bfloat16", ON_GPU, photos=1).reading,
    )
    assert some.vision == vision_bytes(EIGHT, 49, "bfloat16"), "28 photos are read in four parts of 7"
    for part in ("prefix_cache", "branch_cache", "graphs"):
        assert getattr(more, part) == 2 * getattr(some, part)
    few = batch_bytes(EIGHT, ROW, "bfloat16", ON_GPU, photos=3)
    assert few.reading * 7 == some.reading * 3


@pytest.mark.parametrize("shape", [*FAMILY.values(), *NAMED_ONLY.values()], ids=[*FAMILY, *NAMED_ONLY])
def test_only_the_projections_of_the_layers_are_smaller_when_quantised(shape: ModelShape) -> None:
    plain, fp8, int8, int4 = (weight_bytes(shape, dtype) for dtype in ("bfloat16", "fp8", "int8", "int4"))
    others = 2 * (shape.parameters - shape.layer_parameters)
    assert plain - others == 2 * shape.layer_parameters
    for quantised, bits in ((fp8, 8), (int8, 8), (int4, 4)):
        assert (quantised - others) * 8 / shape.layer_parameters == pytest.approx(bits, abs=0.3)
    assert int8 < fp8 < plain


@pytest.mark.parametrize("dtype", QUANTISED)
def test_what_is_not_quantised_is_in_what_the_device_computes_in(dtype: str) -> None:
    on_gpu, on_cpu = (plan_batch(EIGHT, ROW, dtype, 100 * GIB, limits) for limits in (ON_GPU, ON_CPU))
    assert on_gpu.weight_bytes == weight_bytes(EIGHT, dtype)
    assert on_cpu.weight_bytes == weight_bytes(EIGHT, dtype, "float32")
    assert batch_bytes(EIGHT, ROW, dtype, ON_GPU, photos=1).prefix_cache == (
        batch_bytes(EIGHT, ROW, "bfloat16", ON_GPU, photos=1).prefix_cache
    )
    assert on_cpu.fits


@pytest.mark.parametrize("limits", [ON_GPU, ON_CPU])
@pytest.mark.parametrize("free_gib", [-3, 0, 1, 5, 20, 100])
def test_a_batch_is_as_large_as_fits_and_never_less_than_one(limits: Limits, free_gib: int) -> None:
    plan = plan_batch(EIGHT, ROW, "bfloat16", free_gib * GIB, limits)
    fitting = rows_that_fit(EIGHT, ROW, "bfloat16", free_gib * GIB, limits)
    assert plan.photos == max(1, fitting)
    assert plan.fits == (fitting > 0)

    def needed(photos: int) -> int:
        return batch_bytes(EIGHT, ROW, "bfloat16", limits, photos=photos).total

    assert plan.batch_bytes == needed(plan.photos)
    assert not fitting or needed(fitting) <= USED_SHARE * free_gib * GIB
    allowed = min(limits.photos, limits.tiles // ROW.tiles)
    assert fitting == allowed or needed(fitting + 1) > USED_SHARE * free_gib * GIB
    assert plan.weight_bytes == weight_bytes(EIGHT, "bfloat16")


def test_passes_are_never_at_once() -> None:
    parts = BatchBytes(prefix_cache=2, branch_cache=4, vision=1, reading=100, asking=60, choosing=30, graphs=8, idle=7)
    assert (parts.passes, parts.total, parts.reserved) == (100, 114, 121)
    for part in ("vision", "asking", "choosing"):
        assert replace(parts, **{part: 117}).total == 131


def test_siblings_that_are_only_named_are_never_picked() -> None:
    assert largest_that_fits(1000 * GIB, "bfloat16", ROW) == "OpenGVLab/InternVL3-8B-hf"
    billions = {name.split("-")[1]: round(shape.parameters / 1e9, 1) for name, shape in NAMED_ONLY.items()}
    assert billions == {"14B": 15.1, "38B": 38.4}  # as docs/models.md has them


@pytest.mark.parametrize("name", [*FAMILY, *NAMED_ONLY])
def test_the_page_about_models_says_what_is_computed(name: str) -> None:
    page = (Path(__file__).parents[1] / "docs" / "models.md").read_text("utf-8")
    shape = {**FAMILY, **NAMED_ONLY}[name]

    def needed(tiles: int, dtype: Literal["bfloat16", "int4"]) -> str:
        photo = batch_bytes(shape, replace(TYPICAL_ROW, tiles=tiles), dtype, ON_GPU, photos=1).total
        return f"{(RUNTIME_BYTES + weight_bytes(shape, dtype) + photo / USED_SHARE) / GIB:.1f}"

    weights = {held: f"{weight_bytes(shape, held) / GIB:.1f} GiB" for held in ("bfloat16", *QUANTISED)}
    one_photo = " / ".join(needed(tiles, "bfloat16") for tiles in (1, 7, 13))
    assert re.search(rf"`{name}` .*\| {weights['bfloat16']} \| {one_photo} GiB \|", page)
    if (short := name.split("-")[1]) != "1B":
        cells = [weights["bfloat16"], *(weights[held] for held in QUANTISED), f"{needed(13, 'int4')} GiB"]
        assert f"| {short} | {' | '.join(cells)} |" in page
