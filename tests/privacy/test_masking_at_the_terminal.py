"""`carscribe export` with boxes from a file: what it writes, says, and refuses."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakeEngine
from planted_noise import PLANTED, jpeg, leaks
from workspaces import make_workspace

Run = Callable[..., subprocess.CompletedProcess[str]]
BOX = dict(zip(("x0", "y0", "x1", "y1"), PLANTED, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("masked")
    (folder / "photos").mkdir()
    (folder / "photos" / "차 0.jpg").write_bytes(jpeg(6))
    make_workspace(folder, engine=FakeEngine())
    rows = [{"photo": "차 0.jpg", "kind": "plate", **BOX}, {"photo": "typo.jpg", "kind": "face", **BOX}]
    (folder / "boxes.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    (folder / "bad.csv").write_text("photo,kind,x0,y0,x1,y1\n차 0.jpg,plate,9,9,5,20\n", "utf-8")
    return folder


@pytest.fixture
def export(folder: Path) -> Run:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "carscribe", "export", "workspace", *arguments]
        environment = {name: value for name, value in os.environ.items() if name != "CARSCRIBE_PLATE_MODEL"}
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )

    return run


def test_listed_boxes_are_hidden_and_the_report_says_so(folder: Path, export: Run) -> None:
    done = export("--to", "out", "--boxes", "boxes.jsonl")
    assert done.returncode == 0, done.stderr
    assert leaks(folder / "out") == []
    for said in (
        "Masked     1 of 1 photos (1 plate)",
        "Metadata   is in none of the images",
        "what was neither found nor listed is still there",
        "Not here   1 photos of --boxes are not in the export: typo.jpg",
    ):
        assert said in done.stdout


def test_machines_are_told_the_same(folder: Path, export: Run) -> None:
    done = export("--to", "machines", "--format", "jsonl", "--boxes", "boxes.jsonl", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["masked"] == {
        "images": 1,
        "with_boxes": 1,
        "boxes": {"plate": 1},
        "unmasked": {"count": 0, "first": []},
    }
    assert (told["boxes_not_met"], told["images"]) == (["typo.jpg"], "copy")
    assert leaks(folder / "machines") == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--mask", "plates"], "--plate-model FILE"),
        (["--mask", "plates", "--plate-model", "nothing.onnx"], "plate"),
        (["--plate-model", "plates.onnx"], "add --mask plates"),
        (["--mask", "faces", "--plate-model", "plates.onnx"], "add --mask plates"),
        (["--mask", "people"], "faces, plates, or both"),
        (["--boxes", "bad.csv"], "line 2: x0 < x1 and y0 < y1"),
        (["--boxes", "boxes.jsonl", "--images", "link"], "--images copy"),
        (["--boxes", "boxes.jsonl", "--images", "none", "--format", "csv"], "--images copy"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_written(
    folder: Path, export: Run, arguments: list[str], says: str
) -> None:
    done = export("--to", "refused", *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "refused").exists()
