"""The whole run over real photographs, where they are: a user's machine has none, and these tests skip."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

import carscribe
from carscribe.engines.choosing import open_engine
from carscribe.pipeline import plan_run

CARS = Path(os.environ.get("CARSCRIBE_REAL_PHOTOS", Path(__file__).parents[2] / "shared" / "cars"))

pytestmark = [
    pytest.mark.real_photos,
    pytest.mark.skipif(not (CARS / "cars.json").exists(), reason=f"no real photographs at {CARS}"),
]


def test_every_real_photo_has_its_row_and_every_row_its_photo() -> None:
    plan = plan_run(CARS / "images", metadata=CARS / "cars.json")
    rows = json.loads((CARS / "cars.json").read_text(encoding="utf-8"))
    assert plan.metadata_match is not None
    assert plan.metadata_match.rows_matched == plan.metadata_match.rows_total == len(rows) == len(plan.files)
    assert not plan.metadata_match.photos_without_row
    assert {(f.key, f.metadata.name, f.metadata.kind) for f in plan.files} == {
        (row["image"], row["name"], row["kind"]) for row in rows
    }


def test_every_real_photo_is_asked_everything_in_both_languages(random_checkpoint: Callable[..., Path]) -> None:
    engine = open_engine(str(random_checkpoint()))
    photos = sorted((CARS / "images").iterdir())[::4]
    results = list(carscribe.describe(photos, engine=engine, languages=["en", "ko"]))
    assert [result.error for result in results] == [None] * len(photos)
    assert {len(result.answers) for result in results} == {20}
    assert {result.file.key for result in results} == {path.name for path in photos}
    said = {tuple(answer.text for answer in result.answers) for result in results}
    assert len(said) == len(photos), "two photos got the very same answers"
