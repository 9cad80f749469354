"""Each format is read back by what reads it: datasets, sd-scripts' rule, the csv and json modules."""

import csv
import json
import tracemalloc
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from carscribe import export
from carscribe.records import Answer, DescribedPhoto, JudgedAnswer, Verdict

from .conftest import tree

Describe = Callable[..., DescribedPhoto]

TRICKY = '-20 mm, "lowered"\nstance;=1 🚗\x1b[31m'


def load_with_datasets(monkeypatch: pytest.MonkeyPatch, cache: Path, *arguments: str, **options: Any) -> Any:
    """`load_dataset`, cut off from the hub and from the user's own cache."""
    monkeypatch.setenv("HF_HOME", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # some that its own dependencies give at import
        import datasets

    datasets.disable_progress_bars()
    return datasets.load_dataset(*arguments, cache_dir=str(cache), **options)


def test_an_imagefolder_loads_with_datasets(
    described: Describe, to: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [
        described("기아/니로 2.png", "빨간 SUV, 둥근 램프", name="기아 니로", kind="SUV"),
        described("test/val 1.png", TRICKY),  # datasets would take either word for a split
        described(".hidden/__a__/train-b.png", "c", name="2020-01-01"),
        described("A, b's [1] #2 🚗.png", 'a "red" car, low'),
        described("a, B'S [1] #2 🚗.png", "the same name in another case"),
    ]
    report = export.write("imagefolder", photos, to)
    assert report.photos == 5
    expected = ["빨간 SUV, 둥근 램프", '−20 mm, "lowered" stance;=1 🚗 [31m', "c", photos[3].description.text]
    expected.append("the same name in another case")
    for options in (
        {"data_dir": str(to)},
        {"data_files": {"train": str(to / "**")}},
    ):  # the second is what diffusers asks
        loaded = load_with_datasets(monkeypatch, tmp_path / "cache", "imagefolder", **options)
        assert list(loaded) == ["train"]
        rows = list(loaded["train"])
        assert list(rows[0]) == ["image", "text", "name", "kind", "sha256"]
        assert [row["text"] for row in rows] == expected
        assert [row["sha256"] for row in rows] == [photo.sha256 for photo in photos]
        assert [(row["name"], row["kind"]) for row in rows][:2] == [("기아 니로", "SUV"), ("", "")]
        for row, photo in zip(rows, photos, strict=True):
            with Image.open(photo.file.path) as source:
                assert row["image"].getpixel((0, 0)) == source.getpixel((0, 0))


def test_an_imagefolder_lies_in_one_split_with_every_image_listed(described: Describe, to: Path) -> None:
    keys = ["kia/niro.png", "eval/a.png", "metadata.jsonl", "Metadata.csv"]  # the last two would be read as tables
    export.write("imagefolder", [described(key) for key in keys], to)
    rows = [json.loads(line) for line in (to / "train/metadata.jsonl").read_text("utf-8").splitlines()]
    names = [row["file_name"] for row in rows]
    assert names[:2] == ["kia/niro.png", "eval~/a.png"]
    assert tree(to) == sorted(f"train/{name}" for name in (*names, "metadata.jsonl"))
    assert not {"metadata.jsonl", "metadata.csv"} & {name.lower() for name in names}


def kohya_pairs(folder: Path) -> dict[str, str]:
    """Image and caption as sd-scripts finds them: the folder's own images, the first line of the same stem's .txt."""
    pairs = {}
    for path in folder.iterdir():
        if path.suffix in {".png", ".jpg", ".jpeg", ".webp", ".bmp"}:
            lines = path.with_suffix(".txt").read_text("utf-8").splitlines()
            assert len(lines) == 1
            pairs[path.name] = lines[0]
    return pairs


def test_kohya_finds_a_caption_of_its_own_for_every_image(described: Describe, to: Path) -> None:
    keys = ["니로.png", "니로.jpg", "kia/niro.png", "KIA_niro.jpg", "a.b.png", "a.png", "a.txt", "= 1;\x1b.png"]
    report = export.write("kohya", [described(key, f"{key} caption") for key in keys], to)
    pairs = kohya_pairs(to)
    assert len(pairs) == 7  # a.txt is no image to sd-scripts; it must not be a caption either
    assert len(tree(to)) == 16
    assert pairs["니로.png"] == "니로.png caption"
    assert pairs["kia_niro.png"] == "kia/niro.png caption"
    assert pairs["a.b.png"] == "a.b.png caption"
    captions = [f"{key} caption" for key in keys if key not in {"a.txt", keys[-1]}]
    assert sorted(pairs.values()) == sorted([*captions, "1; .png caption"])
    assert report.renamed.count == 4
    assert [name.split(" -> ")[0] for name in report.renamed.first] == ["니로.jpg", "KIA_niro.jpg", "a.txt", keys[-1]]


def test_kohya_captions_alone_keep_the_photos_tree(described: Describe, to: Path) -> None:
    photos = [described("kia/niro.png", "one"), described("niro.png", "two"), described("niro/x.png", "three")]
    report = export.write("kohya", photos, to, images="none")
    assert tree(to) == ["kia/niro.txt", "niro.txt", "niro/x.txt"]
    assert (to / "kia/niro.txt").read_bytes() == b"one\n"
    assert report.renamed.count == 0


@pytest.mark.parametrize("format_", ["imagefolder", "kohya", "csv"])
def test_trainers_never_get_an_empty_caption(described: Describe, to: Path, format_: str) -> None:
    photos = [described("a.png"), described("empty.png", ""), described("nothing.png", " \x1b \n="), described("b.png")]
    report = export.write(format_, photos, to)
    assert report.photos == 2
    assert (report.empty.count, report.empty.first) == (2, ("empty.png", "nothing.png"))
    assert not [name for name in tree(to) if "empty" in name or "nothing" in name]


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def test_csv_is_read_back_by_the_csv_module(described: Describe, to: Path) -> None:
    photos = [
        described('a,"b"\n.png', TRICKY, name="=HYPERLINK(1)", kind="SUV, 5-door", tokens=12),
        described("기아/니로.png", "@home, 빨간 차", name="기아 니로"),
    ]
    export.write("csv", photos, to)
    assert tree(to) == ["captions.csv"]
    raw = (to / "captions.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbfimage,prompt,name,kind,tokens,budget,photo,sha256\r\n")
    assert raw.count(b"\r\n") == raw.count(b"\n") == 3
    first, second = read_csv(to / "captions.csv")
    assert first == {
        "image": str(photos[0].file.path),
        "prompt": '−20 mm, "lowered" stance;\'=1 🚗 [31m',
        "name": "'=HYPERLINK(1)",
        "kind": "SUV, 5-door",
        "tokens": "12",
        "budget": "clip",
        "photo": 'a,"b" .png',
        "sha256": photos[0].sha256,
    }
    assert (second["prompt"], second["name"], second["tokens"]) == ("home, 빨간 차", "기아 니로", "")


@pytest.mark.parametrize("lead", ["=", "+", "-", "@", "\t=", "\r=", "\n=", "＝", "＋", "－", "＠", "x;=", " ="])
def test_no_cell_is_a_formula(described: Describe, to: Path, lead: str) -> None:
    payload = f"{lead}1+cmd|' /C calc'!A0"
    export.write("csv", [described(f"{payload}.png", payload, name=payload, kind=payload)], to, images="copy")
    (row,) = read_csv(to / "captions.csv")
    for column, value in row.items():
        for part in (value, *value.split(";")):
            assert unicodedata.normalize("NFKC", part.lstrip())[:1] not in set("=+-@"), column
    assert (to / row["image"]).is_file()


def test_csv_paths_lead_to_the_images_that_were_copied(described: Describe, to: Path) -> None:
    keys = ["=1;-2/a  b\u00a0 '🚗👩\u200d🔧'.png", "../x.png", "C:\\x.png"]
    export.write("csv", [described(key) for key in keys], to, images="copy")
    paths = [row["image"] for row in read_csv(to / "captions.csv")]
    assert all((to / path).is_file() for path in paths)
    assert sorted(paths) == [name for name in tree(to) if name != "captions.csv"]
    assert {path.split("/")[0] for path in paths} == {"images"}


def test_a_path_that_csv_cannot_hold_is_noted(described: Describe, to: Path) -> None:
    photo = described("a.png", file="a\x1b[31m.png")
    report = export.write("csv", [photo], to)
    assert "\x1b" not in (to / "captions.csv").read_text("utf-8-sig")
    assert report.renamed.first[0].endswith("a_[31m.png")


def judged(question: str, answer: str | None, verdict: Verdict | None = None, text: str | None = None) -> JudgedAnswer:
    said = (
        Answer(recipe_id="r", question_id=question, language="ko", text=answer, tokens=3, finish="stop")
        if answer
        else None
    )
    return JudgedAnswer(
        recipe_id="r", question_id=question, language="ko", priority=1, text=text, answer=said, verdict=verdict
    )


def test_jsonl_holds_everything_as_it_is(described: Describe, to: Path) -> None:
    edited = Verdict(decision="edited", text="새 답", author="Kim", note="lamp", judged_at="2026-01-01T00:00:00Z")
    answers = (judged("lamps", "old\x1b\u2028", edited, "새 답"), judged("mine", None, text="=1"))
    photo = described("a\udcb0\n.png", TRICKY, name="=1", tokens=9, answers=answers)
    report = export.write("jsonl", [photo, described("empty.png", "")], to)
    raw = (to / "captions.jsonl").read_bytes()
    assert not any(byte < 32 for byte in raw.replace(b"\n", b""))
    first, second = [json.loads(line) for line in raw.decode("utf-8").split("\n")[:-1]]
    keys = "photo path file sha256 width_px height_px name kind text tokens budget dropped repeated fallbacks answers"
    assert list(first) == keys.split()
    assert (first["photo"], first["text"], first["name"]) == ("a\udcb0\n.png", TRICKY, "=1")
    assert (first["path"], first["file"]) == (str(photo.file.path), None)
    assert first["answers"] == [
        {
            "recipe": "r",
            "question": "lamps",
            "language": "ko",
            "text": "새 답",
            "model_text": "old\x1b\u2028",
            "finish": "stop",
            "scores": None,
            "mass": None,
            "verdict": {"decision": "edited", "author": "Kim", "note": "lamp", "judged_at": "2026-01-01T00:00:00Z"},
        },
        {
            "recipe": "r",
            "question": "mine",
            "language": "ko",
            "text": "=1",
            "model_text": None,
            "finish": None,
            "scores": None,
            "mass": None,
            "verdict": None,
        },
    ]
    assert second["text"] == ""
    assert (report.photos, report.empty.count) == (2, 1)


@pytest.mark.parametrize(
    ("format_", "unread"),
    [("imagefolder", {".HEIC": 1}), ("kohya", {".HEIC": 1, ".Jpg": 1, ".avif": 2, ".tif": 1}), ("jsonl", {".HEIC": 1})],
)
def test_images_that_trainers_do_not_open_are_counted(
    described: Describe, to: Path, format_: str, unread: dict[str, int]
) -> None:
    keys = ["a.HEIC", "b.avif", "c.avif", "d.tif", "e.Jpg", "f.JPG", "g.webp"]
    report = export.write(format_, [described(key) for key in keys], to)
    assert (report.photos, report.unread) == (7, unread)


def test_all_photos_are_counted_and_the_first_are_named(described: Describe, to: Path) -> None:
    empty = described("a.png", "")
    report = export.write("kohya", [*[empty] * 1200, described("b.png")], to)
    assert (report.empty.count, len(report.empty.first)) == (1200, 1000)


def test_captions_that_had_to_be_changed_are_counted(described: Describe, to: Path) -> None:
    texts = ["a red car", "-20 mm", "two\nlines", "well-kept"]
    report = export.write("kohya", [described(f"{i}.png", text) for i, text in enumerate(texts)], to)
    assert report.cleaned == 2


@pytest.mark.parametrize("format_", ["csv", "jsonl", "kohya"])
def test_a_photo_leaves_nothing_in_memory_but_its_name(described: Describe, to: Path, format_: str) -> None:
    one = described("a.png")
    extra_bytes, count = 4000, 1000

    def photos(count: int) -> Iterator[DescribedPhoto]:
        for i in range(count):
            metadata = replace(one.file.metadata, extra={"page": f"{i}" * (extra_bytes // len(f"{i}"))})
            yield replace(one, file=replace(one.file, key=f"{i}.png", metadata=metadata))

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        export.write(format_, photos(count), to / str(count), images="none")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak_bytes(10), peak_bytes(count)
    assert many - few < count * extra_bytes / 2
