"""The roofline gives back the runs it was fitted to, predicts those it was not, and depends on what it should.

Fitted to: the H100's runs of 1 and 7 tiles. Kept out: its run of 13 tiles, its small batches, both runs of the H200.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carscribe.gpus import find_gpu
from carscribe.memory import FAMILY, RowShape
from carscribe.speed import batch_seconds, batch_work

RESULTS = Path(__file__).parents[1] / "bench" / "results"
EIGHT = FAMILY["OpenGVLab/InternVL3-8B-hf"]
ROW = RowShape(tiles=1, branch_tokens=576, columns=8, new_tokens=40)
"""`designer` in English. The runs say so themselves: 64 photos were expected to take 10.3 GiB."""

WITHIN = 1.1
WITHIN_AFTER_FAILURES = 1.15
"""Those runs' time holds batches that ran out of memory too."""


def result(name: str) -> dict[str, Any]:
    return dict(json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")))


def predicted(gpu: str, batches: list[tuple[int, int]]) -> float:
    """Photos a second of batches (photos, tiles) one after another."""
    sheet = find_gpu(gpu)
    works = (batch_work(EIGHT, replace(ROW, tiles=tiles), photos) for photos, tiles in batches)
    return sum(photos for photos, _ in batches) / sum(batch_seconds(work, sheet) for work in works)


def batches_of(run: dict[str, Any]) -> list[tuple[int, int]]:
    sizes = [batch.split("x") for batch in run["batches"] if batch.replace("x", "").isdigit()]
    return [(int(photos), int(tiles)) for photos, tiles in sizes]


@pytest.mark.parametrize("index", [0, 1, 2], ids=["1 tile", "7 tiles", "13 tiles"])
def test_photos_a_second_on_an_h100_come_out(index: int) -> None:
    found = result("gpu_proof")
    run = found["run"][index]
    assert 1 / WITHIN < predicted(found["gpu"], batches_of(run)) / run["photos_per_s"] < WITHIN


@pytest.mark.parametrize(("where", "photos", "tiles"), [("local", 64, 1), ("network", 34, 13)])
def test_photos_a_second_of_a_workspace_on_an_h200_are_predicted(where: str, photos: int, tiles: int) -> None:
    found = result("gpu_workspace")
    measured = found[where]["photos_per_s"][-1]  # the run that nothing interrupted
    assert 1 / WITHIN < predicted(found["gpu"], [(photos, tiles)]) / measured < WITHIN


@pytest.mark.parametrize("index", [0, 2], ids=["6 at once", "1 at once"])
def test_small_batches_that_were_not_fitted_come_out_too(index: int) -> None:
    found = result("gpu_proof")
    run = found["memory"][index]
    factor = predicted(found["gpu"], batches_of(run)) / run["photos_per_s"]
    assert 1 / WITHIN_AFTER_FAILURES < factor < WITHIN_AFTER_FAILURES


def test_a_slow_memory_binds_a_step_where_it_is_slow_enough() -> None:
    work = batch_work(EIGHT, ROW, 1)
    fast = find_gpu("H100 SXM")
    slow = replace(fast, bandwidth_gb_per_s=300)
    assert batch_seconds(work, slow) > 1.5 * batch_seconds(work, fast)
    assert batch_seconds(work, replace(fast, bandwidth_gb_per_s=10_000)) == batch_seconds(work, fast)


def test_quantised_weights_are_estimated_by_their_rate_and_by_what_dequantising_moves() -> None:
    row, sheet = replace(ROW, tiles=7), find_gpu("H100 SXM")
    seconds = {
        dtype: batch_seconds(batch_work(EIGHT, row, 64, dtype=dtype), sheet)
        for dtype in ("bfloat16", "fp8", "int8", "int4")
    }
    assert 0.5 * seconds["bfloat16"] < seconds["fp8"] < seconds["bfloat16"]
    assert seconds["bfloat16"] < seconds["int4"] <= seconds["int8"] < 1.1 * seconds["bfloat16"]
    slow = replace(sheet, bandwidth_gb_per_s=300)
    few = {dtype: batch_seconds(batch_work(EIGHT, ROW, 1, dtype=dtype), slow) for dtype in seconds}
    assert few["fp8"] < few["bfloat16"] < few["int4"]


def test_choices_alone_decode_nothing() -> None:
    work = batch_work(EIGHT, replace(ROW, columns=0, new_tokens=0), 4)
    assert work.steps == 0
    assert batch_seconds(work, find_gpu("L4")) > 0


def test_more_tiles_and_longer_answers_take_longer() -> None:
    sheet = find_gpu("4090")
    rows = [ROW, replace(ROW, tiles=7), replace(ROW, tiles=7, new_tokens=80)]
    seconds = [batch_seconds(batch_work(EIGHT, row, 8), sheet) for row in rows]
    assert seconds == sorted(seconds)
    assert len(set(seconds)) == 3
