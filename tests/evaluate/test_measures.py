"""Figures of tiny sets, worked out by hand, from a workspace whose answers are written down."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from scripted import Script, paint_photos, scripted_workspace

from carscribe.evaluate.intervals import bootstrap_difference, difference_of, share_of
from carscribe.evaluate.report import WORTHLESS, EvaluationRequest, Report, evaluate, report_json
from carscribe.evaluate.scoring import expected_calibration_error
from carscribe.evaluate.texts import foreign_script

TINY: Script = {
    (0, "body_type", "en"): {"SUV": 0.9},
    (0, "body_type", "ko"): "SUV",
    (0, "body", "en"): "compact SUV, raised stance",
    (0, "body", "ko"): "소형 SUV, 높은 스탠스",
    (0, "main_colour", "en"): {"red": 0.8},
    (0, "colour", "en"): "metallic red, black roof",
    (0, "colour", "ko"): "빨간색, 블랙 루프",
    (1, "body_type", "en"): {"hatchback": 0.6},
    (1, "body_type", "ko"): "세단",
    (1, "body", "en"): "sedan, low stance",
    (1, "body", "ko"): "낮은 stance",
    (1, "main_colour", "en"): {"white": 0.7},
    (1, "colour", "en"): "white",
    (2, "body_type", "en"): {"sedan": 0.9},
    (2, "body", "en"): "planted stance",
    (2, "main_colour", "en"): {"black": 0.5},
    (2, "colour", "en"): "gray 도장",
    (2, "unique", "en"): "roof rails",
}
LABELS = {
    "car-0.png": {"body_type": ["suv"], "colour": "dark red", "view": "front"},
    "car-1": {"body_type": "sedan", "colour": ["white", "silver"], "unique": []},
    "car-2.png": {"body_type": ["sedan"], "colour": ["black"], "unique": []},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    scripted_workspace(folder, TINY, photos=3)
    (folder / "labels.json").write_text(json.dumps(LABELS), "utf-8")
    return folder


@pytest.fixture(scope="module")
def report(tiny: Path) -> Report:
    return evaluate(EvaluationRequest(workspace=tiny / "workspace", labels=tiny / "labels.json"))


def measure(report: Report, question: str, language: str, attribute: str) -> Any:
    (found,) = (
        each
        for each in report.attributes
        if (each.question, each.language, each.attribute) == (question, language, attribute)
    )
    return found


@pytest.mark.parametrize(
    ("question", "language", "attribute", "right", "unsaid", "contradicted"),
    [
        ("body_type", "en", "body_type", 2, 0, 1),
        ("body", "en", "body_type", 2, 1, 0),
        ("body", "ko", "body_type", 1, 2, 0),
        ("main_colour", "en", "main_colour", 3, 0, 0),
        ("colour", "en", "main_colour", 2, 0, 1),
        ("colour", "ko", "main_colour", 1, 2, 0),
    ],
)
def test_right_unsaid_and_contradicted_add_up(
    report: Report, question: str, language: str, attribute: str, right: int, unsaid: int, contradicted: int
) -> None:
    found = measure(report, question, language, attribute)
    assert (found.right.count, found.unsaid.count, found.contradicted.count) == (right, unsaid, contradicted)
    assert found.judged == 3
    assert found.right_of_said.total == right + contradicted


def test_what_is_said_of_a_photo_that_has_none_is_invented(report: Report) -> None:
    found = measure(report, "unique", "en", "unique")
    assert (found.judged, found.invented.count, found.invented.total) == (0, 1, 2)
    assert found.right.share is None


def test_the_confusion_matrix_has_every_photo_once(report: Report) -> None:
    found = measure(report, "body_type", "en", "body_type")
    assert {(cell.right, cell.said, cell.photos) for cell in found.confusion} == {
        ("suv", "suv", 1),
        ("sedan", "sedan", 1),
        ("sedan", "hatchback", 1),
    }
    silent = measure(report, "body", "en", "body_type").confusion
    assert ("sedan", "(nothing said)", 1) in {(cell.right, cell.said, cell.photos) for cell in silent}


def test_scores_of_a_choice_are_held_against_what_is_right(report: Report) -> None:
    scores = measure(report, "body_type", "en", "body_type").scores
    assert scores.answers == 3
    assert scores.mean_score == pytest.approx(0.8)
    # One answer a bin: |1 - 0.9|, |0 - 0.6|, |1 - 0.9|, each a third.
    assert scores.ece == pytest.approx(0.8 / 3)
    assert scores.brier == pytest.approx((0.01 + 0.36 + 0.01) / 3)
    assert (scores.mean_mass, scores.little_mass) == (pytest.approx(0.9), 0)


def test_languages_are_held_against_each_other(report: Report) -> None:
    body = next(each for each in report.agreement if (each.question, each.attribute) == ("body", "body_type"))
    assert (body.agreeing.count, body.agreeing.total, body.only_first, body.only_second) == (1, 1, 1, 0)
    choice = next(each for each in report.agreement if each.question == "body_type")
    assert choice.attribute is None
    assert (choice.agreeing.count, choice.agreeing.total) == (2, 3)
    assert [(each.first, each.second) for each in choice.examples] == [("hatchback", "세단")]


def test_an_open_answer_that_contradicts_the_choice_is_counted(report: Report) -> None:
    english = {each.attribute: each for each in report.contradictions if each.language == "en"}
    assert (english["body_type"].contradicting.count, english["body_type"].contradicting.total) == (1, 2)
    assert (english["main_colour"].contradicting.count, english["main_colour"].contradicting.total) == (1, 3)
    assert english["body_type"].examples[0].first == "sedan, low stance"


def test_files_with_the_same_bytes_are_one_photo_under_both_names(tmp_path: Path) -> None:
    paint_photos(tmp_path / "photos", 3)
    shutil.copy(tmp_path / "photos" / "car-1.png", tmp_path / "photos" / "twin.png")
    script = {**TINY, (1, "body", "en"): "sedan or hatchback"}
    scripted_workspace(tmp_path, script, photos=3)
    (tmp_path / "labels.json").write_text('{"twin": {"body_type": "sedan"}}', "utf-8")
    found = evaluate(EvaluationRequest(workspace=tmp_path / "workspace", labels=tmp_path / "labels.json"))
    assert (found.photos, found.answers) == (3, 60)
    assert measure(found, "body_type", "en", "body_type").judged == 1
    body = measure(found, "body", "en", "body_type")
    assert (body.contradicted.count, body.confusion[0].said) == (1, "(several)")
    against = next(each for each in found.contradictions if (each.open, each.language) == ("body", "en"))
    assert against.contradicting.count == 0, "it says hatchback too, as the choice does"


def test_texts_are_looked_at_for_script_repeats_and_emptiness(report: Report) -> None:
    texts = {(each.question, each.language): each for each in report.texts}
    assert texts["body", "ko"].foreign.count == 1
    assert texts["colour", "en"].foreign.count == 1
    assert texts["colour", "en"].reasons == {"Hangul": 1}
    assert texts["wheels", "en"].degenerate.count == 3
    assert texts["wheels", "en"].reasons == {"empty": 3}
    assert texts["wheels", "en"].repeated.count == 3
    assert texts["body", "en"].repeated.count == 0


def test_composed_descriptions_are_counted_by_budgets_that_know_the_language(report: Report) -> None:
    english, korean = report.descriptions
    assert [tokens.budget for tokens in english.tokens] == ["clip", "t5-256"]
    assert english.tokens[0].within.count == english.descriptions == 3
    assert 2 < english.tokens[0].smallest <= english.tokens[0].median <= english.tokens[0].largest
    assert korean.tokens == ()


def test_the_worst_photo_stands_first_and_what_is_not_known_is_named(report: Report) -> None:
    assert report.worst[0].photo == "car-2.png"
    assert any("view" in note for note in report.notes)
    assert report.disclaimer is None


def test_json_has_everything_under_stable_keys(report: Report) -> None:
    machine = json.loads(json.dumps(report_json(report), ensure_ascii=False))
    assert list(machine) == [
        *("workspace", "models", "recipes", "languages", "photos", "answers", "disclaimer", "notes", "labels"),
        *("attributes", "calibrated", "orders", "agreement", "contradictions", "texts", "descriptions", "comparison"),
        "worst",
    ]
    assert list(machine["attributes"][0]) == [
        *("source", "attribute", "recipe", "question", "language", "choice", "several", "judged", "right", "unsaid"),
        *("contradicted", "right_of_said", "invented", "confusion", "scores"),
    ]
    assert machine["worst"][0]["wrong"][0]["judgement"] == "contradicted"


def test_the_crawled_kind_judges_without_labels(tmp_path: Path) -> None:
    paint_photos(tmp_path / "photos", 3)
    rows = [{"image": f"car-{i}.png", "name": "Kia", "kind": kind} for i, kind in enumerate(("RV/SUV", "세단", "화물"))]
    (tmp_path / "cars.json").write_text(json.dumps(rows), "utf-8")
    scripted_workspace(tmp_path, TINY, photos=3, metadata=tmp_path / "cars.json")
    found = evaluate(EvaluationRequest(workspace=tmp_path / "workspace", languages=("en",)))
    choice = measure(found, "body_type", "en", "body_type")
    assert (choice.source, choice.right.count, choice.judged) == ("kind", 1, 2)
    assert any("화물" in note for note in found.notes)
    assert found.languages == ("en",)


def test_the_demo_model_on_photographs_is_told_to_be_worthless(tmp_path: Path) -> None:
    scripted_workspace(tmp_path, TINY, photos=3, model="demo")
    assert evaluate(EvaluationRequest(workspace=tmp_path / "workspace")).disclaimer == WORTHLESS
    assert "demo model's answers on real cars are worth nothing" in WORTHLESS
    own = Path(__file__).parents[2] / "demo" / "rendered" / "vocabulary.toml"
    assert evaluate(EvaluationRequest(workspace=tmp_path / "workspace", vocabulary=own)).disclaimer is None


def test_two_runs_are_compared_on_the_photos_of_both(tiny: Path) -> None:
    better = {**TINY, (1, "body_type", "en"): {"sedan": 0.9}, (2, "colour", "en"): "black"}
    scripted_workspace(tiny, better, photos=3, name="better", model="better")
    request = EvaluationRequest(workspace=tiny / "better", labels=tiny / "labels.json", against=str(tiny / "workspace"))
    comparison = evaluate(request).comparison
    assert comparison is not None
    assert (comparison.mine, comparison.other) == ("better", "scripted")
    choice = next(each for each in comparison.attributes if (each.question, each.language) == ("body_type", "en"))
    assert (choice.accuracy.only_mine, choice.accuracy.only_other, choice.accuracy.pairs) == (1, 0, 3)
    assert choice.accuracy.difference == pytest.approx(1 / 3)
    assert choice.accuracy.low < 1 / 3 < choice.accuracy.high
    english = next(whole for whole in comparison.whole if whole.language == "en")
    assert (english.photos, english.answers) == (3, 14)
    assert english.difference == pytest.approx(2 / 14)
    assert {(change.photo, change.better) for change in comparison.changes} == {
        ("car-1.png", True),
        ("car-2.png", True),
    }


def test_another_model_of_one_workspace_is_compared_with_it(tmp_path: Path) -> None:
    scripted_workspace(tmp_path, TINY, photos=3, model="first")
    scripted_workspace(tmp_path, TINY, photos=3, model="second")
    (tmp_path / "labels.json").write_text(json.dumps(LABELS), "utf-8")
    request = EvaluationRequest(workspace=tmp_path / "workspace", labels=tmp_path / "labels.json", against="first")
    comparison = evaluate(request).comparison
    assert comparison is not None
    assert (comparison.mine, comparison.other) == ("second", "first")
    assert {each.accuracy.difference for each in comparison.attributes} == {0.0}
    assert all(each.accuracy.low < 0 < each.accuracy.high for each in comparison.attributes), (
        "no difference is no proof"
    )


REVERSED = """
id = "reversed"
version = 1
languages = ["en"]
[[questions]]
id = "body_type_reversed"
priority = 10
text.en = "Which?"
choices.en = ["limousine", "van", "minivan", "pickup truck", "convertible", "coupe", "SUV", "wagon", "hatchback",
  "fastback", "sedan"]
"""


def test_a_choice_in_both_orders_is_compared_where_there_are_both(tmp_path: Path, report: Report) -> None:
    (tmp_path / "reversed.toml").write_text(REVERSED, "utf-8")
    script = {**TINY, **{(i, "body_type_reversed", "en"): said for i, said in enumerate(("SUV", "sedan", "van"))}}
    recipes = ["designer", tmp_path / "reversed.toml"]
    (tmp_path / "photos").mkdir()
    paint_photos(tmp_path / "photos", 3)
    for recipe in recipes:
        scripted_workspace(tmp_path, script, photos=3, recipes=[recipe], languages=["en"])
    (tmp_path / "labels.json").write_text(json.dumps(LABELS), "utf-8")
    found = evaluate(EvaluationRequest(workspace=tmp_path / "workspace", labels=tmp_path / "labels.json"))
    (orders,) = found.orders
    assert (orders.question, orders.reversed) == ("designer.body_type", "reversed.body_type_reversed")
    assert (orders.same.count, orders.same.total) == (1, 3)
    assert orders.accuracy is not None
    assert (orders.accuracy.only_mine, orders.accuracy.only_other) == (1, 1)
    assert report.orders == ()


def test_wilsons_interval_is_the_published_one() -> None:
    found = share_of(81, 263)  # Newcombe 1998, table I
    assert (round(found.low or 0, 4), round(found.high or 0, 4)) == (0.2553, 0.3662)
    assert (share_of(0, 20).low, share_of(20, 20).high) == (0.0, 1.0)


def test_a_paired_difference_has_newcombes_interval_and_the_bootstraps_is_near() -> None:
    mine = [True] * 32 + [False] * 18
    other = [True] * 20 + [False] * 12 + [True] * 2 + [False] * 16
    found = difference_of(mine, other)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0562, 0.3292)
    low, high = bootstrap_difference([(a, b, 1) for a, b in zip(mine, other, strict=True)])
    assert (low, high) == (pytest.approx(found.low, abs=0.03), pytest.approx(found.high, abs=0.03))


def test_bins_hold_equally_many_and_equal_scores_stay_together() -> None:
    best = [0.05 * place for place in range(1, 21)]
    # Ten bins of two: means 0.075, 0.175, … 0.975; all wrong, so the error is the mean of these.
    assert expected_calibration_error(best, [False] * 20) == pytest.approx(0.525)
    assert expected_calibration_error([0.5] * 10 + [1.0] * 10, [True] * 5 + [False] * 5 + [True] * 10) == 0.0
    assert expected_calibration_error([0.9] * 3, [True] * 3) == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("text", "language", "strange"),
    [
        ("SUV, LED 램프와 DRL", "ko", None),
        ("Y스포크 휠, C필러, L자형", "ko", None),
        ("기아 Sportage의 그릴", "ko", None),
        ("낮은 stance", "ko", "Latin: stance"),
        ("流麗한 라인", "ko", "Han: 流麗"),
        ("スポーティ한 라인", "ko", "Katakana: スポーティ"),
        ("Coupé, low roofline", "en", None),
        ("low 루프", "en", "Hangul: 루프"),
        ("車体 color", "en", "Han: 車体"),
        ("niedriges Dach", "de", None),
    ],
)
def test_foreign_script_is_named(text: str, language: str, strange: str | None) -> None:
    assert foreign_script(text, language, frozenset({"kia", "sportage"})) == strange
