"""Captions of other tools become answers: read in every usual form, kept once, never in a person's place."""

import csv
import json
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from fakes import FakeEngine
from photos_on_disk import write_photos
from workspaces import ANSWERED, COUNTED_ANEW

import carscribe
from carscribe.catalog.reading import KeptPhoto, asked_models, kept_photos
from carscribe.catalog.status import status_of
from carscribe.catalog.verdicts import VerdictRow, correct
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.errors import InputError, MetadataError, PhotosError
from carscribe.importing.captions import TableRows, find_captions
from carscribe.importing.taking import CaptionRequest, ImportedCaptions, take_captions
from carscribe.records import PhotoResult

Take = Callable[..., ImportedCaptions]
TABLES = ("files", "photos", "prompts", "prompt_sets", "asks", "answers", "answered", "verdicts", "runs", "conditions")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "photos", 4)


@pytest.fixture
def take(tmp_path: Path, photos: Path) -> Take:
    """Imports captions of `photos` into `workspace`; `at` names them."""

    def run(at: Path | None = None, *, of: Path = photos, **options: object) -> ImportedCaptions:
        with write_workspace(tmp_path / "workspace", create=True) as opened:
            request = CaptionRequest(source=find_captions(of, at), **options)  # type: ignore[arg-type]
            return take_captions(opened, request)

    return run


def kept(tmp_path: Path, **options: str) -> dict[str, KeptPhoto]:
    with read_workspace(tmp_path / "workspace") as opened:
        return {photo.file.key: photo for photo in kept_photos(opened, **options)}  # type: ignore[arg-type]


def texts(tmp_path: Path) -> dict[str, list[tuple[str, str | None]]]:
    return {key: [(each.language, each.text) for each in photo.answers] for key, photo in kept(tmp_path).items()}


def everything(tmp_path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(tmp_path / "workspace" / "catalog.sqlite")) as connection:
        return {table: connection.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES}


def say(tmp_path: Path, photo: str, **values: str) -> None:
    with write_workspace(tmp_path / "workspace", create=False) as opened:
        row = {"photo": photo, "question": "brief", **values}
        correct(opened, [VerdictRow(where="line 1", values=row)])


def describe(tmp_path: Path, **options: object) -> tuple[FakeEngine, list[PhotoResult]]:
    engine = FakeEngine()
    results = carscribe.describe(
        *(tmp_path / "photos",), workspace=tmp_path / "workspace", recipes=["brief"], engine=engine, **options
    )  # type: ignore[arg-type]
    return engine, list(results)


def test_texts_beside_photos_are_answers_each_in_its_language(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text('mycar, compact SUV, "two-tone" body 🚗\n', "utf-8")
    (photos / "차 1.caption").write_bytes("컴팩트 SUV, 빨간색".encode("cp949"))
    (photos / "차 2.txt").write_text("\ufeffA low stance.\r\n\r\nIt has a long hood.\n", "utf-8")
    (photos / "차 3.txt").write_text(" \n", "utf-8")
    found = take()
    assert texts(tmp_path) == {
        "차 0.png": [("en", 'mycar, compact SUV, "two-tone" body 🚗')],
        "차 1.png": [("ko", "컴팩트 SUV, 빨간색")],
        "차 2.png": [("en", "A low stance.\n\nIt has a long hood.")],
    }
    assert (found.taken.new, found.taken.languages, found.origin) == (3, {"en": 2, "ko": 1}, "kohya")
    assert found.left_out.empty.first == ["차 3.txt"]
    origin = kept(tmp_path)["차 0.png"].origins[0]
    assert origin is not None
    assert (origin.model, origin.is_imported, kept(tmp_path)["차 0.png"].tiles) == ("imported:kohya", True, None)


@pytest.mark.parametrize(
    ("name", "origin"), [("metadata.jsonl", "imagefolder"), ("captions.csv", "csv"), ("captions.parquet", "parquet")]
)
def test_tables_of_captions(name: str, origin: str, take: Take, photos: Path, tmp_path: Path) -> None:
    rows = [
        {"file_name": "차 0.png", "text": 'red, "low"\nand wide', "name": "기아 니로", "kind": "SUV"},
        {"file_name": "C:\\somewhere\\photos\\차 1.png", "text": "파란 세단", "name": "", "kind": ""},
        {"file_name": "not there.png", "text": "lost", "name": "", "kind": ""},
        {"file_name": "차 2.png", "text": "", "name": "", "kind": ""},
    ]
    table = photos / name
    if name.endswith("jsonl"):
        table.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    elif name.endswith("csv"):
        with table.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pytest.importorskip("pyarrow").Table.from_pylist(rows), table)
    found = take(table)
    assert texts(tmp_path) == {"차 0.png": [("en", 'red, "low"\nand wide')], "차 1.png": [("ko", "파란 세단")]}
    assert found.origin == origin
    metadata = kept(tmp_path)["차 0.png"].file.metadata
    assert (metadata.name, metadata.kind) == ("기아 니로", "SUV")
    assert found.left_out.without_photo.count == found.left_out.empty.count == 1
    assert "not there.png" in found.left_out.without_photo.first[0]


def test_tags_are_taken_as_they_are_and_the_tool_is_named(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("suv, red_paint, solo", "utf-8")
    rows = [{"image": "차 1.png", "tags": ["suv", "blue paint"]}]
    (tmp_path / "tags.json").write_text(json.dumps(rows), "utf-8")
    assert take(photos, origin="taggui").origin == "taggui"
    take(tmp_path / "tags.json", origin="taggui")
    assert [text for ((_, text),) in texts(tmp_path).values()] == ["suv, red_paint, solo", "suv, blue paint"]
    with read_workspace(tmp_path / "workspace") as opened:
        assert asked_models(opened) == ("imported:taggui",)


def test_the_same_again_changes_nothing(take: Take, photos: Path, tmp_path: Path) -> None:
    for i in range(3):
        (photos / f"차 {i}.txt").write_text(f"caption {i}", "utf-8")
    take(approved=True, author="Kim")
    before = everything(tmp_path)
    found = take(approved=True, author="Kim")
    assert everything(tmp_path) == before
    assert (found.taken.new, found.taken.same, found.taken.approved) == (0, 3, 0)


def test_describe_asks_only_photos_without_a_caption(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    (photos / "차 1.txt").write_text("another", "utf-8")
    take()
    engine, results = describe(tmp_path)
    assert engine.prompts == 2
    assert [result.answers[0].text for result in results[:2]] == ["a caption", "another"]
    assert all(result.error is None and len(result.answers) == 1 for result in results)
    with read_workspace(tmp_path / "workspace") as opened:
        (target,) = status_of(opened).targets
        assert (target.complete, target.photos, status_of(opened).complete) == (4, 4, True)
        last = status_of(opened).last_run
        assert last is not None
        assert last.model == "fake"
        assert opened.connection.execute(ANSWERED).fetchall() == opened.connection.execute(COUNTED_ANEW).fetchall()
    assert describe(tmp_path)[0].prompts == 0


def test_a_copy_of_a_captioned_photo_is_not_asked_either(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    take()
    (photos / "copy.png").write_bytes((photos / "차 0.png").read_bytes())
    engine, results = describe(tmp_path)
    assert engine.prompts == 3
    assert next(r for r in results if r.file.key == "copy.png").answers[0].text == "a caption"


def test_ask_imported_asks_all_and_the_model_counts_then(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    take()
    engine, results = describe(tmp_path, ask_imported=True)
    assert engine.prompts == 4
    assert results[0].answers[0].text != "a caption"
    assert texts(tmp_path)["차 0.png"] == [("en", results[0].answers[0].text)]
    assert kept(tmp_path, model="imported:kohya")["차 0.png"].answers[0].text == "a caption"


def test_a_models_answer_stays_in_front_of_a_later_caption_unless_that_is_approved(
    take: Take, photos: Path, tmp_path: Path
) -> None:
    said = describe(tmp_path)[1][0].answers[0].text
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    found = take()
    assert found.taken.under_model.first == ["차 0.png: fake has answered"]
    assert texts(tmp_path)["차 0.png"] == [("en", said)]
    assert take(approved=True).taken.approved == 1
    assert texts(tmp_path)["차 0.png"] == [("en", "a caption")]
    verdict = kept(tmp_path)["차 0.png"].answers[0].verdict
    assert verdict is not None
    assert (verdict.decision, verdict.note) == ("approved", "imported:kohya")


@pytest.mark.parametrize("approved", [False, True])
def test_what_a_person_wrote_is_never_overwritten(approved: bool, take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    take()
    say(tmp_path, "차 0.png", text="by hand")
    (photos / "차 0.txt").write_text("a newer caption", "utf-8")
    found = take(approved=approved, replace=True)
    assert (found.taken.replaced, found.taken.approved, found.taken.under_person.count) == (1, 0, 1)
    assert texts(tmp_path)["차 0.png"] == [("en", "by hand")]


def test_a_rejected_caption_is_not_approved_by_importing_it_again(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    take()
    say(tmp_path, "차 0.png", verdict="rejected")
    assert take(approved=True).taken.approved == 0
    assert texts(tmp_path)["차 0.png"] == [("en", None)]


def test_a_changed_caption_is_a_conflict_until_replaced(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("one", "utf-8")
    take()
    (photos / "차 0.txt").write_text("two", "utf-8")
    found = take()
    assert found.taken.conflicts.first == [
        "차 0.png: 차 0.txt was not taken, since “one” was imported before; --replace takes this one"
    ]
    assert texts(tmp_path)["차 0.png"] == [("en", "one")]
    assert take(origin="taggui", replace=True).taken.replaced == 1
    assert texts(tmp_path)["차 0.png"] == [("en", "two")]
    assert take(origin="taggui").taken.same == 1


def test_two_captions_of_one_photo_are_told_and_the_first_is_taken(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "copy.png").write_bytes((photos / "차 0.png").read_bytes())
    rows = [
        {"image": "차 0.png", "prompt": "first"},
        {"image": "copy.png", "prompt": "of the copy"},
        {"image": "차 0.png", "prompt": "first"},
    ]
    (tmp_path / "all.jsonl").write_text("".join(map(json.dumps, rows)).replace("}{", "}\n{"), "utf-8")
    found = take(tmp_path / "all.jsonl")
    assert found.taken.conflicts.first == [
        "copy.png: all.jsonl, line 2 was not taken, since all.jsonl, line 1 says otherwise"
    ]
    assert texts(tmp_path) == {"copy.png": [("en", "first")], "차 0.png": [("en", "first")]}
    (photos / "차 1.txt").write_text("kept", "utf-8")
    (photos / "차 1.caption").write_text("not kept", "utf-8")
    assert take(photos).left_out.second.first == ["차 1.png: 차 1.caption says otherwise than .txt"]


def test_metadata_of_earlier_runs_stays(take: Take, photos: Path, tmp_path: Path) -> None:
    rows = [{"image": "차 0.png", "name": "Kia Niro", "kind": "SUV", "year": 2021}]
    (tmp_path / "cars.json").write_text(json.dumps(rows), "utf-8")
    describe(tmp_path, metadata=tmp_path / "cars.json")
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    take()
    metadata = kept(tmp_path)["차 0.png"].file.metadata
    assert (metadata.name, metadata.kind, metadata.extra) == ("Kia Niro", "SUV", {"year": "2021"})


def test_one_question_of_several_leaves_the_others_to_the_model(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("five-spoke wheels", "utf-8")
    take(recipe="designer", question="wheels", language="en")
    engine = FakeEngine()
    asked = carscribe.describe(photos, workspace=tmp_path / "workspace", engine=engine)
    wheels = [a.text for result in asked for a in result.answers if a.question_id == "wheels"]
    assert engine.prompts == 39
    assert wheels[0] == "five-spoke wheels"


def test_photos_that_cannot_be_read_are_named_and_the_rest_is_taken(take: Take, photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.png").write_bytes(b"<html>")
    for i in range(2):
        (photos / f"차 {i}.txt").write_text("a caption", "utf-8")
    (photos / "차 2.txt").write_bytes(b"\xff\xfe\x00")
    (photos / "차 3.txt").write_bytes(b"x" * (2 << 20))
    found = take()
    assert found.taken.unreadable.first == ["차 0.png: is no photo that can be read"]
    assert found.left_out.unreadable.count == 2
    assert list(texts(tmp_path)) == ["차 0.png", "차 1.png"]
    assert texts(tmp_path)["차 0.png"] == []


def test_a_table_cut_off_leaves_what_came_before(
    take: Take, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carscribe.importing.taking.BATCH", 1)
    monkeypatch.setattr("carscribe.importing.captions.FIRST_ROWS", 1)
    (tmp_path / "all.jsonl").write_text('{"image": "차 0.png", "text": "one"}\n{"image": "차 1', "utf-8")
    with pytest.raises(MetadataError, match="line 2, column"):
        take(tmp_path / "all.jsonl")
    assert texts(tmp_path) == {"차 0.png": [("en", "one")]}


def test_each_batch_stays_when_it_is_stopped(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carscribe.importing.taking.BATCH", 2)
    for i in range(4):
        (photos / f"차 {i}.txt").write_text(f"caption {i}", "utf-8")
    request = CaptionRequest(source=find_captions(photos))
    with write_workspace(tmp_path / "workspace", create=True) as opened:
        stopped = take_captions(opened, request, stopped=lambda: True)
    assert (stopped.finished, stopped.taken.new, len(texts(tmp_path))) == (False, 2, 2)
    with write_workspace(tmp_path / "workspace", create=True) as opened:
        whole = take_captions(opened, request)
    assert (whole.finished, whole.taken.new, whole.taken.same) == (True, 2, 2)


def test_bad_requests_say_what_to_do(take: Take, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"No captions beside the photos .* --captions"):
        take()
    with pytest.raises(PhotosError, match="does not exist"):
        take(of=tmp_path / "photo")
    (photos / "README.txt").write_text("what these are", "utf-8")
    with pytest.raises(InputError, match="has no caption of any of the photos"):
        take()
    (photos / "README.txt").unlink()
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    with pytest.raises(InputError, match=r"several questions; .* --question, of body, colour, unique"):
        take(recipe="designer")
    with pytest.raises(InputError, match="is a choice"):
        take(recipe="designer", question="body_type")
    with pytest.raises(InputError, match=r"--from 'Kohya SS' is to be a short name"):
        take(origin="Kohya SS")
    (photos / "metadata.jsonl").write_text('{"file_name": "차 0.png", "text": "b"}', "utf-8")
    with pytest.raises(InputError, match=r"captions of two kinds: files ending in .txt, and metadata.jsonl"):
        take()
    (tmp_path / "names.csv").write_text("image,name\na.jpg,A\n", "utf-8")
    with pytest.raises(InputError, match=r"no column of captions .* only image, name. Say which: --column"):
        take(tmp_path / "names.csv")


@pytest.mark.parametrize(
    ("table", "options", "code", "says"),
    [
        ("image,note\n차 0.png,x\n", [], 1, "has no column of captions"),
        ("image,text\n차 0.png,x\n", ["--recipe", "designer"], 1, "--question, of body"),
        ("image,text\n차 0.png,x\n", ["--from", "A B"], 1, "a short name in small letters"),
        ("image,text\n", [], 1, "has no rows"),
        ("image,text\nelsewhere.png,x\n차 0.png,\n", [], 3, "1 rows whose photo is not there"),
        (
            "image,text\nelsewhere.png,x\n차 0.png,\n",
            [],
            3,
            "No row of all.csv (1 row with a caption) matches a photo: they name files such as elsewhere.png, "
            "looked for in . and photos, and a photo is called 차 0.png. Write the paths",
        ),
        (
            "id,text\n차 0.png,x\n차 1.png,y\n",
            [],
            3,
            "No row of all.csv (2 rows with a caption) names a photo: looked for in columns called image, file, "
            "file_name, path, photo …, and there are id, text. Say which holds the photos' file names: --metadata-keys",
        ),
    ],
)
def test_nothing_to_take_makes_no_workspace(
    table: str, options: list[str], code: int, says: str, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "all.csv").write_text(table, "utf-8")
    command = [
        sys.executable,
        "-m",
        "carscribe",
        "import",
        "captions",
        "photos",
        "--captions",
        "all.csv",
        "-w",
        "cars.ws",
    ]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, says in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr
    assert "cars.ws" not in done.stdout + done.stderr, "nothing leads to a workspace that is not there"
    assert not (tmp_path / "cars.ws").exists()


def test_rows_that_match_a_photo_are_counted(take: Take, photos: Path, tmp_path: Path) -> None:
    table = tmp_path / "all.csv"
    table.write_text("image,text\n차 0.png,x\nelsewhere.png,y\n차 1.png,\n차 2.png,z\n", "utf-8")
    found = take(table)
    assert found.rows == TableRows(captioned=3, matched=2, named="elsewhere.png", columns=("image", "text"))
    assert found.none_matched is None
    done = at_the_terminal(tmp_path, "import", "captions", "photos", "--captions", "all.csv", "-w", "workspace")
    assert "Matched    2 of 3 rows with a caption\n" in done.stdout
    table.write_text("id,text\n차 0.png,x\n", "utf-8")
    for_machines = ("import", "captions", "photos", "--captions", "all.csv", "-w", "new", "--json")
    none = json.loads(at_the_terminal(tmp_path, *for_machines).stdout)
    assert (none["rows"]["matched"], none["rows"]["captioned"]) == (0, 1)
    assert "--metadata-keys image=COLUMN" in none["none_matched"]


def test_rows_need_not_all_have_a_caption(take: Take, photos: Path, tmp_path: Path) -> None:
    rows = [{"image": "차 0.png"}, {"image": "차 1.png", "text": "one"}, {"image": "차 2.png", "text": None}]
    (photos / "captions.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    assert take().left_out.empty.count == 2
    assert texts(tmp_path) == {"차 1.png": [("en", "one")]}


def at_the_terminal(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "carscribe", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_at_the_terminal(photos: Path, tmp_path: Path) -> None:
    (photos / "차 0.txt").write_text("a caption", "utf-8")
    (photos / "차 1.txt").write_text("캡션", "utf-8")
    done = at_the_terminal(tmp_path, "import", "captions", "photos", "-w", "ws")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Captions   2 from kohya (1 en, 1 ko): 2 new\nAnswer     brief.brief\n"
    assert "carscribe describe photos -w ws --recipe brief" in done.stderr
    again = at_the_terminal(tmp_path, "import", "captions", "photos", "-w", "ws", "--approved", "--json")
    assert json.loads(again.stdout)["taken"]["approved"] == 2
    shown = at_the_terminal(tmp_path, "show", "ws", "차 0")
    assert "Imported   from kohya, " in shown.stdout
    status = at_the_terminal(tmp_path, "status", "ws")
    assert "imported:kohya: 1 of 1 photos complete" in status.stdout
    wrong = at_the_terminal(tmp_path, "import", "captions", "photo", "-w", "other")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "other").exists()
    alone = at_the_terminal(tmp_path, "describe", "photos", "--ask-imported")
    assert "name one with -w" in alone.stderr


def test_shards_at_the_terminal(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 2)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for path in sorted((tmp_path / "photos").iterdir()):
            tar.add(path, path.name)
    done = at_the_terminal(tmp_path, "import", "photos", "s.tar", "--to", "to")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Photos     2 in to/images, of 1 shard\nWritten    to/cars.jsonl\n"
    again = at_the_terminal(tmp_path, "import", "photos", "s.tar", "--to", "to", "--json")
    assert json.loads(again.stdout)["new"] == 0
    told = at_the_terminal(tmp_path, "describe", "s.tar", "--model", "demo")
    assert told.stderr == (
        "Error: s.tar has its photos packed in it. Take them out first: carscribe import photos s.tar --to DIR\n"
    )
