"""What a process of gpu_memory.py measures: the cells of a size and dtype, or batches within a fraction of the GPU.

Waits for a line on its input, which says until when (seconds since the epoch), before it touches the GPU.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import InternVLForConditionalGeneration  # noqa: F401 - it takes seconds, which are spent waiting

from carscribe import memory
from carscribe.batching import Ladder, Pending
from carscribe.engines.choosing import choose_model, open_engine
from carscribe.engines.local import LocalEngine
from carscribe.errors import EngineError
from carscribe.recipes.loading import load_recipe
from carscribe.recipes.rendering import render
from carscribe.records import Metadata, PhotoFile, Prompt, Request, TiledPhoto
from gpu_bytes import (
    GIB,
    allocated,
    gib,
    out_of_memory_count,
    peak_allocated,
    peak_reserved,
    peaks_of,
    reserved,
    segments_grow,
    taken,
    used_by_others,
)
from recording import record

RUNS = ("first", "captured")
MANY, MANY_TILES = 48, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one process measures: cells, or with `fraction_gib` batches within so much of the GPU.

    `many`: 48 questions at 13 tiles too. `rows` is the file that all rows of a run are added to.
    """

    model: str
    size: str
    dtype: str
    device: str
    tiles: Sequence[int]
    many: bool
    most_photos: int
    most_tiles: int
    batches: int
    again: bool
    compiled: bool
    rows: str
    command: str
    fraction_gib: int | None = None

    def keep(self, name: str, row: dict[str, Any]) -> None:
        """Write a row, beside those that are there."""
        path = Path(self.rows)
        rows = json.loads(path.read_text()) if path.exists() else {}
        rows[name] = row
        path.write_text(json.dumps(rows))
        record("gpu_memory", {"rows": rows}, command=self.command)
        if "OUT" not in os.environ:
            record(f"memory/{name}", row, command=self.command)
        print(f"{name}: {brief(row)}", flush=True)


def brief(row: dict[str, Any]) -> str:
    """A row on a line."""
    if "error" in row:
        return str(row["error"])[:160]
    if "fraction_gib" in row:
        batches = ", ".join(f"{each['photos']} × {each['tiles']} in {each['seconds']} s" for each in row["batches"])
        most = max(each["reserved_gib"] for each in row["batches"])
        return f"{batches}; reserved {most}; gave up {row['gave_up']} times; said: {' '.join(row['said']) or 'nothing'}"
    measured, ratios = row["measured_gib"], row["predicted_over_measured"]
    return (
        f"{row['photos']} photos; predicted {row['predicted_gib']['total']}, process {measured['process']}, "
        f"reserved {measured['reserved']}, allocated {measured['allocated']}; ratio {ratios['process']}, of reserved "
        f"{ratios['reserved']}; {sum(row['seconds']):.1f} s"
    )


def ratio(predicted: float, measured: float) -> float | None:
    """Predicted over measured; None where nothing was."""
    return round(predicted / measured, 3) if measured else None


def designer() -> tuple[Prompt, ...]:
    """What is asked of each photo."""
    return tuple(render(load_recipe("designer"), Metadata(), ["en"]))


def many(prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """48 open questions, numbered in front so that none begins like another."""
    opens = [prompt for prompt in prompts if not prompt.choices]
    numbered = [(i, opens[i % len(opens)]) for i in range(MANY)]
    return tuple(replace(one, question_id=f"{one.question_id}-{i}", text=f"{i}. {one.text}") for i, one in numbered)


def noise(tiles: int, engine: LocalEngine) -> np.ndarray:
    """Tiles of a photo of noise, uint8 [tiles, tile_px, tile_px, 3]."""
    side = engine.tiling.tile_px
    return np.random.default_rng(tiles).integers(0, 255, (tiles, side, side, 3), np.uint8)


def batch_of(engine: LocalEngine, job: Job, tiles: int, prompts: tuple[Prompt, ...]) -> list[Request]:
    """As many photos as are planned, at most those that a cell may have."""
    planned = engine.plan_batch(tiles, prompts).photos
    photos = min(planned, job.most_photos, max(1, job.most_tiles // tiles))
    return [Request(tiles=noise(tiles, engine), prompts=prompts)] * photos


def peak_of(engine: LocalEngine, requests: list[Request]) -> tuple[dict[str, int], dict[str, int], float]:
    """The most allocated and reserved by stage while a batch is answered, and the seconds it took."""
    start = time.perf_counter()
    with peaks_of(engine) as peaks:
        engine.answer(requests)
    return dict(peaks.allocated), dict(peaks.reserved), time.perf_counter() - start


def whole(peaks: tuple[dict[str, int], dict[str, int], float]) -> dict[str, float]:
    """Of all stages, in GiB."""
    return {"allocated": gib(max(peaks[0].values(), default=0)), "reserved": gib(max(peaks[1].values(), default=0))}


def measure(engine: LocalEngine, job: Job, tiles: int, prompts: tuple[Prompt, ...], others: int) -> dict[str, Any]:
    """One cell: a batch answered twice from a clean start, against what was predicted for it."""
    engine.release()
    plan, limits, graphs = engine.plan_batch(tiles, prompts), engine._limits, engine._graphs
    requests = batch_of(engine, job, tiles, prompts)
    shape, row = memory.shape_of(engine._packed.model.config.to_dict()), engine._row_shape(tiles, prompts)
    weights, captured = allocated(), graphs.captured if graphs else 0
    compiled = engine._packed.compiled
    runs = {name: peak_of(engine, requests) for name in RUNS}
    had = max((peak for _, peaks, _ in runs.values() for peak in peaks.values()), default=0)
    most = max((peak for peaks, _, _ in runs.values() for peak in peaks.values()), default=0)
    outside, cache = taken(others) - reserved(), engine._packed.caches.held_bytes
    measured = {
        "process": gib(had + outside),
        "outside_torch": gib(outside),
        "reserved": gib(had),
        "allocated": gib(most),
        "weights": gib(weights),
        "cache": gib(cache),
    }
    return {
        "size": job.size,
        "dtype": job.dtype,
        "tiles": tiles,
        "compiled": compiled,
        "growing_segments": segments_grow(),
        "graphs_captured": graphs.captured - captured if graphs else 0,
        "photos": len(requests),
        "planned": {"photos": plan.photos, "batch_gib": gib(plan.batch_bytes), "free_gib": gib(plan.free_bytes)},
        "row": asdict(row) | {"questions": len(prompts)},
        **held_against(shape, row, job.dtype, limits, len(requests), measured, compiled=compiled),
        "runs_gib": {name: whole(peaks) for name, peaks in runs.items()},
        "stages_gib": {
            stage: gib(max(peaks[0].get(stage, 0) for peaks in runs.values())) for stage in runs["first"][0]
        },
        "seconds": [round(peaks[2], 2) for peaks in runs.values()],
    } | ({"asked_again_gib": whole(peak_of(engine, drawn(requests)))} if job.again else {})


def held_against(
    shape: memory.ModelShape,
    row: memory.RowShape,
    dtype: str,
    limits: memory.Limits,
    photos: int,
    measured: dict[str, float],
    *,
    compiled: bool,
) -> dict[str, Any]:
    """What is predicted of a batch, in GiB, and what that is of what was measured."""
    parts = memory.batch_bytes(shape, row, dtype, limits, photos=photos, compiled=compiled)
    weights = gib(memory.weight_bytes(shape, dtype, limits.computing))
    tensors, held = weights + gib(parts.total), weights + gib(parts.reserved)
    total = held + gib(memory.RUNTIME_BYTES)
    return {
        "predicted_gib": {"total": round(total, 3), "runtime": gib(memory.RUNTIME_BYTES), "weights": weights}
        | {"batch": gib(parts.total)}
        | {part.name: gib(getattr(parts, part.name)) for part in fields(parts)},
        "measured_gib": measured,
        "predicted_over_measured": {
            "process": ratio(total, measured["process"]),
            "reserved": ratio(held, measured["reserved"]),
            "allocated": ratio(tensors, measured["allocated"]),
            "weights": ratio(weights, measured["weights"]),
            "cache": ratio(gib(parts.prefix_cache + parts.branch_cache), measured["cache"]),
        },
    }


def drawn(requests: list[Request]) -> list[Request]:
    """The same at a temperature, as answers that are none are asked again."""
    return [replace(request, temperature=0.7) for request in requests]


def run_cells(job: Job, until: float) -> None:
    """All cells of a size and dtype; of those that are compiled, the peak before that besides."""
    others, start = used_by_others(), time.perf_counter()
    engine = choose_model(job.model, device=job.device, dtype=job.dtype, compiled=False).load()
    about: dict[str, Any] = {
        "loading_gib": {"allocated": gib(peak_allocated()), "reserved": gib(peak_reserved()), "kept": gib(allocated())},
        "loading_s": round(time.perf_counter() - start, 1),
    }
    engine.release()
    about["resting_gib"] = {"allocated": gib(allocated()), "reserved": gib(reserved())}
    engine._end_ids = (-1,)
    asked = designer()
    cells = {f"{job.size}-{job.dtype}-{tiles}": (tiles, asked) for tiles in job.tiles}
    if job.many:
        cells[f"{job.size}-{job.dtype}-{MANY_TILES}-{MANY}"] = (MANY_TILES, many(asked))
    uncompiled = {}
    if job.compiled:
        if job.dtype != "fp8":  # which is never run without
            for name, (tiles, prompts) in cells.items():
                engine.release()
                uncompiled[name] = whole(peak_of(engine, batch_of(engine, job, tiles, prompts)))
        start = time.perf_counter()
        engine._compile()
        about["compiling_s"] = round(time.perf_counter() - start, 1)
    last_s = 0.0
    for name, (tiles, prompts) in cells.items():
        if time.time() + 1.5 * last_s > until:
            print(f"out of time: {name} was not run", flush=True)
            continue
        start = time.perf_counter()
        try:
            cell = measure(engine, job, tiles, prompts, others)
        except EngineError as error:
            cell = {"size": job.size, "dtype": job.dtype, "tiles": tiles, "error": str(error)}
        last_s = time.perf_counter() - start
        job.keep(name, cell | about | ({"uncompiled_gib": uncompiled[name]} if name in uncompiled else {}))


def run_fraction(job: Job, until: float) -> None:
    """Batches of the planned sizes within a fraction of the GPU, through the ladder."""
    others = used_by_others()
    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, (job.fraction_gib or 0) * GIB / total))
    notes, said = list[str](), list[str]()
    engine = open_engine(job.model, device=job.device, dtype=job.dtype, say=notes.append)
    engine._end_ids = (-1,)
    prompts = designer()
    ladder = Ladder(engine, lambda each, most: replace(each.photo, tiles=each.photo.tiles[:most]), said.append)
    row: dict[str, Any] = {
        "fraction_gib": job.fraction_gib,
        "size": job.size,
        "dtype": job.dtype,
        "weights_gib": gib(allocated()),
        "loading_gib": {"allocated": gib(peak_allocated()), "reserved": gib(peak_reserved())},
        "growing_segments": segments_grow(),
        "notes": notes,
        "said": said,
        "batches": [],
    }
    last_s = 0.0
    for tiles in job.tiles:
        if time.time() + 2 * last_s > until:
            print(f"out of time: {tiles} tiles within {job.fraction_gib} GiB were not run", flush=True)
            continue
        start = time.perf_counter()
        plan, cut = engine.plan_batch(tiles, prompts), noise(tiles, engine)
        photos = ladder.size(pending(0, cut, prompts))
        batches = [[pending(i * photos + j, cut, prompts) for j in range(photos)] for i in range(job.batches)]
        with peaks_of(engine) as peaks:
            results = [result for found in ladder.answer_all(batches) for result in found]
        last_s = time.perf_counter() - start
        row["batches"].append(
            {
                "tiles": tiles,
                "photos": photos,
                "batch_gib": gib(plan.batch_bytes),
                "free_gib": gib(plan.free_bytes),
                "asked": photos * job.batches,
                "answered": sum(bool(result.answers) for result in results),
                "allocated_gib": gib(max(peaks.allocated.values(), default=0)),
                "reserved_gib": gib(max(peaks.reserved.values(), default=0)),
                "process_gib": gib(taken(others)),
                "seconds": round(last_s, 1),
            }
        )
        row |= {
            "gave_up": out_of_memory_count(),
            "learned": ladder._learned,
            "most_grid_tiles": ladder.most_grid_tiles,
            "compiled": engine._packed.compiled,
        }
        job.keep(f"fraction-{job.fraction_gib}-{job.dtype}", row)


def pending(number: int, tiles: np.ndarray, prompts: tuple[Prompt, ...]) -> Pending:
    """A photo that was read, of its own bytes."""
    file = PhotoFile(location=f"{number}.jpg", key=f"{number}.jpg")
    photo = TiledPhoto(sha256=f"{number:064x}", width_px=640, height_px=480, tiles=tiles)
    return Pending(index=number, file=file, photo=photo, prompts=prompts)


def main() -> None:
    """Wait to be let go, then measure."""
    job = Job(**json.loads(sys.argv[1]))
    if line := sys.stdin.readline():
        try:
            (run_cells if job.fraction_gib is None else run_fraction)(job, float(line))
        except EngineError as error:
            name = f"{job.size}-{job.dtype}" if job.fraction_gib is None else f"fraction-{job.fraction_gib}-{job.dtype}"
            job.keep(f"{name}-failed", {"error": str(error)})


if __name__ == "__main__":
    main()
