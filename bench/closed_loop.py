"""The closed loop on a CPU: a wheel design the demo model never saw, 200 corrected answers, a LoRA, and its worth.

usage: python bench/closed_loop.py [--work DIR] [--config bench/closed_loop.toml] [--measure 750]

800 renders are described into a workspace, 200 of them on snowflake wheels. A person (who knows the truth) corrects the
200 answers about those wheels and approves what is right elsewhere, in a CSV. `carscribe finetune` trains on it. On 750
other renders, 250 of them on snowflake wheels, answers with and without the adapter are held against the truth. All of
it by the commands that a person types; docs/teaching.md goes through them. What is there already is not made again.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import carscribe
from carscribe.records import PhotoResult
from measure import write_labels
from paired import Judged, compared, judged
from recording import record
from render_set import UNSEEN_FROM
from rendered.attributes import CarRecord, draw_record
from rendered.reading import judge
from rendered.render import render_jpeg
from rendered.words import answers

HERE = Path(__file__).parent
NEW = {"wheel": "snowflake"}
TO_LEARN, TO_MEASURE = 800, 750
LEARN_FROM, MEASURE_FROM = UNSEEN_FROM + 200_000, UNSEEN_FROM + 300_000
Cars = Mapping[str, CarRecord]
"""What is true, by file name."""


def cars(first_seed: int, count: int, *, new_every: int) -> Cars:
    """Records, every so many of them on the new wheels."""
    return {
        f"{seed}.jpg": draw_record(seed, fixed=None if seed % new_every else NEW)
        for seed in range(first_seed, first_seed + count)
    }


def write_photos(folder: Path, records: Cars) -> Path:
    """Render those that are not there."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [name for name in records if not (folder / name).exists()]
    fixed = [NEW if has_new_wheels(records[name]) else None for name in missing]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(_write_photo, folder), missing, fixed, chunksize=8))
    return folder


def _write_photo(folder: Path, name: str, fixed: dict[str, str] | None) -> None:
    (folder / name).write_bytes(render_jpeg(draw_record(int(Path(name).stem), fixed=fixed)))


def has_new_wheels(car: CarRecord) -> bool:
    """Whether it is one that the model never saw."""
    return car.attributes["wheel"] == NEW["wheel"]


def write_corrections(path: Path, results: Iterable[PhotoResult], records: Cars) -> int:
    """What a person says of the answers, as a CSV for `carscribe correct`; how many were edited.

    The answers about the new wheels are edited, those that are right are approved, and the rest is left alone.
    """
    edited = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["photo", "question", "verdict", "text"])
        for result in results:
            car = records[result.file.key]
            truth = answers(car, "en")
            for answer in result.answers:
                key = (answer.recipe_id, answer.question_id)
                if answer.question_id == "wheels" and has_new_wheels(car):
                    writer.writerow([result.file.key, answer.question_id, "edited", truth[key]])
                    edited += 1
                elif set(judge(car, "en", {key: answer.text}).values()) <= {"right"}:
                    writer.writerow([result.file.key, answer.question_id, "approved", ""])
    return edited


class Loop:
    """The folder it happens in, and the seconds each command took."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.seconds: dict[str, int] = {}

    def run(self, step: str, *arguments: str | Path) -> None:
        """Type a command in the folder."""
        print("\n$ carscribe", *arguments, flush=True)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "carscribe", *map(str, arguments)], cwd=self.work, check=True)
        self.seconds[step] = round(time.perf_counter() - started)

    def kept(self, photos: str, workspace: str, **options: Path) -> list[PhotoResult]:
        """The answers that a workspace holds, nothing being left to ask."""
        where = {"model": "demo", "workspace": self.work / workspace, "device": "cpu"}
        return list(carscribe.describe(self.work / photos, **where, **options))  # type: ignore[arg-type]


def main() -> None:
    """The loop, timed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--config", type=Path, default=HERE / "closed_loop.toml")
    parser.add_argument("--measure", type=int, default=TO_MEASURE, help="so many cars; more can be added later")
    options = parser.parse_args()
    loop = Loop((options.work or Path(tempfile.mkdtemp(prefix="carscribe-loop-"))).absolute())
    started = time.perf_counter()
    to_learn = cars(LEARN_FROM, TO_LEARN, new_every=4)
    to_measure = cars(MEASURE_FROM, options.measure, new_every=3)
    write_photos(loop.work / "learn", to_learn)
    write_photos(loop.work / "measure", to_measure)
    write_labels(loop.work / "labels.json", to_measure)
    loop.seconds["render"] = round(time.perf_counter() - started)
    model, lora = ("--model", "demo", "--device", "cpu"), options.config.stem
    loop.run("describe", "describe", "learn", *model, "-w", "cars.ws")
    edited = write_corrections(loop.work / "corrections.csv", loop.kept("learn", "cars.ws"), to_learn)
    loop.run("correct", "correct", "cars.ws", "corrections.csv", "--author", "bench")
    config = options.config.absolute()
    if not (loop.work / lora / "adapter").exists():
        loop.run("finetune", "finetune", "cars.ws", *model, "--config", config, "--to", lora)
    loop.run("measure before", "describe", "measure", *model, "-w", "before.ws")
    loop.run("measure after", "describe", "measure", *model, "--adapter", lora, "-w", f"{lora}.ws")
    before = judged(loop.kept("measure", "before.ws"), to_measure)
    after = judged(loop.kept("measure", f"{lora}.ws", adapter=loop.work / lora), to_measure)
    new = [name for name, car in to_measure.items() if has_new_wheels(car)]
    figures = {
        "corrected_answers": edited,
        "photos_to_learn": len(to_learn),
        "photos_to_measure": len(to_measure),
        "new_wheels_right_before": share_right(before, new),
        "new_wheels_right_after": share_right(after, new),
        "other_cars": compared(before, after, [name for name in to_measure if name not in new]),
        "seconds": {**loop.seconds, "all": round(time.perf_counter() - started)},
        "settings": tomllib.loads(options.config.read_text("utf-8")),
    }
    print(json.dumps(figures, indent=1))
    name, command = "closed_loop", "python bench/closed_loop.py"
    if options.measure != TO_MEASURE:
        name, command = f"{name}_{options.measure}", f"{command} --measure {options.measure}"
    print(record(name, figures, command=command))


def share_right(answered: Judged, photos: list[str]) -> float:
    """Of these photos those whose wheel design is right."""
    return sum(answered[name, "wheel"] for name in photos) / len(photos)


if __name__ == "__main__":
    main()
