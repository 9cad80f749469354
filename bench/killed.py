"""The whole way, with a model, killed at random moments: `carscribe describe -w` until it ends, in both journal modes.

usage: python bench/killed.py --photos DIR [--model demo] [--kills 20] [--seed 1]

Says at the end whether every question about every photo has exactly one answer, and what the terminal said last.
"""

import argparse
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from recording import record


def main() -> int:
    """Kill and go on, on a disk and as on a network mount."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    figures = {}
    for mount in ("local", "network"):
        with tempfile.TemporaryDirectory(prefix="carscribe-killed-") as folder:
            figures[mount] = kill_and_go_on(Path(folder) / "workspace", options, mount)
        print(mount, figures[mount], flush=True)
    command = f"python bench/killed.py --photos DIR --model {options.model} --kills {options.kills}"
    print(record("killed", {"model": options.model, **figures}, command=command))
    return 0 if all(each["exactly_once"] for each in figures.values()) else 1


def kill_and_go_on(workspace: Path, options: argparse.Namespace, mount: str) -> dict[str, object]:
    """The counts of one workspace that was killed often."""
    command = [sys.executable, "-m", "carscribe", "describe", str(options.photos), "-w", str(workspace)]
    command += ["--model", options.model, "--language", "en", "--language", "ko"]
    for recipe in ("designer", "detailed", "brief"):
        command += ["--recipe", recipe]
    environment = {**os.environ, "CARSCRIBE_MOUNT": mount, "OMP_NUM_THREADS": "1"}
    moment, kills, useful = random.Random(options.seed), 0, 0
    while kills < options.kills:
        before = answers(workspace)
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if kills % 3:  # two of three while it asks, the third at any moment since its start
            while process.poll() is None and not asking(workspace, process.pid):
                time.sleep(0.02)
        time.sleep(moment.uniform(0, 5 if kills % 3 else 8))
        process.kill()
        if process.wait() >= 0:
            print(f"  finished by itself after {kills} kills", flush=True)
            break
        kills += 1
        useful += answers(workspace) > before
    last = subprocess.run(command, env=environment, capture_output=True, text=True, encoding="utf-8", check=False)
    with closing(sqlite3.connect(workspace / "catalog.sqlite")) as connection:
        twice = connection.execute(
            "SELECT count(*) - (SELECT count(*) FROM (SELECT DISTINCT photo_id, prompt_id, condition_id FROM answers))"
            " FROM answers"
        ).fetchone()[0]
        journal = connection.execute("PRAGMA journal_mode").fetchone()[0]
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        photos = connection.execute("SELECT count(*) FROM photos").fetchone()[0]
        asked = connection.execute("SELECT count(DISTINCT prompt_id) FROM answers").fetchone()[0]
    total = answers(workspace)
    return {
        "journal": journal,
        "integrity": sound,
        "kills": kills,
        "kills_after_which_more_was_kept": useful,
        "photos": photos,
        "questions": asked,
        "answers": total,
        "answered_twice": twice,
        "exactly_once": kills == options.kills and last.returncode == 0 and not twice and total == photos * asked,
    }


def asking(workspace: Path, pid: int) -> bool:
    """Whether a process has loaded its model and begun to ask."""
    try:
        with closing(sqlite3.connect(f"file:{workspace}/catalog.sqlite?mode=ro", uri=True)) as connection:
            found = connection.execute("SELECT 1 FROM runs WHERE pid = ? AND state = 'running'", (pid,))
            return found.fetchone() is not None
    except sqlite3.OperationalError:
        return False


def answers(workspace: Path) -> int:
    """How many answers are kept, 0 before there is a catalogue."""
    try:
        with closing(sqlite3.connect(f"file:{workspace}/catalog.sqlite?mode=ro", uri=True)) as connection:
            return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
