"""The same work for every contender: photos on disk, questions, how long each answer is."""

import argparse
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from PIL import Image

from recording import about

WIDTH_PX, HEIGHT_PX = 4032, {1: 2688, 7: 2688, 13: 3024}
GRID_TILES = {1: 1, 7: 6, 13: 12}
"""The largest grid that cuts a photo of 3:2 into 1 or 7 tiles, one of 4:3 into 13."""

CANVAS_PX = {1: (448, 448), 7: (1344, 896), 13: (1792, 1344)}
PICTURES = 48
"""Different pictures; files beyond them differ in bytes behind the picture's end, so that none is known already."""

WORKS = ("eight", "one", "designer", "designer-en-ko")
"""What a photo can be asked: see `questions`."""

ASPECTS = (
    "body type",
    "proportions and stance",
    "surface treatment",
    "lighting design",
    "grille pattern",
    "wheel design",
    "colour and finish",
    "unique or futuristic elements",
)

LENGTHS = (4, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 15, 16, 17, 18, 19, 20, 22, 24, 40)
"""New tokens of an open answer of `designer`: mean 12.7, 95th percentile 24, most 40."""

KEY_TOKENS = 5
"""What a key takes in an answer as JSON: eight answers of 20 tokens become one of 200."""

CHOICE_TOKENS = 3
"""What an engine without choices generates for one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question's text, and how many tokens its answer has: None where it is drawn from LENGTHS.

    One that holds others, `parts`, is answered as JSON, with a key for each.
    """

    text: str
    new_tokens: int | None = None
    choice: bool = False
    parts: tuple["Question", ...] = ()

    def tokens(self, photo: int, at: int) -> int:
        """How many tokens the answer about this photo has; the same for every contender."""
        if self.parts:
            return sum(KEY_TOKENS + part.tokens(photo, i) for i, part in enumerate(self.parts))
        if self.new_tokens is not None:
            return self.new_tokens
        return random.Random(photo * 1000 + at).choice(LENGTHS)


def parser(description: str | None, *, seconds: float) -> argparse.ArgumentParser:
    """The options that every engine takes which is given files; `seconds` is how long a row is to last at least."""
    found = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--model", required=True)
    found.add_argument("--work", type=Path, required=True)
    found.add_argument("--to", type=Path, required=True)
    default = [(1, "eight", None), (7, "eight", None)]
    found.add_argument("--rows", type=row, nargs="+", default=default, metavar="TILES:WORK[:PHOTOS]")
    found.add_argument("--photos", type=int, default=3000)
    found.add_argument("--seconds", type=float, default=seconds)
    found.add_argument("--warm", type=int, default=96, help="photos before each row")
    return found


def row(text: str) -> tuple[int, str, int | None]:
    """Tiles, work and, if it is said, how many photos: 7:designer or 7:designer:500. Raises: ValueError for others."""
    tiles, work, *photos = text.split(":")
    if work not in WORKS:
        raise ValueError(f"{work} is none of {', '.join(WORKS)}")
    return int(tiles), work, int(photos[0]) if photos else None


def write(to: Path, figures: dict[str, Any], *packages: str) -> None:
    """The figures so far, with the machine and the versions of `packages`, which were imported."""
    command = " ".join(["python", *sys.argv])
    versions = {package: getattr(sys.modules[package], "__version__", None) for package in packages}
    to.write_text(json.dumps(about(command) | versions | figures, indent=1) + "\n")


def questions(work: str) -> tuple[Question, ...]:
    """What `work` asks of each photo: eight, one, designer or designer-en-ko."""
    if work == "eight":
        return tuple(
            Question(text=f"Describe only the {aspect} of this car in at most twelve words.", new_tokens=20)
            for aspect in ASPECTS
        )
    from carscribe.recipes.loading import load_recipe
    from carscribe.recipes.rendering import render
    from carscribe.records import Metadata

    if work == "one":
        (prompt,) = render(load_recipe("brief"), Metadata(), ["en"])
        return (Question(text=prompt.text, new_tokens=96),)
    languages = ["en", "ko"] if work == "designer-en-ko" else ["en"]
    return tuple(
        Question(text=prompt.text, new_tokens=CHOICE_TOKENS if prompt.choices else None, choice=bool(prompt.choices))
        for prompt in render(load_recipe("designer"), Metadata(), languages)
    )


def together(work: str) -> Question:
    """All questions of `work` at once, as one answer; what several begin with is said once."""
    asked = questions(work)
    text = f"Answer as JSON with a short phrase for each of: {', '.join(ASPECTS)}."
    if work != "eight":
        firsts = Counter(question.text.partition(". ")[0] + ". " for question in asked)
        shared = [first for first, times in firsts.items() if times > 1]
        begins = [next((first for first in shared if question.text.startswith(first)), "") for question in asked]
        rest = [question.text.removeprefix(first) for question, first in zip(asked, begins, strict=True)]
        numbered = "\n".join(f"{i}. {each}" for i, each in enumerate(rest, 1))
        text = f"{''.join(shared)}Answer as JSON, with a key for each number.\n{numbered}"
    return Question(text=text, parts=asked)


def lasting(
    run: Callable[[list[Path]], dict[str, Any]], files: Sequence[Path], count: int, *, seconds: float
) -> dict[str, Any]:
    """The row of `run` with the last `count` of the files, or with more, until it has lasted so many `seconds`.

    How many are needed is guessed from a run before it, which began cold, with the first files, and was short.
    """
    while True:
        row = run(list(files[-count:]))
        if row["seconds"] >= seconds or count >= len(files):
            return row
        count = round(1.1 * count * seconds / row["seconds"])


def make_files(folder: Path, tiles: int, count: int) -> list[Path]:
    """`count` JPEG files of 11 to 12 megapixels, of their own bytes each."""
    folder = folder / f"photos-{HEIGHT_PX[tiles]}"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i:05}.jpg" for i in range(count)]
    with ProcessPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        list(pool.map(partial(_draw, HEIGHT_PX[tiles]), paths[:PICTURES]))
        list(pool.map(_copy, paths[PICTURES:], chunksize=32))
    return paths


def _draw(height_px: int, path: Path) -> None:
    if not path.exists():
        noise = np.random.default_rng(int(path.stem)).integers(0, 255, (96, 128, 3), np.uint8)
        picture = Image.fromarray(noise).resize((WIDTH_PX, height_px), Image.Resampling.BICUBIC)
        picture.save(path, quality=90)


def _copy(path: Path) -> None:
    if not path.exists():
        number = int(path.stem)
        content = path.with_name(f"{number % PICTURES:05}.jpg").read_bytes()
        path.write_bytes(content + str(number).encode())


def read(path: Path, canvas_px: tuple[int, int]) -> Image.Image:
    """As an expert reads them for an engine that resizes by itself: shrunk on load, then to the canvas."""
    image = Image.open(path)
    image.draft("RGB", canvas_px)
    return image.convert("RGB").resize(canvas_px, Image.Resampling.BICUBIC)


def take(paths: Sequence[Path], used: int, count: int) -> list[Path]:
    """The next `count` that were not used. Raises: ValueError when there are too few."""
    if used + count > len(paths):
        raise ValueError(f"{len(paths)} photos are too few: {used + count} are wanted. Give --photos.")
    return list(paths[used : used + count])
