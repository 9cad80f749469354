"""Where a batch's time goes, vision, reading, questions, decoding: as it is, with graphs, compiled.

usage: python bench/gpu_stages.py [--size 8B] [--tiles 1 7 13] [--ways "as it is" graphs compiled] [--photos 96 384]
           [--kernels 20] [--device cuda]

Random weights of the real size. Questions are the shipped `designer` recipe, in English; answers are forced to the
lengths of `versus/work.py`, drawn alike for every way, or come as they do: to their caps, since such weights end none.
Times are of steady state: each way answers the same batch WARM times first. `matrix_tflops` is what torch.mm reaches in
the same run, `share` the stage's operations over its time and that. With --kernels, those that take most time are told
too, of the passes over photos and questions, and of decoding. Each row is on disk before the next begins.
"""

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from carscribe import memory, speed
from carscribe.engines import local
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.local import LocalEngine
from carscribe.recipes.loading import load_recipe
from carscribe.recipes.rendering import render
from carscribe.records import Metadata, Prompt, Request
from checkpoints import write_sized_checkpoint
from recording import record
from versus.work import LENGTHS

WARM, TIMED = 3, 3


def sync(device: str) -> None:
    """Wait for the GPU."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def matrix_tflops(device: str, dtype: torch.dtype = torch.bfloat16) -> float:
    """What a large matrix product reaches here, in 10¹² operations a second."""
    side = 8192 if device.startswith("cuda") else 512
    left = torch.randn(side, side, device=device).to(dtype)
    for _ in range(3):
        left @ left
    sync(device)
    start = time.perf_counter()
    for _ in range(10):
        left @ left
    sync(device)
    return 10 * 2 * side**3 / (time.perf_counter() - start) / 1e12


def requests_of(photos: int, tiles: int, tile_px: int, *, forced: bool) -> list[Request]:
    """Photos of noise, asked `designer`; with `forced`, each open answer has its drawn length as its cap."""
    prompts = render(load_recipe("designer"), Metadata(), ["en"])
    chance = random.Random(0)

    def capped(prompt: Prompt) -> Prompt:
        return prompt if prompt.choices else replace(prompt, max_new_tokens=chance.choice(LENGTHS))

    noise = np.random.default_rng(0).integers(0, 255, (tiles, tile_px, tile_px, 3), np.uint8)
    return [
        Request(tiles=noise, prompts=tuple(capped(prompt) for prompt in prompts) if forced else prompts)
        for _ in range(photos)
    ]


@contextmanager
def watched(engine: LocalEngine) -> Iterator[dict[str, float]]:
    """Seconds by stage, each waited for."""
    seconds: dict[str, float] = defaultdict(float)
    device = str(engine._device)

    def timed(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any, **more: Any) -> Any:
            sync(device)
            start = time.perf_counter()
            result = work(*arguments, **more)
            sync(device)
            seconds[name] += time.perf_counter() - start
            return result

        return run

    packed, decode = engine._packed, local.decode
    before = (packed.model.get_image_features, packed.read, packed.ask)
    packed.model.get_image_features = timed("vision", before[0])
    packed.read, packed.ask = timed("read", before[1]), timed("ask", before[2])  # type: ignore[method-assign]
    local.decode = timed("decode", decode)
    try:
        yield seconds
    finally:
        packed.model.get_image_features, packed.read, packed.ask = before  # type: ignore[method-assign]
        local.decode = decode
        seconds["read"] -= seconds["vision"]


def operations(engine: LocalEngine, requests: list[Request]) -> dict[str, float]:
    """Operations of a batch by stage, as `carscribe.speed` counts them: the layout's padding included, fp8's as any."""
    shape = engine._packed.shape
    photos, prompts = len(requests), requests[0].prompts
    row = engine._row_shape(len(requests[0].tiles), prompts)
    new = sum(prompt.max_new_tokens - 1 for request in requests for prompt in request.prompts if not prompt.choices)
    a_token = speed.batch_work(shape, row, 1).step_operations / row.columns
    return {
        "vision": photos * speed.vision_operations(shape, row.tiles),
        "read": photos * speed.reading_operations(shape, row, "bfloat16"),
        "ask": photos * speed.asking_operations(shape, row, "bfloat16"),
        "decode": new * a_token,
    }


def measure(engine: LocalEngine, requests: list[Request], rate: float) -> dict[str, Any]:
    """A steady state: seconds of the whole and by stage, a photo."""
    device = str(engine._device)
    for _ in range(WARM):
        engine.answer(requests)
    sync(device)
    start = time.perf_counter()
    for _ in range(TIMED):
        engine.answer(requests)
    sync(device)
    whole = (time.perf_counter() - start) / TIMED
    with watched(engine) as seconds:
        engine.answer(requests)
    counted = operations(engine, requests)
    per_photo = 1e3 / len(requests)
    return {
        "photos_per_s": round(len(requests) / whole, 2),
        "ms_a_photo": round(whole * per_photo, 2),
        "stages_ms_a_photo": {name: round(s * per_photo, 2) for name, s in seconds.items()},
        "share": {name: round(counted[name] / seconds[name] / rate / 1e12, 3) for name in counted},
        "share_of_whole": round(sum(counted.values()) / whole / rate / 1e12, 3),
    }


def kernels(engine: LocalEngine, requests: list[Request], most: int) -> dict[str, Any]:
    """What the GPU's time goes into, in milliseconds a photo: all kernels together, and those that take most of it."""
    told = {}
    for part in ("begin", "run"):
        work = engine.work(requests)
        if part == "run":
            work.begin()
        sync("cuda")
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            getattr(work, part)()
            sync("cuda")
        if part == "begin":
            work.run()
        found = {event.key: event.self_device_time_total / 1e3 / len(requests) for event in seen.key_averages()}
        largest = sorted(found.items(), key=lambda item: -item[1])[:most]
        told[part] = {"all": round(sum(found.values()), 2), **{name[:100]: round(ms, 3) for name, ms in largest}}
    return told


def main() -> None:
    """All tile counts, one way after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="8B")
    parser.add_argument("--model", type=Path, default=None, help="a checkpoint's folder instead")
    parser.add_argument("--tiles", type=int, nargs="+", default=[1, 7, 13])
    parser.add_argument("--photos", type=int, nargs="+", default=[384], help="in a batch, at most what is planned")
    parser.add_argument("--lengths", nargs="+", default=["drawn"], help='"drawn", "as they come"')
    parser.add_argument("--kernels", type=int, default=0)
    parser.add_argument("--ways", nargs="+", default=["as it is", "graphs", "compiled"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default=None, help="bfloat16 on a GPU; of quantised ones the result has the name")
    options = parser.parse_args()
    folder = options.model
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="carscribe-stages-"))
        write_sized_checkpoint(folder, options.size, device=options.device)
    cuda = options.device.startswith("cuda")
    dtype = options.dtype or ("bfloat16" if cuda else "float32")
    engine = LocalEngine(open_checkpoint(str(folder)), device=options.device, dtype=dtype, compiled=False)
    rate = matrix_tflops(options.device, torch.bfloat16 if memory.held_of(dtype) else getattr(torch, dtype))
    figures: dict[str, Any] = {"size": options.size, "dtype": dtype, "matrix_tflops": round(rate, 1), "rows": []}
    name = f"gpu_stages_{options.size}{f'_{dtype}' if memory.held_of(dtype) else ''}"
    command = " ".join(["python", *sys.argv])
    graphs, ends = engine._graphs, engine._end_ids
    for way in options.ways if cuda else ("as it is",):
        engine._graphs = None if way == "as it is" else graphs
        if way == "compiled":
            start = time.perf_counter()
            engine._packed.compile()
            sync(options.device)
            figures["compile_s"] = round(time.perf_counter() - start, 1)
            if graphs is not None:
                graphs.clear()
        for tiles, most, lengths in itertools.product(options.tiles, options.photos, options.lengths):
            plan = engine.plan_batch(tiles, requests_of(1, tiles, engine.tiling.tile_px, forced=False)[0].prompts)
            photos = min(most, plan.photos)
            requests = requests_of(photos, tiles, engine.tiling.tile_px, forced=lengths == "drawn")
            engine._end_ids = (-1,) if lengths == "drawn" else ends
            row = {"way": way, "tiles": tiles, "photos": photos, "lengths": lengths}
            row |= measure(engine, requests, rate)
            if options.kernels:
                row["kernels"] = kernels(engine, requests, options.kernels)
            figures["rows"].append(row)
            print(json.dumps(row), flush=True)
            record(name, figures, command=command)
    figures["graphs_captured"] = graphs.captured if graphs else 0
    figures["peak_reserved_gib"] = round((engine.peak_bytes or 0) / 2**30, 2)
    print(record(name, figures, command=command))


if __name__ == "__main__":
    main()
