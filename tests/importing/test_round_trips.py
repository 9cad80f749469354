"""What Carscribe exports comes back the same: captions to the letter where the format carries it, and names."""

import hashlib
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carscribe import export
from carscribe.budgets.counting import budget_of
from carscribe.catalog.imported import Taken
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.export.captions import caption
from carscribe.exporting import Counts, Wish, described_photos
from carscribe.importing.captions import FoundCaption, LeftOut, find_captions, read_captions
from carscribe.importing.taking import CaptionRequest, take_captions
from carscribe.records import DescribedPhoto, Description, Metadata, PhotoFile

TEXTS = (
    "compact SUV, short overhangs, two-tone body",
    '컴팩트 SUV, 짧은 오버행, "투톤" 차체',
    'it is "sporty", isn\'t it; low, wide',
    "red 🚗, an emoji of several 👩‍🔧, done",
    "-20 mm lowered; =1+1; @home",
    "first line\nsecond, line\n\nfourth",
    "tab\there, nbsp\u00a0there",
    "plain;'quoted",
)
NAMES = ('Kia "Niro", new', "기아 니로", "@Home edition", "=1+1", "🚗 나", "a;=b", "", "O'Neil; x")


@pytest.fixture
def photos(tmp_path: Path) -> list[DescribedPhoto]:
    """A photo for each text, in folders with Korean names."""
    made = []
    for number, (text, name) in enumerate(zip(TEXTS, NAMES, strict=True)):
        path = tmp_path / "photos" / "기아" / f"차 {number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((6, 8, 3), number, np.uint8)).save(path)
        made.append(
            DescribedPhoto(
                file=PhotoFile(
                    location=str(path), key=f"기아/{path.name}", metadata=Metadata(name=name or None, kind="SUV")
                ),
                sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
                width_px=8,
                height_px=6,
                answers=(),
                description=Description(text=text, budget="none", tokens=None),
            )
        )
    return made


def read_back(of: Path, captions: Path | None = None) -> dict[str, FoundCaption]:
    """What is found, by the photo's bytes."""
    left_out = LeftOut()
    found = list(read_captions(find_captions(of, captions), left_out))
    assert left_out == LeftOut()
    return {hashlib.sha256(each.file.path.read_bytes()).hexdigest(): each for each in found}


@pytest.mark.parametrize("format_", ["imagefolder", "kohya", "csv"])
def test_formats_of_one_line_bring_back_the_caption_that_was_written(
    format_: str, photos: list[DescribedPhoto], tmp_path: Path
) -> None:
    export.write(format_, iter(photos), tmp_path / "out", images="copy")
    found = read_back(tmp_path / "out")
    assert {sha: each.text for sha, each in found.items()} == {
        photo.sha256: caption(photo.description.text) for photo in photos
    }
    # What one line without format characters cannot carry: lines, what begins a formula.
    lost = [photo.description.text for photo in photos if found[photo.sha256].text != photo.description.text]
    assert lost == [TEXTS[4], TEXTS[5], TEXTS[6]]
    assert found[photos[4].sha256].text == "\N{MINUS SIGN}20 mm lowered; =1+1; @home"
    assert found[photos[5].sha256].text == "first line second, line fourth"
    assert found[photos[6].sha256].text == "tab here, nbsp there"
    names = [found[photo.sha256].file.metadata.name or "" for photo in photos]
    assert names == ([""] * len(NAMES) if format_ == "kohya" else list(NAMES))


@pytest.mark.parametrize("images", ["none", "copy"])
def test_json_lines_bring_back_everything(images: str, photos: list[DescribedPhoto], tmp_path: Path) -> None:
    export.write("jsonl", iter(photos), tmp_path / "out", images=images)  # type: ignore[arg-type]
    found = read_back(tmp_path / "out" / "captions.jsonl")
    assert {sha: each.text for sha, each in found.items()} == {p.sha256: p.description.text for p in photos}
    assert [found[photo.sha256].file.metadata.name or "" for photo in photos] == list(NAMES)
    assert {each.file.metadata.kind for each in found.values()} == {"SUV"}


def test_kohya_without_images_is_laid_over_the_photos(photos: list[DescribedPhoto], tmp_path: Path) -> None:
    export.write("kohya", iter(photos), tmp_path / "out", images="none")
    found = read_back(tmp_path / "photos", tmp_path / "out")
    assert [found[photo.sha256].text for photo in photos] == [caption(text) for text in TEXTS]
    assert [found[photo.sha256].file.key for photo in photos] == [photo.file.key for photo in photos]


def test_csv_without_images_leads_back_to_the_photos(photos: list[DescribedPhoto], tmp_path: Path) -> None:
    export.write("csv", iter(photos), tmp_path / "out", images="none")
    found = read_back(tmp_path / "photos", tmp_path / "out" / "captions.csv")
    assert [found[photo.sha256].text for photo in photos] == [caption(text) for text in TEXTS]
    assert [found[photo.sha256].file.key for photo in photos] == [photo.file.key for photo in photos]


@pytest.mark.parametrize("format_", ["imagefolder", "kohya", "csv", "jsonl"])
def test_imported_and_exported_again_it_is_the_same_set(
    format_: str, photos: list[DescribedPhoto], tmp_path: Path
) -> None:
    export.write(format_, iter(photos), tmp_path / "out", images="copy")
    assert taken(tmp_path / "out", tmp_path / "one").new == len(photos)
    once = {photo.sha256: photo.description.text for photo in described(tmp_path / "one")}
    assert len(once) == len(photos)
    export.write(format_, described(tmp_path / "one"), tmp_path / "again", images="copy")
    taken(tmp_path / "again", tmp_path / "two")
    assert {photo.sha256: photo.description.text for photo in described(tmp_path / "two")} == once


def taken(at: Path, workspace: Path) -> Taken:
    with write_workspace(workspace, create=True) as opened:
        request = CaptionRequest(source=find_captions(at), language="en")
        return take_captions(opened, request).taken


def described(workspace: Path) -> Iterator[DescribedPhoto]:
    with read_workspace(workspace) as opened:
        wish = Wish(recipe="brief", language="en", budget=budget_of("none"))
        yield from described_photos(opened, wish, Counts())


def test_rows_are_read_in_flat_memory(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
    line = '{"file_name": "a.png", "text": "compact SUV, short overhangs, two-tone body", "name": "기아 니로"}\n'
    table = tmp_path / "metadata.jsonl"
    table.write_text(line * 20_000, "utf-8")
    tracemalloc.start()
    count = sum(1 for _ in read_captions(find_captions(table), LeftOut()))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < 3 << 20, f"{peak:,} bytes for a table of {table.stat().st_size:,}"


def test_a_workspace_is_filled_in_flat_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("carscribe.importing.taking.BATCH", 100)
    peaks = []
    for count in (300, 1500, 1501):
        folder = tmp_path / f"set {count}"
        folder.mkdir()
        for number in range(count):
            pixels = np.full((1, 1, 3), (number % 250, number // 250, 7), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.bmp")
            (folder / f"{number}.txt").write_text(f"caption {number}, of some length, as captions are")
        tracemalloc.start()
        with write_workspace(tmp_path / f"ws {count}", create=True) as opened:
            found = take_captions(opened, CaptionRequest(source=find_captions(folder)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert found.taken.new == count
    # The smaller of two: a table of Python's own may double meanwhile, by megabytes, whoever is at work.
    assert min(peaks[1:]) < 1.5 * peaks[0], peaks
