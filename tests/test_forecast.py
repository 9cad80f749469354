"""What `carscribe plan` says: the engine's own arithmetic for a GPU that is not here, and what it costs."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from carscribe.cli.app import app
from carscribe.doctor.machine import Ran
from carscribe.doctor.smi import QUERY_GPUS
from carscribe.engines.choosing import TYPICAL_ROW
from carscribe.engines.new_checkpoint import Sizes
from carscribe.errors import CarscribeError, CheckpointError, InputError
from carscribe.forecast import (
    KNOWN,
    TILES,
    Asking,
    asking,
    forecast,
    holding_gpus,
    named_shape,
    place_here,
    place_of,
)
from carscribe.gpus import DataSheet, data_sheets, find_gpu
from carscribe.memory import (
    GIB,
    ON_GPU,
    QUANTISED,
    RUNTIME_BYTES,
    RowShape,
    largest_that_fits,
    plan_batch,
    weight_bytes,
)

Make = Callable[..., Path]
DESIGNER = asking(["designer"], ["en"])


class OneGpu:
    """A machine that knows nothing but what nvidia-smi says of its GPUs."""

    def __init__(self, csv: str | None) -> None:
        self.csv = csv

    def run(self, *command: str, timeout_s: float = 20) -> Ran | None:
        assert command == QUERY_GPUS
        return None if self.csv is None else Ran(code=0, out=self.csv)


@pytest.mark.parametrize("gpu", [sheet.name for sheet in data_sheets()])
@pytest.mark.parametrize("model", list(KNOWN))
def test_what_fits_on_a_gpu_is_what_the_engine_plans_with_as_much_free(gpu: str, model: str) -> None:
    place = place_of(find_gpu(gpu))
    found = forecast(place, named_shape(model), DESIGNER)
    for tiles, expected in zip(found.tiles, TILES, strict=True):
        shape, batch = KNOWN[model], tiles.batch
        assert batch == plan_batch(
            *(shape, batch_row(DESIGNER, expected), found.dtype),
            place.free_bytes - RUNTIME_BYTES - weight_bytes(shape, found.dtype),
            ON_GPU,
        )
        assert tiles.parts.total == batch.batch_bytes
        assert tiles.total_bytes == RUNTIME_BYTES + batch.weight_bytes + batch.batch_bytes + tiles.idle_bytes
        assert 0 <= tiles.idle_bytes <= tiles.parts.idle
        assert (tiles.total_bytes <= place.free_bytes) or not batch.fits
        assert (tiles.photos_per_hour is not None) == batch.fits
    assert found.fits == (gpu in holding_gpus(KNOWN[model], batch_row(DESIGNER, TILES[-1]), "auto"))


def batch_row(asked: Asking, tiles: int) -> RowShape:
    return replace(asked.row, tiles=tiles)


@pytest.mark.parametrize("sheet", data_sheets(), ids=lambda sheet: sheet.name)
def test_without_a_model_it_is_the_one_that_describe_picks(sheet: DataSheet) -> None:
    place = place_of(sheet)
    found = forecast(place, None, DESIGNER)
    assert found.dtype == ("bfloat16" if sheet.bfloat16 else "float16")
    assert found.model.name == largest_that_fits(place.free_bytes, found.dtype, TYPICAL_ROW)


@pytest.mark.parametrize(
    ("gpu", "model", "dtype", "at_once", "fitting", "holding"),
    [
        ("4090", "8B", "auto", [True, True, True], None, None),
        ("T4", "8B", "auto", [False, False, False], "OpenGVLab/InternVL3-2B-hf", "RTX A4500"),
        ("A100 80", "38B", "auto", [True, True, True], None, None),
        ("A40", "38B", "int8", [False, False, False], "OpenGVLab/InternVL3-14B-hf", "RTX A6000"),
        ("2080 Ti", "8B", "int8", [True, True, False], "OpenGVLab/InternVL3-2B-hf", "RTX 4070 Ti"),
        ("H200", "38B", "auto", [True, True, True], None, None),
    ],
)
def test_where_a_model_does_not_fit_it_says_which_would_and_where_this_one_would(
    gpu: str, model: str, dtype: str, at_once: list[bool], fitting: str | None, holding: str | None
) -> None:
    found = forecast(place_of(find_gpu(gpu)), named_shape(model), DESIGNER, dtype=dtype)
    assert [tiles.batch.fits for tiles in found.tiles] == at_once
    assert found.fitting_model == fitting
    assert next(iter(found.holding_gpus), None) == holding


@pytest.mark.parametrize(
    ("csv", "expected"),
    [
        ("0, GPU-1, NVIDIA L4, 580.95, 23034, 22500, 8.9, [N/A]\n", ("NVIDIA L4", 22500, True, "L4")),
        ("0, GPU-1, Tesla T4, 580.95, 15360, 14900, 7.5, [N/A]\n", ("Tesla T4", 14900, False, "T4")),
        (
            "0, GPU-1, NVIDIA GeForce GTX 1080, 580.95, 8192, 8000, 6.1, [N/A]\n",
            ("NVIDIA GeForce GTX 1080", 8000, False, None),
        ),
        (
            "0, GPU-1, NVIDIA L4, 580.95, 23034, 100, 8.9, [N/A]\n1, GPU-2, NVIDIA L4, 580.95, 23034, 200, 8.9, [N/A]",
            ("NVIDIA L4", 200, True, "L4"),
        ),
        ("0, GPU-1, NVIDIA H100 80GB HBM3, 580.95, 81559, 81000, 9.0, Enabled\n", None),
        ("No devices were found", None),
        (None, None),
    ],
)
def test_the_gpu_here_is_the_one_with_the_most_free(csv: str | None, expected: tuple[object, ...] | None) -> None:
    place = place_here(OneGpu(csv))  # type: ignore[arg-type]
    if place is None:
        assert expected is None
        return
    sheet = place.sheet.name if place.sheet else None
    assert (place.name, place.free_bytes // 2**20, place.bfloat16, sheet) == expected


def test_an_unknown_gpu_has_memory_and_no_speed() -> None:
    place = place_here(OneGpu("0, GPU-1, NVIDIA Newest, 999.1, 32768, 32000, 13.0, [N/A]"))  # type: ignore[arg-type]
    assert place is not None
    found = forecast(place, None, DESIGNER)
    assert found.fits
    assert [tiles.photos_per_hour for tiles in found.tiles] == [None, None, None]


@pytest.mark.parametrize("spelt", ["8B", "8b", "InternVL3-8B", "InternVL3-8B-hf", "OpenGVLab/InternVL3-8B-hf"])
def test_a_sibling_is_known_by_any_part_of_its_name(spelt: str) -> None:
    assert named_shape(spelt).name == "OpenGVLab/InternVL3-8B-hf"


def test_a_checkpoints_folder_is_planned_from_its_config(random_checkpoint: Make) -> None:
    found = named_shape(str(random_checkpoint()))
    assert found.name == str(random_checkpoint())
    assert found.shape.parameters < 10_000_000


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("demo", InputError, "11 MB"),
        (
            "OpenGVLab/InternVL3_5-4B-HF",
            CheckpointError,
            "was not fetched yet, and a plan fetches nothing.*carscribe pull",
        ),
        ("9B", CheckpointError, "Give a folder, 1B, 2B, 8B, 14B, 38B, or first"),
        ("./nowhere", CheckpointError, "No folder ./nowhere"),
    ],
)
def test_a_model_that_is_not_known_is_said_in_a_line(
    model: str, error: type[CarscribeError], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(error, match=says) as raised:
        named_shape(model)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--gpu", "A100"], "may be A100 40 GB or A100 80 GB"),
        (["--gpu", "4091"], "Near it: .*RTX 4090"),
        (["--gpu", "T4", "--dtype", "bfloat16"], "T4 has no bfloat16. Give --dtype float16"),
        (["--gpu", "L4", "--dtype", "int3"], "No dtype 'int3'.*fp8, int8, int4"),
        (["--gpu", "3090", "--dtype", "fp8"], "RTX 3090 does not multiply in fp8. Give --dtype int8"),
        (["--gpu", "L4", "--recipe", "nothing"], 'No shipped recipe is called "nothing"'),
        (["--gpu", "L4", "--language", "fr"], "has no fr"),
        (["--gpu", "list", "--price", "1"], "--photos and --price are about one GPU"),
    ],
)
def test_what_is_wrong_is_said_in_one_error(arguments: list[str], says: str) -> None:
    from carscribe.cli import planning  # noqa: F401 - its command is it

    with pytest.raises(CarscribeError, match=says):
        CliRunner().invoke(app, ["plan", *arguments], catch_exceptions=False)


def plan(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "carscribe", "plan", *arguments],
        env={**os.environ, "COLUMNS": "80", **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )


def test_a_named_gpu_is_told_on_80_columns_without_torch() -> None:
    done = plan("--gpu", "rtx 4090", "--photos", "100000", "--price", "0.69")
    for imported in ("torch", "transformers", "huggingface_hub"):
        assert f" {imported}\n" not in done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    rows = {line[:40].strip(): line[40:].split() for line in done.stdout.splitlines()}
    assert rows["fits"] == ["yes", "yes", "yes"]
    assert [len(rows[head]) for head in ("photos an hour", "hours for 100,000 photos", "cost of 1,000 photos")] == [
        3
    ] * 3
    assert "Computed, not measured" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ["--gpu", "T4", "--model", "8B"],
            ["fit here with OpenGVLab/InternVL3-2B-hf", "fit this model on RTX A4500"],
        ),
        (["--gpu", "2080 Ti", "--model", "8B", "--dtype", "int8"], ["or take 7 at most: --max-tiles 6"]),
        (["--gpu", "A40", "--model", "38B", "--dtype", "int8"], ["(name it with --model)"]),
        (["--gpu", "L4", "--dtype", "float32", "--model", "2B"], ["not estimated in float32"]),
        (["--gpu", "V100 32"], ["no bfloat16: float16, checked", "fp8 not available, int8 8.7 GiB, int4 5.9 GiB"]),
        (["--gpu", "H200"], ["weights in fp8 8.7 GiB, int8 8.7 GiB, int4 5.9 GiB", "not measured on real weights"]),
        (
            ["--gpu", "T4", "--dtype", "int4", "--model", "8B"],
            ["InternVL3-8B-hf, int4", "opt-in, not measured on real weights", "graphs of decode steps"],
        ),
        (
            ["--gpu", "list", "--dtype", "fp8", "--model", "8B"],
            ["8B, fp8", "fp8 is not available on RTX 3070, RTX 3080", "A100 80 GB", "not measured on real weights"],
        ),
        (["--gpu", "mi300x"], ["An AMD GPU"]),
    ],
)
def test_what_stands_in_the_way_is_told_beside_the_table(arguments: list[str], says: list[str]) -> None:
    shown = plan(*arguments).stdout
    assert max(map(len, shown.splitlines())) <= 80
    assert [text for text in says if text not in shown] == []


@pytest.fixture
def smi(tmp_path: Path) -> Callable[[str], str]:
    """Puts a program called nvidia-smi that prints a line on a PATH of its own; the PATH."""

    def write(line: str) -> str:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\necho '{line}'\n")
        program.chmod(0o755)
        return str(tmp_path)

    return write


def test_without_a_name_it_is_the_gpu_here_with_what_is_free(smi: Callable[[str], str]) -> None:
    shown = plan(PATH=smi("0, GPU-1, NVIDIA L4, 580.95, 23034, 22528, 8.9, [N/A]")).stdout
    assert "NVIDIA L4: 22.5 GiB, 22.0 GiB free" in shown
    assert "OpenGVLab/InternVL3-8B-hf, bfloat16" in shown
    assert "photos an hour" in shown


def test_without_a_gpu_it_says_so_and_shows_the_table(tmp_path: Path) -> None:
    done = plan(PATH=str(tmp_path))
    assert "No whole GPU here that nvidia-smi shows." in done.stdout + done.stderr
    assert "RTX 4090" in done.stdout


def test_every_gpu_is_a_line_of_80_columns() -> None:
    done = plan("--gpu", "list", "--model", "14B")
    assert max(map(len, done.stdout.splitlines())) <= 80
    lines = {
        sheet.name: line for sheet in data_sheets() for line in done.stdout.splitlines() if f"{sheet.name} " in line
    }
    assert len(lines) == len(data_sheets())
    assert "no; 8B would" in lines["RTX 4090"]
    assert "14B" in lines["L40S"]


def test_as_json_hours_and_costs_follow_from_the_photos_an_hour() -> None:
    done = plan("--gpu", "H100 SXM", "--model", "8B", "--max-tiles", "6", "--photos", "70000", "--price", "3", "--json")
    told = json.loads(done.stdout)
    (tiles,) = told["tiles"]
    assert (told["gpu"], told["model"], told["dtype"]) == ("H100 SXM", "OpenGVLab/InternVL3-8B-hf", "bfloat16")
    assert (tiles["tiles"], tiles["fits"], tiles["photos_at_once"]) == (7, True, 256)
    measured = 3600 * 13.93  # of answers as long as drawn, here as long as they may be
    assert 0.75 * measured < tiles["photos_per_hour"] < measured
    assert tiles["hours"] == pytest.approx(70_000 / tiles["photos_per_hour"], rel=0.06)
    assert tiles["cost"] == pytest.approx(3 * tiles["hours"], rel=0.06)
    assert tiles["cost_per_1000"] == pytest.approx(tiles["cost"] / 70, rel=0.06)
    parts = tiles["bytes"]
    fixed = sum(parts[part] for part in ("weights", "runtime", "prefix_cache", "branch_cache", "graphs", "idle"))
    assert parts["together"] == fixed + max(parts[part] for part in ("vision", "reading", "asking", "choosing"))
    assert parts["together"] < 79.6 * GIB


@pytest.mark.parametrize(
    ("recipe", "language", "tokens"),
    [("designer", "en", 400), ("designer", "ko", 632), ("brief", "en", 40), ("detailed", "ko", 96)],
)
def test_tokens_are_told_from_characters_about_as_the_tokenizer_counts_them(
    recipe: str, language: str, tokens: int
) -> None:
    """The counts are those of a layout with Qwen's tokenizer, the template's five a question with them."""
    assert asking([recipe], [language]).row.branch_tokens == pytest.approx(tokens, rel=0.1)


@pytest.mark.parametrize("held", QUANTISED)
def test_quantised_weights_are_planned_as_the_engine_plans_them(held: str) -> None:
    place, shape = place_of(find_gpu("L4")), KNOWN["OpenGVLab/InternVL3-14B-hf"]
    found = forecast(place, named_shape("14B"), DESIGNER, dtype=held)
    for tiles, expected in zip(found.tiles, TILES, strict=True):
        left = place.free_bytes - RUNTIME_BYTES - weight_bytes(shape, held)
        assert tiles.batch == plan_batch(shape, batch_row(DESIGNER, expected), held, left, ON_GPU)
        assert tiles.photos_per_hour is not None
    assert found.quantised_bytes[held] == found.tiles[0].batch.weight_bytes
    assert found.fits
    assert not forecast(place, named_shape("14B"), DESIGNER).fits


def test_what_cannot_be_held_so_is_none_and_refused(random_checkpoint: Make) -> None:
    narrow = named_shape(str(random_checkpoint(sizes=Sizes(mlp=200))))
    place = place_of(find_gpu("A100 80"))
    found = forecast(place, narrow, DESIGNER)
    assert (found.quantised_bytes["fp8"], found.quantised_bytes["int4"]) == (None, None)
    with pytest.raises(InputError, match=r"int4 cannot hold\. Give --dtype int8"):
        forecast(place, narrow, DESIGNER, dtype="int4")


def test_two_languages_are_asked_side_by_side() -> None:
    both = asking(["designer"], ["en", "ko", "en"])
    assert (both.questions, both.row.columns, both.row.new_tokens) == (20, 16, 40)
    assert both.languages == ("en", "ko")
