"""Boxes from a file: every row is a box, or is named and nothing is taken."""

import json
import unicodedata
from pathlib import Path

import pytest

from carscribe.errors import InputError, MetadataError
from carscribe.privacy.boxes import Box
from carscribe.privacy.choosing import open_masking
from carscribe.privacy.listed import read_boxes
from carscribe.records import PhotoFile

GOOD = {"photo": "차/니로.jpg", "kind": "Plate", "x0": 10, "y0": 20.5, "x1": 30, "y1": "40"}
BOX = Box(kind="plate", left=10, top=20.5, right=30, bottom=40)


def named(key: str) -> PhotoFile:
    return PhotoFile(location="", key=key)


def written(folder: Path, *rows: object, name: str = "boxes.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    return path


def test_boxes_are_found_by_key_in_either_form_of_hangul_and_by_hash(tmp_path: Path) -> None:
    by_hash = GOOD | {"photo": "AB" * 32, "kind": "face"}
    boxes = read_boxes(written(tmp_path, GOOD, by_hash, GOOD | {"photo": "b.jpg"}, GOOD | {"photo": "B.jpg"}))
    assert boxes.not_met() == ("차/니로.jpg", "AB" * 32, "b.jpg", "B.jpg")
    assert boxes.of(named(unicodedata.normalize("NFD", "차/니로.jpg")), "0" * 64) == (BOX,)
    assert [box.kind for box in boxes.of(named("other.jpg"), "ab" * 32)] == ["face"]
    assert boxes.of(named("b.jpg"), "0" * 64) == (BOX,)
    assert boxes.not_met() == ("B.jpg",)


def test_a_file_of_one_box_is_one_row(tmp_path: Path) -> None:
    assert read_boxes(written(tmp_path, GOOD)).of(named("차/니로.jpg"), "") == (BOX,)
    with pytest.raises(InputError, match=r"1 of 1 rows of .*boxes.jsonl are no boxes:\nline 1: lacks x0"):
        read_boxes(written(tmp_path, {key: value for key, value in GOOD.items() if key != "x0"}))


def test_a_spreadsheet_s_rows_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text("\ufeffphoto,kind,x0,y0,x1,y1,note\n차/니로.jpg,plate,10,20.5,30,40,by hand\n", "utf-8")
    assert read_boxes(path).of(named("차/니로.jpg"), "") == (BOX,)


@pytest.mark.parametrize("name", ["boxes.jsonl", "boxes.json"])
def test_one_row_is_a_row_and_not_an_object_of_rows(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(json.dumps(GOOD | {"score": 0.9}, ensure_ascii=False) + "\n", "utf-8")
    assert read_boxes(path).of(named("차/니로.jpg"), "") == (BOX,)
    path.write_text(json.dumps(GOOD | {"x0": "ten"}, ensure_ascii=False), "utf-8")
    with pytest.raises(InputError, match=r"1 of 1 rows .* are no boxes:\nline 1: x0 is a number of pixels"):
        read_boxes(path)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"photo": None}, "lacks photo"),
        ({"x0": "", "y1": None}, "lacks x0, y1"),
        ({"x0": "ten"}, "x0 is a number of pixels, not 'ten'"),
        ({"x1": float("nan")}, "x1 is a number of pixels"),
        ({"x1": True}, "x1 is a number of pixels"),
        ({"y0": [1]}, "y0 is a number of pixels"),
        ({"x1": 10}, "x0 < x1 and y0 < y1 are the upper left and the lower right corner, not x 10 to 10"),
        ({"y0": 50}, "x0 < x1 and y0 < y1 are the upper left and the lower right corner, not x 10 to 30, y 50"),
        ({"kind": "a" * 41}, "kind is a word"),
        ({"kind": "\x1b"}, "kind is a word"),
    ],
)
def test_a_row_that_is_no_box_is_named_and_nothing_is_taken(
    change: dict[str, object], says: str, tmp_path: Path
) -> None:
    path = written(tmp_path, GOOD, GOOD | change, GOOD | change)
    with pytest.raises(InputError) as raised:
        read_boxes(path)
    assert "2 of 3 rows" in str(raised.value)
    assert f"line 2: {says}" in str(raised.value)
    assert "line 3" in str(raised.value)
    assert '"x0": 310' in str(raised.value), "and what a row looks like"


def test_a_file_that_is_none_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no box"):
        read_boxes(written(tmp_path, [], name="boxes.json"))
    with pytest.raises(MetadataError, match="is empty"):
        read_boxes(written(tmp_path))
    with pytest.raises(InputError, match=r"ends in \.xml: boxes are read from \.csv, .*A row is"):
        read_boxes(tmp_path / "boxes.xml")
    with pytest.raises(MetadataError, match="does not exist"):
        read_boxes(tmp_path / "nothing.jsonl")


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        ("", "not ''"),
        ("faces,people", "faces, plates, or both with a comma between, not 'people'"),
        ("plates", "--plate-model FILE"),
    ],
)
def test_what_cannot_be_looked_for_is_said(kinds: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CARSCRIBE_PLATE_MODEL", raising=False)
    with pytest.raises(InputError, match=says):
        open_masking(kinds)


def test_without_a_wish_nothing_is_masked() -> None:
    assert open_masking(None) is None
