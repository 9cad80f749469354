"""A workspace at the terminal: what is kept, shown, fitted, exported and refused. The real demo model answers."""

import csv
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image
from workspaces import make_workspace

Run = Callable[..., subprocess.CompletedProcess[str]]
HOSTILE = "\x1b[31mred\x07 =HYPERLINK(1)\u202e"


def environment(folder: Path) -> dict[str, str]:
    own = {"CARSCRIBE_CACHE": str(folder / "cache"), "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **own, "COLUMNS": "100"}


def run_in(folder: Path, arguments: Sequence[str | Path], **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "carscribe", *map(str, arguments)],
        cwd=folder,
        env=environment(folder) | more,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Three photos described by the demo model into `ws`, and what the terminal said."""
    folder = tmp_path_factory.mktemp("아주 긴 이름의 폴더")
    (folder / "photos").mkdir()
    for i in range(3):
        Image.effect_noise((112, 112 + i), 60).convert("RGB").save(folder / "photos" / f"차 {i}.jpg")
    (folder / "photos" / "broken.jpg").write_bytes(b"")
    rows = [{"name": HOSTILE, "kind": "=1+1", "image": "차 0.jpg"}]
    (folder / "cars.json").write_text(json.dumps(rows), "utf-8")
    asked = ["describe", "photos", "--metadata", "cars.json", "--model", "demo", "--recipe", "brief", "-w", "ws"]
    return folder, run_in(folder, asked)


@pytest.fixture
def carscribe(described: tuple[Path, object], tmp_path: Path) -> Run:
    """Runs the command line beside a copy of the described workspace."""
    for name in ("ws", "photos", "cars.json"):
        source = described[0] / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "cache").symlink_to(described[0] / "cache")
    with closing(sqlite3.connect(tmp_path / "ws" / "catalog.sqlite")) as connection, connection:
        connection.execute("UPDATE files SET path = replace(path, ?, ?)", (str(described[0]), str(tmp_path)))
    return lambda *arguments, **more: run_in(tmp_path, arguments, **more)


def test_a_run_says_what_it_has_and_what_comes_next(
    described: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    done = described[1]
    assert done.returncode == 3, done.stderr
    for said in (
        "Workspace  0 photos complete, 4 to ask",
        "Batch      up to ",
        "Set aside  broken.jpg: is empty",
        "Done       3 answered, 1 set aside",
        "tokens/s",
        "GiB at most",
        "tokens a description; budget clip, at most 77",
        "descriptions left phrases out to fit",
        "Next       carscribe status ws",
        "carscribe export ws --format kohya --budget clip --to captions",
    ):
        assert said in done.stderr
    assert not (described[0] / "descriptions.jsonl").exists()


def test_the_same_command_again_says_before_loading_that_nothing_is_to_ask(carscribe: Run) -> None:
    done = carscribe("describe", "photos", "--metadata", "cars.json", "--recipe", "brief", "-w", "ws")
    assert done.returncode == 0, done.stderr
    assert "demo, as in the last run of this workspace" in done.stderr
    assert "Nothing to ask" in done.stderr
    assert "1 photos failed before, such as broken.jpg: is empty" in done.stderr
    assert "--retry-failed" in done.stderr
    assert "Loading" not in done.stderr


def test_json_lines_come_for_every_photo_whether_asked_now_or_before(carscribe: Run, tmp_path: Path) -> None:
    Image.effect_noise((112, 120), 60).convert("RGB").save(tmp_path / "photos" / "차 9.jpg")
    done = carscribe("describe", "photos", "--recipe", "brief", "-w", "ws", "--json")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["photo"] for line in lines] == ["broken.jpg", "차 0.jpg", "차 1.jpg", "차 2.jpg", "차 9.jpg"]
    assert [len(line["answers"]) for line in lines] == [0, 1, 1, 1, 1]
    assert lines[0]["error"].startswith("is empty")
    again = carscribe("describe", "photos", "--recipe", "brief", "-w", "ws", "-o", "kept.jsonl")
    assert again.returncode == 0, again.stderr
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text("utf-8").splitlines()]
    assert [line["answers"] for line in kept] == [line["answers"] for line in lines]


def test_status_and_show_for_people_and_machines(carscribe: Run) -> None:
    said = carscribe("status", "ws").stdout
    assert "3 of 4 photos complete, 3 of 4 answers" in said
    assert "broken.jpg: is empty" in said
    machine = json.loads(carscribe("status", "ws", "--json").stdout)
    assert (machine["files"], machine["answers"], machine["complete"]) == (4, 3, False)
    assert machine["last_run"]["state"] == "done"
    shown = carscribe("show", "ws", "차 0").stdout
    assert "brief.brief (en)" in shown
    assert "[31mred =HYPERLINK(1) (=1+1)" in shown
    assert not {"\x1b", "\x07", "\u202e"} & set(shown)
    photo = json.loads(carscribe("show", "ws", "차 1", "--json", "--budget", "t5-256").stdout)
    assert photo["answers"][0]["origin"]["dtype"] == "float32"
    assert photo["description"]["tokens"] <= 256


def test_corrections_from_a_csv_are_shown_exported_and_kept(carscribe: Run, tmp_path: Path) -> None:
    (tmp_path / "fix.csv").write_text(
        'photo,question,verdict,text\n차 0.jpg,brief,edited,"red SUV, five-spoke wheels"\n차 1.jpg,brief,rejected,\n',
        "utf-8-sig",
    )
    done = carscribe("correct", "ws", "fix.csv", "--author", "Kim")
    assert done.stdout == "Taken      1 edited, 1 rejected\n", done.stderr
    assert "edited by Kim" in carscribe("show", "ws", "차 0.jpg").stdout
    assert "1 edited, 1 rejected" in carscribe("status", "ws").stdout
    done = carscribe("export", "ws", "--format", "kohya", "--to", "out", "--approved-only", "--trigger", "mycar")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out").glob("*.txt")] == ["차 0.txt"]
    assert (tmp_path / "out" / "차 0.txt").read_text("utf-8").strip() == "mycar, red SUV, five-spoke wheels"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("photo,question,text\n차 0.jpg,bref,x\n", "no answer to 'bref'; it has brief (en)"),
        ("photo,question,verdict\ngone.jpg,brief,approved\n", "no photo 'gone.jpg'"),
        ("", "no rows"),
    ],
)
def test_wrong_corrections_are_refused_line_by_line(carscribe: Run, tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "fix.csv").write_text(content, "utf-8")
    done = carscribe("correct", "ws", "fix.csv")
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("format_", ["imagefolder", "kohya", "csv", "jsonl"])
def test_no_export_carries_control_characters_or_formulas(carscribe: Run, tmp_path: Path, format_: str) -> None:
    (tmp_path / "fix.jsonl").write_text(
        json.dumps({"photo": "차 0.jpg", "question": "brief", "text": f"=cmd|x, {HOSTILE}"}), "utf-8"
    )
    assert carscribe("correct", "ws", "fix.jsonl").returncode == 0
    done = carscribe("export", "ws", "--format", format_, "--budget", "none", "--to", "out")
    assert done.returncode == 0, done.stderr
    assert "3 photos" in done.stdout
    for path in (tmp_path / "out").rglob("*"):
        if path.suffix in {".txt", ".csv"}:
            assert not {"\x1b", "\x07", "\u202e"} & set(path.read_text("utf-8-sig"))
    for path in (tmp_path / "out").glob("*.csv"):
        with path.open(encoding="utf-8-sig", newline="") as file:
            cells = [cell for row in csv.reader(file) for cell in row]
        assert not [cell for cell in cells if cell.lstrip().startswith(("=", "+", "-", "@"))]


def test_fit_counts_as_clip_does(carscribe: Run) -> None:
    done = carscribe("fit", "compact SUV, red, metallic red paint", "--budget", "clip")
    assert done.stdout == "compact SUV, metallic red paint\n"
    machine = json.loads(carscribe("fit", "compact SUV", "--json").stdout)
    assert (machine["tokens"], machine["limit"]) == (4, 77)


def test_korean_answers_for_clip_are_refused_with_both_ways_out(tmp_path: Path) -> None:
    make_workspace(tmp_path, languages=["ko"])
    done = run_in(tmp_path, ["export", "workspace", "--to", "out", "--language", "ko"])
    assert done.returncode == 1
    assert "--force-language" in done.stderr
    assert "--language en" in done.stderr
    forced = run_in(tmp_path, ["export", "workspace", "--to", "out", "--force-language", "--format", "jsonl"])
    assert forced.returncode == 0, forced.stderr


def test_an_export_counts_with_the_tokenizer_that_is_named(tmp_path: Path) -> None:
    from carscribe.budgets.encoders import t5_tokenizer

    make_workspace(tmp_path)
    t5_tokenizer().save(str(tmp_path / "tokenizer.json"))
    asked = ["export", "workspace", "--to", "out", "--format", "jsonl", "--json", "--budget"]
    for wrong, says in (
        (["z-image"], "Fetch it: hf download"),
        (["z-image", "--tokenizer", "tokenizer.json"], "not the tokenizer of Qwen3"),
        (["clip", "--tokenizer", "tokenizer.json"], "leave out --tokenizer"),
    ):
        refused = run_in(tmp_path, [*asked, *wrong])
        assert (refused.returncode, (tmp_path / "out").exists()) == (1, False)
        assert says in " ".join(refused.stderr.split())
    done = run_in(tmp_path, [*asked, "./tokenizer.json:9"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["budget"] == f"{tmp_path.name}:9"
    lines = [json.loads(line) for line in (tmp_path / "out" / "captions.jsonl").read_text("utf-8").splitlines()]
    assert lines
    assert all(0 < line["tokens"] <= 9 for line in lines)


def test_korean_answers_for_clip_fall_back_to_english_with_a_warning(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    done = run_in(tmp_path, ["export", "workspace", "--to", "out", "--language", "ko", "--format", "jsonl", "--json"])
    assert done.returncode == 0, done.stderr
    assert "hardly knows Korean" in done.stderr
    assert json.loads(done.stdout)["composed"]["fallbacks"] == ["colour", "wheels"]
    lines = [json.loads(line) for line in (tmp_path / "out" / "captions.jsonl").read_text("utf-8").splitlines()]
    assert all(line["text"].isascii() for line in lines)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "nowhere"], "does not exist. Make one with: carscribe describe PHOTOS -w nowhere"),
        (["status", "photos"], "holds no catalog.sqlite"),
        (["show", "ws", "audi"], "No photo in ws answers to 'audi'"),
        (["show", "ws", "차 0", "--budget", "clp"], "Did you mean clip?"),
        (["show", "ws", "차 0", "--model", "8B"], "No model '8B' has answered in ws, only demo."),
        (["export", "ws", "--to", "out", "--format", "exel"], "No format 'exel'"),
        (["export", "ws", "--to", "out", "--recipe", "designer"], "'designer' was not asked in ws, only brief."),
        (["export", "ws", "--to", "out", "--language", "ko"], "--recipe brief --language ko"),
        (["export", "ws", "--to", "photos"], "photos"),
        (["export", "ws", "--to", "out", "--approved-only"], "--approved-only"),
        (["export", "ws", "--to", "out", "--trigger", "x " * 90], "77"),
        (["export", "ws", "--to", "out", "--format", "trl"], "Nobody has approved or corrected an answer at all in ws"),
        (["export", "ws", "--to", "out", "--format", "trl", "--language", "ko"], "an answer in ko in ws yet"),
        (["export", "ws", "--to", "out", "--format", "trl", "--trigger", "car"], "--trigger is for descriptions"),
        (["export", "ws", "--to", "out", "--format", "trl", "--held-out", "1"], "to less than 1, not 1.0"),
        (
            ["export", "ws", "--to", "out", "--seed", "1"],
            "--seed is for --shuffle, --caption-dropout and",
        ),
        (["export", "ws", "--to", "out", "--recipe", "a", "--recipe", "b"], "A second --recipe is for"),
        (["correct", "ws", "nothing.csv"], "nothing.csv does not exist"),
        (["describe", "photos", "--retry-failed"], "name one with -w"),
        (["describe", "photos", "-w", "photos", "--model", "demo"], "other things in it"),
        (["describe", "photos", "-w", "cars.json", "--model", "demo"], "is a file"),
        (["pull", "demo"], "nothing to fetch"),
        (["pull", "OpenGVLab/InternVL3-8B-hf"], "HF_HUB_OFFLINE"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(carscribe: Run, arguments: list[str], says: str) -> None:
    done = carscribe(*arguments)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stderr
    assert says in done.stderr.rstrip().splitlines()[-1]


STOPPED = """
import os, signal, sys
from carscribe.engines.local import LocalEngine
answer, number = LocalEngine.answer, getattr(signal, sys.argv[1])
def answer_then_interrupt(self, requests):
    LocalEngine.answer = answer  # once: a second signal would stop at once
    os.kill(os.getpid(), number)
    return answer(self, requests)
LocalEngine.answer = answer_then_interrupt
sys.argv = ["carscribe", *sys.argv[2:]]
from carscribe.cli import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="sends signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_ctrl_c_finishes_the_batch_and_says_how_to_go_on(carscribe: Run, tmp_path: Path, name: str) -> None:
    for i in range(40):
        Image.effect_noise((112, 112), 61 + i).convert("RGB").save(tmp_path / "photos" / f"more {i}.jpg")
    asked = ["describe", "photos", "--recipe", "brief", "-w", "ws"]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, name, *asked],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "Stopping after this batch" in done.stderr
    assert "Stopped: 16 photos are done and kept, 24 are left. Go on with the same command:" in done.stderr
    assert "carscribe describe photos --recipe brief -w ws" in done.stderr
    assert "stopped; 40 photos to ask, 16 answered" in carscribe("status", "ws").stdout


def test_a_second_writer_is_refused_and_a_reader_is_not(carscribe: Run, tmp_path: Path) -> None:
    hold = (
        "import sys, time\nfrom pathlib import Path\nfrom carscribe.catalog.workspace import write_workspace\n"
        "with write_workspace(Path('ws'), create=False):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", hold], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "held\n"
        done = carscribe("describe", "photos", "--recipe", "brief", "-w", "ws")
        assert done.returncode == 1
        assert f"is being written by process {writer.pid} on" in done.stderr
        assert carscribe("status", "ws").returncode == 0
    finally:
        writer.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
        writer.communicate()
    deadline = time.monotonic() + 30
    while carscribe("describe", "photos", "--recipe", "brief", "-w", "ws").returncode != 0:
        assert time.monotonic() < deadline
