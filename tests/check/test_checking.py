"""The whole check, as the command line runs it: what is flagged, reported, skipped and split."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from carscribe.check.checking import CheckRequest, check
from carscribe.check.faults import limits_with
from carscribe.check.page import render_page
from carscribe.check.report import groups_in, read_report, report_json, write_report
from carscribe.check.skipping import without_flagged
from carscribe.cli import checking, describing  # noqa: F401 - their commands are it
from carscribe.cli.app import app
from carscribe.errors import InputError
from carscribe.examples import Example
from carscribe.finetune.data import with_groups
from carscribe.finetune.splitting import split
from carscribe.photos.sources import find_photos
from carscribe.pipeline import plan_run
from rendered.attributes import draw_record
from rendered.render import render

CARS = Path(os.environ.get("CARSCRIBE_REAL_PHOTOS", Path(__file__).parents[3] / "shared" / "cars"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    cars = [render(draw_record(873_000_000 + number)) for number in range(4)]
    for number, car in enumerate(cars):
        car.save(folder / f"car {number}.jpg", quality=90)
    (folder / "twin.jpg").write_bytes((folder / "car 0.jpg").read_bytes())
    wide, high = cars[1].size
    cars[1].crop((wide // 20, high // 12, wide, high)).resize((300, 220)).save(folder / "crop.jpg", quality=60)
    cars[2].filter(ImageFilter.GaussianBlur(5)).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "blur.jpg")
    (folder / "cut.jpg").write_bytes((folder / "car 3.jpg").read_bytes()[:3000])
    (folder / "page.jpg").write_text("<!doctype html><html></html>")
    return folder


def checked(photos: Path, **options: Any) -> dict[str, Any]:
    return report_json(check(CheckRequest(sources=(photos,), **options)))


def flags(found: dict[str, Any]) -> dict[str, list[str]]:
    return {row["photo"]: [fault["fault"] for fault in row["faults"]] for row in found["flagged"]}


def test_each_photo_is_flagged_for_what_is_wrong_with_it_and_no_other(photos: Path) -> None:
    found = checked(photos)
    assert flags(found) == {
        "blur.jpg": ["blurry"],
        "crop.jpg": ["near_duplicate"],
        "cut.jpg": ["unreadable"],
        "page.jpg": ["unreadable"],
        "twin.jpg": ["same_bytes"],
    }
    assert (found["photos"], found["read"], found["stopped"]) == (9, 9, False)
    assert all(row["skip"] for row in found["flagged"])
    assert "HTML page" in next(row for row in found["flagged"] if row["photo"] == "page.jpg")["faults"][0]["says"]


def test_groups_keep_the_photo_with_most_pixels(photos: Path) -> None:
    groups = {(g["why"], g["keep"], *(p["photo"] for p in g["photos"])) for g in checked(photos)["groups"]}
    assert groups == {
        ("same_bytes", "car 0.jpg", "car 0.jpg", "twin.jpg"),
        ("near_duplicate", "car 1.jpg", "car 1.jpg", "crop.jpg"),
    }


def test_of_a_group_a_photo_without_a_fault_is_kept_however_small(tmp_path: Path) -> None:
    car = render(draw_record(873_000_010))
    car.save(tmp_path / "sharp.jpg")
    car.filter(ImageFilter.GaussianBlur(4)).resize((1200, 900)).save(tmp_path / "blurred.jpg")
    assert flags(checked(tmp_path)) == {"blurred.jpg": ["blurry", "near_duplicate"]}


def test_thresholds_decide_and_a_kept_fault_is_told_and_not_skipped(photos: Path) -> None:
    lax = checked(photos, limits=limits_with(["blurry=40", "near_duplicate=1"]))
    assert {"blur.jpg", "crop.jpg"}.isdisjoint(flags(lax))
    kept = checked(photos, kept=frozenset({"blurry"}))
    assert {row["photo"]: row["skip"] for row in kept["flagged"]}["blur.jpg"] is False


def test_metadata_that_disagree_are_flagged_and_skip_nothing(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("rapidfuzz")
    rows = [
        {"image": "car 0.jpg", "name": "Kia Niro", "kind": "SUV"},
        {"image": "twin.jpg", "name": "Ford Focus", "kind": "해치백"},
        {"image": "car 1.jpg", "name": "Kia Sportage", "kind": "SUV"},
        {"image": "crop.jpg", "name": "KIA sportage", "kind": "RV"},
        {"image": "car 2.jpg", "name": "Kia Sporatge", "kind": "화물"},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows), "utf-8")
    found = checked(photos, metadata=tmp_path / "rows.json")
    told = flags(found)
    assert told["car 0.jpg"] == ["two_names", "two_kinds"]
    assert told["twin.jpg"] == ["same_bytes", "two_names", "two_kinds"]
    assert told["car 2.jpg"] == ["unknown_kind"]
    assert told["crop.jpg"] == ["near_duplicate"], "a Kia Sportage is a KIA sportage, and an RV may be an SUV"
    assert found["unknown_kinds"] == {"화물": 1}
    assert {each["name"] for each in found["spellings"][0]} == {"Kia Sportage", "KIA sportage", "Kia Sporatge"}
    assert {row["photo"] for row in found["flagged"] if not row["skip"]} == {"car 0.jpg", "car 2.jpg"}


def test_a_check_that_is_stopped_says_how_far_it_came(photos: Path) -> None:
    seen: list[int] = []
    found = check(CheckRequest(sources=(photos,)), read=seen.append, stopped=lambda: len(seen) == 3)
    assert (found.read, found.photos, found.stopped) == (3, 9, True)


def test_the_page_holds_the_pictures_and_no_markup_of_others(photos: Path, tmp_path: Path) -> None:
    named = tmp_path / "<b>blur.jpg"
    named.write_bytes((photos / "blur.jpg").read_bytes())
    page = render_page(check(CheckRequest(sources=(photos, named))))
    assert page.count("data:image/jpeg;base64,") >= 5
    assert "&lt;b&gt;blur.jpg" in page
    assert "<b>blur" not in page
    assert "http:" not in page
    assert "https:" not in page
    assert str(photos) not in page


def test_what_was_flagged_is_left_out_unless_it_was_replaced_since(photos: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    write_report(report, check(CheckRequest(sources=(photos,))))
    wanted = without_flagged(find_photos(photos).files, report)
    assert [file.key for file in wanted.files] == ["car 0.jpg", "car 1.jpg", "car 2.jpg", "car 3.jpg"]
    assert wanted.skipped == {"unreadable": 2, "blurry": 1, "near_duplicate": 1, "same_bytes": 1}
    plan = plan_run(photos, skip_flagged=report)
    assert (len(plan.files), plan.skipped) == (4, wanted.skipped)

    rows = read_report(report)
    for row in rows["flagged"]:
        if row["photo"] == "blur.jpg":
            row["sha256"] = "0" * 64  # as if other bytes had been there
        if row["photo"] == "page.jpg":
            row["skip"] = False  # a person's word
    report.write_text(json.dumps(rows), "utf-8")
    assert {"blur.jpg", "page.jpg"} < {file.key for file in without_flagged(find_photos(photos).files, report).files}


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"carscribe_check": 2}', '{"carscribe_check": 1, "flagged": [1]}'])
def test_another_file_is_no_report(photos: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "other.json").write_text(text)
    with pytest.raises(InputError, match="carscribe check PHOTOS --report"):
        plan_run(photos, skip_flagged=tmp_path / "other.json")
    with pytest.raises(InputError, match="carscribe check PHOTOS --report"):
        plan_run(photos, skip_flagged=tmp_path / "none.json")


def test_the_groups_of_a_check_stay_on_one_side_of_the_split(photos: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    found = check(CheckRequest(sources=(photos,)))
    write_report(report, found)
    members = next(group.members for group in found.groups if group.why == "near_duplicate")
    groups = groups_in(report)
    assert groups.keys() == {member.sha256 for member in members}
    examples = [Example(photo="", pairs=(), key=member.key, sha256=member.sha256) for member in members]
    examples += [Example(photo="", pairs=(), key=f"other {n}", sha256=f"{n}") for n in range(8)]
    grouped = with_groups(examples, [groups.get(example.sha256) for example in examples])
    for seed in range(8):
        held = {example.key for example in split(grouped, 0.5, seed=seed)[1]}
        assert len(held & {member.key for member in members}) in {0, 2}


def test_the_command_prints_a_table_and_writes_a_report_and_a_page(photos: Path, tmp_path: Path) -> None:
    report, page, cars = tmp_path / "report.json", tmp_path / "page.html", tmp_path / "cars.json"
    cars.write_text('[{"title": "Kia Niro", "image": "car 0.jpg"}]', "utf-8")
    about = ["--metadata", str(cars), "--metadata-keys", "name=title"]
    ran = CliRunner().invoke(app, ["check", str(photos), *about, "--report", str(report), "--html", str(page)])
    assert ran.exit_code == 0, ran.output
    assert "9 photos" in ran.output
    assert "Near-duplicates" in ran.output
    assert f"describe {photos} {' '.join(about)} --skip-flagged {report}" in ran.output.replace("\n", "")
    assert read_report(report)["counts"]["unreadable"] == 2
    assert page.read_text("utf-8").startswith("<!doctype html>")
    again = CliRunner().invoke(app, ["check", str(photos), "--report", str(report)])
    assert isinstance(again.exception, InputError)
    assert "--overwrite" in str(again.exception)


def test_json_is_the_report_and_nothing_else(photos: Path) -> None:
    ran = CliRunner().invoke(app, ["check", str(photos), "--json", "--threshold", "blurry=40"])
    assert json.loads(ran.stdout)["counts"]["blurry"] == 0


def test_photos_without_a_fault_leave_an_empty_report(tmp_path: Path) -> None:
    render(draw_record(873_000_020)).save(tmp_path / "car.png")
    ran = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert ran.exit_code == 0
    assert "nothing" in ran.output


@pytest.mark.real_photos
@pytest.mark.skipif(not (CARS / "cars.json").exists(), reason=f"no real photographs at {CARS}")
def test_no_real_photo_is_flagged() -> None:
    pytest.importorskip("rapidfuzz")
    found = checked(CARS / "images", metadata=CARS / "cars.json")
    assert flags(found) == {}
    assert found["groups"] == found["spellings"] == []
