"""`carscribe export` with boxes from a file: what it writes, says, and refuses."""

import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakeEngine
from planted_noise import PLANTED, jpeg, leaks
from rich.console import Console
from workspaces import make_workspace

from carscribe.export import write
from carscribe.privacy.masking import Masking
from carscribe.records import DescribedPhoto, Description, PhotoFile
from carscribe.terminal.masked import masking_shown
from carscribe.terminal.screen import Screen

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


def photo_of(path: Path, content: bytes) -> DescribedPhoto:
    path.write_bytes(content)
    return DescribedPhoto(
        file=PhotoFile(location=str(path), key=path.name),
        sha256=hashlib.sha256(content).hexdigest(),
        width_px=640,
        height_px=480,
        answers=(),
        description=Description(text="a car", budget="none", tokens=None),
    )


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


@pytest.mark.parametrize("format_", ["kohya", "webdataset"])
def test_a_bar_says_how_far_it_is(format_: str, tmp_path: Path) -> None:
    screen, drawn = Screen(), io.StringIO()
    screen.err = Console(file=drawn, force_terminal=True, width=80)
    photos = [photo_of(tmp_path / f"{number}.jpg", jpeg(6) if number else b"no photo") for number in range(3)]
    with masking_shown(screen, Masking(), len(photos)) as masker:
        report = write(format_, photos, tmp_path / "out", masker=masker)
    assert (report.photos, report.masked and report.masked.unmasked.count) == (2, 1)
    frames = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", drawn.getvalue())
    assert re.findall(r"Masking\s+(\d)/3", frames)[-1] == "3", "also those that cannot be masked"


def test_a_log_gets_a_line_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carscribe.terminal.run.LOG_EVERY_S", 0.0)
    screen, log = Screen(), io.StringIO()
    screen.err = Console(file=log, width=80)
    with masking_shown(screen, Masking(), 1) as masker:
        write("kohya", [photo_of(tmp_path / "a.jpg", jpeg(6))], tmp_path / "out", masker=masker)
    assert log.getvalue().strip() == "1 of 1 photos masked"


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
