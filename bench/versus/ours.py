"""Carscribe as it ships: `carscribe.describe` into a workspace, from files to answers on disk.

usage: python bench/versus/ours.py --model DIR --work DIR --to FILE [--dtype bfloat16] [--rows 1:eight 7:one:600]
           [--stacks FILE]

Answers are made as long as the work says, by their caps and with no token that ends one. Random weights loop, and a
loop would be asked again at a temperature, of which the peers know nothing: here it is not. Before each row some photos
have shapes compiled; `warm_up_s` says how long the first of these runs took. Rows share files:
nothing is kept from one to the next, each has a workspace of its own. --stacks: what the threads were at, by row.
"""

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from stacks import Stacks
from work import GRID_TILES, lasting, make_files, parser, questions, take, write

import carscribe
from carscribe import asking_again
from carscribe.engines import local
from carscribe.engines.choosing import open_engine
from carscribe.engines.local import LocalEngine
from carscribe.memory import ON_GPU
from carscribe.packing import Layout
from carscribe.records import Request
from meanwhile import meanwhile

LEAST_S = 30.0


def recipe_of(work: str, folder: Path) -> tuple[str, list[str]]:
    """The recipe and languages to ask."""
    if work.startswith("designer"):
        return "designer", ["en", "ko"] if work == "designer-en-ko" else ["en"]
    asked = questions(work)
    path = folder / f"{work}.toml"
    rows = "".join(
        f'[[questions]]\nid = "q{i}"\npriority = {i}\nmax_new_tokens = {question.new_tokens}\n'
        f"text.en = {json.dumps(question.text)}\n\n"
        for i, question in enumerate(asked)
    )
    path.write_text(f'id = "{work}"\nversion = 1\nlanguages = ["en"]\n\n{rows}', "utf-8")
    return str(path), ["en"]


def force_lengths(engine: LocalEngine, work: str) -> None:
    """Have each open answer end where the work says, and nowhere else."""
    asked = questions(work)
    lengths = {q.text: (i, q) for i, q in enumerate(asked)}
    seen = iter(range(1_000_000))

    def caps(requests: list[Request], layout: Layout) -> torch.Tensor:
        found = np.zeros_like(layout.open_branch)
        photos = [next(seen) for _ in requests]
        for (b, r), index in np.ndenumerate(layout.open_branch):
            if index >= 0:
                at, question = lengths[requests[b].prompts[int(index)].text]
                found[b, r] = question.tokens(photos[b], at)
        return torch.from_numpy(found)

    engine._end_ids = (-1,)
    local._caps = caps
    asking_again._flaw = lambda _: None


@contextmanager
def gpu_watched() -> Iterator[list[float]]:
    """How busy the GPU says it is, in percent, five times a second."""
    seen: list[float] = []

    def look() -> None:
        with suppress(RuntimeError, ModuleNotFoundError, AttributeError):
            seen.append(float(torch.cuda.utilization()))

    with meanwhile(look, every_s=0.2):
        yield seen


def run(engine: LocalEngine, photos: list[Path], work: str, tiles: int, folder: Path) -> dict[str, Any]:
    """One describe; the figures."""
    recipe, languages = recipe_of(work, folder)
    force_lengths(engine, work)
    workspace = Path(tempfile.mkdtemp(dir=folder)) / "ws"
    with gpu_watched() as busy:
        start = time.perf_counter()
        answered = sum(
            bool(result.answers)
            for result in carscribe.describe(
                photos,
                workspace=workspace,
                recipes=[recipe],
                languages=languages,
                max_tiles=GRID_TILES[tiles],
                engine=engine,
            )
        )
        seconds = time.perf_counter() - start
    if answered != len(photos):
        raise SystemExit(f"{len(photos) - answered} of {len(photos)} photos have no answers")
    return {
        "photos": len(photos),
        "seconds": round(seconds, 2),
        "photos_per_s": round(len(photos) / seconds, 2),
        "gpu_busy_percent": round(float(np.mean(busy)), 1) if busy else None,
    }


def main() -> None:
    """All rows, one engine."""
    options_of = parser(__doc__, seconds=LEAST_S)
    options_of.add_argument("--device", default="cuda")
    options_of.add_argument("--dtype", default="bfloat16")
    options_of.add_argument("--stacks", type=Path)
    options = options_of.parse_args()
    stacks = Stacks()
    start = time.perf_counter()
    engine = open_engine(options.model, device=options.device, dtype=options.dtype)
    figures: dict[str, Any] = {"contender": "carscribe", "dtype": engine.card.dtype, "rows": []}
    figures["load_s"] = round(time.perf_counter() - start, 1)
    if options.device.startswith("cuda"):
        engine._until_compiled_s = 0.0  # behind the first batch
    for tiles, work, count in options.rows:
        files = make_files(options.work, tiles, count + options.warm if count else options.photos)
        batch = min(ON_GPU.photos, ON_GPU.tiles // tiles) if options.device.startswith("cuda") else 4
        for _ in range(1 if figures["rows"] else 2):  # layers are compiled behind the first of all
            warm = run(engine, take(files, 0, options.warm), work, tiles, options.work)
            figures.setdefault("warm_up_s", warm["seconds"])
        wanted = count or max(2 * batch, round(options.seconds * 1.4 * warm["photos_per_s"]))
        measured = partial(run, engine, work=work, tiles=tiles, folder=options.work)
        with stacks.of(f"{tiles}:{work}") if options.stacks else nullcontext():
            row = lasting(measured, files, wanted, seconds=options.seconds)
        figures["rows"].append({"work": work, "tiles": tiles, "batch": batch, **row})
        print(json.dumps(figures["rows"][-1]), flush=True)
        write(options.to, figures)
        if options.stacks:
            options.stacks.write_text(json.dumps(stacks.shares(), indent=1) + "\n")
    figures["peak_gib"] = round((engine.peak_bytes or 0) / 2**30, 2)
    write(options.to, figures)


if __name__ == "__main__":
    main()
