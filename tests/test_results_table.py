"""The table of results in a terminal of 80 columns."""

import io

import pytest
from photos_on_disk import write_photos
from rich.console import Console

from carscribe.pipeline import RunPlan, plan_run
from carscribe.records import Answer, Flag, Metadata, PhotoFile, PhotoResult
from carscribe.terminal.table import results_table

NAMED = Metadata(name="Mercedes-Benz Sprinter", kind="승합차")


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> RunPlan:
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, 1)
    return plan_run(folder, recipes=["designer"])


def result(question: str, text: str, metadata: Metadata) -> PhotoResult:
    asked = {"recipe_id": "designer", "question_id": question, "language": "en"}
    answer = Answer(**asked, text=text, tokens=1, finish="choice", scores={text: 0.98})
    flag = Flag(**asked, why="kind", answered=text, kind=metadata.kind)
    file = PhotoFile(location="", key="mercedes-benz-sprinter.jpg", metadata=metadata)
    return PhotoResult(index=0, file=file, answers=(answer,), flags=(flag,))


@pytest.mark.parametrize("metadata", [NAMED, Metadata()])
@pytest.mark.parametrize(("question", "text"), [("body_type", "convertible"), ("main_colour", "turquoise")])
def test_choices_stand_whole_with_their_scores(plan: RunPlan, question: str, text: str, metadata: Metadata) -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(results_table(plan, [result(question, text, metadata)], 80))
    head, row = out.getvalue().splitlines()
    assert {"body_type", "main_colour"} < set(head.split())
    assert f"! {text} 0.98" in row
    assert len(head) <= 80
