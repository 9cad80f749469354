"""The labels that a person read off the real photographs, where they are; they stay there."""

import json
import os
from pathlib import Path

import pytest
from fakes import FakeEngine

import carscribe
from carscribe.catalog.workspace import read_workspace
from carscribe.evaluate.answers import Answered, gather
from carscribe.evaluate.labels import labels_of_kinds, read_labels
from carscribe.evaluate.report import EvaluationRequest, evaluate
from carscribe.evaluate.vocabulary import shipped_vocabulary
from carscribe.records import Tiling

CARS = Path(os.environ.get("CARSCRIBE_REAL_PHOTOS", Path(__file__).parents[3] / "shared" / "cars"))

pytestmark = [
    pytest.mark.real_photos,
    pytest.mark.skipif(not (CARS / "labels.json").exists(), reason=f"no labelled photographs at {CARS}"),
]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every photo answered with the first choice, sedan and white."""
    folder = tmp_path_factory.mktemp("real") / "workspace"
    engine = FakeEngine(tiling=Tiling(tile_px=28))
    for _ in carscribe.describe(CARS / "images", workspace=folder, metadata=CARS / "cars.json", engine=engine):
        pass
    return folder


@pytest.fixture(scope="module")
def answered(workspace: Path) -> Answered:
    with read_workspace(workspace) as opened:
        return gather(opened)


def test_every_label_is_understood(answered: Answered) -> None:
    found = read_labels(CARS / "labels.json", answered.photos, shipped_vocabulary())
    written = json.loads((CARS / "labels.json").read_text("utf-8"))
    assert found.photos == len(written) == len(answered.photos)
    assert len(found.labels) == 2 * len(written)
    assert [note for note in found.notes if "view" not in note] == []
    by_key = {photo.sha256: photo.key for photo in answered.photos}
    read = {(by_key[label.sha256], label.attribute): label.right for label in found.labels}
    assert read["audi-q5.jpg", "main_colour"] == ("black", "blue")
    assert all("orange" not in right for (_, name), right in read.items() if name == "main_colour" and "white" in right)


def test_labels_and_crawled_kinds_agree_on_nearly_all(answered: Answered) -> None:
    vocabulary = shipped_vocabulary()
    labels = read_labels(CARS / "labels.json", answered.photos, vocabulary).by_photo()
    kinds = labels_of_kinds(answered.photos, vocabulary)
    assert kinds is not None
    assert kinds.photos == len(answered.photos)
    assert kinds.notes == ()
    agree = sum(bool(set(kind.right) & set(labels[kind.sha256, "body_type"].right)) for kind in kinds.labels)
    assert agree >= 0.9 * len(kinds.labels)


def test_always_saying_sedan_and_white_is_as_right_as_sedans_and_white_cars_are_many(workspace: Path) -> None:
    written = json.loads((CARS / "labels.json").read_text("utf-8"))
    report = evaluate(EvaluationRequest(workspace=workspace, labels=CARS / "labels.json"))
    found = {(each.source, each.question): each for each in report.attributes}
    sedans = sum("sedan" in label["body_type"] for label in written.values())
    assert found["labels", "body_type"].right.count == sedans
    white = sum(any(said.startswith("white") for said in label["colour"]) for label in written.values())
    assert found["labels", "main_colour"].right.count == white
    assert found["labels", "body"].unsaid.share == 1.0
    assert found["kind", "body_type"].judged == len(written)
    assert len(report.worst) == 24
