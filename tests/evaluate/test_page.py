"""The report as a page and at the terminal: nothing unescaped, nothing loaded from elsewhere, 80 columns."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.cells import cell_len
from scripted import Script, paint_photos, scripted_workspace
from typer.testing import CliRunner

from carscribe.cli import evaluating  # noqa: F401 - its command is what is run
from carscribe.cli.app import app
from carscribe.evaluate.page import render_page
from carscribe.evaluate.report import WORTHLESS, EvaluationRequest, evaluate

HOSTILE = '<script>alert("1")</script> & \x1b[31mred\u202e'
SCRIPT: Script = {
    (0, "body", "en"): f"sedan {HOSTILE}",
    (0, "body", "ko"): f"왜건 {HOSTILE}",
    (0, "body_type", "en"): {"sedan": 0.7},
    (0, "colour", "en"): "red " * 5,
    (1, "body_type", "en"): {"SUV": 0.9},
    (1, "body", "en"): "SUV, raised stance",
}
OWN = """
id = "own"
version = 1
languages = ["en", "ko"]
[[questions]]
id = "body_type"
priority = 1
text.en = "Body type?"
text.ko = "차체 형태는?"
choices.en = ["SUV", "sedan"]
choices.ko = ["SUV", "세단"]
"""
VOID = {"meta", "img", "br", "rect", "path", "circle", "link"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page <b>")
    paint_photos(folder / "photos", 3)
    (folder / "photos" / "car-0.png").rename(folder / "photos" / "<i>car & 0.png")
    rows = [{"image": "<i>car & 0.png", "name": HOSTILE, "kind": "<b>kind</b>"}]
    (folder / "cars.json").write_text(json.dumps(rows), "utf-8")
    for name in ("workspace", "other"):
        script = SCRIPT if name == "workspace" else {}
        scripted_workspace(folder, script, photos=3, name=name, metadata=folder / "cars.json", model=f"<u>{name}")
    labels = {"<i>car & 0": {"body_type": "suv", "<em>": "x", "colour": "<s>"}, "car-1": {"body_type": "suv"}}
    (folder / "labels.json").write_text(json.dumps(labels), "utf-8")
    return folder


class Tags(HTMLParser):
    """Collects tags, and sees that each is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.add(tag)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def test_every_text_on_the_page_is_escaped_and_nothing_comes_from_elsewhere(folder: Path) -> None:
    request = EvaluationRequest(
        workspace=folder / "workspace", labels=folder / "labels.json", against=str(folder / "other")
    )
    page = render_page(evaluate(request))
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    assert not tags.seen & {"script", "i", "u", "em", "s", "link", "iframe"}
    assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in page
    assert not {"\x1b", "\u202e"} & set(page)
    assert not re.search(r'(?:src|href)="(?!data:image/jpeg;base64,)', page)
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert str(folder.parent) not in page


def test_the_page_shows_photos_plots_and_matrices(folder: Path) -> None:
    page = render_page(evaluate(EvaluationRequest(workspace=folder / "workspace", labels=folder / "labels.json")))
    assert page.count('<img src="data:image/jpeg;base64,') == 2
    assert "body_type (en)" in page
    assert 'class="diagonal"' in page
    assert 'class="matrix"' in page
    assert "one word over and over" in page


def test_a_question_is_called_by_its_id_and_by_its_recipe_where_another_has_that_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.toml").write_text(OWN, "utf-8")
    scripted_workspace(tmp_path, SCRIPT, photos=2, recipes=["designer", tmp_path / "own.toml"])
    (tmp_path / "labels.json").write_text('{"car-0": {"body_type": "suv"}, "car-1": {"body_type": "suv"}}', "utf-8")
    request = EvaluationRequest(workspace=tmp_path / "workspace", labels=tmp_path / "labels.json")
    page = render_page(evaluate(request))
    named = set(re.findall(r"\b(?:designer|own)\.\w+", page))
    assert named == {"designer.body_type", "own.body_type"}
    assert "<td>colour</td>" in page
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["evaluate", "workspace", "--labels", "labels.json"], env={"COLUMNS": "120"}).stdout
    assert set(re.findall(r"\b(?:designer|own)\.\w+", told)) >= named
    assert "designer.colour" not in told


def test_a_photo_that_is_gone_is_said_to_be(folder: Path, tmp_path: Path) -> None:
    scripted_workspace(tmp_path, SCRIPT, photos=2)
    (tmp_path / "labels.json").write_text('{"car-0": {"body_type": "suv"}}', "utf-8")
    (tmp_path / "photos" / "car-0.png").unlink()
    page = render_page(evaluate(EvaluationRequest(workspace=tmp_path / "workspace", labels=tmp_path / "labels.json")))
    assert "cannot be read" in page


def test_the_terminals_tables_fit_eighty_columns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    arguments = ["evaluate", "workspace", "--labels", "labels.json", "--against", "other", "--html", "r.html"]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "80"})
    assert done.exit_code == 0, done.output
    lines = [line for line in done.stdout.splitlines() if not re.match(r"[A-Z]\w+  +|Passed|  ", line)]
    assert max(map(cell_len, lines)) <= 80
    assert "\x1b" not in done.stdout
    assert (folder / "r.html").read_text("utf-8").endswith("</html>\n")
    machine = json.loads(CliRunner().invoke(app, ["evaluate", "workspace", "--json"]).stdout)
    assert machine["models"] == ["<u>workspace"]


def test_the_demo_models_worthlessness_stands_on_the_page_and_at_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted_workspace(tmp_path, SCRIPT, photos=2, model="demo")
    monkeypatch.chdir(tmp_path)
    assert WORTHLESS in CliRunner().invoke(app, ["evaluate", "workspace"]).stdout
    assert "answers on real cars are worth nothing" in render_page(
        evaluate(EvaluationRequest(workspace=tmp_path / "workspace"))
    )
