"""Labels in every form, photos by every name; what is not known is named, and what cannot be used is one line."""

import json
from pathlib import Path

import pytest
from scripted import Script, paint_photos, scripted_workspace
from typer.testing import CliRunner

from carscribe.catalog.workspace import read_workspace
from carscribe.cli import evaluating  # noqa: F401 - its command is what is run
from carscribe.cli.app import app
from carscribe.errors import CarscribeError, InputError
from carscribe.evaluate.answers import Answered, gather
from carscribe.evaluate.labels import read_labels
from carscribe.evaluate.report import EvaluationRequest, evaluate
from carscribe.evaluate.vocabulary import shipped_vocabulary

SCRIPT: Script = {(0, "body", "en"): "SUV"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four photos, two of them in folders and of one name."""
    folder = tmp_path_factory.mktemp("labels")
    paint_photos(folder / "photos", 2)
    for name, number in (("a", 2), ("b", 3)):
        paint_photos(folder / "more", 4)
        (folder / "photos" / name).mkdir()
        (folder / "more" / f"car-{number}.png").rename(folder / "photos" / name / "차.png")
    scripted_workspace(folder, SCRIPT, photos=2)
    return folder


@pytest.fixture(scope="module")
def answered(folder: Path) -> Answered:
    with read_workspace(folder / "workspace") as opened:
        return gather(opened)


FORMS = [
    ("l.json", '{"car-0.png": {"body_type": ["SUV", "van"], "colour": "dark blue"}}'),
    ("l.json", '[{"photo": "car-0", "body_type": "suv|van", "Color": "파란색"}]'),
    ("l.jsonl", '{"image": "x/car-0.png", "attribute": "body_type", "values": ["SUV", "밴"]}\n'
     '{"image": "car-0.png", "attribute": "main_colour", "value": "navy"}'),
    ("l.jsonl", '{"photo": "car-0.png", "body_type": ["SUV", "van"], "colour": "navy"}\n'),
    ("l.csv", "photo,attribute,value\ncar-0.png,body_type,suv; van\ncar-0.png,색상,다크 블루\n"),
    ("l.csv", "file,body_type,colour\ncar-0.png,SUV/Van,blue\n"),
    ("l.tsv", "사진\t차종\t색상\ncar-0\t밴|SUV\t청색\n"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content"), FORMS)
def test_every_form_says_the_same(name: str, content: str, answered: Answered, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    found = read_labels(tmp_path / name, answered.photos, shipped_vocabulary())
    assert {(label.attribute, label.right) for label in found.labels} == {
        ("body_type", ("suv", "van")),
        ("main_colour", ("blue",)),
    }
    assert (found.photos, found.notes) == (1, ())


@pytest.mark.parametrize(
    ("named", "key"),
    [
        ("car-1.png", "car-1.png"),
        ("car-1", "car-1.png"),
        ("somewhere/else/car-1.png", "car-1.png"),
        ("a/차.png", "a/차.png"),
        ("b/차.png", "b/차.png"),
        ("차.png", None),
        ("차", None),
        ("car-9.png", None),
    ],
)
def test_photos_are_found_by_key_file_name_and_stem(
    named: str, key: str | None, answered: Answered, tmp_path: Path
) -> None:
    rows = {named: {"body_type": "suv"}, "car-0.png": {"body_type": "suv"}}
    (tmp_path / "l.json").write_text(json.dumps(rows), "utf-8")
    found = read_labels(tmp_path / "l.json", answered.photos, shipped_vocabulary())
    keys = {photo.key for photo in answered.photos for label in found.labels if label.sha256 == photo.sha256}
    assert keys == {"car-0.png"} | ({key} if key else set())
    assert bool(found.notes) == (key is None)


def test_photos_are_found_by_the_beginning_of_their_hash(answered: Answered, tmp_path: Path) -> None:
    photo = answered.photos[1]
    for named in (photo.sha256[:8], photo.sha256.upper(), photo.locations[0]):
        (tmp_path / "l.json").write_text(json.dumps({named: {"body_type": "suv"}}), "utf-8")
        (label,) = read_labels(tmp_path / "l.json", answered.photos, shipped_vocabulary()).labels
        assert label.sha256 == photo.sha256


def test_what_matches_nothing_is_named_and_the_rest_is_taken(answered: Answered, tmp_path: Path) -> None:
    rows = {
        "car-0.png": {"body_type": ["suv", "spaceship"], "view": "front", "colour": None},
        "car-1.png": {"body_type": "tank", "unique": [], "colour": "none"},
        "gone.png": {"body_type": "suv"},
    }
    (tmp_path / "l.json").write_text(json.dumps(rows), "utf-8")
    found = read_labels(tmp_path / "l.json", answered.photos, shipped_vocabulary())
    assert {(label.attribute, label.right) for label in found.labels} == {
        ("body_type", ("suv",)),
        ("unique", ()),
        ("main_colour", ()),
    }
    notes = "\n".join(found.notes)
    for name in ("gone.png", "view", "spaceship (body_type)", "tank (body_type)"):
        assert name in notes


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ('{"gone.png": {"body_type": "suv"}}', r"None of the 1 photos .*such as gone\.png.*they are called"),
        ('{"car-0.png": {"view": "front"}}', "Not known: view. Attributes are body_type"),
        ('{"car-0.png": {"body_type": "tank"}}', "tank"),
        ('[{"body_type": "suv"}]', "row 1 names no photo"),
        ('["car-0.png"]', "names no photo"),
        ("{", "is not JSON"),
        ("", "is empty"),
    ],
)
def test_labels_that_cannot_be_used_are_one_line(folder: Path, tmp_path: Path, labels: str, says: str) -> None:
    (tmp_path / "l.json").write_text(labels, "utf-8")
    with pytest.raises(InputError, match=says) as raised:
        evaluate(EvaluationRequest(workspace=folder / "workspace", labels=tmp_path / "l.json"))
    assert "\n" not in str(raised.value)


ASKED_ELSE = (
    'id = "own"\nversion = 1\nlanguages = ["en"]\n'
    '[[questions]]\nid = "mood"\npriority = 1\nmax_new_tokens = 5\ntext.en = "Mood?"\n'
)


def test_a_workspace_whose_questions_state_no_labelled_attribute_says_so(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(ASKED_ELSE, "utf-8")
    scripted_workspace(tmp_path, {}, photos=1, recipes=[tmp_path / "own.toml"], languages=["en"])
    (tmp_path / "l.json").write_text('{"car-0.png": {"body_type": "suv"}}', "utf-8")
    with pytest.raises(InputError, match=r"labels body_type, and the answers of .* state no attribute"):
        evaluate(EvaluationRequest(workspace=tmp_path / "workspace", labels=tmp_path / "l.json"))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "does not exist"),
        (["workspace", "--recipe", "brief"], "'brief' was not asked in workspace, only designer."),
        (["workspace", "--language", "de"], "only in en, ko. Ask it: carscribe describe"),
        (["workspace", "--model", "8B"], "No model '8B' has answered in workspace, only scripted."),
        (["workspace", "--labels", "gone.json"], "gone.json does not exist"),
        (["workspace", "--against", "elsewhere"], "needs labels"),
        (["workspace", "--labels", "l.json", "--against", "elsewhere"], "elsewhere is no workspace. No model"),
        (["workspace", "--html", "l.json"], "--overwrite"),
        (["workspace", "--calibrate"], "add --labels"),
    ],
)
def test_errors_are_one_line_that_says_what_to_do(
    folder: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.chdir(folder)
    (folder / "l.json").write_text('{"car-0.png": {"body_type": "suv"}}', "utf-8")
    done = CliRunner().invoke(app, ["evaluate", *arguments])
    assert isinstance(done.exception, CarscribeError), done.output
    assert says in str(done.exception)
    assert "\n" not in str(done.exception)


def test_an_empty_workspace_says_how_to_fill_it(tmp_path: Path) -> None:
    from carscribe.catalog.workspace import write_workspace

    with write_workspace(tmp_path / "ws", create=True):
        pass
    with pytest.raises(InputError, match=r"Nothing was asked in .* yet: carscribe describe PHOTOS -w"):
        evaluate(EvaluationRequest(workspace=tmp_path / "ws"))


def test_a_question_is_told_with_its_recipe_where_another_has_one_of_that_id(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    wheels = 'id = "wheels"\npriority = 1\nmax_new_tokens = 8\ntext.en = "Wheels?"\ntext.ko = "휠은?"\n'
    own.write_text(f'id = "own"\nversion = 1\nlanguages = ["en", "ko"]\n[[questions]]\n{wheels}', "utf-8")
    folder = scripted_workspace(tmp_path, SCRIPT, photos=2, recipes=["designer", own])
    done = CliRunner().invoke(app, ["evaluate", str(folder)])
    told = {line.split()[0] for line in done.stdout.splitlines() if "en/ko" in line}
    assert {"main_colour", "body", "designer.wheels"} <= told
