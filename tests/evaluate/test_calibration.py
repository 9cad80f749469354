"""A temperature is found again in scores made with it, kept with its condition, and only then is there confidence."""

import json
from pathlib import Path

import numpy as np
import pytest
from scripted import Script, scripted_workspace
from typer.testing import CliRunner
from workspaces import put_back

from carscribe.catalog.calibration import confidence
from carscribe.catalog.reading import kept_photos
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.cli import evaluating, workspaces  # noqa: F401 - their commands are what is run
from carscribe.cli.app import app
from carscribe.errors import InputError
from carscribe.evaluate.report import EvaluationRequest, evaluate
from carscribe.evaluate.scoring import Scored, fit_held_out, fit_temperature, measure_scores
from carscribe.recipes.loading import load_recipe

COLOURS = next(q.choices for q in load_recipe("designer").questions if q.id == "main_colour")
PHOTOS = 60


def simulated(answers: int, *, temperature: float, choices: int = 11, seed: int = 3) -> list[Scored]:
    """Scores that are too bold by `temperature`: what is right is drawn from the softer ones."""
    chance = np.random.default_rng(seed)
    made: list[Scored] = []
    for _ in range(answers):
        logits = chance.normal(0, 2.0, choices)
        true = np.exp(logits) / np.exp(logits).sum()
        bold = np.exp(logits * temperature)
        made.append(Scored(scores=tuple(bold / bold.sum()), right=(int(chance.choice(choices, p=true)),)))
    return made


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.5])
def test_the_temperature_that_scores_were_made_with_is_found(temperature: float) -> None:
    assert fit_temperature(simulated(4000, temperature=temperature)) == pytest.approx(temperature, rel=0.08)


def test_held_out_error_falls_to_nothing_and_what_is_best_stays() -> None:
    fitted = fit_held_out(simulated(3000, temperature=2.5))
    assert fitted.before.ece > 0.1
    assert fitted.after.ece <= 0.03
    assert fitted.after.brier < fitted.before.brier
    assert fitted.after.right == fitted.before.right
    assert fitted.after.ece < 2 * fitted.after.ece_by_chance < fitted.before.ece


def test_no_answer_is_measured_by_a_temperature_that_was_fitted_on_it() -> None:
    scored = simulated(5, temperature=3.0, seed=11)  # five answers in five parts: each is left out once
    expected = []
    for place, each in enumerate(scored):
        others = scored[:place] + scored[place + 1 :]
        held = confidence(dict(enumerate(each.scores)), fit_temperature(others))  # type: ignore[arg-type]
        expected.append(max(held.values()))
    after = fit_held_out(scored).after
    assert [found.mean_score for found in after.bins] == pytest.approx(sorted(expected))


def test_scores_that_were_right_are_left_alone() -> None:
    fitted = fit_held_out(simulated(3000, temperature=1.0))
    assert fitted.before.ece <= 0.03
    assert fitted.after.ece <= 0.03


def test_several_right_choices_and_scores_of_zero_are_taken() -> None:
    scored = [Scored(scores=(1.0, 0.0, 0.0), right=(1, 2)), Scored(scores=(0.6, 0.4, 0.0), right=(0, 1))] * 30
    assert 0.05 < fit_temperature(scored) <= 20
    measured = measure_scores(scored)
    assert measured is not None
    assert measured.right.count == 30


def test_confidence_keeps_the_order_and_sums_to_one() -> None:
    scores = {"a": 0.9, "b": 0.1, "c": 0.0}
    for temperature in (0.5, 1.0, 4.0):
        found = confidence(scores, temperature)
        assert sum(found.values()) == pytest.approx(1)
        assert sorted(found, key=found.__getitem__) == ["c", "b", "a"]
    assert confidence(scores, 1.0) == pytest.approx(scores, abs=1e-9)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """Sixty photos whose colour is told with a score of 0.95, and right three times of four."""
    script: Script = {
        (i, "main_colour", language): {COLOURS[language][i % 14]: 0.95} for i in range(PHOTOS) for language in COLOURS
    }
    scripted_workspace(tmp_path, script, photos=PHOTOS)
    labels = {f"car-{i}.png": {"colour": COLOURS["en"][(i + (i % 4 == 0)) % 14]} for i in range(PHOTOS)}
    (tmp_path / "labels.json").write_text(json.dumps(labels), "utf-8")
    return tmp_path


def test_scores_become_confidence_once_they_are_calibrated(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(labelled)
    run = CliRunner()
    before = json.loads(run.invoke(app, ["show", "workspace", "car-5.png", "--json"]).stdout)
    assert {answer["confidence"] for answer in before["answers"] if answer["question"] == "main_colour"} == {None}
    assert "score 0.95" in run.invoke(app, ["show", "workspace", "car-5.png"]).stdout
    done = run.invoke(app, ["evaluate", "workspace", "--labels", "labels.json", "--calibrate", "--language", "en"])
    assert done.exit_code == 0, done.output
    assert "carscribe show says confidence from now on" in done.stdout
    shown = run.invoke(app, ["show", "workspace", "car-5.png"]).stdout
    assert "confidence 0.7" in shown
    after = json.loads(run.invoke(app, ["show", "workspace", "car-5.png", "--json"]).stdout)
    (english,) = (a for a in after["answers"] if (a["question"], a["language"]) == ("main_colour", "en"))
    assert max(english["confidence"].values()) == pytest.approx(0.75, abs=0.02)
    assert max(english["scores"].values()) == 0.95
    (korean,) = (a for a in after["answers"] if (a["question"], a["language"]) == ("main_colour", "ko"))
    assert korean["confidence"] is None, "only English was evaluated"


def test_a_temperature_is_of_one_model_and_one_wording(labelled: Path) -> None:
    request = EvaluationRequest(workspace=labelled / "workspace", labels=labelled / "labels.json", calibrate=True)
    calibrated = evaluate(request).calibrated
    assert [(each.question, each.language, each.photos) for each in calibrated] == [
        ("main_colour", "en", PHOTOS),
        ("main_colour", "ko", PHOTOS),
    ]
    assert calibrated[0].ece_before == pytest.approx(0.2)
    assert calibrated[0].ece_after < calibrated[0].ece_before
    assert evaluate(request).calibrated[0].temperature == calibrated[0].temperature, "again, in place of the first"
    scripted_workspace(labelled, {}, photos=PHOTOS, model="another")
    with read_workspace(labelled / "workspace") as opened:
        photo = next(kept_photos(opened))
        assert {origin.temperature for origin in photo.origins if origin} == {None}
        first = next(kept_photos(opened, model="scripted"))
        calibrated_ids = {
            (answer.question_id, answer.language)
            for answer, origin in zip(first.answers, first.origins, strict=True)
            if origin and origin.temperature
        }
        assert calibrated_ids == {("main_colour", "en"), ("main_colour", "ko")}


def test_calibrating_again_takes_the_place_of_what_was_kept(labelled: Path) -> None:
    def kept() -> float | None:
        with read_workspace(labelled / "workspace") as opened:
            photo = next(kept_photos(opened))
        asked = zip(photo.answers, photo.origins, strict=True)
        (found,) = (o for a, o in asked if o and (a.question_id, a.language) == ("main_colour", "en"))
        return found.temperature

    request = EvaluationRequest(workspace=labelled / "workspace", labels=labelled / "labels.json", calibrate=True)
    first = evaluate(request).calibrated[0].temperature
    assert kept() == first
    labels = {f"car-{i}.png": {"colour": COLOURS["en"][(i + i % 2) % 14]} for i in range(PHOTOS)}
    (labelled / "labels.json").write_text(json.dumps(labels), "utf-8")
    second = evaluate(request).calibrated[0].temperature
    assert second > first
    assert kept() == second


def test_a_temperature_that_the_labels_do_not_decide_is_not_kept(labelled: Path) -> None:
    labels = {f"car-{i}.png": {"colour": COLOURS["en"][i % 14]} for i in range(PHOTOS)}
    (labelled / "all-right.json").write_text(json.dumps(labels), "utf-8")
    request = EvaluationRequest(workspace=labelled / "workspace", labels=labelled / "all-right.json", calibrate=True)
    report = evaluate(request)
    assert [each.undecided for each in report.calibrated] == [True, True]
    assert any("no temperature was kept" in note for note in report.notes)
    with read_workspace(labelled / "workspace") as opened:
        assert {origin.temperature for photo in kept_photos(opened) for origin in photo.origins if origin} == {None}


def test_too_few_labels_calibrate_nothing(labelled: Path) -> None:
    labels = json.loads((labelled / "labels.json").read_text("utf-8"))
    (labelled / "few.json").write_text(json.dumps(dict(list(labels.items())[:49])), "utf-8")
    request = EvaluationRequest(workspace=labelled / "workspace", labels=labelled / "few.json", calibrate=True)
    with pytest.raises(
        InputError, match=r"needs 50 labelled photos of one choice question, and there are 49. Label 1 more"
    ):
        evaluate(request)
    with pytest.raises(InputError, match="add --labels"):
        evaluate(EvaluationRequest(workspace=labelled / "workspace", calibrate=True))


def test_a_workspace_without_the_table_is_read_as_it_is_and_gets_it_when_written(labelled: Path) -> None:
    workspace = labelled / "workspace"
    put_back(workspace, 3)
    with read_workspace(workspace) as opened:
        assert {origin.temperature for photo in kept_photos(opened) for origin in photo.origins if origin} == {None}
    assert evaluate(EvaluationRequest(workspace=workspace, labels=labelled / "labels.json")).calibrated == ()
    evaluate(EvaluationRequest(workspace=workspace, labels=labelled / "labels.json", calibrate=True))
    with write_workspace(workspace, create=False) as opened:
        assert opened.connection.execute("SELECT count(*) FROM calibrations").fetchone() == (2,)
