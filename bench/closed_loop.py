"""The closed loop on a CPU: a wheel design the demo model never saw, 200 corrected answers, a LoRA, and its worth.

usage: python bench/closed_loop.py [--work DIR]

400 renders are described into a workspace, half of them on snowflake wheels. A person (who knows the truth) corrects
the 200 answers about those wheels and approves what is right elsewhere. `finetune` trains on it, with `SETTINGS`. On
500 other renders, half of them on snowflake wheels, answers with and without the adapter are held against the truth.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import carscribe
from carscribe.catalog.verdicts import VerdictRow, correct
from carscribe.catalog.workspace import write_workspace
from carscribe.finetune.runs import finetune
from carscribe.finetune.settings import Settings
from carscribe.records import PhotoResult
from paired import compared, judged
from recording import record
from render_set import UNSEEN_FROM
from rendered.attributes import CarRecord, draw_record
from rendered.reading import judge
from rendered.render import render_jpeg
from rendered.words import answers

NEW = {"wheel": "snowflake"}
SETTINGS = Settings(
    learning_rate=5e-4, epochs=4.0, batch_photos=8, accumulate=1, checkpointing=False, held_out=0.0, workers=0
)


def renders(first_seed: int, count: int) -> dict[str, CarRecord]:
    """Records by file name, every second one on the new wheels."""
    seeds = range(UNSEEN_FROM + first_seed, UNSEEN_FROM + first_seed + count)
    return {f"{seed}.jpg": car_of(seed) for seed in seeds}


def car_of(seed: int) -> CarRecord:
    """The record of a seed."""
    return draw_record(seed, fixed=NEW if seed % 2 else None)


def picture_of(name: str) -> bytes:
    """The render called so, as a JPEG."""
    return render_jpeg(car_of(int(Path(name).stem)))


def write(folder: Path, records: Mapping[str, CarRecord]) -> Path:
    """Render them."""
    folder.mkdir(parents=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for name, jpeg in zip(records, pool.map(picture_of, records, chunksize=8), strict=True):
            (folder / name).write_bytes(jpeg)
    return folder


def correct_as_a_person_would(workspace: Path, results: Iterable[PhotoResult], records: Mapping[str, CarRecord]) -> int:
    """Edit the answers about the new wheels, approve answers that are right; how many were edited."""
    rows: list[VerdictRow] = []
    edited = 0
    for result in results:
        car = records[result.file.key]
        truth = answers(car, "en")
        for answer in result.answers:
            key = (answer.recipe_id, answer.question_id)
            verdict = {"photo": result.file.key, "question": answer.question_id, "language": "en"}
            if answer.question_id == "wheels" and car.attributes["wheel"] == NEW["wheel"]:
                rows.append(VerdictRow(where="", values={**verdict, "verdict": "edited", "text": truth[key]}))
                edited += 1
            elif set(judge(car, "en", {key: answer.text}).values()) <= {"right"}:
                rows.append(VerdictRow(where="", values={**verdict, "verdict": "approved"}))
    with write_workspace(workspace, create=False) as opened:
        correct(opened, rows, author="bench")
    return edited


def main() -> None:
    """The loop, timed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=None)
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="carscribe-loop-"))
    started = time.perf_counter()
    to_learn, to_measure = renders(200_000, 400), renders(300_000, 500)
    learn, measure = write(work / "learn", to_learn), write(work / "measure", to_measure)
    print(f"{time.perf_counter() - started:.0f} s: rendered", flush=True)
    described = list(carscribe.describe(learn, model="demo", workspace=work / "cars.ws", device="cpu"))
    edited = correct_as_a_person_would(work / "cars.ws", described, to_learn)
    print(f"{time.perf_counter() - started:.0f} s: described, {edited} answers corrected", flush=True)
    before = judged(carscribe.describe(measure, model="demo", device="cpu"), to_measure)
    print(f"{time.perf_counter() - started:.0f} s: measured before", flush=True)
    outcome = finetune(work / "cars.ws", "demo", work / "run", SETTINGS, device="cpu", say=print)
    print(f"{time.perf_counter() - started:.0f} s: trained", flush=True)
    after = judged(carscribe.describe(measure, model="demo", adapter=outcome.folder, device="cpu"), to_measure)
    new = [name for name, car in to_measure.items() if car.attributes["wheel"] == NEW["wheel"]]
    figures = {
        "corrected_answers": edited,
        "photos_to_learn": len(to_learn),
        "photos_to_measure": len(to_measure),
        "new_wheels_right_before": sum(before[name, "wheel"] for name in new) / len(new),
        "new_wheels_right_after": sum(after[name, "wheel"] for name in new) / len(new),
        "other_cars": compared(before, after, [name for name in to_measure if name not in new]),
        "seconds": round(time.perf_counter() - started),
        "settings": SETTINGS.model_dump(exclude_defaults=True),
    }
    print(json.dumps(figures, indent=1))
    print(record("closed_loop", figures, command="python bench/closed_loop.py"))


if __name__ == "__main__":
    main()
