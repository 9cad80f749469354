"""Metadata as crawls leave it is read, and brought to the photos it belongs to."""

import json
import os
import time
import unicodedata
from pathlib import Path

import pytest

from carscribe.errors import MetadataError
from carscribe.photos.metadata import MetadataRow, match_metadata, read_rows
from carscribe.photos.sources import find_photos
from carscribe.records import Metadata, PhotoFile

REAL_PHOTOS = Path(os.environ.get("CARSCRIBE_REAL_PHOTOS", Path(__file__).parents[3] / "shared" / "cars"))
AUDI = MetadataRow(metadata=Metadata(name="Audi A4", kind="세단"), images=("audi-a4.jpg",), where="row 1")


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def photos(*keys: str, root: str = "/crawl/images") -> list[PhotoFile]:
    return [PhotoFile(location=str(Path(root) / key), key=key) for key in keys]


def row(
    image: str | None = None, name: str | None = None, kind: str | None = None, where: str = "row 1"
) -> MetadataRow:
    return MetadataRow(metadata=Metadata(name=name, kind=kind), images=(image,) if image else (), where=where)


def said(read: tuple[MetadataRow, ...]) -> list[tuple[str | None, str | None, tuple[str, ...]]]:
    return [(one.metadata.name, one.metadata.kind, one.images) for one in read]


SHAPES = {
    "list.json": '[{"name": "Audi A4", "kind": "세단", "image": "audi-a4.jpg"}]',
    "one.json": '{"name": "Audi A4", "kind": "세단", "image": "audi-a4.jpg"}',
    "wrapped.json": '{"version": 2, "cars": [{"name": "Audi A4", "kind": "세단", "image": "audi-a4.jpg"}]}',
    "by_file.json": '{"audi-a4.jpg": {"name": "Audi A4", "kind": "세단"}}',
    "by_name.json": '{"Audi A4": {"kind": "세단", "images": ["audi-a4.jpg"]}}',
    "lines.jsonl": '\n{"name": "Audi A4", "kind": "세단", "image": "audi-a4.jpg"}\n\n',
    "lines.json": '{"title": "Audi A4", "type": "세단", "file_name": "audi-a4.jpg"}\r\n',
    "list.jsonl": '[{"name": "Audi A4", "kind": "세단",\n "image": "audi-a4.jpg"}]',
    "korean.json": '[{"차량명": "Audi A4", "차 종": "세단", "파일명": "audi-a4.jpg"}]',
    "nfd.json": unicodedata.normalize("NFD", '[{"이름": "Audi A4", "종류": "세단", "사진": "audi-a4.jpg"}]'),
    "comma.csv": "name,kind,image\nAudi A4,세단,audi-a4.jpg\n",
    "semicolon.csv": 'Model;Body Type;Image_Path\n"Audi A4";세단;audi-a4.jpg\n',
    "quoted.csv": '"NAME","Body-Type","File Name"\n"Audi\nA4","세단","audi-a4.jpg"\n',
    "tab.tsv": "name\tkind\timage\n Audi A4 \t세단\taudi-a4.jpg\n",
    "cell.csv": "name,kind,images\nAudi A4,세단,\"['audi-a4.jpg']\"\n",
    "bom.csv": "\ufeffname,kind,image\nAudi A4,세단,audi-a4.jpg",
    "objects.json": '[{"name": "Audi A4", "kind": "세단", "image": {"bytes": null, "path": "audi-a4.jpg"}}]',
}


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_of_a_crawl_is_read(tmp_path, name):
    assert said(read_rows(write(tmp_path, name, SHAPES[name]))) == [("Audi A4", "세단", ("audi-a4.jpg",))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp949"])
@pytest.mark.parametrize("name", ["comma.csv", "list.json", "lines.jsonl"])
def test_every_encoding_of_a_korean_desk_is_read(tmp_path, name, encoding):
    path = write(tmp_path, name, SHAPES[name].encode(encoding))
    assert said(read_rows(path)) == [("Audi A4", "세단", ("audi-a4.jpg",))]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"audi-a4.jpg": "Audi A4"}', ("Audi A4", None, ("audi-a4.jpg",))),
        ('{"Audi A4": "audi-a4.jpg"}', ("Audi A4", None, ("audi-a4.jpg",))),
        ('{"Audi A4": "세단"}', ("Audi A4", "세단", ())),
        ('{"Audi A4": ["1.jpg", "2.jpg"]}', ("Audi A4", None, ("1.jpg", "2.jpg"))),
        ('{"audi-a4": {"name": "Audi A4"}}', ("Audi A4", None, ("audi-a4",))),
        ('["audi-a4.jpg"]', (None, None, ("audi-a4.jpg",))),
        ('[{"name": 320, "image": 7}]', ("320", None, ("7",))),
        ('[{"name": 320.0, "kind": NaN, "image": "a.jpg"}]', ("320", None, ("a.jpg",))),
        ('[{"name": null, "title": "i30", "kind": "", "image": ["a.jpg", null, "a.jpg"]}]', ("i30", None, ("a.jpg",))),
        ('[{"model": "A4", "name": "Audi", "image": "a.jpg"}]', ("Audi", None, ("a.jpg",))),
        ('[{"name": "ID.3", "kind": ["SUV", "EV"], "image": []}]', ("ID.3", "SUV, EV", ())),
    ],
)
def test_odd_values_are_understood(tmp_path, content, expected):
    assert said(read_rows(write(tmp_path, "a.json", content))) == [expected]


def test_other_fields_are_kept_as_text(tmp_path):
    content = (
        '[{"name": "K5", "model": "DL3", "year": 2020.0, "colours": ["red", "blue"], "price": null, "x": {"a": 1}}]'
    )
    (read,) = read_rows(write(tmp_path, "a.json", content))
    assert read.metadata.extra == {"model": "DL3", "year": "2020", "colours": "red, blue", "x": '{"a": 1}'}


def test_parquet_is_read_without_its_image_bytes(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    image = [{"bytes": b"\xff" * 10, "path": "a.jpg"}, {"bytes": b"", "path": "b.jpg"}]
    table = pyarrow.table({"image": image, "이름": ["K5", None], "kind": ["세단", "SUV"], "year": [2020.0, None]})
    parquet.write_table(table, tmp_path / "a.parquet", row_group_size=1)
    read = read_rows(tmp_path / "a.parquet")
    assert said(read) == [("K5", "세단", ("a.jpg",)), (None, "SUV", ("b.jpg",))]
    assert [one.where for one in read] == ["row 1", "row 2"]
    assert read[0].metadata.extra == {"year": "2020"}


def test_where_is_the_line_a_row_begins_on(tmp_path):
    content = 'name,note\nA,"two\nlines"\n\nB,\n'
    assert [one.where for one in read_rows(write(tmp_path, "a.csv", content))] == ["line 2", "line 5"]
    assert [one.where for one in read_rows(write(tmp_path, "a.jsonl", '{"name": 1}\n\n{"name": 2}'))] == [
        "line 1",
        "line 3",
    ]


def test_a_users_own_columns_win(tmp_path):
    path = write(tmp_path, "a.csv", "name,Ref No,shot\nignored,Audi A4,a.jpg\n")
    (read,) = read_rows(path, keys={"name": "ref_no", "image": "shot"})
    assert said((read,)) == [("Audi A4", None, ("a.jpg",))]
    assert read.metadata.extra == {"name": "ignored"}


@pytest.mark.parametrize(
    ("name", "content", "keys", "expected"),
    [
        ("a.csv", "name,shot\nA,b\n", {"image": "photo"}, ["no column 'photo' for the image", "'name', 'shot'"]),
        ("a.csv", "name,shot\nA,b\n", {"colour": "shot"}, ["'colour'", "'name', 'kind' and 'image'"]),
        ("a.csv", "a.jpg,K5\nb.jpg,K7\n", None, ["no column for a name", "'a.jpg', 'K5'", "first line of a CSV"]),
        ("a.csv", 'name,image\n"K5,a.jpg\n', None, ["line 2", "quotation mark"]),
        ("a.csv", "name,image\nK5, red,a.jpg\n", None, ["line 2 has 3 fields", "names 2"]),
        ("a.json", '[\n {"name": "K5",}\n]', None, ["a.json", "line 2, column", "Correct it"]),
        ("a.json", '[{"name": "K5"}', None, ["cut off"]),
        ("a.json", "", None, ["is empty"]),
        ("a.json", "[1]", None, ["row 1 is a number"]),
        ("a.json", "3", None, ["holds a number"]),
        ("a.json", "[" * 100_000, None, ["not JSON that can be read"]),
        ("a.json", '{"images": [{"id": 1}], "notes": [{"id": 2}]}', None, ["2 lists of rows ('images', 'notes')"]),
        ("a.jsonl", '{"name": "K5"}\n{"name": \n', None, ["line 2, column", "delete that line"]),
        ("a.jsonl", '{"name": "K5"}\n[1]\n', None, ["line 2 is a list"]),
        ("a.csv", b"name\n\xff\xff\xff", None, ["UTF-8 NOR CP949", "0xff at position 5", "line 2", "UTF-8"]),
        ("a.csv", "이름".encode("utf-16-le"), None, ["not UTF-8"]),
        ("a.csv", b"\xff\xfea", None, ["not UTF-16"]),
        ("a.parquet", b"PAR1", None, ["not Parquet"]),
        ("a.xlsx", b"PK", None, [".xlsx", ".csv"]),
    ],
)
def test_what_cannot_be_read_says_where_and_what_to_do(tmp_path, name, content, keys, expected):
    with pytest.raises(MetadataError) as caught:
        read_rows(write(tmp_path, name, content), keys=keys)
    message = str(caught.value)
    assert [part for part in expected if part not in message] == []
    assert "\n" not in message


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.parquet"])
def test_a_missing_file_says_so(tmp_path, name):
    with pytest.raises(MetadataError, match="does not exist"):
        read_rows(tmp_path / name)


@pytest.mark.parametrize(
    ("key", "image"),
    [
        ("audi-a4.jpg", "audi-a4.jpg"),
        ("audi-a4.jpg", "AUDI-A4.JPG"),
        ("audi-a4.jpg", "./audi-a4.jpg"),
        ("audi-a4.jpg", "images\\audi-a4.jpg"),
        ("audi-a4.jpg", "C:\\crawl\\2024\\audi-a4.jpg"),
        ("audi-a4.jpg", "/elsewhere/audi-a4.jpg"),
        ("audi-a4.jpg", "https://cdn.example.com/img/audi-a4.jpg?w=640&h=480#top"),
        ("audi a4.jpg", "https://cdn.example.com/audi%20a4.jpg"),
        ("audi%20a4.jpg", "https://cdn.example.com/audi%20a4.jpg"),
        ("100%.jpg", "100%.jpg"),
        ("deep/er/audi-a4.jpg", "er/audi-a4.jpg"),
        (unicodedata.normalize("NFD", "현대 그랜저.jpg"), unicodedata.normalize("NFC", "현대 그랜저.jpg")),
        (unicodedata.normalize("NFC", "현대/i30.jpg"), unicodedata.normalize("NFD", "현대/i30.jpg")),
        ("audi-a4.jpg", "audi-a4"),
        ("audi-a4.webp", "audi-a4.jpg"),
        ("id.3.jpg", "id.3"),
    ],
)
def test_a_row_finds_its_photo(key, image):
    match = match_metadata(photos("other.jpg", key), [row(image, "the one")])
    assert [file.metadata.name for file in match.files] == [None, "the one"]
    assert (match.rows_matched, match.rows_total) == (1, 1)
    assert match.photos_without_row == ("other.jpg",)
    assert match.rows_without_photo == ()


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("audi-a4.jpg", "Audi A4"),
        ("audi_a4.jpg", "Audi A4"),
        ("x/citroen-berlingo.png", "Citroën Berlingo"),
        (unicodedata.normalize("NFD", "현대_그랜저.jpg"), "현대 그랜저"),
    ],
)
def test_a_row_without_image_finds_the_photo_of_its_name(key, name):
    match = match_metadata(photos("other.jpg", key), [row(name=name)])
    assert match.files[1].metadata.name == name


def test_a_name_that_two_photos_answer_to_finds_none():
    match = match_metadata(photos("a/audi-a4.jpg", "b/audi_a4.jpg"), [row(name="Audi A4", where="line 9")])
    assert match.rows_matched == 0
    assert match.rows_without_photo == ("line 9 (Audi A4)",)


def test_the_longest_common_end_of_the_path_wins():
    files = photos("a/1.jpg", "b/1.jpg", "c/b/1.jpg")
    match = match_metadata(files, [row("x/a/1.jpg", "A"), row("c/b/1.jpg", "CB"), row("images/b/1.jpg", "B")])
    assert [file.metadata.name for file in match.files] == ["A", "B", "CB"]


def test_a_better_fit_takes_a_photo_from_a_worse_one_without_conflict():
    match = match_metadata(photos("a/1.jpg"), [row("b/1.jpg", "wrong", where="row 1"), row("a/1.jpg", "right")])
    assert match.files[0].metadata.name == "right"
    assert match.rows_without_photo == ("row 1 (b/1.jpg)",)
    assert match.conflicts == ()


def test_a_bare_name_in_several_folders_applies_to_none():
    match = match_metadata(photos("a/1.jpg", "b/1.jpg"), [row("1.jpg", "?", where="row 4")])
    assert [file.metadata.name for file in match.files] == [None, None]
    assert match.conflicts == ("row 4: 1.jpg fits several photos; write more of its path",)
    assert match.rows_without_photo == ("row 4 (1.jpg)",)


def test_a_bare_name_that_is_a_photos_whole_relative_path_is_not_ambiguous():
    match = match_metadata(photos("1.jpg", "b/1.jpg"), [row("1.jpg", "top")])
    assert [file.metadata.name for file in match.files] == ["top", None]


def test_case_tells_photos_apart_where_it_must():
    match = match_metadata(photos("A.jpg", "a.jpg"), [row("a.jpg", "small"), row("A.jpg", "capital")])
    assert [file.metadata.name for file in match.files] == ["capital", "small"]


def test_rows_that_disagree_are_reported_and_the_first_wins():
    rows = [row("a.jpg", "Audi A4", "세단", "row 1"), row("a.jpg", "Audi A6", "세단", "row 2"), row("a.jpg", "Audi A4")]
    match = match_metadata(photos("a.jpg"), rows)
    assert match.files[0].metadata.name == "Audi A4"
    assert match.rows_matched == 3
    assert match.conflicts == ("a.jpg: row 1 says Audi A4 (세단), row 2 says Audi A6 (세단); row 1 was taken",)


def test_a_later_row_fills_blanks():
    match = match_metadata(photos("a.jpg"), [row("a.jpg", "K5"), row("a.jpg", None, "세단")])
    assert match.files[0].metadata == Metadata(name="K5", kind="세단")
    assert match.conflicts == ()


def test_a_row_with_several_images_reaches_them_all():
    rows = [MetadataRow(metadata=Metadata(name="K5"), images=("1.jpg", "3.jpg", "9.jpg"), where="row 1")]
    match = match_metadata(photos("1.jpg", "2.jpg", "3.jpg"), rows)
    assert [file.metadata.name for file in match.files] == ["K5", None, "K5"]
    assert match.rows_matched == 1


def test_metadata_a_photo_has_already_fills_the_rows_blanks():
    file = PhotoFile(location="a.jpg", key="a.jpg", metadata=Metadata(name="old", kind="SUV", extra={"year": "1"}))
    match = match_metadata([file], [row("a.jpg", "new")])
    assert match.files[0].metadata == Metadata(name="new", kind="SUV", extra={"year": "1"})


@pytest.mark.parametrize(
    "image", ["", "/", "://", "https://", "https://[bad", "?", "%", "..", ".", "\\", "\0", "x" * 9999]
)
def test_nonsense_matches_nothing_and_breaks_nothing(image):
    match = match_metadata(photos("a.jpg", "…/b.jpg"), [row(image, "x"), row(None, "!!!"), row()])
    assert match.rows_matched == 0


def test_nothing_matches_nothing():
    match = match_metadata([], [])
    assert (match.files, match.rows_matched, match.rows_total) == ((), 0, 0)


@pytest.mark.parametrize("key", ["folder{0}/1.jpg", "{0}.jpg", "same/{0}/deep/er/1.jpg"])
def test_many_rows_take_time_in_proportion(key):
    many = 20_000
    files = photos(*(key.format(number) for number in range(many)))
    rows = [row("https://x.org/" + key.format(number), str(number)) for number in range(many)]
    rows += [row("1.jpg", "ambiguous or one") for _ in range(many)]
    start_s = time.perf_counter()
    match = match_metadata(files, rows)
    assert all(file.metadata.name == str(number) for number, file in enumerate(match.files))
    assert time.perf_counter() - start_s < 10  # comparing each with each would take many minutes


@pytest.mark.real_photos
@pytest.mark.skipif(not REAL_PHOTOS.is_dir(), reason=f"no real photographs at {REAL_PHOTOS}")
def test_every_real_photograph_gets_its_row():
    files = find_photos(REAL_PHOTOS).files
    rows = read_rows(REAL_PHOTOS / "cars.json")
    match = match_metadata(files, rows)
    wanted = {entry["image"]: entry["name"] for entry in json.loads((REAL_PHOTOS / "cars.json").read_text("utf-8"))}
    assert {file.path.name: file.metadata.name for file in match.files} == wanted
    assert (match.rows_matched, match.rows_total, match.conflicts) == (44, 44, ())


def test_one_row_of_metadata_says_everything():
    match = match_metadata(photos("audi-a4.jpg"), [AUDI])
    assert match.files[0].metadata == AUDI.metadata
