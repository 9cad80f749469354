"""Of what is planted in photos and hidden, no pixel and no byte is in any file of any export."""

import hashlib
import json
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import wide_profile
from PIL import Image
from planted_noise import HEIGHT_PX, PLANTED, WIDTH_PX, ColourDetector, heic, jpeg, leaks, other, png

from carscribe import export
from carscribe.errors import InputError
from carscribe.examples import Example, Pair
from carscribe.export import FORMATS, SET_FORMATS
from carscribe.privacy.boxes import Box
from carscribe.privacy.listed import ListedBoxes
from carscribe.privacy.masking import Masking
from carscribe.records import DescribedPhoto, Description, PhotoFile

SHOWN = ("jpeg", "turned", "profile", "png", "webp", "avif", "tiff", "gif", "bmp", "heic")
"""A photo of each, called by the name: `kia/<name>.<suffix>`."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Photos by key, each with the patch and all that a file can say of it."""
    folder = tmp_path_factory.mktemp("photos")
    contents = {
        "jpeg.jpg": jpeg(),
        "turned.JPEG": jpeg(6),
        "profile.jpg": jpeg(3, profile=wide_profile()),
        "png.png": png(),
        "heic.heic": heic(),
        **{
            f"{format_.lower()}{suffix}": content
            for format_ in ("WEBP", "AVIF", "TIFF", "GIF", "BMP")
            for suffix, content in [other(format_, f".{format_.lower()}")]
        },
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return {f"kia/{name}": folder / name for name in contents}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def photos(files: dict[str, Path]) -> list[DescribedPhoto]:
    return [
        DescribedPhoto(
            file=PhotoFile(location=str(path), key=key),
            sha256=sha256(path),
            width_px=WIDTH_PX,
            height_px=HEIGHT_PX,
            answers=(),
            description=Description(text="a red car", budget="clip", tokens=5),
        )
        for key, path in files.items()
    ]


def examples(files: dict[str, Path]) -> list[Example]:
    pairs = (Pair(question="Color?", answer="red"),)
    return [
        Example(photo=str(path), pairs=pairs, key=key, sha256=sha256(path), width_px=WIDTH_PX, height_px=HEIGHT_PX)
        for key, path in files.items()
    ]


def write(format_: str, files: dict[str, Path], to: Path, masker: Any, **options: Any) -> Any:
    if format_ in SET_FORMATS:
        learned = examples(files)
        return export.write_set(format_, learned[1:], learned[:1], to, masker=masker, **options)
    return export.write(format_, photos(files), to, masker=masker, **options)


FILES = [name for name, each in FORMATS.items() if not each.shards]
"""Formats in which an image is a file of its own."""

PACKED = [name for name, each in FORMATS.items() if each.shards]


def unpacked(out: Path, format_: str) -> dict[str, bytes]:
    """The images in the shards of an export, by the photo's key."""
    images: dict[str, bytes] = {}
    for path in sorted(out.rglob("*")):
        if path.suffix == ".tar":
            with tarfile.open(path) as tar:
                inside = {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]
            for name in [name for name in inside if name.endswith(".jpg")]:
                images[json.loads(inside[name.replace(".jpg", ".json")])["photo"]] = inside[name]
        elif path.suffix == ".parquet":
            rows = pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
            images |= {row["photo"]: row["image"]["bytes"] for row in rows}
        elif path.suffix == ".arrow":
            with pytest.importorskip("pyarrow").ipc.open_stream(str(path)) as stream:
                images |= {row["photo"]: row["image"]["bytes"] for row in stream.read_all().to_pylist()}
    return images


@pytest.mark.parametrize("format_", PACKED)
def test_nothing_planted_is_in_any_image_that_is_packed(format_: str, files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = write(format_, files, out, Masking([ColourDetector(100)]))
    images = unpacked(out, format_)
    assert images.keys() == files.keys()
    (tmp_path / "images").mkdir()
    for number, content in enumerate(images.values()):
        suffix = "png" if content.startswith(b"\x89PNG") else "jpg"
        (tmp_path / "images" / f"{number}.{suffix}").write_bytes(content)
    assert leaks(tmp_path / "images") == []
    assert report.masked.images == report.masked.with_boxes == report.copied == len(files)
    assert (report.images, dict(report.unread)) == ("copy", {})
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert str(files["kia/heic.heic"].parent).encode() not in everything, "no file leads back to the photos"


def test_the_search_finds_what_is_planted(files: dict[str, Path], tmp_path: Path) -> None:
    """What the tests below rely on: of photos that are copied as they are, every hiding place is found."""
    found = "\n".join(leaks(next(iter(files.values())).parent))
    for place in (
        "jpeg.jpg: pixels",
        "jpeg.jpg: b'kim.minji",
        "jpeg.jpg: segment e1",
        "jpeg.jpg: segment e2",
        "jpeg.jpg: segment ed",
        "jpeg.jpg: segment fe",
        "jpeg.jpg: 2 frames",
        "jpeg.jpg: b'\\x",
        "bytes behind the end",
        "profile.jpg: pixels",
        "png.png: pixels",
        "png.png: 2 frames",
        "png.png: chunk eXIf",
        "png.png: chunk iTXt",
        "png.png: chunk zTXt",
        "heic.heic: b'kim.minji",
    ):
        assert place in found, place
    with Image.open(files["kia/jpeg.jpg"]) as image:
        assert image.getexif().get_ifd(0x8825), "the planted EXIF is EXIF"


@pytest.mark.parametrize("format_", [*FILES, *SET_FORMATS])
def test_nothing_planted_is_in_any_file_of_an_export(format_: str, files: dict[str, Path], tmp_path: Path) -> None:
    report = write(format_, files, tmp_path / "out", Masking([ColourDetector(100)]))
    assert leaks(tmp_path / "out") == []
    assert report.masked.images == report.masked.with_boxes == report.copied == len(files)
    assert report.masked.boxes == {"face": len(files)}
    assert report.images == "copy"
    assert not report.unread, "HEIC became JPEG"
    everything = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert str(files["kia/heic.heic"].parent).encode() not in everything, "no file leads back to the photos"
    kept = [json.loads(line) for line in (tmp_path / "out/.carscribe-export.jsonl").read_text("utf-8").splitlines()]
    assert {row["photo"]: row["masked"] for row in kept if "masked" in row} == {key: {"face": 1} for key in files}


@pytest.mark.parametrize("format_", [*FILES, *SET_FORMATS])
def test_rows_name_the_files_that_are_there(format_: str, files: dict[str, Path], tmp_path: Path) -> None:
    to = tmp_path / "out"
    write(format_, files, to, Masking([ColourDetector()]))
    images = {
        path.relative_to(to).as_posix() for path in to.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"}
    }
    assert sorted(Path(name).name.removeprefix("kia_") for name in images) == sorted(
        ["jpeg.jpg", "turned.JPEG", "profile.jpg", "png.png", *(f"{name}.jpg" for name in SHOWN[4:])]
    )
    told = "".join(path.read_text("utf-8") for path in to.rglob("*") if path.suffix in {".jsonl", ".csv"})
    if format_ == "kohya":
        assert all((to / name).with_suffix(".txt").exists() for name in images)
    else:
        assert all(name.removeprefix("train/") in told for name in images)


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_boxes_are_of_the_upright_photo(orientation: int, tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(jpeg(orientation))
    left, top, right, bottom = PLANTED
    listed = ListedBoxes({"a.jpg": [Box(kind="plate", left=left, top=top, right=right, bottom=bottom)]})
    report = write("kohya", {"a.jpg": path}, tmp_path / "out", Masking(listed=listed))
    assert (report.masked.boxes, listed.not_met(), leaks(tmp_path / "out")) == ({"plate": 1}, (), [])
    with Image.open(tmp_path / "out/a.jpg") as image:
        assert image.size == (WIDTH_PX, HEIGHT_PX)
        assert image.layer == [(1, 1, 1, 0), (2, 1, 1, 1), (3, 1, 1, 1)], "4:4:4"
        corner = np.asarray(image.convert("RGB"))[2, 2]
    assert abs(int(corner[0]) - 41) < 6, "the dark side is on the left"


def test_a_photo_in_which_nothing_is_found_is_written_anew_as_well(files: dict[str, Path], tmp_path: Path) -> None:
    report = write("kohya", {"a.jpg": files["kia/jpeg.jpg"]}, tmp_path / "out", Masking())
    assert (report.masked.images, report.masked.with_boxes, dict(report.masked.boxes)) == (1, 0, {})
    assert leaks(tmp_path / "out") == ["a.jpg: pixels"], "the patch, which nobody found, and nothing else"


@pytest.mark.parametrize(("mode", "says"), [("link", "--images copy"), ("none", "lead")])
@pytest.mark.parametrize("format_", ["kohya", "jsonl", "trl"])
def test_images_that_would_be_the_photos_themselves_are_refused(
    format_: str, mode: str, says: str, files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=says):
        write(format_, files, tmp_path / "out", Masking(), images=mode)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("again", [True, False])
def test_an_image_of_an_earlier_export_is_never_kept_in_the_place_of_another_kind(
    again: bool, files: dict[str, Path], tmp_path: Path
) -> None:
    some, to = {"a.jpg": files["kia/jpeg.jpg"]}, tmp_path / "out"
    masking = Masking([ColourDetector()])
    write("kohya", some, to, None if again else masking)
    report = write("kohya", some, to, masking if again else None, overwrite=True)
    assert (report.kept, report.copied) == (0, 1)
    assert bool(leaks(to)) != again
    assert (report.masked is not None) == again


def test_what_cannot_be_masked_is_named_and_left_out(files: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "b.jpg"
    broken.write_bytes(jpeg()[:3000])
    outside = Box(kind="plate", left=900, top=10, right=950, bottom=20)
    listed = ListedBoxes({"c.jpg": [outside], "d.jpg": [outside]})
    whole = dict.fromkeys(("a.jpg", "c.jpg"), files["kia/jpeg.jpg"])
    report = write("csv", whole | {"b.jpg": broken}, tmp_path / "out", Masking([ColourDetector()], listed))
    assert report.photos == 1
    assert report.masked.unmasked.count == 2
    told = sorted(report.masked.unmasked.first)
    assert "b.jpg: is a damaged or cut-off JPEG" in told[0]
    assert "c.jpg: its listed box plate at x 900 to 950, y 10 to 20 lies outside its 240 × 160 pixels" in told[1]
    assert listed.not_met() == ("d.jpg",)
    assert leaks(tmp_path / "out") == []
    with pytest.raises(InputError, match=r"1 photos cannot be masked .*b\.jpg"):
        write("csv", {"b.jpg": broken}, tmp_path / "nothing", Masking())


def test_a_photo_that_changed_since_it_was_described_is_left_out(files: dict[str, Path], tmp_path: Path) -> None:
    one = photos({"a.jpg": files["kia/jpeg.jpg"], "b.jpg": files["kia/turned.JPEG"]})
    gone = replace(one[0], file=PhotoFile(location=str(tmp_path / "gone.jpg"), key="c.jpg"))
    report = export.write("csv", [one[0], replace(one[1], sha256="0" * 64), gone], tmp_path / "out", masker=Masking())
    assert (report.photos, report.changed.first, report.missing.first) == (1, ("b.jpg",), ("c.jpg",))
    assert report.masked is not None
    assert report.masked.images == 1


def test_sets_of_masked_photos_are_upright(files: dict[str, Path], tmp_path: Path) -> None:
    learned = [replace(each, turned=True) for each in examples(files)]
    report = export.write_set("ms-swift", learned, [], tmp_path / "out", masker=Masking([ColourDetector()]))
    assert report.turned == 0
