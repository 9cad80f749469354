"""The demo model with fewer tiles a photo: how much is right, how much is as with 12, and how much faster is it?

usage: python bench/demo_max_tiles.py [--photos 150] [--device cpu]

Renders that it never saw are asked `designer` in English and Korean, in float32, with every setting of MAX_TILES; 12 is
the default, and what the others are held against. A difference in what is right comes with its interval of 95 %, by
photos. Times run from files to answers, chunk of photos by chunk, all settings in turn in each, begun with another one
each time, and their ratio is the chunks' median: what else runs on the machine slows all alike. An answer that is none
is asked again, as in any run, which takes its time.

The model learned from renders in 12 tiles and a thumbnail, and from nothing else, so fewer tiles mean two things to it:
less to see, and a grid that it does not know. To tell them apart, renders are also shrunk to the pixels of fewer tiles,
enlarged again and cut into 12.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import torch
from PIL import Image

import carscribe
from carscribe.engines.choosing import open_engine
from carscribe.engines.local import LocalEngine
from carscribe.photos.tiles import choose_grid
from carscribe.pipeline import tiling_for
from carscribe.records import ASKED_AGAIN, PhotoResult, Tiling
from held_against import ASPECTS_ASKED_BY, agreement, differences, right
from measure import write_photos
from recording import record
from render_set import LANGUAGES, UNSEEN_FROM

FIRST_SEED = UNSEEN_FROM + 600_000
MAX_TILES = (1, 2, 4, 6, 9, 12)
SHRUNK_TO = (1, 4, 6)
REFERENCE = 12
CHUNK, WARM = 25, 4
"""Photos in a turn, and before the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A chunk of photos with one setting: what was said, and how long it took."""

    results: tuple[PhotoResult, ...]
    seconds: float


def turn(photos: Sequence[Path], engine: LocalEngine, max_tiles: int) -> Turn:
    """Ask everything of these photos."""
    start = time.perf_counter()
    results = carscribe.describe(
        list(photos), recipes=(ASPECTS_ASKED_BY,), languages=LANGUAGES, max_tiles=max_tiles, engine=engine
    )
    return Turn(results=tuple(results), seconds=time.perf_counter() - start)


def turns(photos: Sequence[Path], engine: LocalEngine) -> dict[int, list[Turn]]:
    """All photos with every setting, the chunks in order."""
    for max_tiles in MAX_TILES:
        turn(photos[:WARM], engine, max_tiles)
    found: dict[int, list[Turn]] = {max_tiles: [] for max_tiles in MAX_TILES}
    for number, start in enumerate(range(0, len(photos), CHUNK)):
        begin = number % len(MAX_TILES)
        for max_tiles in (*MAX_TILES[begin:], *MAX_TILES[:begin]):
            found[max_tiles].append(turn(photos[start : start + CHUNK], engine, max_tiles))
        print(f"{min(start + CHUNK, len(photos))} of {len(photos)} photos", flush=True)
    return found


def shrunk(photos: Sequence[Path], folder: Path, tiling: Tiling, max_tiles: int) -> list[Path]:
    """Copies as large as the photos, without what so few tiles would not show."""
    folder.mkdir()
    copies = [folder / f"{photo.stem}.png" for photo in photos]
    for photo, copy in zip(photos, copies, strict=True):
        with Image.open(photo) as image:
            grid = choose_grid(*image.size, tiling_for(tiling, max_tiles))
            small = image.convert("RGB").resize(grid.canvas_px(tiling.tile_px), Image.Resampling.BICUBIC)
            small.resize(image.size, Image.Resampling.BICUBIC).save(copy)
    return copies


def results_of(found: Sequence[Turn]) -> list[PhotoResult]:
    """What was said of all photos, each by its number: a copy is known by its photo's."""
    return [
        replace(result, file=replace(result.file, key=Path(result.file.key).stem))
        for one in found
        for result in one.results
    ]


def compared(reference: Sequence[Turn], found: Sequence[Turn]) -> dict[str, Any]:
    """What is right, what is as in the reference, by how much more is right than there."""
    first, second = results_of(reference), results_of(found)
    return {
        "right": right(second),
        "as_with_12": agreement(first, second),
        "against_12": differences(first, second),
    }


def figures(reference: Sequence[Turn], found: Sequence[Turn]) -> dict[str, Any]:
    """One setting: how it was cut, how fast it was, and how it compares."""
    results = results_of(found)
    opens = [answer for result in results for answer in result.answers if answer.scores is None]
    times = [before.seconds / after.seconds for before, after in zip(reference, found, strict=True)]
    return {
        "photos_by_tiles": {str(tiles): count for tiles, count in Counter(result.tiles for result in results).items()},
        "photos_per_s": round(len(results) / sum(one.seconds for one in found), 2),
        "times_as_fast_as_12": round(statistics.median(times), 2),
        "times_as_fast_by_chunk": [round(each, 2) for each in times],
        "open_answers": len(opens),
        "tokens_an_open_answer": round(sum(answer.tokens for answer in opens) / len(opens), 2),
        "asked_again": sum(answer.remark == ASKED_AGAIN for answer in opens),
        **compared(reference, found),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=150)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a second one would wait for its turn wherever something else runs
    work = Path(tempfile.mkdtemp(prefix="carscribe-max-tiles-"))
    seeds = range(FIRST_SEED, FIRST_SEED + options.photos)
    photos = sorted(write_photos(work / "photos", seeds).iterdir())
    engine = open_engine("demo", device=options.device, dtype="float32")
    found = turns(photos, engine)
    told: dict[str, Any] = {
        "photos": options.photos,
        "recipe": ASPECTS_ASKED_BY,
        "languages": LANGUAGES,
        "device": options.device,
        "max_tiles": {str(max_tiles): figures(found[REFERENCE], found[max_tiles]) for max_tiles in MAX_TILES},
        "shrunk_and_cut_into_12": {
            str(max_tiles): compared(
                found[REFERENCE],
                [turn(shrunk(photos, work / f"shrunk-{max_tiles}", engine.tiling, max_tiles), engine, REFERENCE)],
            )
            for max_tiles in SHRUNK_TO
        },
    }
    print(record("demo_max_tiles", told, command=f"python bench/demo_max_tiles.py --photos {options.photos}"))


if __name__ == "__main__":
    main()
