"""A workspace of a million simulated photos: the catalogue's share of a run, how soon a resume and a status answer.

usage: python bench/catalog.py [--photos 1000 100000 1000000] [--folder DIR]

Photos are small pictures, each with its own bytes, a thousand to a folder; the engine answers at once. The catalogue's
time is that of planning and of writing, the wait for the disk included, with no other thread at work; its share is of
the time the photos would take at each of `PACES`. The run is stopped half way and gone on with. A resume and a status
are processes of their own: seconds, seconds of CPU, and the most memory they held.
"""

import argparse
import hashlib
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import carscribe.keeping as keeping
from carscribe.catalog.status import status_of
from carscribe.catalog.work import Ask
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.catalog.writing import Outcome, RunWriter
from carscribe.memory import BatchPlan
from carscribe.pipeline import plan_run
from carscribe.records import Answer, EngineCard, PhotoResult, Prompt, Request, Tiling
from recording import record

WORDS = "slim LED headlamps, split daytime signature, full-width light bar, dark trim"
PACES = (45.0, 90.0)
"""Photos a second of an 8B at one tile on an H100 (`bench/results/versus/`), and twice that."""

BATCH = 64
LOOKED_AT = 16
"""Batches at either end of a run of which the time is compared: a thousand photos."""

METADATA_UP_TO = 100_000
"""Photos up to which a resume with a row of metadata for each is measured."""


class InstantEngine:
    """Answers at once, with as many words as a model would use."""

    card = EngineCard(model="instant", revision=None, device="cpu", dtype="float32", weights="instant")
    tiling = Tiling(tile_px=28, max_tiles=1)
    reserved: frozenset[str] = frozenset()
    peak_bytes = None

    def plan_batch(self, tiles: int, prompts: Sequence[Prompt]) -> BatchPlan:  # noqa: ARG002
        """64 photos, whatever they are."""
        return BatchPlan(photos=BATCH, tiles=tiles, weight_bytes=0, batch_bytes=0, free_bytes=0)

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        """The same twelve words to every open question, the first choice to every other."""
        return [tuple(_answer(prompt) for prompt in request.prompts) for request in requests]

    def release(self) -> None:
        """Nothing is held."""


def _answer(prompt: Prompt) -> Answer:
    scores = {choice: 1 / len(prompt.choices) for choice in prompt.choices} or None
    return Answer(
        recipe_id=prompt.recipe_id,
        question_id=prompt.question_id,
        language=prompt.language,
        text=prompt.choices[0] if scores else WORDS,
        tokens=1 if scores else 18,
        finish="choice" if scores else "stop",
        scores=scores,
        mass=0.9 if scores else None,
    )


def write_simulated(folder: Path, count: int) -> None:
    """`count` PNG files of 4 by 3 pixels, a thousand to a folder, each with its own bytes."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)

    header = chunk(b"IHDR", (4).to_bytes(4) + (3).to_bytes(4) + bytes([8, 2, 0, 0, 0]))
    for i in range(count):
        if i % 1000 == 0:
            (folder / f"{i // 1000:04d}").mkdir(parents=True)
        pixels = b"".join(b"\0" + (i * 7919 + row).to_bytes(6) * 2 for row in range(3))
        content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels, 1)) + chunk(b"IEND", b"")
        (folder / f"{i // 1000:04d}" / f"{i:07d}.png").write_bytes(content)


RUN = """
import atexit, json, pathlib, runpy, sys, time

def tell():
    peak_kib = int(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
    json.dump({"cpu_s": round(time.process_time(), 2), "peak_mib": peak_kib // 1024}, sys.stderr)

atexit.register(tell)
del sys.argv[0]
sys.path.insert(0, str(pathlib.Path(sys.argv[0]).parent))  # as for a file that Python is given
(runpy.run_path if sys.argv[0].endswith(".py") else runpy.run_module)(sys.argv[0], run_name="__main__")
"""
"""Runs a file or a module, and tells of itself what it took."""


def used(*command: str | Path) -> dict[str, Any]:
    """What a Python process took, its start included, and the figures it printed."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", RUN, *map(str, command)], check=True, capture_output=True, text=True)
    seconds = round(time.perf_counter() - started, 2)
    return {"process_s": seconds, **json.loads(done.stderr), **json.loads(done.stdout)}


def status_used(workspace: Path) -> dict[str, Any]:
    """What `carscribe status` takes."""
    figures = used("carscribe", "status", workspace, "--json")
    return {name: figures[name] for name in ("process_s", "cpu_s", "peak_mib")}


def main() -> None:
    """Fill workspaces, resume them and ask how far they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, nargs="+", default=[1000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--resume", type=Path, nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume:
        print(json.dumps(resume(*options.resume)))
        return
    figures = []
    for count in options.photos:
        folder = Path(tempfile.mkdtemp(prefix="carscribe-catalog-", dir=options.folder))
        try:
            print(f"writing {count:,} pictures to {folder}", flush=True)
            write_simulated(folder / "photos", count)
            figures.append(measure(folder, count))
            print(json.dumps(figures[-1], indent=1), flush=True)
        finally:
            shutil.rmtree(folder)
    counts = " ".join(map(str, options.photos))
    print(record("catalog", {"workspaces": figures}, command=f"python bench/catalog.py --photos {counts}"))


def measure(folder: Path, count: int) -> dict[str, object]:
    """All figures of one workspace."""
    workspace, photos = folder / "workspace", folder / "photos"
    first_plan_s, first = fill(workspace, photos, count // 2)
    half = [used(__file__, "--resume", workspace, photos) for _ in range(2)]
    half_status = status_used(workspace)
    _, second = fill(workspace, photos, count)
    with read_workspace(workspace) as opened:
        status = status_of(opened)
    assert status.complete
    assert status.answers == 10 * count
    catalog_s = first_plan_s + sum(first["seconds"]) + sum(second["seconds"])
    resumes = [used(__file__, "--resume", workspace, photos) for _ in range(3)]
    assert [each["to_ask"] for each in (*half, *resumes)] == [count - count // 2] * 2 + [0] * 3
    figures: dict[str, object] = {
        "photos": count,
        "answers": status.answers,
        "catalog_mib": round(status.catalog_bytes / 2**20, 1),
        "first_plan_s": round(first_plan_s, 2),
        "catalog_s": round(catalog_s, 2),
        "catalog_share_at_photos_per_s": {pace: round(catalog_s * pace / count, 4) for pace in PACES},
        "writing_ms_a_photo": {
            where: {kind: round(1000 * statistics.median(times[kind][part]) / BATCH, 3) for kind in times}
            for where, times, part in (
                ("first thousand", first, slice(LOOKED_AT)),
                ("last thousand", second, slice(-LOOKED_AT - 1, -1)),
            )
        },
        "resume_half_done": half,
        "resume_nothing_to_ask": resumes,
        "status_half_done": half_status,
        "status": [status_used(workspace) for _ in range(3)],
    }
    if count <= METADATA_UP_TO:
        metadata = write_metadata(folder, count)
        again = [used(__file__, "--resume", workspace, photos, metadata) for _ in range(3)]
        figures["resume_with_metadata_of_each_photo"] = again[1:]  # the first one notes it
    return figures


def resume(workspace: Path, photos: Path, metadata: Path | None = None) -> dict[str, float]:
    """Seconds until the first photo would be read: to find photos (and match metadata), to plan, to begin to write."""
    started = time.perf_counter()
    with write_workspace(workspace, create=False) as opened:
        plan = plan_run(photos, metadata=metadata, compare_bytes=False)
        found = time.perf_counter()
        job = keeping.prepare(opened, plan, InstantEngine())
        planned = time.perf_counter()
        if job.work.asks:
            RunWriter(opened, job.work, keeping.provenance_of(InstantEngine.card, job.plan.read))
        begun = time.perf_counter()
    return {
        "to_ask": len(job.work.asks),
        "find_s": round(found - started, 2),
        "plan_s": round(planned - found, 2),
        "begin_s": round(begun - planned, 2),
        "all_s": round(begun - started, 2),
    }


def write_metadata(folder: Path, count: int) -> Path:
    """A row a photo as a crawl leaves it."""
    rows = [
        {
            "image": f"{i // 1000:04d}/{i:07d}.png",
            "name": f"Car {i}",
            "kind": ("SUV", "세단")[i % 2],
            "year": 2000 + i % 25,
        }
        for i in range(count)
    ]
    path = folder / "cars.json"
    path.write_text(json.dumps(rows, ensure_ascii=False), "utf-8")
    return path


def fill(workspace: Path, photos: Path, until: int) -> tuple[float, dict[str, list[float]]]:
    """Answer what is missing of the photos up to one of them, a batch at a time; how long the catalogue took.

    That is the seconds of planning, and seconds and seconds of CPU for each batch.
    """
    engine = InstantEngine()
    times: dict[str, list[float]] = {"seconds": [], "cpu_s": []}
    with write_workspace(workspace, create=True) as opened:
        plan = plan_run(photos, compare_bytes=False)
        started = time.perf_counter()
        job = keeping.prepare(opened, plan, engine)
        writer = RunWriter(opened, job.work, keeping.provenance_of(engine.card, job.plan.read))
        planned_s = time.perf_counter() - started
        to_ask = sum(index < until for index in job.work.asks.indexes)
        for start in range(0, to_ask, BATCH):
            asks = [job.work.asks[number] for number in range(start, min(to_ask, start + BATCH))]
            hashes = [hashlib.sha256(ask.file.path.read_bytes()).hexdigest() for ask in asks]
            started, cpu_s = time.perf_counter(), time.process_time()
            missing = [writer.missing(sha256, ask.prompts) for ask, sha256 in zip(asks, hashes, strict=True)]
            asking_s, asking_cpu_s = time.perf_counter() - started, time.process_time() - cpu_s
            outcomes = [
                _outcome(ask, sha256, prompts, engine)
                for ask, sha256, prompts in zip(asks, hashes, missing, strict=True)
            ]
            started, cpu_s = time.perf_counter(), time.process_time()
            writer.keep(outcomes)
            times["seconds"].append(asking_s + time.perf_counter() - started)
            times["cpu_s"].append(asking_cpu_s + time.process_time() - cpu_s)
        writer.close("done" if to_ask == len(job.work.asks) else "stopped", {})
    return planned_s, times


def _outcome(ask: Ask, sha256: str, prompts: tuple[Prompt, ...], engine: InstantEngine) -> Outcome:
    (answers,) = engine.answer([Request(tiles=np.zeros((1, 28, 28, 3), np.uint8), prompts=prompts)])
    result = PhotoResult(
        index=ask.index,
        file=ask.file,
        sha256=sha256,
        width_px=4,
        height_px=3,
        tiles=1,
        answers=answers,
        seconds=0.02,
    )
    return Outcome(result=result, file_id=ask.file_id, asked=prompts, asked_tiles=1)


if __name__ == "__main__":
    main()
