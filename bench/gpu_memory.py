"""Predicted against measured memory on a GPU: by size, dtype and tiles, and within fractions of the GPU's memory.

usage: python bench/gpu_memory.py --work DIR [--sizes 1B 2B 8B 14B] [--dtypes bfloat16 fp8 int8 int4] [--tiles 1 7 13]
       python bench/gpu_memory.py --work DIR --sizes 8B --fractions 12 16 24 32 48
       python bench/gpu_memory.py --split gpu_memory.json

Random weights of the real size, photos of noise, the shipped `designer` in English, all answers to their caps. Each
size and dtype is a process of its own (`gpu_memory_rows.py`), started beforehand and let go when the GPU is free.

Cells: a batch is answered twice, so that all of its shapes are captured, and the peaks are over both. `process` is
what the driver counts: what torch's allocator had at most, and what is outside of it. The 8B in bfloat16 is asked 48
open questions at 13 tiles besides. Layers are compiled in fp8, as they always are, and in the cells that --compiled
names.

Fractions: torch's allocator is held to so many GiB before all else, the engine is opened as `describe` opens it, and
batches of the planned size go through the ladder, answers that are none asked again as ever. 12 GiB by int4, 16 by
int8, more by bfloat16; "16:fp8" is 16 by fp8.

Each row is written as it ends: gpu_memory.json has all of a run, and unless $OUT is set each has a file in
results/memory besides; --split makes those of a gpu_memory.json, and predicts anew. Nothing is begun that may not end
within --seconds.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, fields
from pathlib import Path

from carscribe import memory
from checkpoints import SIZES, write_apart
from gpu_bytes import GROWING
from gpu_memory_rows import MANY_TILES, Job, brief, held_against
from recording import RESULTS

SMALL_FRACTIONS = {12: "int4", 16: "int8"}
GUESSED_S = {"1B": 30.0, "2B": 35.0, "8B": 80.0, "14B": 150.0}
"""What the first process of a size takes, with the writing of its checkpoint."""


def jobs_of(options: argparse.Namespace, rows: Path) -> list[Job]:
    """A process each, those of a size together."""
    jobs = []
    for size in [options.model.name] if options.model else options.sizes:
        wanted = [(dtype, None) for dtype in options.dtypes]
        if options.fractions:
            wanted = []
            for each in options.fractions:
                held, _, dtype = each.partition(":")
                wanted.append((dtype or SMALL_FRACTIONS.get(int(held), "bfloat16"), int(held)))
        for dtype, fraction_gib in wanted:
            jobs.append(
                Job(
                    model=str(options.model or options.work / size),
                    size=size,
                    dtype=dtype,
                    device=options.device,
                    tiles=options.tiles,
                    many=MANY_TILES in options.tiles and dtype == "bfloat16" and (bool(options.model) or size == "8B"),
                    most_photos=options.most_photos,
                    most_tiles=options.most_tiles,
                    batches=options.batches,
                    again=options.again,
                    compiled=dtype == "fp8" or f"{size}-{dtype}" in options.compiled,
                    rows=str(rows),
                    command="python bench/gpu_memory.py " + " ".join(sys.argv[1:]),
                    fraction_gib=fraction_gib,
                )
            )
    return jobs


def started(job: Job) -> subprocess.Popen[str]:
    """A process that imports what it needs and waits."""
    command = [sys.executable, str(Path(__file__).with_name("gpu_memory_rows.py")), json.dumps(asdict(job))]
    return subprocess.Popen(command, stdin=subprocess.PIPE, env=GROWING | os.environ, text=True)


def write(folder: Path, options: argparse.Namespace) -> None:
    """A checkpoint of the size that the folder is named after, whole or not at all."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        write_apart(part, folder.name, device=options.device, tokenizer_json=options.tokenizer)
        part.rename(folder)


def finish(process: subprocess.Popen[str], until: float) -> None:
    """Let a waiting process go, and wait for it; end it when it goes on too long after `until`."""
    try:
        process.communicate(f"{until}\n", timeout=max(5.0, until + 15 - time.time()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(options: argparse.Namespace) -> None:
    """Let one process go after another, the next one waiting; what is left when time runs out is named."""
    began = time.time()
    until = began + options.seconds
    options.work.mkdir(parents=True, exist_ok=True)
    rows = options.work / "rows.json"
    rows.unlink(missing_ok=True)
    jobs, spent_s = jobs_of(options, rows), dict(GUESSED_S)
    waiting: subprocess.Popen[str] | None = None
    for place, job in enumerate(jobs):
        if time.time() + spent_s.get(job.size, 0.0) > until:
            print("out of time, not run:", ", ".join(f"{left.size}-{left.dtype}" for left in jobs[place:]), flush=True)
            break
        if options.model is None:
            write(Path(job.model), options)
        process = waiting or started(job)
        waiting = started(jobs[place + 1]) if place + 1 < len(jobs) else None
        let_go = time.time()
        finish(process, until)
        spent_s[job.size] = time.time() - let_go
        ended = "" if process.returncode == 0 else f", ended with {process.returncode}"
        print(f"{time.time() - began:.0f} s: {job.size} {job.dtype} took {spent_s[job.size]:.0f} s{ended}", flush=True)
        last_of_size = place + 1 == len(jobs) or jobs[place + 1].size != job.size
        if options.model is None and last_of_size and not options.keep:
            shutil.rmtree(job.model)
    if waiting is not None and waiting.poll() is None:
        waiting.communicate("")
    found = json.loads(rows.read_text()) if rows.exists() else {}
    print(f"{time.time() - began:.0f} s, {len(found)} rows:", flush=True)
    for name, row in found.items():
        print(f"  {name}: {brief(row)}")


def split(combined: Path) -> None:
    """A file for each row of a gpu_memory.json, what was measured held against what is predicted now."""
    about = json.loads(combined.read_text())
    rows = about.pop("rows")
    family = {**memory.FAMILY, **memory.NAMED_ONLY}
    for row in rows.values():
        if "measured_gib" in row:
            asked = {field.name: row["row"][field.name] for field in fields(memory.RowShape)}
            shape = family[f"OpenGVLab/InternVL3-{row['size']}-hf"]
            how = (shape, memory.RowShape(**asked), row["dtype"], memory.ON_GPU, row["photos"])
            row |= held_against(*how, row["measured_gib"], compiled=row["compiled"])
    folder = RESULTS / "memory"
    folder.mkdir(parents=True, exist_ok=True)
    for name, row in rows.items():
        (folder / f"{name}.json").write_text(json.dumps({**about, **row}, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print(f"{len(rows)} rows, each in {folder}")


def main() -> None:
    """All jobs, one after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, help="where checkpoints are written, and deleted behind each size")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--model", type=Path, help="a checkpoint's folder instead of the sizes")
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "fp8", "int8", "int4"])
    parser.add_argument("--tiles", nargs="+", type=int, default=[1, 7, 13])
    parser.add_argument("--most-photos", type=int, default=64)
    parser.add_argument("--most-tiles", type=int, default=256, help="of all photos of a cell's batch together")
    parser.add_argument("--compiled", nargs="*", default=["8B-bfloat16"])
    parser.add_argument("--again", action="store_true", help="each cell's batch at a temperature besides")
    parser.add_argument("--fractions", nargs="+", default=[], help="GiB, or GiB:dtype, instead of cells")
    parser.add_argument("--batches", type=int, default=3, help="of each tile count, within a fraction")
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--keep", action="store_true", help="leave the checkpoints for the next run")
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--split", type=Path)
    options = parser.parse_args()
    if options.split:
        split(options.split)
    elif options.work is None:
        parser.error("--work DIR is needed")
    else:
        run(options)


if __name__ == "__main__":
    main()
