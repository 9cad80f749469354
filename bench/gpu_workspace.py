"""`carscribe describe -w` with weights of the 8B's size on a GPU: stopped, killed, gone on with; what it costs.

usage: python bench/gpu_workspace.py --photos DIR [--tokenizer tokenizer.json] [--size 8B] [--count 1200]

The real command line in processes of its own: the first is stopped by Ctrl-C, the second killed, the third runs to
the end; at 1 tile on a disk, then at 13 tiles as on a network mount. Reports the plan against the peak, the catalogue's
share of each run, and whether every question about every photo has exactly one answer.
"""

import argparse
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from PIL import Image

from checkpoints import write_sized_checkpoint
from killed import answers
from recording import record


def main() -> int:
    """Both workspaces."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--tokenizer", type=Path, default=None)
    parser.add_argument("--size", default="8B")
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--device", default="cuda")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="carscribe-gpu-"))
    wrote = write_sized_checkpoint(
        work / "model", options.size, device=options.device, tokenizer_json=options.tokenizer
    )
    print(f"checkpoint written in {wrote:.0f} s", flush=True)
    figures: dict[str, Any] = {"size": options.size, "count": options.count}
    for mount, tiles, count in (("local", 1, options.count), ("network", 12, options.count // 8)):
        photos = make_photos(options.photos, work / f"photos-{tiles}", count)
        figures[mount] = try_workspace(work, photos, tiles, mount, options.device)
        print(mount, json.dumps(figures[mount], indent=1), flush=True)
    command = f"python bench/gpu_workspace.py --size {options.size} --count {options.count}"
    print(record("gpu_workspace", figures, command=command))
    return 0 if all(figures[mount]["exactly_once"] for mount in ("local", "network")) else 1


def make_photos(source: Path, folder: Path, count: int) -> Path:
    """`count` photographs of their own bytes, 4:3, made from those in `source` by cropping a little differently."""
    folder.mkdir()
    sources = sorted(path for path in source.iterdir() if path.suffix in {".jpg", ".jpeg", ".png"})
    for i in range(count):
        with Image.open(sources[i % len(sources)]) as image:
            size = min(image.width, image.height * 4 // 3) - i // len(sources)
            image.convert("RGB").crop((0, 0, size, size * 3 // 4)).resize((1600, 1200)).save(folder / f"{i:05d}.jpg")
    return folder


def try_workspace(work: Path, photos: Path, tiles: int, mount: str, device: str) -> dict[str, Any]:
    """Stop it, kill it, let it end."""
    workspace = work / f"workspace-{mount}"
    command = [sys.executable, "-m", "carscribe", "describe", str(photos), "-w", str(workspace)]
    command += ["--model", str(work / "model"), "--max-tiles", str(tiles), "--device", device]
    runs = [run(command, workspace, mount, number) for number in (signal.SIGINT, signal.SIGKILL, None)]
    again = time.perf_counter()
    nothing = run(command, workspace, mount, None)
    with closing(sqlite3.connect(workspace / "catalog.sqlite")) as connection:
        answers = connection.execute("SELECT count(*) FROM answers").fetchone()[0]
        distinct = connection.execute(
            "SELECT count(*) FROM (SELECT DISTINCT photo_id, prompt_id, condition_id FROM answers)"
        ).fetchone()[0]
        photos_kept = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
        sums = [
            json.loads(row[0])
            for row in connection.execute("SELECT figures FROM runs WHERE state <> 'planned' ORDER BY id")
        ]
    return {
        "photos": photos_kept,
        "answers": answers,
        "exactly_once": answers == distinct == photos_kept * 10 and "Nothing to ask" in nothing["said"],
        "nothing_to_ask_s": round(time.perf_counter() - again, 1),
        "catalog_shares": [round(s["catalog_seconds"] / s["seconds"], 4) for s in sums if s.get("seconds", 0) > 1],
        "photos_per_s": [round(s["answered"] / s["seconds"], 2) for s in sums if s.get("seconds", 0) > 1],
        "runs": runs,
    }


def run(command: list[str], workspace: Path, mount: str, number: signal.Signals | None) -> dict[str, Any]:
    """One process, ended with a signal once it has kept some answers; what it said."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        started = time.perf_counter()
        before = answers(workspace)
        process = subprocess.Popen(
            command, env={**os.environ, "CARSCRIBE_MOUNT": mount}, stdout=subprocess.DEVNULL, stderr=said
        )
        while process.poll() is None and (number is None or answers(workspace) <= before):
            time.sleep(0.2)
        if process.poll() is None and number is not None:
            time.sleep(1.5)
            process.send_signal(number)
            process.wait()
        said.seek(0)
        text = said.read()
    lines = [
        line for line in text.splitlines() if re.match(r"(Batch|Memory|Done|Speed|Stopp|Nothing|Workspace|Error)", line)
    ]
    return {
        "ended_by": number.name if number else None,
        "exit": process.returncode,
        "seconds": round(time.perf_counter() - started, 1),
        "kept": answers(workspace) - before,
        "said": "\n".join(lines) if process.returncode != 1 else text[-2000:],
    }


if __name__ == "__main__":
    sys.exit(main())
