"""Render cars and write what is true of them: Parquet rows that `carscribe finetune` learns from.

usage: python demo/render_set.py --to DIR --count 160000 [--first-seed 0] [--processes 16] [--shard 2000]

A row: `photo` (a JPEG), `key` (the seed of its record), `questions` and `answers` of every shipped recipe in English
and Korean. A shard that is there already is not made again, so a set that was cut short is gone on with.
"""

import argparse
import os
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from PIL import Image

from carscribe.recipes.loading import load_recipe, shipped_recipes
from carscribe.recipes.rendering import render as render_prompts
from carscribe.records import Language, Metadata, Prompt
from rendered.attributes import HELD_BACK, CarRecord, draw_record
from rendered.damage import as_jpeg
from rendered.render import render
from rendered.words import answers

LANGUAGES: tuple[Language, ...] = ("en", "ko")

CANONICAL_SHARE = 0.8
"""So many answers to learn are in the canonical wording: it is the likeliest then, and greedy decoding is steady."""

CANVAS_PX = (448, 336)
"""Four by three tiles of 112 px: every render is cut into these."""

UNSEEN_FROM = 900_000_000
"""Seeds from here on are never learned from: what the model is measured on."""


@lru_cache
def prompts(language: Language) -> tuple[Prompt, ...]:
    """Every question of every shipped recipe."""
    return tuple(
        prompt for name in shipped_recipes() for prompt in render_prompts(load_recipe(name), Metadata(), [language])
    )


def row_of(record: CarRecord, languages: tuple[Language, ...] = LANGUAGES) -> dict[str, Any]:
    """A render with its questions and answers, as `carscribe.finetune` takes prepared rows."""
    questions: list[str] = []
    said: list[str] = []
    chance = random.Random(record.seed ^ 0x5EED)
    for language in languages:
        varied = None if chance.random() < CANONICAL_SHARE else chance
        texts = answers(record, language, chance=varied)
        for prompt in prompts(language):
            questions.append(prompt.text)
            said.append(texts[prompt.recipe_id, prompt.question_id])
    # Cut to the grid's canvas once here, not each time it is learned from.
    photo = as_jpeg(render(record).resize(CANVAS_PX, Image.Resampling.BICUBIC), record.seed)
    return {"photo": photo, "key": str(record.seed), "questions": questions, "answers": said}


def write_shard(path: Path, seeds: range, languages: tuple[Language, ...] = LANGUAGES) -> Path:
    """One Parquet file of rows, whole or not at all."""
    import pyarrow
    import pyarrow.parquet

    if not path.exists():
        rows = [row_of(draw_record(seed, held_back=HELD_BACK), languages) for seed in seeds]
        beside = path.with_name(f".{path.name}")
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), beside, row_group_size=100)
        beside.replace(path)
    return path


def write_set(
    folder: Path, count: int, *, first_seed: int = 0, processes: int | None = None, shard: int = 2000
) -> list[Path]:
    """`count` rows in shards, on all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(first_seed, first_seed + count)
    parts = [seeds[start : start + shard] for start in range(0, count, shard)]
    paths = [folder / f"{part.start:09d}.parquet" for part in parts]
    started = time.perf_counter()
    with ProcessPoolExecutor(processes or os.cpu_count()) as pool:
        for done, _ in enumerate(pool.map(write_shard, paths, parts), start=1):
            made = min(done * shard, count)
            print(f"{made:,} of {count:,}, {made / (time.perf_counter() - started):.0f} a second", flush=True)
    return paths


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--shard", type=int, default=2000)
    options = parser.parse_args()
    write_set(
        options.to, options.count, first_seed=options.first_seed, processes=options.processes, shard=options.shard
    )


if __name__ == "__main__":
    main()
