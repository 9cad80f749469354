"""Photos are taken out of shards with all that is said of them: as a stream, safely, and on where it stopped."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from PIL import Image

from carscribe.errors import OutputError, PhotosError
from carscribe.importing import unpacking
from carscribe.importing.unpacking import ImportedPhotos, import_photos
from carscribe.photos.sources import find_photos
from carscribe.pipeline import match_photos
from carscribe.records import Metadata

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def picture(number: int, format_: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (number % 256, number // 256, 7)).save(stream, format_)
    return stream.getvalue()


def text(value: object) -> bytes:
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()


def shard(path: Path, members: Sequence[tuple[str, bytes]], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def cars(number: int) -> list[tuple[str, bytes]]:
    """The members of one sample, as webdataset writes them."""
    row = {"name": f"기아 니로 {number}", "kind": "SUV", "year": 2020 + number, "tags": ["a", "b"]}
    return [
        (f"{number:04}.jpg", picture(number, "JPEG")),
        (f"{number:04}.json", text(row)),
        (f"{number:04}.txt", text(f"caption, {number}\n")),
    ]


def rows(to: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (to / "cars.jsonl").read_text("utf-8").splitlines()]


def matched(to: Path) -> dict[str, Metadata]:
    files = match_photos(to / "images", metadata=to / "cars.jsonl").files
    return {file.key: file.metadata for file in files}


def test_a_folder_of_tars(tmp_path: Path) -> None:
    shard(tmp_path / "set" / "train" / "cars-0.tar", [*cars(0), *cars(1)])
    shard(tmp_path / "set" / "train" / "cars-1.tar.gz", cars(2), "w:gz")
    found = import_photos([tmp_path / "set"], tmp_path / "to")
    assert (found.photos, found.new, found.shards, found.finished) == (3, 3, 2, True)
    assert rows(tmp_path / "to")[1] == {
        "image": "images/train/cars-0/0001.jpg",
        "name": "기아 니로 1",
        "kind": "SUV",
        "year": 2021,
        "tags": ["a", "b"],
        "text": "caption, 1",
    }
    assert (tmp_path / "to" / "images" / "train" / "cars-1" / "0002.jpg").read_bytes() == picture(2, "JPEG")
    metadata = matched(tmp_path / "to")["train/cars-0/0000.jpg"]
    assert (metadata.name, metadata.kind) == ("기아 니로 0", "SUV")
    assert metadata.extra == {"year": "2020", "tags": "a, b", "text": "caption, 0"}
    assert [file.key for file in find_photos(tmp_path / "to" / "cars.jsonl").files] == [
        "images/train/cars-0/0000.jpg",
        "images/train/cars-0/0001.jpg",
        "images/train/cars-1/0002.jpg",
    ]


def test_names_of_members(tmp_path: Path) -> None:
    members = [
        ("a/니로.jpg", picture(0)),
        ("b/니로.jpg", picture(1)),
        ("b/니로.seg.png", picture(2)),
        ("audi.a4.webp", picture(3)),
        ("audi.a4.json", text({"title": "A4", "image": "http://x/a4.webp"})),
        ("audi.a6.webp", picture(4)),
        ("audi.a6.json", text({"title": "A6"})),
        ("what?.png", picture(5)),
        ("what*.png", picture(6)),
    ]
    found = import_photos([shard(tmp_path / "s.tar", members)], tmp_path / "to", keys={"name": "title"})
    named = {str(row["image"]): row.get("name") for row in rows(tmp_path / "to")}
    marked = [name for name in named if name.startswith("images/s/what_-")]
    assert {name: named[name] for name in named if name not in marked} == {
        "images/s/a/니로.jpg": None,
        "images/s/b/니로.jpg": None,
        "images/s/audi.a4.webp": "A4",
        "images/s/audi.a6.webp": "A6",
    }
    assert len(marked) == 2
    assert rows(tmp_path / "to")[2]["original_image"] == "http://x/a4.webp"
    assert found.left_out.others == {"(another picture of its sample)": 1}


def test_a_hostile_tar_stays_in_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "set" / "s.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as tar:
        for name in (
            "../../out.png",
            "/etc/out.png",
            "..\\..\\out.png",
            "a/../../../b.png",
            "con.png",
            "x/" + "차" * 200 + ".png",
        ):
            member = tarfile.TarInfo(name)
            member.size = len(picture(1))
            tar.addfile(member, io.BytesIO(picture(1)))
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        device = tarfile.TarInfo("null.png")
        device.type = tarfile.CHRTYPE
        tar.addfile(device)
    to = tmp_path / "deep" / "to"
    found = import_photos([path.parent], to)
    inside = [each for each in to.rglob("*") if each.is_file() and each.suffix == ".png"]
    assert len(inside) == found.photos == 5
    assert all(len(each.name.encode()) <= 200 for each in inside)
    assert sorted(each for each in tmp_path.rglob("*.png")) == sorted(inside)
    assert not any(each.is_symlink() for each in to.rglob("*"))
    assert found.left_out.others == {".png": 1, "(link)": 1, "(no file)": 1}


def test_duplicates_damage_and_strangers_are_named_and_the_rest_is_taken(tmp_path: Path) -> None:
    members = [
        *cars(0),
        ("1.jpg", b"<html>not found</html>"),
        ("2.jpg", b""),
        ("3.json", b'{"name": "lost"}'),
        ("4.png", picture(4)),
        ("4.json", b"{broken"),
        ("0000.jpg", picture(9)),
        ("README.md", b"# cars"),
    ]
    found = import_photos([shard(tmp_path / "s.tar", members)], tmp_path / "to")
    left_out = found.left_out
    assert [row["image"] for row in rows(tmp_path / "to")] == ["images/s/0000.jpg", "images/s/4.png"]
    assert len(left_out.damaged.first) == 3
    assert "an HTML page" in left_out.damaged.first[0]
    assert "2.jpg is empty" in left_out.damaged.first[1]
    assert "4.json: is no JSON; its photo was taken" in left_out.damaged.first[2]
    assert left_out.duplicates.first == ["s.tar: 0000.jpg is there twice; the first was taken"]
    assert left_out.no_photo.first == ["s.tar: 3 has no photo beside it"]
    assert left_out.others == {".md": 1}


def test_a_tar_damaged_in_the_middle_gives_what_is_around_the_damage(tmp_path: Path) -> None:
    path = shard(tmp_path / "s.tar", [(f"{i}.png", picture(i)) for i in range(4)])
    content = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        at = tar.getmembers()[1].offset
    content[at : at + 20] = b"\xff" * 20
    path.write_bytes(content)
    found = import_photos([path], tmp_path / "to")
    assert [row["image"] for row in rows(tmp_path / "to")] == [f"images/s/{i}.png" for i in (0, 2, 3)]
    assert found.left_out.damaged.first == [f"s.tar: a header at byte {at:,} is damaged; its member is lost"]


@pytest.mark.parametrize("ending", [".tar", ".tar.gz"])
def test_a_tar_cut_off_gives_what_came_before(ending: str, tmp_path: Path) -> None:
    big = [(f"{i}.png", picture(i) + os.urandom(20_000)) for i in range(4)]
    path = shard(tmp_path / f"s{ending}", big, "w" if ending == ".tar" else "w:gz")
    path.write_bytes(path.read_bytes()[:50_000])
    found = import_photos([path], tmp_path / "to")
    assert [row["image"] for row in rows(tmp_path / "to")] == ["images/s/0.png", "images/s/1.png"]
    assert any("cut off" in line for line in found.left_out.damaged.first)


@pytest.mark.parametrize(
    "content", [b"", b"hello" * 1000, gzip.compress(b"hello" * 1000)], ids=["empty", "text", "gzipped text"]
)
def test_what_is_no_tar_is_said(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.tar").write_bytes(content)
    shard(tmp_path / "set" / "b.tar", cars(0))
    found = import_photos([tmp_path / "set"], tmp_path / "to")
    assert (found.photos, found.left_out.damaged.count) == (1, 1)


def test_a_dataset_saved_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        image=datasets.Image(), body=datasets.ClassLabel(names=["세단", "SUV"]), title=datasets.Value("string")
    )
    values = {
        "image": [{"bytes": picture(i), "path": f"niro {i}.png" if i else None} for i in range(5)],
        "body": [0, 1, 0, 1, 1],
        "title": [f'Kia, "Niro"\n{i} 🚗' for i in range(5)],
    }
    whole = datasets.Dataset.from_dict(values, features=features)
    datasets.DatasetDict(train=whole.select(range(3)), test=whole.select(range(3, 5))).save_to_disk(tmp_path / "saved")
    found = import_photos([tmp_path / "saved"], tmp_path / "to", keys={"name": "title", "kind": "body"})
    assert (found.photos, found.left_out.damaged.count) == (5, 0)
    of_train = "images/train/data-00000-of-00001"
    assert [row["image"] for row in rows(tmp_path / "to")][:3] == [
        f"{of_train}/0000000.png",
        f"{of_train}/0000001-niro 1.png",
        f"{of_train}/0000002-niro 2.png",
    ]
    assert rows(tmp_path / "to")[1]["title"] == 'Kia, "Niro"\n1 🚗'
    assert [metadata.kind for metadata in matched(tmp_path / "to").values()] == ["SUV", "SUV", "세단", "SUV", "세단"]
    assert {metadata.name for metadata in matched(tmp_path / "to").values()} == {
        f'Kia, "Niro" {i} 🚗' for i in range(5)
    }


@pytest.mark.parametrize("how", ["struct", "bytes", "list", "arrow file"])
def test_parquet_and_arrow_with_bytes(how: str, tmp_path: Path) -> None:
    struct = [{"bytes": picture(i, "JPEG"), "path": "C:\\cars\\a.jpg"} for i in range(40)]
    cell: list[object] = list(struct)
    if how == "bytes":
        cell = [each["bytes"] for each in struct]
    elif how == "list":
        cell = [[each, each] for each in struct]
    table = pyarrow.table({"image": cell, "model": [f"니로 {i}" for i in range(40)], "hash": [b"x"] * 40})
    path = tmp_path / "set" / ("cars.arrow" if how == "arrow file" else "cars-0.parquet")
    path.parent.mkdir()
    if how == "arrow file":
        with pyarrow.ipc.new_file(str(path), table.schema) as file:
            file.write_table(table)
    else:
        parquet.write_table(table, path, row_group_size=7)
    found = import_photos([path.parent], tmp_path / "to")
    assert found.photos == (80 if how == "list" else 40)
    row = rows(tmp_path / "to")[-1]
    assert row["name"] == "니로 39"
    names = {"bytes": "0000039.jpg", "list": "0000039-1-a.jpg"}
    assert str(row["image"]).rpartition("/")[2] == names.get(how, "0000039-a.jpg")
    assert (tmp_path / "to" / str(row["image"])).read_bytes() == picture(39, "JPEG")


def test_which_column_of_several(tmp_path: Path) -> None:
    table = pyarrow.table({"before": [picture(0)], "after": [picture(1)]})
    parquet.write_table(table, tmp_path / "s.parquet")
    with pytest.raises(PhotosError, match=r"several columns of photos: before, after. Say which: --image COLUMN"):
        import_photos([tmp_path / "s.parquet"], tmp_path / "to")
    import_photos([tmp_path / "s.parquet"], tmp_path / "to", image="after")
    assert (tmp_path / "to" / "images" / "s" / "0000000.png").read_bytes() == picture(1)
    parquet.write_table(pyarrow.table({"image": ["a.jpg"], "name": ["a"]}), tmp_path / "paths.parquet")
    with pytest.raises(PhotosError, match=r"carscribe describe .*paths.parquet reads it as it is"):
        import_photos([tmp_path / "paths.parquet"], tmp_path / "other")


def test_it_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "NOTED_EVERY", 2)
    for each in range(3):
        shard(tmp_path / "set" / f"{each}.tar", [member for i in range(5) for member in cars(5 * each + i)])
    import_photos([tmp_path / "set"], tmp_path / "whole")
    looked = iter(range(100))
    first = import_photos([tmp_path / "set"], tmp_path / "to", stopped=lambda: next(looked) == 6)
    assert (first.photos, first.finished) == (7, False)
    second = import_photos([tmp_path / "set"], tmp_path / "to")
    assert (second.photos, second.new, second.finished) == (15, 8, True)
    assert rows(tmp_path / "to") == rows(tmp_path / "whole")
    again = import_photos([tmp_path / "set"], tmp_path / "to")
    assert (again.photos, again.new) == (15, 0)
    shard(tmp_path / "set" / "3.tar", cars(99))
    assert import_photos([tmp_path / "set"], tmp_path / "to").new == 1
    assert len(rows(tmp_path / "to")) == 16


KILLED = """
import os, sys
from pathlib import Path
from carscribe.importing import unpacking
unpacking.NOTED_EVERY = 3
left, place = int(sys.argv[1]), unpacking._Unpacker._place
def dying(*given):
    global left
    left -= 1
    there = place(*given)
    if not left:
        os._exit(9)
    return there
unpacking._Unpacker._place = dying
unpacking.import_photos([Path("set")], Path("to"))
"""


@pytest.mark.parametrize("at", [1, 5, 8])
def test_killed_at_any_photo_it_goes_on_and_has_each_once(at: int, tmp_path: Path) -> None:
    for each in range(2):
        shard(tmp_path / "set" / f"{each}.tar", [member for i in range(5) for member in cars(5 * each + i)])
    import_photos([tmp_path / "set"], tmp_path / "whole")
    done = subprocess.run([sys.executable, "-c", KILLED, str(at)], cwd=tmp_path, check=False)
    assert done.returncode == 9
    import_photos([tmp_path / "set"], tmp_path / "to")
    assert rows(tmp_path / "to") == rows(tmp_path / "whole")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    shard(tmp_path / "s.tar", cars(0))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        import_photos([tmp_path / "s.tar"], tmp_path / "other")
    to = tmp_path / "to"
    import_photos([tmp_path / "s.tar"], to)
    photo = to / "images" / "t" / "0001.jpg"
    photo.parent.mkdir()
    photo.write_bytes(b"mine")
    found = import_photos([shard(tmp_path / "t.tar", cars(1))], to)
    assert photo.read_bytes() == b"mine"
    assert found.left_out.occupied.first == ["t.tar: 0001.jpg: images/t/0001.jpg is there with other bytes, and stays"]
    with (to / "cars.jsonl").open("a") as file:
        file.write('{"image": "mine.jpg"}\n')
    with pytest.raises(OutputError, match="it was changed since"):
        import_photos([shard(tmp_path / "u.tar", cars(2))], to)
    assert rows(to)[-1] == {"image": "mine.jpg"}
    shard(tmp_path / "s.tar", [*cars(0), *cars(5)])
    with pytest.raises(OutputError, match="is not as it was"):
        import_photos([tmp_path / "s.tar"], to)


def test_a_shard_is_read_in_flat_memory(tmp_path: Path) -> None:
    many = shard(tmp_path / "s.tar", [(f"{i:05}.png", picture(i) + bytes(100_000)) for i in range(200)])
    parquet.write_table(
        pyarrow.table({"image": [picture(i) + os.urandom(100_000) for i in range(200)]}), tmp_path / "t.parquet"
    )
    for path in (many, tmp_path / "t.parquet"):
        tracemalloc.start()
        import_photos([path], tmp_path / path.stem)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 8 << 20, f"{path}: {peak:,} bytes for 20 MB of photos"
        shutil.rmtree(tmp_path / path.stem)


Describe = Callable[[Path], object]
PACKED: Mapping[str, Callable[[Path], Path]] = {
    "a folder of tars": lambda at: shard(at / "set" / "s.tar", cars(0)).parent,
    "a tar": lambda at: shard(at / "s.tar.gz", cars(0), "w:gz"),
    "parquet with bytes": lambda at: _table(at / "s.parquet", {"bytes": picture(0), "path": "a.jpg"}),
    "parquet with plain bytes": lambda at: _table(at / "s.parquet", picture(0)),
    "a folder of parquet": lambda at: _table(at / "set" / "train.parquet", picture(0)).parent,
}


def _table(path: Path, cell: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.table({"image": [cell], "text": ["a"]}), path)
    return path


@pytest.mark.parametrize("what", PACKED)
def test_describe_says_the_command_for_packed_photos(what: str, tmp_path: Path) -> None:
    source = PACKED[what](tmp_path)
    with pytest.raises(PhotosError) as told:
        find_photos(source)
    assert f"carscribe import photos {source} --to DIR" in str(told.value)
    assert "\n" not in str(told.value)
    found: ImportedPhotos = import_photos([source], tmp_path / "to")
    assert found.photos == 1


def test_an_imagefolder_brings_its_own_metadata(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.png").write_bytes(picture(1))
        row = {"file_name": "a.png", "text": "a caption", "name": f"니로 {split}"}
        (tmp_path / split / "metadata.jsonl").write_text(json.dumps(row, ensure_ascii=False), "utf-8")
    found = match_photos(tmp_path)
    assert {file.key: file.metadata.name for file in found.files} == {
        "train/a.png": "니로 train",
        "test/a.png": "니로 test",
    }
    assert found.match is not None
    assert found.match.rows_matched == 2
    assert {file.key: file.metadata.name for file in match_photos(tmp_path / "train").files} == {"a.png": "니로 train"}
    (tmp_path / "train" / "metadata.jsonl").write_text('{"title": "of something else"}')
    assert match_photos(tmp_path / "train").match is None
