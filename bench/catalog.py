"""A workspace of 100,000 simulated photos: the catalogue's share of a run, how soon a resume and a status answer.

usage: python bench/catalog.py [--photos 100000] [--folder DIR]

Photos are small pictures, each with its own bytes; the engine answers at once. The catalogue's time is that of planning
and of writing, the wait for the disk included, with no other thread at work; its share is of the time the photos would
take at each of `PACES`.
"""

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import carscribe.keeping as keeping
from carscribe.catalog.status import status_of
from carscribe.catalog.workspace import Workspace, read_workspace, write_workspace
from carscribe.catalog.writing import Outcome, RunWriter
from carscribe.memory import BatchPlan
from carscribe.pipeline import plan_run
from carscribe.records import Answer, EngineCard, PhotoResult, Prompt, Request, Tiling
from recording import record

WORDS = "slim LED headlamps, split daytime signature, full-width light bar, dark trim"
PACES = (23.0, 56.0)
"""Photos a second of an 8B at one tile on one GPU: this engine's first figure, and the prototype's, compiled."""


class InstantEngine:
    """Answers at once, with as many words as a model would use."""

    card = EngineCard(model="instant", revision=None, device="cpu", dtype="float32", weights="instant")
    tiling = Tiling(tile_px=28, max_tiles=1)
    reserved: frozenset[str] = frozenset()
    peak_bytes = None

    def plan_batch(self, tiles: int, prompts: Sequence[Prompt]) -> BatchPlan:  # noqa: ARG002
        """64 photos, whatever they are."""
        return BatchPlan(photos=64, tiles=tiles, weight_bytes=0, batch_bytes=0, free_bytes=0)

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
        pixels = b"".join(b"\0" + (i * 7919 + row).to_bytes(4) * 3 for row in range(3))
        content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels, 1)) + chunk(b"IEND", b"")
        (folder / f"{i // 1000:04d}" / f"{i:07d}.png").write_bytes(content)


def timed(command: list[str]) -> float:
    """Seconds of a whole command, the interpreter's start included."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "carscribe", *command], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    """Fill a workspace, then resume it and ask how far it is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="carscribe-catalog-", dir=options.folder))
    try:
        print(f"writing {options.photos:,} pictures to {folder}", flush=True)
        write_simulated(folder / "photos", options.photos)
        figures = measure(folder, options.photos)
        print(json.dumps(figures, indent=1))
        print(record("catalog", figures, command=f"python bench/catalog.py --photos {options.photos}"))
    finally:
        shutil.rmtree(folder)


def measure(folder: Path, count: int) -> dict[str, object]:
    """All figures."""
    workspace = folder / "workspace"
    started = time.perf_counter()
    plan = plan_run(folder / "photos", compare_bytes=False)
    found_s = time.perf_counter() - started
    engine = InstantEngine()
    with write_workspace(workspace, create=True) as opened:
        started = time.perf_counter()
        job = keeping.prepare(opened, plan, engine)
        first_plan_s = time.perf_counter() - started
        writing_s = fill(opened, job, engine)
    with read_workspace(workspace) as opened:
        status = status_of(opened)
    assert status.complete
    catalog_s = writing_s + first_plan_s
    resumes = [resume(workspace, folder / "photos", None) for _ in range(3)]
    with_metadata = [resume(workspace, folder / "photos", write_metadata(folder, count)) for _ in range(3)][1:]
    return {
        "photos": count,
        "answers": status.answers,
        "catalog_mib": round(status.catalog_bytes / 2**20, 1),
        "find_photos_s": round(found_s, 2),
        "first_plan_s": round(first_plan_s, 2),
        "writing_s": round(writing_s, 2),
        "catalog_s": round(catalog_s, 2),
        "catalog_share_at_photos_per_s": {pace: round(catalog_s * pace / count, 4) for pace in PACES},
        "resume_walk_folder_s": [round(walked_s, 2) for walked_s, _ in resumes],
        "resume_plan_s": [round(planned_s, 2) for _, planned_s in resumes],
        "resume_with_metadata_of_each_photo_s": [round(sum(times), 2) for times in with_metadata],
        "status_command_s": [round(timed(["status", str(workspace)]), 2) for _ in range(3)],
    }


def resume(workspace: Path, photos: Path, metadata: Path | None) -> tuple[float, float]:
    """Seconds to find the photos (and match their metadata), and to find that nothing is to be asked."""
    with write_workspace(workspace, create=False) as opened:
        started = time.perf_counter()
        plan = plan_run(photos, metadata=metadata, compare_bytes=False)
        found = time.perf_counter()
        job = keeping.prepare(opened, plan, InstantEngine())
        times = found - started, time.perf_counter() - found
    assert not job.work.asks
    return times


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


def fill(workspace: Workspace, job: keeping.Job, engine: InstantEngine) -> float:
    """Write every answer, 64 photos at a time; seconds that the catalogue took."""
    writer = RunWriter(workspace, job.work, keeping.provenance_of(engine.card, job.plan.read))
    for start in range(0, len(job.work.asks), 64):
        outcomes = []
        for ask in job.work.asks[start : start + 64]:
            sha256 = hashlib.sha256(ask.file.path.read_bytes()).hexdigest()
            missing = writer.missing(sha256, ask.prompts)
            (answers,) = engine.answer([Request(tiles=np.zeros((1, 28, 28, 3), np.uint8), prompts=missing)])
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
            outcomes.append(Outcome(result=result, file_id=ask.file_id, asked=missing, asked_tiles=1))
        writer.keep(outcomes)
    writer.close("done", {})
    return writer.seconds


if __name__ == "__main__":
    main()
