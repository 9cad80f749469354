"""The demo model on a GPU, in every dtype, with graphs and compiled: the same answers, and nothing made anew.

usage: python bench/gpu_same.py [--photos 96] [--device cuda]

Renders it never saw, one tile each, asked `designer` in English and Korean. Against the CPU's float32: answers that
differ, and how far scores of choices are apart. `captured` and `compiled` count graphs behind the first batches, behind
batches of other sizes, and behind the same sizes once more: the last two must be equal.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import numpy as np
import torch
from PIL import Image

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.engines.local import LocalEngine
from carscribe.recipes.loading import load_recipe
from carscribe.recipes.rendering import render
from carscribe.records import Answer, Metadata, Request
from measure import write_photos
from recording import record
from render_set import LANGUAGES, UNSEEN_FROM

FIRST_SEED = UNSEEN_FROM + 700_000
SIZES = (32, 20, 7, 32, 20, 7, 32)
"""Photos in a batch, one after another; each size comes twice or more: the second time its shapes are captured."""

Answered = list[tuple[Answer, ...]]


def requests_of(count: int, tile_px: int) -> list[Request]:
    """Renders squeezed into one tile."""
    folder = write_photos(Path(tempfile.mkdtemp()), range(FIRST_SEED, FIRST_SEED + count))
    prompts = render(load_recipe("designer"), Metadata(), LANGUAGES)
    pictures = [Image.open(path).convert("RGB").resize((tile_px, tile_px)) for path in sorted(folder.iterdir())]
    return [Request(tiles=np.array(picture)[None], prompts=prompts) for picture in pictures]


def asked(engine: LocalEngine, requests: Sequence[Request], size: int) -> Answered:
    """All of them, so many at once."""
    return [row for i in range(0, len(requests), size) for row in engine.answer(requests[i : i + size])]


def held_against(reference: Answered, found: Answered) -> dict[str, Any]:
    """How many answers differ, and by how much scores do."""
    pairs = [(a, b) for rows in zip(reference, found, strict=True) for a, b in zip(*rows, strict=True)]
    scores = [abs(a.scores[key] - b.scores[key]) for a, b in pairs if a.scores and b.scores for key in a.scores]
    differ = sum(a.text != b.text for a, b in pairs)
    return {"answers": len(pairs), "differ": differ, "scores_apart": round(max(scores), 6)}


def compilations() -> int:
    """Graphs that the compiler made in this process."""
    return int(torch._dynamo.utils.counters["stats"].get("unique_graphs", 0))


def in_ways(engine: LocalEngine, requests: Sequence[Request], reference: Answered) -> dict[str, Any]:
    """As it is, with graphs, and compiled."""
    graphs, engine._graphs = engine._graphs, None
    told: dict[str, Any] = {"as it is": held_against(reference, asked(engine, requests, SIZES[0]))}
    engine._graphs = graphs
    for way in ("graphs", "compiled"):
        torch._dynamo.utils.counters.clear()
        if way == "compiled":
            engine._packed.compile()
            if graphs is not None:
                graphs.clear()
        captured, compiled = [], []
        for sizes in (SIZES[:1] * 2, SIZES * 2, SIZES):
            found = [asked(engine, requests, size) for size in sizes]
            captured.append(graphs.captured if graphs is not None else 0)
            compiled.append(compilations())
        worst = max((held_against(reference, each) for each in found), key=lambda each: each["differ"])
        told[way] = {**worst, "captured": captured, "compiled": compiled}
    return told


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    checkpoint = open_checkpoint(str(demo_checkpoint()))
    requests = requests_of(options.photos, checkpoint.tiling.tile_px)
    reference = asked(LocalEngine(checkpoint, device="cpu", dtype="float32"), requests, SIZES[0])
    figures: dict[str, Any] = {}
    anew = []
    for dtype in ("float32", "bfloat16", "fp8", "int8", "int4"):
        engine = LocalEngine(checkpoint, device=options.device, dtype=dtype, compiled=False)
        figures[dtype] = in_ways(engine, requests, reference)
        print(dtype, json.dumps(figures[dtype]), flush=True)
        for way in ("graphs", "compiled"):
            if any(counts[-1] != counts[-2] for counts in (figures[dtype][way][of] for of in ("captured", "compiled"))):
                anew.append(f"{dtype}, {way}")
    print(record("gpu_same", figures, command=f"python bench/gpu_same.py --photos {options.photos}"))
    if anew:
        raise SystemExit(f"Something was captured or compiled in steady state: {'; '.join(anew)}.")


if __name__ == "__main__":
    main()
