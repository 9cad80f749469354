"""The roofline gives back runs that came after it, of the kind it was fitted to, and depends on what it should."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carscribe.gpus import find_gpu
from carscribe.memory import FAMILY, RowShape
from carscribe.speed import batch_seconds, batch_work

RESULTS = Path(__file__).parents[1] / "bench" / "results" / "versus"
EIGHT = FAMILY["OpenGVLab/InternVL3-8B-hf"]
ROW = RowShape(tiles=1, branch_tokens=576, columns=8, new_tokens=40)
ASKED = {
    "eight": RowShape(tiles=1, branch_tokens=136, columns=8, new_tokens=20),
    "one": RowShape(tiles=1, branch_tokens=40, columns=1, new_tokens=96),
}
"""What `bench/versus/work.py` asks, with Qwen2.5's tokens."""

WITHIN = 1.1


def rows() -> list[tuple[str, str, dict[str, Any]]]:
    """GPU, dtype and row of each run whose answers are as long as their limits."""
    found = [json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("ours", "ours_fp8")]
    return [(one["gpu"], one["dtype"], row) for one in found for row in one["rows"] if row["work"] in ASKED]


@pytest.mark.parametrize(
    ("gpu", "dtype", "row"), rows(), ids=[f"{row['work']} {dtype} {row['tiles']} tiles" for _, dtype, row in rows()]
)
def test_photos_a_second_come_out(gpu: str, dtype: str, row: dict[str, Any]) -> None:
    asked = replace(ASKED[row["work"]], tiles=row["tiles"])
    predicted = row["batch"] / batch_seconds(batch_work(EIGHT, asked, row["batch"], dtype=dtype), find_gpu(gpu))
    assert 1 / WITHIN < predicted / row["photos_per_s"] < WITHIN


def test_a_slow_memory_binds_a_step_where_it_is_slow_enough() -> None:
    work = batch_work(EIGHT, ROW, 1)
    fast = find_gpu("H100 SXM")
    slow = replace(fast, bandwidth_gb_per_s=300)
    assert batch_seconds(work, slow) > 1.5 * batch_seconds(work, fast)
    assert batch_seconds(work, replace(fast, bandwidth_gb_per_s=1e6)) == (
        batch_seconds(work, replace(fast, bandwidth_gb_per_s=1e5))
    ), "something else binds it then"


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
