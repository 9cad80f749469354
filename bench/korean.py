"""Korean by fine-tuning: a model trained on English alone learns to answer in Korean; is its English unharmed?

usage: python bench/korean.py --set DIR --work DIR [--english DIR] [--english-steps 4000] [--korean-photos 12000]

DIR of --set holds the Parquet of `demo/render_set.py`, English and Korean. A new model of the demo model's sizes, with
its tokenizer, learns the English answers of all but the last `--korean-photos` renders (or --english names such a model
that was made before); then `finetune` trains it on the Korean answers of those, English ones beside them. Both are
measured on renders that neither saw. A training that was stopped goes on where it was. --measure 0 leaves the measuring
to another machine, which is given --english and --korean, the two models.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import carscribe
from carscribe.finetune.runs import finetune
from carscribe.finetune.settings import Settings, load_settings
from measure import write_photos
from paired import compared, judged, shares
from recording import record
from render_set import LANGUAGES, UNSEEN_FROM
from rendered.attributes import draw_record

MODEL = Path(__file__).parents[1] / "demo" / "model.toml"
KOREAN = Settings(
    train="full",
    vision=True,
    projector=True,
    learning_rate=1e-3,
    weight_decay=0.05,
    beta2=0.98,
    batch_photos=128,
    accumulate=1,
    most_pairs=8,
    mirror=True,
    steps=1500,
    checkpointing=False,
    held_out=0.0,
    workers=14,
    log_every=50,
    save_every=500,
)
"""Every weight learns: what stands for Korean was never trained. Without English beside it English is forgotten."""


FEW = 20
"""So many photos are asked in Korean before Korean was learned."""


def in_english(tables: Sequence[Path], to: Path) -> Path:
    """The rows with the first half of their pairs alone."""
    to.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as pool:
        list(pool.map(partial(_write_english, to), tables))
    return to


def _write_english(to: Path, table: Path) -> None:
    path = to / table.name
    if path.exists():
        return
    rows = pyarrow.parquet.read_table(table).to_pylist()
    for row in rows:
        for column in ("questions", "answers"):
            row[column] = row[column][: len(row[column]) // 2]
    beside = path.with_name(f".{path.name}")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), beside, row_group_size=100)
    beside.replace(path)


def linked(tables: Sequence[Path], to: Path) -> Path:
    """A folder with these tables alone."""
    to.mkdir(parents=True, exist_ok=True)
    for table in tables:
        if not (to / table.name).exists():
            (to / table.name).symlink_to(table.absolute())
    return to


def split(tables: Sequence[Path], last: int) -> tuple[list[Path], list[Path]]:
    """The tables, and the last of them that hold `last` rows together."""
    count, at = 0, len(tables)
    while count < last:
        at -= 1
        count += pyarrow.parquet.read_metadata(tables[at]).num_rows
    return list(tables[:at]), list(tables[at:])


def learn_english(tables: Sequence[Path], work: Path, steps: int) -> Path:
    """A new model trained on the English answers alone."""
    settings = load_settings(MODEL, steps=steps)
    assert settings.new_model is not None, MODEL
    sizes = settings.new_model.model_copy(update={"tokenizer": "demo"})
    settings = settings.model_copy(update={"new_model": sizes})
    return finetune(in_english(tables, work / "english-set"), None, work / "english", settings, say=print).result


def measured(english: Path, korean: Path, count: int) -> dict[str, Any]:
    """Both models on `count` unseen renders: English of both against each other, Korean of the second.

    The first answers Korean questions up to their caps, which takes long: a few photos show what its Korean is worth.
    """
    seeds = range(UNSEEN_FROM + 500_000, UNSEEN_FROM + 500_000 + count)
    photos = write_photos(Path(tempfile.mkdtemp(prefix="carscribe-korean-")), seeds)
    few = [str(photos / f"{seed}.jpg") for seed in seeds[:FEW]]
    records = {f"{seed}.jpg": draw_record(seed) for seed in seeds}
    before = judged(carscribe.describe(photos, model=str(english), languages=["en"]), records, "en")
    untaught = judged(carscribe.describe(few, model=str(english), languages=["ko"]), records, "ko")
    answers = list(carscribe.describe(photos, model=str(korean), languages=LANGUAGES))
    after, taught = judged(answers, records, "en"), judged(answers, records, "ko")
    return {
        "photos": count,
        "en": compared(before, after, list(records)),
        "ko_right_before": {"photos": len(few), "share": round(sum(untaught.values()) / len(untaught), 4)},
        "ko_right_after": shares(taught) | {"all": round(sum(taught.values()) / len(taught), 4)},
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", type=Path)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--english", type=Path, default=None)
    parser.add_argument("--korean", type=Path, default=None)
    parser.add_argument("--english-steps", type=int, default=4000)
    parser.add_argument("--korean-photos", type=int, default=12_000)
    parser.add_argument("--measure", type=int, default=500)
    options = parser.parse_args()
    english, korean = options.english, options.korean
    if korean is None:
        for_english, for_korean = split(sorted(options.set.glob("*.parquet")), options.korean_photos)
        english = english or learn_english(for_english, options.work, options.english_steps)
        korean_rows = linked(for_korean, options.work / "korean-set")
        korean = finetune(korean_rows, str(english), options.work / "korean", KOREAN, say=print).result
    if options.measure:
        found = {
            "english_steps": options.english_steps,
            "korean_photos": options.korean_photos,
            "settings": KOREAN.model_dump(exclude_defaults=True),
            **measured(english, korean, options.measure),
        }
        print(json.dumps(found, indent=1))
        print(record("korean", found, command="python bench/korean.py --set SET --work DIR"))


if __name__ == "__main__":
    main()
