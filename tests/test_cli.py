"""What a person at the terminal sees: exit codes, messages, files. The real demo model answers."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from PIL import Image

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def carscribe(tmp_path: Path, cache: Path) -> Run:
    """Runs the command line in an empty folder."""
    environment = {**os.environ, "CARSCRIBE_CACHE": str(cache), "COLUMNS": "80", "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_HOME": str(tmp_path / "hub"), "PYTHONWARNINGS": "error::DeprecationWarning:carscribe"}

    def call(*arguments: str | Path, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "carscribe", *map(str, arguments)],
            cwd=tmp_path,
            env=environment | more,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
        )

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "사진 with spaces"
    folder.mkdir()
    for i in range(3):
        Image.effect_noise((320, 200 + 60 * i), 60).convert("RGB").save(folder / f"차 {i}.jpg")
    return folder


def test_describe_writes_one_line_a_photo_and_a_table(carscribe: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()  # as in a checkout of this project
    (tmp_path / "cars.json").write_text('[{"name": "기아 니로", "kind": "SUV", "image": "차 0.jpg"}]', encoding="utf-8")
    done = carscribe("describe", photos, "--metadata", "cars.json", "--model", "demo", "--language", "ko")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (tmp_path / "descriptions.jsonl").read_text("utf-8").splitlines()]
    assert [line["photo"] for line in lines] == ["차 0.jpg", "차 1.jpg", "차 2.jpg"]
    assert (lines[0]["name"], lines[0]["kind"]) == ("기아 니로", "SUV")
    assert [len(line["answers"]) for line in lines] == [10, 10, 10]
    assert {answer["language"] for answer in lines[0]["answers"]} == {"ko"}
    assert all(line["error"] is None for line in lines)
    assert "what it says of real photographs is worth nothing" in " ".join(done.stdout.split())
    assert "1 of 1 rows matched" in done.stderr
    assert "photos without a row: 차 1.jpg, 차 2.jpg" in done.stderr
    assert max(len(line) for line in done.stdout.splitlines()) <= 80


def test_the_report_names_every_row_and_photo_without_a_partner(carscribe: Run, photos: Path, tmp_path: Path) -> None:
    rows = [{"name": f"ghost {i}", "image": f"ghost {i}.jpg"} for i in range(9)]
    (tmp_path / "cars.json").write_text(json.dumps([*rows, {"name": "Kia", "image": "차 1.jpg"}]))
    (photos / "차 9.jpg").write_bytes((photos / "차 0.jpg").read_bytes())
    arguments = ["--metadata", "cars.json", "--model", "demo", "--recipe", "brief", "--report", "report.json"]
    done = carscribe("describe", photos, *arguments)
    assert "(9 rows; all with --report FILE)" in done.stderr
    found = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert found["same_bytes"] == [["차 0.jpg", "차 9.jpg"]]
    assert found["metadata"]["rows_matched"] == 1
    assert len(found["metadata"]["rows_without_photo"]) == 9
    assert found["metadata"]["photos_without_row"] == ["차 0.jpg", "차 2.jpg", "차 9.jpg"]


def test_json_puts_lines_and_nothing_else_on_standard_output(carscribe: Run, photos: Path, tmp_path: Path) -> None:
    done = carscribe("describe", photos, "--model", "demo", "--recipe", "brief", "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["answers"][0]["recipe"] for line in done.stdout.splitlines()] == ["brief"] * 3
    assert not (tmp_path / "descriptions.jsonl").exists()


def test_a_file_that_cannot_be_read_is_named_and_the_exit_code_says_so(carscribe: Run, photos: Path) -> None:
    (photos / "차 1.jpg").write_bytes(b"")
    done = carscribe("describe", photos, "--model", "demo", "--recipe", "brief", "-o", "out.jsonl")
    assert done.returncode == 3
    assert "Set aside  차 1.jpg: " in done.stderr
    assert "2 answered, 1 set aside" in done.stderr


def test_an_output_file_is_never_replaced_unasked(carscribe: Run, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "descriptions.jsonl").write_text("precious\n")
    done = carscribe("describe", photos, "--model", "demo")
    assert done.returncode == 1
    assert "descriptions.jsonl is there already" in done.stderr
    assert "--overwrite" in done.stderr
    assert (tmp_path / "descriptions.jsonl").read_text() == "precious\n"


def test_overwrite_gives_the_old_lines_up_only_for_new_ones(carscribe: Run, photos: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.jsonl"
    old.write_text("precious\n")
    arguments = ["--overwrite", "-o", "old.jsonl", "--recipe", "brief"]
    assert carscribe("describe", photos, "--model", "o/none-such", *arguments).returncode == 1
    assert old.read_text() == "precious\n"
    assert carscribe("describe", photos, "--model", "demo", *arguments).returncode == 0
    assert [json.loads(line)["photo"] for line in old.read_text("utf-8").splitlines()] == [
        "차 0.jpg",
        "차 1.jpg",
        "차 2.jpg",
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line_that_says_so(carscribe: Run, photos: Path) -> None:
    done = carscribe("describe", photos, "--model", "demo", "--recipe", "brief", "--overwrite", "-o", "/dev/full")
    assert done.returncode == 1
    assert "Error: /dev/full takes no more: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr
    assert Path("/dev/full").exists()


@pytest.fixture
def hub() -> Iterator[Callable[[int, str], str]]:
    """Starts a hub on this machine that gives one answer to everything; its address."""
    servers: list[HTTPServer] = []

    def start(status: int, body: str) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body.encode())

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Answer))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [(401, "", "HF_TOKEN"), (404, "", "hub"), (200, "<html>Log in to the hotel's network</html>", "cannot be reached")],
)
def test_a_hub_that_refuses_is_one_line_that_says_what_to_do(
    carscribe: Run, photos: Path, hub: Callable[[int, str], str], status: int, body: str, says: str
) -> None:
    arguments = ["describe", photos, "--model", "OpenGVLab/InternVL3-1B-hf"]
    done = carscribe(*arguments, HF_HUB_OFFLINE="0", HF_ENDPOINT=hub(status, body), NO_PROXY="127.0.0.1")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert says in done.stderr.rstrip().splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["describe", "nowhere", "--model", "demo"], "nowhere"),
        (["describe", "PHOTOS", "--model", "./nothing"], "No folder ./nothing"),
        (["describe", "PHOTOS", "--model", "PHOTOS"], "no config.json"),
        (["describe", "PHOTOS", "--model", "OpenGVLab/InternVL3-8B-hf"], "HF_HUB_OFFLINE"),
        (["describe", "PHOTOS", "--model", "demo", "--device", "cuda:9"], "No device 'cuda:9'"),
        (["describe", "PHOTOS", "--model", "demo", "--dtype", "int3"], "auto, bfloat16, float16, float32"),
        (["describe", "PHOTOS", "--model", "demo", "--recipe", "missing.toml"], "missing.toml"),
        (["describe", "PHOTOS", "--model", "demo", "--recipe", "deisgner"], "designer"),
        (["describe", "PHOTOS", "--model", "demo", "--metadata", "none.json"], "none.json"),
        (["describe", "PHOTOS", "--model", "demo", "--metadata-keys", "nmae=x"], "name=title"),
        (["describe", "PHOTOS", "--model", "demo", "-o", "no/folder/out.jsonl"], "cannot be written"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_do(
    carscribe: Run, photos: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = carscribe(*[str(photos) if word == "PHOTOS" else word for word in arguments])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert says in done.stderr
    assert done.stderr.rstrip().splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "descriptions.jsonl").exists()


def test_control_characters_of_a_crawled_name_do_not_reach_the_terminal(
    carscribe: Run, photos: Path, tmp_path: Path
) -> None:
    rows = [{"name": "\x1b[31mred\x07 [bold]x[/bold]\u202e", "image": "차 0.jpg"}]
    (tmp_path / "cars.json").write_text(json.dumps(rows))
    done = carscribe(
        "describe", photos, "--metadata", "cars.json", "--model", "demo", "--recipe", "brief", COLUMNS="120"
    )
    assert "[31mred [bold]x[/bold]" in done.stdout
    assert not {"\x1b", "\x07", "\u202e"} & set(done.stdout)


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nsys.argv = ['carscribe', 'describe', '--help']\n"
        "from carscribe.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'torch', 'transformers', 'numpy', 'PIL', 'rich', 'httpx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_missing_extra_says_what_to_install(photos: Path, tmp_path: Path) -> None:
    """As on a base install: importing torch or transformers fails."""
    script = (
        "import sys\nsys.modules['torch'] = None\nsys.modules['transformers'] = None\n"
        f"sys.argv = ['carscribe', 'describe', {str(photos)!r}, '--model', 'demo']\n"
        "from carscribe.cli import main\nmain()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, encoding="utf-8", check=False, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "pip install 'carscribe[local]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_version_is_told(carscribe: Run) -> None:
    done = carscribe("--version")
    assert (done.returncode, done.stdout.split()[0]) == (0, "carscribe")


def test_recipes_lists_what_is_shipped(carscribe: Run) -> None:
    assert [row["id"] for row in json.loads(carscribe("recipes", "--json").stdout)] == ["brief", "designer", "detailed"]
    assert "body_type" in carscribe("recipes").stdout
