"""`carscribe.describe` into a workspace while another process takes the GPU's memory, and whether memory stays flat.

usage: python bench/gpu_ladder.py --work DIR [--size 8B] [--photos 640] [--left-gib 1]
       python bench/gpu_ladder.py --work DIR --size 2B --flat 5000

Random weights of the real size; JPEG files of noise, each of its own bytes.

The ladder, at 7 tiles: before batch --take-at begins, what torch's allocator holds unused goes back to the driver, as
if it had not been needed yet, and another process takes all of the GPU's free memory but --left-gib; four batches later
it gives it back. gpu_ladder.json has each batch with what became of it, what was said, and what was learned.

--flat, at 1 tile: memory once a second, of this process on the host and of torch on the GPU, and how it grows over the
last seven tenths, in MiB per 1,000 photos: gpu_flat.json, which `plots.py` draws.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

import carscribe
from carscribe import pipeline
from carscribe.batching import Ladder, Pending
from carscribe.engines import Engine, Work
from carscribe.engines.choosing import open_engine
from carscribe.engines.local import LocalEngine
from carscribe.errors import OutOfMemoryError
from carscribe.records import Answer, PhotoResult, Request, TiledPhoto
from checkpoints import write_apart
from gpu_bytes import GIB, MIB, allocated, gib, out_of_memory_count, reserved, taken
from meanwhile import meanwhile
from recording import record

PICTURES = 16
"""Different pictures; files beyond them differ in bytes behind the picture's end."""

SIZE_PX = {1: (600, 400), 7: (1200, 800)}
MAX_TILES = {1: 1, 7: 12}
HELD_BATCHES = 4
SETTLED_SHARE = 0.3
"""Of all photos, those before memory is held to be flat: layers are compiled meanwhile, and the shape of full batches,
the fourth of which begins with photo 1,249, is captured."""


def make_files(folder: Path, tiles: int, count: int) -> Path:
    """`count` JPEG files that are cut into so many tiles."""
    folder.mkdir(parents=True)
    pictures: list[bytes] = []
    for i in range(count):
        path = folder / f"{i:05}.jpg"
        if i < PICTURES:
            noise = np.random.default_rng(i).integers(0, 255, (32, 48, 3), np.uint8)
            Image.fromarray(noise).resize(SIZE_PX[tiles], Image.Resampling.BICUBIC).save(path, quality=90)
            pictures.append(path.read_bytes())
        else:
            path.write_bytes(pictures[i % PICTURES] + str(i).encode())
    return folder


class Taker:
    """Another process, which takes the GPU's free memory when told to, and gives it back by ending."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--taker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._read()

    def take(self, left_bytes: int) -> int:
        """All that is free but so much; the bytes it took."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{left_bytes}\n")
        self._process.stdin.flush()
        return int(self._read())

    def give(self) -> None:
        """End it, if it has not been."""
        if self._process.poll() is None:
            self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def be_taker() -> None:
    """What that process does."""
    on_gpu = torch.cuda.is_available()
    held = [torch.zeros(1, device="cuda" if on_gpu else "cpu")]
    print("ready", flush=True)
    for line in sys.stdin:
        count = max(0, torch.cuda.mem_get_info()[0] - int(line)) if on_gpu else 0
        held.append(torch.empty(count, dtype=torch.uint8, device=held[0].device))
        print(count, flush=True)


class Told(Ladder):
    """The ladder of a run, which keeps what it says."""

    made: "list[Told]" = []  # noqa: RUF012

    def __init__(
        self, engine: Engine, cut_again: Callable[[Pending, int], TiledPhoto], _say: Callable[[str], None]
    ) -> None:
        self.said: list[str] = []
        super().__init__(engine, cut_again, self.said.append)
        Told.made.append(self)


class Batches:
    """What became of each batch that an engine was given."""

    def __init__(self, engine: LocalEngine, before: Callable[[int], None]) -> None:
        """`before` is called with a batch's number, from 1, before it begins; second answers are not counted."""
        self.rows: list[dict[str, Any]] = []
        self._began = time.perf_counter()
        self._count = 0
        make = engine.work

        def work(requests: Sequence[Request]) -> Work:
            return _Watched(self, make(requests), requests)

        engine.work = work  # type: ignore[assignment, method-assign]
        self.before = before

    def begins(self, again: bool) -> None:
        """A batch is about to."""
        if not again:
            self._count += 1
            self.before(self._count)

    def note(self, requests: Sequence[Request], outcome: str) -> None:
        """A batch has ended."""
        first = requests[0]
        self.rows.append(
            {
                "at_s": round(time.perf_counter() - self._began, 1),
                "photos": len(requests),
                "tiles": len(first.tiles),
                "again": first.temperature > 0,
                "outcome": outcome,
                "reserved_gib": gib(reserved()),
            }
        )


class _Watched:
    """A batch on its way."""

    def __init__(self, batches: Batches, work: Work, requests: Sequence[Request]) -> None:
        self._batches, self._work, self._requests = batches, work, requests

    def begin(self) -> None:
        self._batches.begins(self._requests[0].temperature > 0)
        self._try(self._work.begin, "out of memory in its beginning")

    def run(self) -> None:
        self._try(self._work.run, "out of memory while decoding")
        self._batches.note(self._requests, "answered")

    def answers(self) -> list[tuple[Answer, ...]]:
        return self._work.answers()

    def _try(self, step: Callable[[], None], trouble: str) -> None:
        try:
            step()
        except OutOfMemoryError:
            self._batches.note(self._requests, trouble)
            raise


def described(photos: Path, workspace: Path, engine: LocalEngine, tiles: int) -> Iterator[PhotoResult]:
    """A run over all files."""
    return carscribe.describe(photos, workspace=workspace, engine=engine, max_tiles=MAX_TILES[tiles])


def ladder(engine: LocalEngine, taker: Taker, photos: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Memory taken in the middle of a run, and given back."""
    took: list[int] = []

    def before(number: int) -> None:
        if number == options.take_at:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
            took.append(taker.take(int(options.left_gib * GIB)))
        if number == options.take_at + HELD_BATCHES:
            taker.give()

    batches = Batches(engine, before)
    start = time.perf_counter()
    results = list(described(photos, options.work / "workspace", engine, 7))
    seconds = time.perf_counter() - start
    taker.give()
    firsts, seconds_asked = (
        [row["outcome"] for row in batches.rows if row["again"] is again] for again in (False, True)
    )
    failed = [place for place, outcome in enumerate(firsts) if outcome != "answered"]
    return {
        "photos": len(results),
        "answered": sum(bool(result.answers) for result in results),
        "errors": sorted({result.error for result in results if result.error}),
        "tiles": Counter(str(result.tiles) for result in results),
        "took_gib": [gib(count) for count in took],
        "left_gib": options.left_gib,
        "out_of_memory": len(failed),
        "batches_answered_since": len(firsts) - 1 - failed[-1] if failed else None,
        "out_of_memory_asking_again": sum(outcome != "answered" for outcome in seconds_asked),
        "said": [text for each in Told.made for text in each.said],
        "learned": Told.made[-1]._learned,
        "most_grid_tiles": Told.made[-1].most_grid_tiles,
        "gave_up": out_of_memory_count(),
        "seconds": round(seconds, 1),
        "batches": batches.rows,
    }


def resident(process: str = "self") -> tuple[int, int]:
    """Bytes of a process in the host's memory, and of those that are no pages of files."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0, 0
    found = {name: value for name, _, value in (line.partition(":") for line in lines)}
    whole, own = (int(found.get(name, "0 kB").split()[0]) * 1024 for name in ("VmRSS", "RssAnon"))
    return whole, own


def children_bytes() -> int:
    """Bytes of this process's children in the host's memory."""
    children = [child for path in Path("/proc/self/task").glob("*/children") for child in path.read_text().split()]
    return sum(resident(child)[0] for child in children)


@contextmanager
def sampled(done: Callable[[], int]) -> Iterator[list[dict[str, float]]]:
    """Memory once a second, in MiB."""
    rows: list[dict[str, float]] = []
    began = time.perf_counter()

    def look() -> None:
        whole, own = resident()
        counts = {"host": whole, "host_own": own, "children": children_bytes()}
        counts |= {"allocated": allocated(), "reserved": reserved()}
        row = {"at_s": round(time.perf_counter() - began, 1), "photos": float(done())}
        rows.append(row | {name: round(count / MIB, 1) for name, count in counts.items()})

    with meanwhile(look, every_s=1.0):
        yield rows


def flat(engine: LocalEngine, photos: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Memory over many photos, and how it grows."""
    seen = Counter[str]()
    start = time.perf_counter()
    with sampled(seen.total) as rows:
        for result in described(photos, options.work / "workspace", engine, 1):
            seen["answered" if result.answers else "set aside"] += 1
    seconds = time.perf_counter() - start
    settled = [row for row in rows if row["photos"] >= SETTLED_SHARE * options.flat]
    grows = {}
    if len(settled) > 2:
        at = [row["photos"] for row in settled]
        for name in ("host", "host_own", "children", "allocated", "reserved"):
            grows[name] = round(1000 * float(np.polyfit(at, [row[name] for row in settled], 1)[0]), 2)
    return {
        "photos": options.flat,
        **seen,
        "seconds": round(seconds, 1),
        "photos_per_s": round(options.flat / seconds, 1),
        "said": [text for each in Told.made for text in each.said],
        "mib_per_1000_photos": grows,
        "process_gib": gib(taken(0)),
        "samples_mib": rows,
    }


def main() -> None:
    """One of the two, into its JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--size", default="8B")
    parser.add_argument("--model", type=Path, help="a checkpoint's folder instead")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--photos", type=int, default=640)
    parser.add_argument("--take-at", type=int, default=3, help="before which batch, from 1; the first one is small")
    parser.add_argument("--left-gib", type=float, default=1.0)
    parser.add_argument("--flat", type=int, default=0, help="so many photos of one tile instead")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--taker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.taker:
        be_taker()
    elif options.work is None:
        parser.error("--work DIR is needed")
    else:
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Write what is needed, run, clean up."""
    folder = options.model or options.work / options.size
    if not folder.exists():
        write_apart(folder, options.size, device=options.device, tokenizer_json=options.tokenizer)
    for left in ("photos", "workspace"):
        shutil.rmtree(options.work / left, ignore_errors=True)
    photos = make_files(options.work / "photos", 1 if options.flat else 7, options.flat or options.photos)
    pipeline.Ladder = Told  # type: ignore[misc, assignment]
    taker = None if options.flat else Taker()
    engine = open_engine(str(folder), device=options.device, dtype=options.dtype, say=print)
    about = {"size": folder.name, "dtype": engine.card.dtype}
    command = "python bench/gpu_ladder.py " + " ".join(sys.argv[1:])
    figures = about | (flat(engine, photos, options) if taker is None else ladder(engine, taker, photos, options))
    path = record("gpu_flat" if taker is None else "gpu_ladder", figures, command=command)
    for row in figures.get("batches", ()):
        print(json.dumps(row))
    print(json.dumps({name: figures[name] for name in figures if name not in ("batches", "samples_mib")}, indent=1))
    print(path)


if __name__ == "__main__":
    main()
