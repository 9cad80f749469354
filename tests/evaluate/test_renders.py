"""A user's own vocabulary, tried on the demo's: what is true of a render is judged right, as by its own judge."""

import json
import random
from pathlib import Path
from typing import Literal

import pytest
from scripted import Script, scripted_workspace

from carscribe.evaluate.report import EvaluationRequest, Report, evaluate
from rendered.attributes import ATTRIBUTES, draw_record
from rendered.words import ATTRIBUTES_ASKED, answers

OWN = Path(__file__).parents[2] / "demo" / "rendered" / "vocabulary.toml"
RECORDS = [draw_record(seed) for seed in range(12)]
LANGUAGES: tuple[Literal["en", "ko"], ...] = ("en", "ko")
EVERYTHING = ["designer", "brief", "detailed"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    folder = tmp_path_factory.mktemp("renders")
    script: Script = {
        (number, question, language): text
        for number, record in enumerate(RECORDS)
        for language in LANGUAGES
        for (_, question), text in answers(record, language, chance=random.Random(number)).items()
    }
    scripted_workspace(folder, script, photos=len(RECORDS), model="demo", recipes=EVERYTHING)
    labels = {f"car-{number}": dict(record.visible) for number, record in enumerate(RECORDS)}
    (folder / "labels.json").write_text(json.dumps(labels), "utf-8")
    return evaluate(EvaluationRequest(workspace=folder / "workspace", labels=folder / "labels.json", vocabulary=OWN))


def test_everything_that_is_true_is_judged_right(report: Report) -> None:
    judged = [each for each in report.attributes if each.source == "labels"]
    assert {(each.recipe, each.question, each.attribute) for each in judged} == {
        (*asked, name) for asked, names in ATTRIBUTES_ASKED.items() for name in names
    }
    assert {each.attribute for each in judged} == set(ATTRIBUTES)
    assert [(each.question, each.attribute, each.language) for each in judged if each.right.share != 1.0] == []
    seen = sum("headlamp" in record.visible for record in RECORDS)
    assert {each.judged for each in judged if each.attribute == "headlamp"} == {seen}


def test_languages_agree_and_nothing_contradicts_itself(report: Report) -> None:
    assert {each.agreeing.share for each in report.agreement if each.agreeing.total} == {1.0}
    assert {each.contradicting.count for each in report.contradictions} == {0}
    assert {each.degenerate.count for each in report.texts} == {0}
    assert {each.foreign.count for each in report.texts} == {0}
    assert report.disclaimer is None
