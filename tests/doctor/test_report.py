"""What is made of a comparison: findings, the page to post, the exit code. All from records, without a model."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from carscribe.doctor.comparing import ChoiceComparison, TokenComparison
from carscribe.doctor.expected import Comparison
from carscribe.doctor.fidelity import FidelityReport, Float16, SeenPhoto
from carscribe.doctor.findings import Finding
from carscribe.doctor.judging import fidelity_findings
from carscribe.doctor.machine import Reached
from carscribe.doctor.page import render_page
from carscribe.doctor.report import Trial, as_dict, run_doctor
from carscribe.errors import InputError, OutputError
from carscribe.records import Description
from carscribe.whole_files import write_whole

Make = Callable[..., Any]
EQUAL = TokenComparison(photo="a.jpg", question_id="grille", tokens=12, noise=0.1)
PARTS = replace(EQUAL, first_difference=7, plain_word=" chrome", packed_word=" black", gap=0.2)
SAME_CHOICE = ChoiceComparison(
    photo="a.jpg",
    question_id="body_type",
    plain_choice="SUV",
    packed_choice="SUV",
    largest_score_difference=1e-4,
    gap=0.0,
)
AGREES = Comparison(what="tile", expected="448", found="448", agrees=True)
DIFFERS = Comparison(what="tile", expected="448", found="112", agrees=False)
SKIPPED = Comparison(what="ids", expected="theirs", found="not compared: no torchvision", agrees=None)
SEEN = SeenPhoto(
    name="a.jpg",
    picture=Image.new("RGB", (36, 24), (200, 30, 20)),
    tiles=7,
    brief="A red SUV.",
    description=Description(text="red, SUV", budget="clip", tokens=6, dropped=("black wheels",)),
)
REPORT = FidelityReport(
    model="OpenGVLab/InternVL3-8B-hf",
    revision="0123abc",
    member="InternVL3-8B",
    hardware="NVIDIA RTX A6000",
    dtype="bfloat16",
    versions={"torch": "2.13.0", "carscribe": "0.1.0"},
    language="en",
    facts=(AGREES,),
    processing=(AGREES, SKIPPED),
    tokens=(EQUAL,),
    choices=(SAME_CHOICE,),
    float16=Float16(finite=True, said="finite on one photo"),
    photos=(SEEN,),
)


def found(topic: str, **changes: Any) -> list[Finding]:
    return [finding for finding in fidelity_findings(replace(REPORT, **changes)) if finding.topic == topic]


@pytest.mark.parametrize(
    ("topic", "changes", "status", "says"),
    [
        ("Tokens", {}, "ok", "1 of 1 answers in bfloat16 equal generate's, token for token"),
        ("Tokens", {"tokens": (EQUAL, PARTS)}, "ok", "1 of 2 answers in bfloat16 equal"),
        ("Tokens", {"tokens": (EQUAL, PARTS)}, "ok", "part at a tie, of at most 0.2 logits"),
        ("Tokens", {"tokens": (replace(PARTS, gap=-0.1),)}, "ok", "part at a tie"),
        ("Tokens", {"tokens": (EQUAL, replace(PARTS, gap=0.4))}, "problem", "0.4 logits (grille of a.jpg, at token 7)"),
        ("Tokens", {"tokens": (replace(PARTS, noise=0.3, gap=0.4),)}, "ok", "part at a tie"),
        ("Tokens", {"tokens": (PARTS, replace(PARTS, gap=None))}, "problem", "the worst by its length"),
        ("Tokens", {"dtype": "float32", "tokens": (replace(PARTS, noise=1e-5, gap=0.01),)}, "problem", "0.01 logits"),
        ("Choices", {}, "ok", "1 of 1 choices are the plain pass's; scores differ by at most 0.0001"),
        ("Choices", {"choices": (replace(SAME_CHOICE, packed_choice="van", gap=0.3),)}, "ok", "0 of 1"),
        (
            "Choices",
            {"choices": (replace(SAME_CHOICE, packed_choice="van", gap=2.0),)},
            "problem",
            "body_type of a.jpg",
        ),
        ("Choices", {"choices": (replace(SAME_CHOICE, largest_score_difference=0.4),)}, "problem", "by at most 0.4"),
        (
            "Choices",
            {"dtype": "float32", "tokens": (), "choices": (replace(SAME_CHOICE, largest_score_difference=0.01),)},
            "problem",
            "more than numbers' noise",
        ),
        ("Checkpoint", {}, "ok", "InternVL3-8B: ids, template and configuration are as expected"),
        ("Checkpoint", {"facts": (AGREES, DIFFERS)}, "warning", "tile 112, not 448"),
        ("Checkpoint", {"facts": (DIFFERS,), "member": None}, "note", "free to differ"),
        ("Preparation", {"processing": (AGREES,)}, "ok", "Equal to transformers' own: tile"),
        ("Preparation", {"processing": (DIFFERS,)}, "problem", "tile 112, not 448"),
        ("Preparation", {"processing": (SKIPPED,)}, "note", "no torchvision"),
        ("float16", {}, "ok", "finite on one photo"),
        ("float16", {"float16": Float16(finite=False, said="not finite")}, "warning", "not finite"),
        ("float16", {"dtype": "float16", "float16": Float16(finite=False, said="")}, "problem", "not finite"),
        ("float16", {"float16": Float16(finite=None, said="not tried: slow")}, "note", "not tried: slow"),
        ("Photos", {"set_aside": ("b.jpg: is empty",)}, "note", "b.jpg: is empty"),
        ("Comparison", {"unfinished": "out of memory"}, "warning", "out of memory"),
        ("Comparison", {"unfinished": "not finite", "photos": (), "tokens": ()}, "problem", "not finite"),
    ],
)
def test_ties_are_told_from_defects(topic: str, changes: dict[str, Any], status: str, says: str) -> None:
    seen = found(topic, **changes)
    hits = [finding for finding in seen if finding.status == status and says in finding.what]
    assert len(hits) == 1, seen
    assert status not in {"warning", "problem"} or hits[0].advice


def test_the_page_stands_alone_and_tells_nothing_of_the_machine() -> None:
    report = replace(
        REPORT,
        tokens=(EQUAL, PARTS),
        unfinished="it failed at /home/kim/secret/model.py near ~/x/y",
        photos=(replace(SEEN, name="<b>.jpg", brief="<script>alert(1)</script> & more"),),
    )
    page = render_page(report, fidelity_findings(report))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in page
    assert "&lt;b&gt;.jpg" in page
    assert 'src="data:image/jpeg;base64,' in page
    assert not any(way_out in page for way_out in ("http:", "https:", "//", "url(", "@import", "<link", "<iframe"))
    assert not any(private in page for private in ("kim", "secret", "/home", "~/x"))
    assert "…/model.py" in page
    for told in ("OpenGVLab/InternVL3-8B-hf", "0123abc", "NVIDIA RTX A6000", "bfloat16", "torch 2.13.0", "0.2 logits"):
        assert told in page, told
    assert "red, SUV" in page
    assert "No room for: black wheels" in page
    assert "&#x27; chrome&#x27;" in page
    assert "$" not in page.replace("$title", ""), "a placeholder was left"
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


def test_a_page_is_never_replaced_unasked_and_written_whole_or_not_at_all(healthy: Make, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("precious")
    with pytest.raises(OutputError, match="--overwrite"):
        run_doctor(trial(tmp_path, html=path), machine=healthy())
    assert path.read_text() == "precious"
    with pytest.raises(OutputError, match="no folder"):
        run_doctor(trial(tmp_path, html=tmp_path / "none" / "page.html"), machine=healthy())
    write_whole(path, "new 차\ud800")
    assert path.read_text("utf-8") == "new 차?"
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(OutputError, match="cannot be written"):
        write_whole(tmp_path, "a folder is there")
    assert [file.name for file in tmp_path.iterdir()] == ["page.html"]


def test_the_exit_code_tells_whether_there_is_a_problem(
    healthy: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run_doctor(machine=healthy()) == 0
    assert "No problem, 0 warnings." in capsys.readouterr().out
    assert run_doctor(machine=healthy(answers=Reached(status=503))) == 0
    assert "No problem, 1 warning." in capsys.readouterr().out
    assert run_doctor(machine=healthy(versions={"carscribe": "0.1.0"})) == 1
    out = capsys.readouterr().out
    assert "PROBLEM" in out
    assert "2 problems" in out


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_findings_fit_any_terminal_and_commands_stay_in_one_line(
    healthy: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    environment = {"HF_HOME": "/disk/hf", "PYTORCH_ALLOC_CONF": "x\x1b[31m[bold]y[/bold]:smile:"}
    run_doctor(machine=healthy(environment=environment))
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if "→" not in line) <= columns
    assert "        → export PYTORCH_ALLOC_CONF=expandable_segments:True" in lines
    said = "".join("".join(lines).split())
    assert "\x1b" not in said
    assert "[bold]y[/bold]:smile:" in said, "what others wrote is text, no markup"


def test_json_holds_every_finding_and_nothing_else_is_printed(
    healthy: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_doctor(machine=healthy(versions={"carscribe": "0.1.0"}), as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["problems"] == 2
    assert told["fidelity"] is None
    assert {"topic", "status", "what", "advice"} == set(told["findings"][0])


def test_a_report_as_json_holds_the_figures() -> None:
    told = json.loads(json.dumps(as_dict(fidelity_findings(REPORT), replace(REPORT, tokens=(PARTS,)))))
    assert told["fidelity"]["tokens"][0]["gap"] == 0.2
    assert told["fidelity"]["noise"] == 0.1
    assert told["fidelity"]["versions"] == {"torch": "2.13.0", "carscribe": "0.1.0"}
    assert told["fidelity"]["photos"][0]["description"]["text"] == "red, SUV"


def trial(photos: Path | None = None, **changes: Any) -> Trial:
    usual: dict[str, Any] = {"model": "demo", "photos": (photos,) if photos else ()}
    return Trial(**usual | {"compose_description": lambda _: SEEN.description} | changes)


def test_a_trial_that_cannot_start_is_refused_or_a_finding(
    healthy: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InputError, match="--model"):
        run_doctor(trial(tmp_path, model=None), machine=healthy())
    with pytest.raises(InputError, match="--limit"):
        run_doctor(trial(tmp_path, limit=0), machine=healthy())
    assert run_doctor(trial(model=str(tmp_path)), machine=healthy(), as_json=True) == 1
    last = json.loads(capsys.readouterr().out)["findings"][-1]
    assert (last["topic"], last["status"]) == ("Trial", "problem")
    assert "no config.json" in last["what"]


def test_a_defect_in_a_trial_is_a_finding_too(
    healthy: Make, random_checkpoint: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def breaks(_: str) -> None:
        raise RuntimeError("boom")

    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    tried = trial(tmp_path, model=str(random_checkpoint()), html=tmp_path / "page.html", device="cpu")
    assert run_doctor(tried, machine=healthy(), as_json=True, say=breaks) == 1
    last = json.loads(capsys.readouterr().out)["findings"][-1]
    assert "RuntimeError: boom" in last["what"]
    assert not (tmp_path / "page.html").exists()


def test_without_photos_only_the_files_are_looked_at(
    healthy: Make, random_checkpoint: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_doctor(trial(model=str(random_checkpoint())), machine=healthy(), as_json=True) == 0
    told = json.loads(capsys.readouterr().out)["findings"]
    assert [finding["topic"] for finding in told[-2:]] == ["Checkpoint", "Trial"]
    assert "--photos" in told[-1]["advice"]
