"""An export is there as a whole or not at all, and touches nothing that no export wrote."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carscribe import export
from carscribe.errors import InputError, OutputError
from carscribe.export.draft import open_draft
from carscribe.export.manifest import FINISHED, LOCK, STAGE, UNFINISHED
from carscribe.records import DescribedPhoto

from .conftest import tree

Describe = Callable[..., DescribedPhoto]

FORMATS = list(export.FORMATS)


class StoppedError(Exception):
    """Something that befalls the one who gives the photos."""


def until_stopped(photos: list[DescribedPhoto]) -> Iterator[DescribedPhoto]:
    yield from photos
    raise StoppedError


@pytest.mark.parametrize("format_", FORMATS)
def test_an_export_that_stops_halfway_leaves_nothing_and_can_be_run_again(
    described: Describe, to: Path, format_: str
) -> None:
    photos = [described("a.png"), described("b.png")]
    with pytest.raises(StoppedError):
        export.write(format_, until_stopped(photos), to)
    assert not to.exists()
    assert export.write(format_, photos, to).photos == 2


@pytest.mark.parametrize("format_", FORMATS)
def test_one_that_stops_while_replacing_leaves_the_earlier_one(described: Describe, to: Path, format_: str) -> None:
    photos = [described("a.png", "old")]
    export.write(format_, photos, to, images="copy")
    before = {name: (to / name).read_bytes() for name in tree(to, hidden=True)}
    with pytest.raises(StoppedError):
        export.write(format_, until_stopped([described("b.png", "new")]), to, images="copy", overwrite=True)
    assert {name: (to / name).read_bytes() for name in tree(to, hidden=True)} == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("way", ["fresh", "overwrite"])
@pytest.mark.parametrize("format_", ["imagefolder", "kohya", "datasets"])
def test_killed_at_any_moment_it_never_looks_finished_and_the_same_command_finishes_it(
    tmp_path: Path, format_: str, way: str
) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(2):
        (photos / f"{i}.png").write_bytes(b"%d" % i)
    script = Path(__file__).with_name("killed_anywhere.py")
    command = [sys.executable, str(script), format_, str(photos), str(tmp_path / "to"), way]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *killed, whole = [json.loads(line) for line in done.stdout.splitlines()]
    mine = ["mine.md"] if way == "overwrite" else []
    earlier = [name.replace("new", "old") for name in whole] if way == "overwrite" else []
    assert len(killed) > 20
    assert set(mine) < set(whole)
    for seen, again in zip(killed[::2], killed[1::2], strict=True):
        assert again == whole
        assert set(mine) <= set(seen)
        if UNFINISHED not in seen:
            assert seen in (sorted(earlier), whole)
        elif {"train/metadata.jsonl", "state.json"} & set(seen):  # what a loader looks for
            assert sorted({*seen} - {UNFINISHED}) in (sorted(earlier), whole)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_finished_export_is_replaced_only_when_asked(described: Describe, to: Path, format_: str) -> None:
    export.write(format_, [described("a.png", "old"), described("sub/b.png", "old")], to, images="copy")
    new = [described("a.png", "new"), described("c.png", "new")]
    with pytest.raises(OutputError, match=r"holds an export already, of .* --overwrite"):
        export.write(format_, new, to, images="copy")
    report = export.write(format_, new, to, images="copy", overwrite=True)
    packed = export.FORMATS[format_].shards
    assert report.removed == (2 if format_ == "kohya" else 0 if packed else 1)
    assert not [name for name in tree(to) if "b" in Path(name).stem.split("_")]
    assert not list(to.rglob("sub")), "a folder that is empty goes too"
    assert not {STAGE, UNFINISHED, LOCK} & {path.name for path in to.iterdir()}


def test_an_export_of_another_format_is_not_replaced(described: Describe, to: Path) -> None:
    export.write("csv", [described("a.png")], to)
    with pytest.raises(OutputError, match="another format, csv"):
        export.write("jsonl", [described("a.png")], to, overwrite=True)


def test_what_no_export_wrote_is_neither_removed_nor_replaced(described: Describe, to: Path) -> None:
    export.write("kohya", [described("a.png"), described("sub/b.png")], to, images="none")
    for mine in ("a.npz", "mine.txt", "sub/mine.txt"):
        (to / mine).write_text("mine")
    with pytest.raises(OutputError, match=r"mine\.txt is in the way"):
        export.write("kohya", [described("c.png"), described("mine.png")], to, images="none", overwrite=True)
    assert tree(to) == ["a.npz", "a.txt", "mine.txt", "sub/b.txt", "sub/mine.txt"]
    export.write("kohya", [described("c.png")], to, images="none", overwrite=True)
    assert tree(to) == ["a.npz", "c.txt", "mine.txt", "sub/mine.txt"]
    assert {(to / mine).read_text() for mine in ("a.npz", "mine.txt", "sub/mine.txt")} == {"mine"}


@pytest.mark.parametrize("mine", ["notes.md", "image.png", ".hidden", "folder/x"])
@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_with_other_things_is_refused(described: Describe, to: Path, mine: str, overwrite: bool) -> None:
    (to / mine).parent.mkdir(parents=True)
    (to / mine).write_text("mine")
    with pytest.raises(OutputError, match=r"holds other things \(.*Name a new folder"):
        export.write("kohya", [described("a.png")], to, overwrite=overwrite)
    assert tree(to, hidden=True) == [mine]


@pytest.mark.parametrize("mine", [None, ".DS_Store"])
def test_an_empty_folder_is_taken(described: Describe, to: Path, mine: str | None) -> None:
    to.mkdir()
    if mine:
        (to / mine).write_text("mine")
    assert export.write("kohya", [described("a.png")], to).photos == 1


def test_an_empty_folder_stays_when_nothing_comes_of_it(described: Describe, to: Path) -> None:
    to.mkdir()
    with pytest.raises(StoppedError):
        export.write("kohya", until_stopped([described("a.png")]), to)
    assert list(to.iterdir()) == []


@pytest.mark.parametrize("format_", FORMATS)
def test_a_file_in_the_place_of_the_folder_is_refused(described: Describe, to: Path, format_: str) -> None:
    to.write_text("precious")
    with pytest.raises(OutputError, match="is a file"):
        export.write(format_, [described("a.png")], to)
    with pytest.raises(OutputError, match="cannot be written: Not a directory"):
        export.write(format_, [described("a.png")], to / "below")
    assert to.read_text() == "precious"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("exel", None, "x"), "Formats: imagefolder, kohya, csv, jsonl, parquet, webdataset, datasets, paths, columns"),
        (("webdataset", "none", "x"), "by copy, not 'none'"),
        (("parquet", "link", "x"), "by copy or none"),
        (("imagefolder", "none", "x"), "by copy or link, not 'none'"),
        (("kohya", "move", "x"), "by copy or link or none"),
        (("csv", None, "captions.csv"), "--to .*captions$"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    described: Describe, tmp_path: Path, arguments: tuple[str, str | None, str], says: str
) -> None:
    format_, images, name = arguments
    with pytest.raises(InputError, match=says):
        export.write(format_, [described("a.png")], tmp_path / name, images=images)  # type: ignore[arg-type]
    assert not (tmp_path / name).exists()


def test_a_link_in_place_of_a_folder_is_neither_followed_nor_emptied(
    described: Describe, to: Path, tmp_path: Path
) -> None:
    export.write("imagefolder", [described("sub/a.png"), described("b.png")], to)
    outside = tmp_path / "outside"
    (to / "train/sub").rename(outside)
    (to / "train/sub").symlink_to(outside)
    with pytest.raises(OutputError, match=r"sub is in the way"):
        export.write("imagefolder", [described("sub/a.png")], to, overwrite=True)
    export.write("imagefolder", [described("b.png")], to, overwrite=True)
    assert tree(outside) == ["a.png"]


@pytest.mark.parametrize(
    "name", ["../precious.txt", "/precious.txt", "a/../../precious.txt", "C:/x", "..\\x", "", "a//b"]
)
def test_a_list_that_leads_out_of_the_folder_is_refused(
    described: Describe, to: Path, tmp_path: Path, name: str
) -> None:
    export.write("kohya", [described("a.png")], to)
    (tmp_path / "precious.txt").write_text("precious")
    with (to / FINISHED).open("a") as file:
        file.write(json.dumps({"file": name}) + "\n")
    with pytest.raises(OutputError, match=f"{FINISHED} cannot be used: line 4 names no file inside"):
        export.write("kohya", [described("b.png")], to, overwrite=True)
    assert (tmp_path / "precious.txt").read_text() == "precious"


@pytest.mark.parametrize("content", ["", "{", "[]\n", '{"carscribe_export": 99, "format": "kohya"}\n'])
def test_a_list_of_unknown_form_is_refused(described: Describe, to: Path, content: str) -> None:
    to.mkdir()
    (to / FINISHED).write_text(content)
    with pytest.raises(OutputError, match="cannot be used"):
        export.write("kohya", [described("b.png")], to, overwrite=True)


def test_two_exports_never_write_to_one_folder_at_once(described: Describe, to: Path) -> None:
    with open_draft(to, format_="kohya", overwrite=False), pytest.raises(OutputError, match="Another export"):
        export.write("kohya", [described("a.png")], to)
    assert export.write("kohya", [described("a.png")], to).photos == 1


def test_what_appears_in_the_way_in_the_last_moment_is_told_and_mended(described: Describe, to: Path) -> None:
    def photos(spoil: bool) -> Iterator[DescribedPhoto]:
        yield first
        yield second
        if spoil:
            (to / "b.png").mkdir()

    first, second = described("a.png"), described("b.png")
    with pytest.raises(OutputError, match=r"is not finished: .*b\.png: Is a directory\. Mend that and run the same"):
        export.write("kohya", photos(spoil=True), to)
    assert UNFINISHED in tree(to)
    assert "Run the same command again" in (to / UNFINISHED).read_text("utf-8").splitlines()[0]
    (to / "b.png").rmdir()
    assert export.write("kohya", photos(spoil=False), to).photos == 2
    assert tree(to) == ["a.png", "a.txt", "b.png", "b.txt"]


@pytest.mark.parametrize("format_", ["kohya", "csv", "parquet", "webdataset", "datasets", "columns"])
@pytest.mark.skipif(sys.platform == "win32", reason="no limit on file sizes")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, format_: str) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the same way, with another reason."""
    photo = tmp_path / "a.png"
    photo.write_bytes(bytes(50_000))
    script = (
        "import resource, hashlib, pathlib, sys\n"
        "from carscribe import export\n"
        "from carscribe.errors import OutputError\n"
        "from carscribe.records import *\n"
        "path, to = map(pathlib.Path, sys.argv[2:])\n"
        "photo = DescribedPhoto(file=PhotoFile(location=str(path), key='a.png'), width_px=1, height_px=1, answers=(),\n"
        "    sha256=hashlib.sha256(path.read_bytes()).hexdigest(),\n"
        "    description=Description(text='car ' * 5000, budget='clip', tokens=1))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))\n"
        "try: export.write(sys.argv[1], [photo] * 20, to)\n"
        "except OutputError as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, format_, str(photo), str(tmp_path / "to")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "takes no more: File too large." in done.stdout
    assert not done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert not (tmp_path / "to").exists()


def test_the_list_tells_which_photo_became_which_file(described: Describe, to: Path) -> None:
    photos = [described("a.png"), described("A.PNG"), described("\udcb0.png")]
    export.write("imagefolder", photos, to)
    header, *lines = [json.loads(line) for line in (to / FINISHED).read_text("utf-8").splitlines()]
    assert (header["carscribe_export"], header["format"]) == (1, "imagefolder")
    assert [(line["photo"], line["sha256"]) for line in lines] == [
        *((photo.file.key, photo.sha256) for photo in photos),
        (None, None),
    ]
    assert sorted(line["file"] for line in lines) == tree(to)


def test_what_a_killed_export_left_is_cleared_away(described: Describe, to: Path) -> None:
    (to / STAGE / "0").mkdir(parents=True)
    (to / STAGE / "0/17").write_bytes(b"half an image")
    export.write("kohya", [described("a.png")], to)
    assert tree(to, hidden=True) == [FINISHED, "a.png", "a.txt"]
    shutil.rmtree(to)
