"""Choices asked again: the order that a model reads is reversed, grey is grey, and the workspace stays as it is."""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.cells import cell_len
from scripted import Script, ScriptedEngine, paint_photos, scripted_workspace
from typer.testing import CliRunner
from workspaces import make_workspace

from carscribe.catalog.workspace import read_workspace
from carscribe.cli import describing, evaluating  # noqa: F401 - their commands are what is run
from carscribe.cli.app import app
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.errors import CarscribeError, InputError, OutOfMemoryError
from carscribe.evaluate.answers import Answered, gather
from carscribe.evaluate.page import render_page
from carscribe.evaluate.probes import Probed, ProbedChoice
from carscribe.evaluate.report import EvaluationRequest, Report, evaluate, report_json
from carscribe.probing import GREY, ProbePlan, as_answered, plan_probe, probe
from carscribe.records import Answer, Prompt, Request
from carscribe.terminal.evaluated import show_evaluation
from carscribe.terminal.screen import Screen

GREY_NUMBER = 16 + 30 * 16 + 900 * 16
"""What `ScriptedEngine` knows a picture of bytes of 128 by."""


class Recording(ScriptedEngine):
    """Remembers what it was asked; runs out of memory with more than `most` photos."""

    most = 100

    def __init__(self, script: Script, **options: Any) -> None:
        super().__init__(script, **options)
        self.requests: list[Request] = []

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        if len(requests) > self.most:
            raise OutOfMemoryError(f"{len(requests)} photos do not fit.")
        self.requests += requests
        return super().answer(requests)


class FirstListed(Recording):
    """Takes whatever the question's words list first, and looks at nothing else."""

    def _one(self, photo: int, prompt: Prompt) -> Answer:
        if prompt.choices:
            first = prompt.text.rpartition(": ")[2].split(", ")[0].rstrip(".")
            self.script = {(photo, prompt.question_id, prompt.language): {first: 0.9}}
        return super()._one(photo, prompt)


def asked_again(workspace: Path, engine: ScriptedEngine, **options: Any) -> Callable[..., Probed]:
    def ask(answered: Answered, labelled: Collection[str]) -> Probed:
        found = probe(planned(workspace, answered, first=labelled, **options), engine)
        assert found is not None
        return found

    return ask


def planned(workspace: Path, answered: Answered | None = None, **options: Any) -> ProbePlan:
    with read_workspace(workspace) as opened:
        return plan_probe(opened, answered or gather(opened), **options)


def report_of(workspace: Path, engine: ScriptedEngine, *, labels: Path | None = None, **options: Any) -> Report:
    return evaluate(EvaluationRequest(workspace=workspace, labels=labels), asked_again(workspace, engine, **options))


def choice(report: Report, question: str, language: str = "en") -> ProbedChoice:
    assert report.probe is not None
    (found,) = (c for c in report.probe.choices if (c.question, c.language) == (question, language))
    return found


def labelled(folder: Path, body_types: Sequence[str]) -> Path:
    labels = {f"car-{i}": {"body_type": body_type} for i, body_type in enumerate(body_types)}
    (folder / "labels.json").write_text(json.dumps(labels), "utf-8")
    return folder / "labels.json"


def test_a_model_that_takes_what_stands_first_never_says_the_same_in_both_orders(tmp_path: Path) -> None:
    workspace = scripted_workspace(tmp_path, {}, photos=5, engine=FirstListed({}))
    labels = labelled(tmp_path, ["sedan", "sedan", "limousine", "suv", "suv"])
    report = report_of(workspace, FirstListed({}), labels=labels)
    for language in ("en", "ko"):
        order = choice(report, "body_type", language).order
        assert order is not None
        assert (order.agreement.same.count, order.agreement.same.total) == (0, 5)
        assert (order.to_front.count, order.to_front.total) == (5, 5)
        assert order.moved == pytest.approx(0.9 - 0.01)
    found = choice(report, "body_type")
    assert found.order is not None
    assert found.order.agreement.accuracy is not None
    assert (found.order.agreement.accuracy.mine, found.order.agreement.accuracy.other) == (0.4, 0.2)
    assert found.order.given is not None
    assert found.order.averaged is not None
    assert found.order.given.mean_score == pytest.approx(0.9)
    assert found.order.averaged.mean_score == pytest.approx((0.9 + 0.01) / 2)
    assert found.repeated.share == 1.0, "asked as it stands, the answer is what the workspace keeps"


def test_a_model_that_takes_what_stands_last_is_not_said_to_lean_to_the_front(tmp_path: Path) -> None:
    class LastListed(Recording):
        def _one(self, photo: int, prompt: Prompt) -> Answer:
            if prompt.choices:
                last = prompt.text.rpartition(": ")[2].split(", ")[-1].rstrip(".")
                self.script = {(photo, prompt.question_id, prompt.language): {last: 0.9}}
            return super()._one(photo, prompt)

    workspace = scripted_workspace(tmp_path, {}, photos=2, languages=["en"], engine=LastListed({}))
    order = choice(report_of(workspace, LastListed({})), "main_colour").order
    assert order is not None
    assert (order.agreement.same.count, order.to_front.count, order.to_front.total) == (0, 0, 2)


def test_a_model_that_looks_at_the_photo_says_the_same_in_both_orders(tmp_path: Path) -> None:
    script: Script = {(i, "body_type", "en"): {said: 0.8} for i, said in enumerate(("SUV", "van", "coupe"))}
    workspace = scripted_workspace(tmp_path, script, photos=3, languages=["en"])
    found = choice(report_of(workspace, Recording(script)), "body_type")
    assert found.order is not None
    assert (found.order.agreement.same.count, found.order.to_front.total) == (3, 0)
    assert found.order.moved == pytest.approx(0)
    assert found.order.agreement.accuracy is None, "there are no labels"


def test_what_differs_without_any_reversal_is_told_apart(tmp_path: Path) -> None:
    script: Script = {(0, "body_type", "en"): "van", (1, "body_type", "en"): "coupe"}
    workspace = scripted_workspace(tmp_path, script, photos=2, languages=["en"])
    report = report_of(workspace, Recording(script | {(0, "body_type", "en"): "SUV"}))
    found = choice(report, "body_type")
    assert (found.repeated.count, found.repeated.total) == (1, 2)
    assert found.order is not None
    assert found.order.agreement.same.share == 1.0
    assert any("body_type (en): 1 of 2 answers are not those that are kept" in note for note in report.notes)


def test_the_prior_is_what_is_said_of_grey_and_held_against_photos_and_labels(tmp_path: Path) -> None:
    script: Script = {(i, "body_type", "en"): "van" for i in range(3)}
    script |= {(3, "body_type", "en"): "sedan", (GREY_NUMBER, "body_type", "en"): {"van": 0.5, "SUV": 0.5}}
    script |= {(GREY_NUMBER, "body_type", "ko"): {"쿠페": 1.0}}
    workspace = scripted_workspace(tmp_path, script, photos=4)
    labels = labelled(tmp_path, ["van", "suv", "sedan", "sedan"])
    report = report_of(workspace, Recording(script), labels=labels)
    prior = choice(report, "body_type").prior
    assert prior.best in {"SUV", "van"}
    assert (prior.score, prior.mass, prior.left_open) == (0.5, 0.9, pytest.approx(2))
    korean = choice(report, "body_type", "ko").prior
    assert (korean.best, korean.score, korean.left_open) == ("쿠페", 1.0, 1.0)
    sure: Script = script | {(GREY_NUMBER, "body_type", "en"): {"van": 0.9}}
    prior = choice(report_of(workspace, Recording(sure), labels=labels), "body_type").prior
    assert (prior.best, prior.wordings) == ("van", 1)
    assert (prior.said.count, prior.said.total) == (3, 4)
    assert prior.lean is not None
    assert (prior.lean.mine, prior.lean.other, prior.lean.pairs) == (0.75, 0.25, 4)


def test_the_grey_picture_is_plain_and_has_as_many_tiles_as_most_photos(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for i, size in enumerate([(84, 56), (84, 56), (28, 28)]):
        Image.new("RGB", size, (8 * i, 0, 0)).save(tmp_path / "photos" / f"car-{i}.png")
    workspace = scripted_workspace(tmp_path, {}, photos=3, languages=["en"])
    engine = Recording({})
    report = report_of(workspace, engine)
    grey, *photos = engine.requests
    assert grey.tiles.shape == (7, 28, 28, 3)
    assert np.all(grey.tiles == GREY)
    assert [prompt.question_id for prompt in grey.prompts] == ["body_type", "main_colour"]
    assert sorted(len(request.tiles) for request in photos) == [1, 7, 7]
    assert report.probe is not None
    assert report.probe.grey_tiles == 7


def test_photos_are_cut_as_they_were_when_they_were_described(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (84, 56), (8, 0, 0)).save(tmp_path / "photos" / "car-1.png")
    workspace = scripted_workspace(tmp_path, {}, photos=1, languages=["en"], max_tiles=2)
    engine = Recording({})
    report_of(workspace, engine)
    assert {len(request.tiles) for request in engine.requests} == {3}


def test_nothing_is_written_to_the_workspace(tmp_path: Path) -> None:
    def state() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in workspace.iterdir()}

    workspace = scripted_workspace(tmp_path, {}, photos=3)
    report_of(workspace, FirstListed({}))  # SQLite makes the files of its log when it is first read
    before = state()
    report = report_of(workspace, FirstListed({}))
    assert state() == before
    assert report.answers == 60, "the answers that are evaluated are those that were there"


def test_photos_that_are_gone_or_changed_are_passed_over_and_named(tmp_path: Path) -> None:
    workspace = scripted_workspace(tmp_path, {}, photos=4, languages=["en"])
    (tmp_path / "photos" / "car-1.png").unlink()
    Image.new("RGB", (28, 28), (200, 0, 0)).save(tmp_path / "photos" / "car-2.png")
    report = report_of(workspace, Recording({}))
    assert report.probe is not None
    assert report.probe.photos == 2
    assert [(each.photo, each.why.partition(":")[0]) for each in report.probe.passed_over] == [
        ("car-1.png", "does not exist"),
        ("car-2.png", "has changed since it was described"),
    ]
    assert choice(report, "body_type").photos == 2
    assert any("2 photos were passed over when choices were asked again: car-1.png" in note for note in report.notes)


def test_without_a_single_photo_the_prior_is_still_known(tmp_path: Path) -> None:
    workspace = scripted_workspace(tmp_path, {}, photos=2, languages=["en"])
    shutil.rmtree(tmp_path / "photos")
    report = report_of(workspace, Recording({(GREY_NUMBER, "body_type", "en"): "van"}))
    found = choice(report, "body_type")
    assert (found.order, found.listed, found.prior.best, found.prior.said.total) == (None, True, "van", 0)
    assert "In reverse order" not in render_page(report)


def test_a_copy_of_a_photo_serves_where_its_first_file_is_gone(tmp_path: Path) -> None:
    paint_photos(tmp_path / "photos", 1)
    shutil.copy(tmp_path / "photos" / "car-0.png", tmp_path / "photos" / "twin.png")
    workspace = scripted_workspace(tmp_path, {}, photos=1, languages=["en"])
    (tmp_path / "photos" / "car-0.png").unlink()
    report = report_of(workspace, Recording({}))
    assert report.probe is not None
    assert (report.probe.photos, report.probe.passed_over) == (1, ())


def test_photos_are_spread_evenly_and_labelled_ones_come_first(tmp_path: Path) -> None:
    workspace = scripted_workspace(tmp_path, {}, photos=10, languages=["en"])

    def keys(plan: ProbePlan) -> list[str]:
        return [photo.file.key for photo in plan.photos]

    assert keys(planned(workspace, photos=3)) == ["car-0.png", "car-3.png", "car-6.png"]
    assert len(planned(workspace).photos) == 10
    with read_workspace(workspace) as opened:
        answered = gather(opened)
    first = {photo.sha256 for photo in answered.photos if photo.key in {"car-4.png", "car-9.png"}}
    assert keys(planned(workspace, photos=4, first=first))[:2] == ["car-4.png", "car-9.png"]
    assert len(planned(workspace, photos=4, first=first).photos) == 4
    assert keys(planned(workspace, photos=1, first=first)) == ["car-4.png"]


def test_a_question_that_does_not_list_its_choices_is_not_asked_in_an_order_it_has_not(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    engine = Recording({})
    report = report_of(workspace, engine)
    found = choice(report, "colour")
    assert (found.listed, found.order, found.photos) == (False, None, 3)
    assert {len(request.prompts) for request in engine.requests} == {2}, "both languages, and nothing reversed"
    assert any("colour (en): its words do not list its choices" in note for note in report.notes)


NAMED = """
id = "named"
version = 1
languages = ["en"]
[[questions]]
id = "body_type"
priority = 1
text.en = "This is a {name}. Which is it: sedan, van, SUV?"
choices.en = ["sedan", "van", "SUV"]
"""


def test_where_the_words_name_the_car_each_wording_has_its_own_prior(tmp_path: Path) -> None:
    class Reads(Recording):
        def _one(self, photo: int, prompt: Prompt) -> Answer:
            said = "van" if "Transit" in prompt.text else "SUV"
            self.script = {(photo, "body_type", "en"): {said: 0.8}}
            return super()._one(photo, prompt)

    paint_photos(tmp_path / "photos", 40)
    rows = [{"image": f"car-{i}.png", "name": f"Transit {i}" if i < 30 else "X5"} for i in range(40)]
    (tmp_path / "cars.json").write_text(json.dumps(rows), "utf-8")
    (tmp_path / "named.toml").write_text(NAMED, "utf-8")
    workspace = scripted_workspace(
        tmp_path,
        {},
        photos=40,
        engine=Reads({}),
        recipes=[tmp_path / "named.toml"],
        languages=["en"],
        metadata=tmp_path / "cars.json",
    )
    engine = Reads({})
    prior = choice(report_of(workspace, engine), "body_type").prior
    grey = [request for request in engine.requests if np.all(request.tiles == GREY)]
    assert [len(request.prompts) for request in grey] == [16, 15]
    assert (prior.best, prior.wordings) == ("van", 31)
    assert prior.score == pytest.approx((30 * 0.8 + 0.1) / 31)
    assert (prior.said.count, prior.said.total) == (40, 40), "each photo says what its own words say of grey"


def test_a_question_whose_choices_were_changed_since_is_measured_in_each_form(tmp_path: Path) -> None:
    changed = NAMED.replace("van, SUV", "van, coupe, SUV").replace('"van", "SUV"', '"van", "coupe", "SUV"')
    recipe = tmp_path / "named.toml"
    for text, limit in ((NAMED, None), (changed, 1)):
        recipe.write_text(text, "utf-8")
        workspace = scripted_workspace(tmp_path, {}, photos=4, recipes=[recipe], languages=["en"], limit=limit)
    report = report_of(workspace, Recording({}))
    assert report.probe is not None
    assert sorted((each.choices, each.photos, each.listed) for each in report.probe.choices) == [
        (3, 3, True),
        (4, 1, True),
    ]


def test_what_does_not_fit_is_asked_in_smaller_batches(tmp_path: Path) -> None:
    workspace = scripted_workspace(tmp_path, {}, photos=5, languages=["en"])
    engine = Recording({})
    engine.most = 1
    report = report_of(workspace, engine)
    assert report.probe is not None
    assert (report.probe.photos, report.probe.passed_over) == (5, ())
    assert engine.released
    engine.most = 0
    with pytest.raises(OutOfMemoryError, match=r"Not even a grey picture can be asked\. 1 photos do not fit\."):
        report_of(workspace, engine)


def test_a_stop_before_the_end_gives_nothing(tmp_path: Path) -> None:
    workspace = scripted_workspace(tmp_path, {}, photos=6, languages=["en"])
    seen: list[int] = []
    found = probe(
        planned(workspace), Recording({}), stopped=lambda: bool(seen), seen=lambda results: seen.append(len(results))
    )
    assert found is None
    assert sum(seen) < 6


def test_answers_of_another_model_are_not_asked_of_this_one(tmp_path: Path) -> None:
    paint_photos(tmp_path / "photos", 3)
    scripted_workspace(tmp_path, {}, photos=3, languages=["en"], model="first")
    workspace = scripted_workspace(tmp_path, {}, photos=3, languages=["ko"], model="second")
    report = report_of(workspace, Recording({}, model="second"))
    assert report.probe is not None
    assert {each.language for each in report.probe.choices} == {"ko"}
    assert report.probe.of_others == 6
    assert any("6 choices were answered by another model" in note for note in report.notes)
    with read_workspace(workspace) as opened:
        assert planned(workspace, gather(opened, model="first")).condition.model == "first"


def test_a_workspace_without_a_choice_is_told_so(tmp_path: Path) -> None:
    workspace = scripted_workspace(tmp_path, {}, photos=1, recipes=["brief"], languages=["en"])
    with pytest.raises(InputError, match=r"No choice was answered in .* --recipe designer, or leave out --probe"):
        planned(workspace)


def test_labels_are_looked_at_before_the_model_is_asked_anything(tmp_path: Path) -> None:
    workspace = scripted_workspace(tmp_path, {}, photos=1)
    (tmp_path / "labels.json").write_text('{"nobody": {"body_type": "suv"}}', "utf-8")
    engine = Recording({})
    with pytest.raises(InputError):
        report_of(workspace, engine, labels=tmp_path / "labels.json")
    assert engine.requests == []


@pytest.fixture
def shown(tmp_path: Path) -> Report:
    """Of sixty photos, with both tables full."""
    folder = tmp_path / "<i>folder"
    script: Script = {(i, "body_type", "en"): {"convertible": 0.7} for i in range(0, 60, 2)}
    workspace = scripted_workspace(folder, script, photos=60, engine=FirstListed({}))
    (folder / "photos" / "car-7.png").unlink()
    return report_of(workspace, FirstListed({}), labels=labelled(folder, ["sedan", "suv"] * 30))


def test_the_terminals_tables_fit_eighty_columns(
    shown: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    show_evaluation(Screen(), shown)
    said = capsys.readouterr().out
    start = said.index("Choices of 59 photos asked again in reverse order")
    tables = said[start : said.index("One question in two languages")].splitlines()
    assert max(map(cell_len, tables)) <= 80
    assert "…" not in "".join(tables)
    assert "59 of 59" in said
    assert "less labelled" in said


def test_the_page_has_both_tables_and_no_text_unescaped(shown: Report) -> None:
    page = render_page(shown)
    assert "In reverse order" in page
    assert "Of a grey picture" in page
    assert "<i>" not in page
    assert "<td>sedan</td>" in page


def test_json_has_a_probe_only_where_there_was_one(shown: Report, tmp_path: Path) -> None:
    machine = json.loads(json.dumps(report_json(shown), ensure_ascii=False))
    assert list(machine)[-1] == "probe"
    assert list(machine["probe"]) == [
        *("device", "dtype", "grey_tiles", "photos", "passed_over", "of_others", "choices"),
    ]
    assert list(machine["probe"]["choices"][0]) == [
        *("recipe", "question", "language", "attribute", "choices", "listed", "photos", "repeated", "order", "prior"),
    ]


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photos described by a copy of the demo model that is called by its folder."""
    folder = tmp_path_factory.mktemp("described")
    shutil.copytree(demo_checkpoint(), folder / "model")
    paint_photos(folder / "photos", 2)
    asked = ["describe", str(folder / "photos"), "--model", str(folder / "model"), "-w", str(folder / "workspace")]
    done = CliRunner().invoke(app, [*asked, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    return folder


def test_the_model_that_answered_is_loaded_and_asked(described: Path) -> None:
    arguments = ["evaluate", str(described / "workspace"), "--probe", "--probe-photos", "1", "--device", "cpu"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Choices of 1 photos asked again in reverse order" in done.stdout
    assert re.search(r"body_type +en +\w+ +0\.\d\d +\d+\.\d of 11", done.stdout)
    machine = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    (body_type, _) = machine["probe"]["choices"]
    assert (body_type["photos"], body_type["repeated"]["count"], machine["probe"]["dtype"]) == (1, 1, "float32")


def test_weights_that_are_not_those_that_answered_are_refused(described: Path) -> None:
    settings = described / "model" / "generation_config.json"
    before = settings.read_text("utf-8")
    settings.write_text(before + "\n", "utf-8")
    try:
        with pytest.raises(InputError, match="its weights or settings changed since") as refused:
            as_answered(planned(described / "workspace"))
    finally:
        settings.write_text(before, "utf-8")
    assert "\n" not in str(refused.value)
    assert as_answered(planned(described / "workspace")).checkpoint.folder == described / "model"


def test_quantised_weights_are_asked_again_as_they_answered(described: Path) -> None:
    asked = ["describe", str(described / "photos"), "--model", str(described / "model"), "--recipe", "designer"]
    done = CliRunner().invoke(app, [*asked, "-w", str(described / "int8"), "--device", "cpu", "--dtype", "int8"])
    assert done.exit_code == 0, done.output
    plan = planned(described / "int8")
    assert plan.condition.label == f"{described / 'model'} as int8"
    assert as_answered(plan).dtype == "int8"


def test_a_model_that_is_gone_is_named_with_what_to_do(described: Path) -> None:
    (described / "model").rename(described / "elsewhere")
    try:
        with pytest.raises(InputError, match=r"model, which answered in .* is not there any more\. Put it back"):
            as_answered(planned(described / "workspace"))
        (described / "model").symlink_to(described / "elsewhere")
        assert as_answered(planned(described / "workspace")).name == str(described / "model")
        (described / "model").unlink()
    finally:
        (described / "elsewhere").rename(described / "model")


@pytest.mark.parametrize("more", [["--device", "cpu"], ["--probe-photos", "3"]])
def test_what_is_about_asking_again_needs_probe(described: Path, more: list[str]) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(described / "workspace"), *more])
    assert isinstance(done.exception, CarscribeError)
    assert "add --probe" in str(done.exception)


def test_a_device_that_is_not_there_is_told_in_a_line(described: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", str(described / "workspace"), "--probe", "--device", "cuda:9"])
    assert isinstance(done.exception, InputError)
    assert "No device 'cuda:9' here" in str(done.exception)
