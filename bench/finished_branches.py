"""How much of decoding is spent on answers that have ended already, at a GPU's settings; counted on the CPU.

usage: python bench/finished_branches.py [--photos 64 192 384] [--works designer designer-en-ko eight]

Answers are as long as `versus/work.py` draws them, for every work alike. A step's work is its entries, ended ones among
them until they are dropped, down to a multiple of 64 entries or to fewer columns: at once, or where a step is short for
an 8B, a step late. The demo model decodes, since what is counted depends on lengths alone.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "versus"))

from ours import force_lengths, recipe_of

from carscribe import memory
from carscribe.engines import decoding
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.engines.local import LocalEngine
from carscribe.recipes.loading import load_recipe
from carscribe.recipes.rendering import render
from carscribe.records import Metadata, Request
from recording import record

EIGHT = memory.FAMILY["OpenGVLab/InternVL3-8B-hf"]


class Counted:
    """Entries of all steps, and how many of them were of answers that had ended."""

    def __init__(self) -> None:
        self.entries = self.ended = self.steps = self.in_attention = 0
        advance = decoding._Columns.advance

        def counting(columns: Any, state: Any) -> None:
            self.steps += 1
            self.entries += len(state.tokens)
            self.ended += int(state.done.sum())
            self.in_attention += columns.rows * len(state.slots)
            advance(columns, state)

        decoding._Columns.advance = counting  # type: ignore[method-assign]
        self._advance = advance

    def over(self) -> None:
        """Count no more."""
        decoding._Columns.advance = self._advance  # type: ignore[method-assign]


def count(engine: LocalEngine, work: str, photos: int, folder: Path) -> dict[str, Any]:
    """One batch's figures."""
    name, languages = recipe_of(work, folder)
    force_lengths(engine, work)
    prompts = render(load_recipe(name), Metadata(), languages)  # type: ignore[arg-type]
    px = engine.tiling.tile_px
    tile = np.zeros((1, px, px, 3), np.uint8)
    counted = Counted()
    try:
        engine.answer([Request(tiles=tile, prompts=prompts) for _ in range(photos)])
    finally:
        counted.over()
    useful = counted.entries - counted.ended
    return {
        "work": work,
        "photos": photos,
        "steps": counted.steps,
        "tokens_fed": useful,
        "finished_share": round(counted.ended / counted.entries, 4) if counted.entries else 0.0,
        "cells_in_attention_without_an_answer": round(1 - useful / counted.in_attention, 4),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[64, 192, 384])
    parser.add_argument("--works", nargs="+", default=["designer", "designer-en-ko", "eight"])
    options = parser.parse_args()
    engine = LocalEngine(open_checkpoint(str(demo_checkpoint())), device="cpu", dtype="float32")
    engine._quantum, engine._entries, engine._late = memory.SLOT_QUANTUM, 64, memory.short_step(EIGHT)
    rows = []
    with torch.inference_mode():
        for work in options.works:
            for photos in options.photos:
                rows.append(count(engine, work, photos, Path("/tmp")))
                print(rows[-1], flush=True)
    print(record("finished_branches", {"rows": rows}, command="python bench/finished_branches.py"))


if __name__ == "__main__":
    main()
