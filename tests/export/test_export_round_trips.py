"""What is written is read back, equal, by the readers that users have: names and captions in Korean, and odd ones."""

import csv
import glob
import io
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from carscribe import export
from carscribe.export.captions import caption
from carscribe.plaintext import plain_line
from carscribe.records import DescribedPhoto

Describe = Callable[..., DescribedPhoto]

CARS = (
    ("기아/니로 2.png", "소형 SUV, 짧은 오버행, 투톤 차체", "기아 니로", "SUV"),
    ("a, b's [1] #2 🚗.png", 'a "red" car, low; 5\' wheels 👩‍🔧', 'Kia "Niro", 2세대', "소형, SUV"),
    ("기아/니로 2.jpg", "first line\nsecond line,\r\nthird\ttab", "이름\n두 줄", ""),
    ("test/val 1.png", "-20 mm lowered, =1+1", "", "세단"),
    ("d.e.f.PNG", "한글 caption, back\\slash, {brace}, <tag>", "현대 아이오닉 5", "EV 🚙"),
    ("plain.png", "null", "nan", "1"),
)


@pytest.fixture
def cars(described: Describe) -> list[DescribedPhoto]:
    return [described(key, text, name=name or None, kind=kind or None, tokens=7) for key, text, name, kind in CARS]


@pytest.fixture
def datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library, cut off from the hub and from the user's own cache."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # some that its own dependencies give at import
        library = pytest.importorskip("datasets")
    library.disable_progress_bars()
    return library


def captions_of(photos: Sequence[DescribedPhoto]) -> list[str]:
    return [caption(photo.description.text) for photo in photos]


def assert_equal(rows: Sequence[Any], photos: Sequence[DescribedPhoto], *, text: str = "text") -> None:
    """Caption, name, kind and hash of every row are those of its photo."""
    assert [row[text] for row in rows] == captions_of(photos)
    for column in ("name", "kind"):
        expected = [plain_line(getattr(photo.file.metadata, column) or "") for photo in photos]
        assert [row[column] for row in rows] == expected
    assert [row["sha256"] for row in rows] == [photo.sha256 for photo in photos]


def assert_pictures(pictures: Sequence[Any], photos: Sequence[DescribedPhoto]) -> None:
    for picture, photo in zip(pictures, photos, strict=True):
        with Image.open(photo.file.path) as source:
            assert picture.getpixel((0, 0)) == source.getpixel((0, 0))


def load(datasets: Any, tmp_path: Path, *arguments: str, **options: Any) -> Any:
    return datasets.load_dataset(*arguments, cache_dir=str(tmp_path / "cache"), split="train", **options)


def test_captions_are_one_line_and_otherwise_as_they_were() -> None:
    assert [caption(text) for _, text, *_ in CARS[:2]] == [text for _, text, *_ in CARS[:2]]
    assert caption(CARS[2][1]) == "first line second line, third tab"


def test_diffusers_reads_an_imagefolder(datasets: Any, cars: list[DescribedPhoto], to: Path, tmp_path: Path) -> None:
    """As train_text_to_image.py: by data_files, the first column the image, the second the caption, but for one named.

    Source: diffusers, examples/text_to_image/train_text_to_image.py.
    """
    export.write("imagefolder", cars, to)
    rows = load(datasets, tmp_path, "imagefolder", data_files={"train": str(to / "**")})
    assert rows.column_names[:2] == ["image", "text"]
    assert_equal(list(rows), cars)
    assert_pictures(rows["image"], cars)
    assert_equal(list(load(datasets, tmp_path, "imagefolder", data_dir=str(to))), cars)


@pytest.mark.parametrize("images", ["copy", "none"])
def test_datasets_and_pandas_read_parquet(
    datasets: Any, cars: list[DescribedPhoto], to: Path, tmp_path: Path, images: str
) -> None:
    export.write("parquet", cars, to, images=images, limits=export.ShardLimits(photos=4))  # type: ignore[arg-type]
    for rows in (
        load(datasets, tmp_path, "parquet", data_files=str(to / "data/*.parquet")),
        load(datasets, tmp_path, str(to)),
        load(datasets, tmp_path, "parquet", data_dir=str(to)),
    ):
        pictures = rows if images == "copy" else rows.cast_column("image", datasets.Image())
        assert isinstance(pictures.features["image"], datasets.Image)
        assert_equal(list(rows), cars)
        assert_pictures(pictures["image"], cars)
        assert rows["tokens"][:] == [7] * len(cars)
    pandas = pytest.importorskip("pandas")
    table = pandas.read_parquet(to / "data")
    assert_equal(table.to_dict("records"), cars)
    if images == "copy":
        assert table["image"][1]["bytes"] == cars[1].file.path.read_bytes()


@pytest.mark.parametrize("images", ["copy", "none"])
def test_load_from_disk_opens_what_save_to_disk_would_have_written(
    datasets: Any, cars: list[DescribedPhoto], to: Path, tmp_path: Path, images: str
) -> None:
    export.write("datasets", cars, to, images=images, limits=export.ShardLimits(photos=4))  # type: ignore[arg-type]
    rows = datasets.load_from_disk(str(to))
    assert_equal(list(rows), cars)
    assert_pictures(rows["image"], cars)
    assert rows.split == "train"
    again = tmp_path / "again"
    rows.save_to_disk(str(again), num_shards=2)
    for file in ("dataset_info.json", "state.json"):
        ours, theirs = [json.loads((folder / file).read_text("utf-8")) for folder in (to, again)]
        assert ours.keys() == theirs.keys()
        assert {**ours, "_fingerprint": ""} == {**theirs, "_fingerprint": ""}
    arrow = pytest.importorskip("pyarrow")
    schemas = []
    for folder in (to, again):
        with arrow.ipc.open_stream(str(folder / "data-00000-of-00002.arrow")) as stream:
            schemas.append(stream.schema)
    assert schemas[0].equals(schemas[1], check_metadata=True)


def test_mapped_rows_of_new_captions_are_not_those_cached_of_old_ones(
    datasets: Any, described: Describe, to: Path
) -> None:
    seen = []
    for text in ("old", "new"):
        export.write("datasets", [described("a.png", text)], to, overwrite=text == "new")
        seen.append(datasets.load_from_disk(str(to)).map(_longer, remove_columns=["image"])["text"][0])
    assert seen == ["old!", "new!"]


def _longer(row: dict[str, Any]) -> dict[str, str]:
    return {"text": row["text"] + "!"}


def test_datasets_reads_tar_shards(datasets: Any, cars: list[DescribedPhoto], to: Path, tmp_path: Path) -> None:
    export.write("webdataset", cars, to, limits=export.ShardLimits(photos=4))
    for options in ({"data_files": {"train": str(to / "*.tar")}}, {"data_dir": str(to)}):
        rows = load(datasets, tmp_path, "webdataset", **options)
        assert rows["txt"][:] == captions_of(cars)
        assert_equal(rows["json"][:], cars)
        assert_pictures(rows["jpg"], cars)
    streamed = load(datasets, tmp_path, "webdataset", data_files=str(to / "*.tar"), streaming=True)
    assert [row["txt"] for row in streamed] == captions_of(cars)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_webdataset_package_reads_tar_shards(cars: list[DescribedPhoto], to: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    export.write("webdataset", cars, to, limits=export.ShardLimits(photos=4))
    urls = sorted(glob.glob(str(to / "*.tar")))  # noqa: PTH207 - as its users do
    raw = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["jpg"] for sample in raw] == [photo.file.path.read_bytes() for photo in cars]
    assert [sample["__key__"] for sample in raw] == [f"{i:09d}" for i in range(len(cars))]
    decoded = list(webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg", "txt", "json"))
    assert [text for _, text, _ in decoded] == captions_of(cars)
    assert_equal([about for _, _, about in decoded], cars)
    for (picture, _, _), photo in zip(decoded, cars, strict=True):
        assert picture.size == (photo.width_px, photo.height_px)


def test_datasets_reads_a_list_of_paths(datasets: Any, cars: list[DescribedPhoto], to: Path, tmp_path: Path) -> None:
    export.write("paths", cars, to)
    file = str(to / "paths.jsonl")
    for rows in (
        load(datasets, tmp_path, "json", data_files=file),
        datasets.Dataset.from_json(file, cache_dir=str(tmp_path / "cache")),
    ):
        assert_equal(list(rows), cars)
        assert_pictures(rows.cast_column("image", datasets.Image())["image"], cars)


def test_from_dict_takes_columns(datasets: Any, cars: list[DescribedPhoto], to: Path) -> None:
    export.write("columns", cars, to)
    with (to / "paths.json").open(encoding="utf-8") as file:
        rows = datasets.Dataset.from_dict(json.load(file))
    assert_equal(list(rows), cars)
    assert_pictures(rows.cast_column("image", datasets.Image())["image"], cars)


@pytest.mark.parametrize("images", ["copy", "link"])
@pytest.mark.parametrize("format_", ["paths", "columns"])
def test_copied_images_are_listed_below_the_export(
    cars: list[DescribedPhoto], to: Path, format_: str, images: str
) -> None:
    export.write(format_, cars, to, images=images)  # type: ignore[arg-type]
    if format_ == "paths":
        paths = [json.loads(line)["image"] for line in (to / "paths.jsonl").read_text("utf-8").splitlines()]
    else:
        paths = json.loads((to / "paths.json").read_text("utf-8"))["image"]
    assert [(to / path).read_bytes() for path in paths] == [photo.file.path.read_bytes() for photo in cars]
    assert paths[0] == "images/기아/니로 2.png"


def test_datasets_and_pandas_read_csv(datasets: Any, described: Describe, to: Path, tmp_path: Path) -> None:
    cars = [described(key, text, name=name, kind=kind) for key, text, name, kind in CARS if name not in {"", "nan"}]
    export.write("csv", [car for car in cars if car.file.metadata.kind], to)
    photos = [car for car in cars if car.file.metadata.kind]
    rows = load(datasets, tmp_path, "csv", data_files=str(to / "captions.csv"), encoding="utf-8-sig")
    assert_equal(list(rows), photos, text="prompt")
    pandas = pytest.importorskip("pandas")
    assert_equal(pandas.read_csv(to / "captions.csv").to_dict("records"), photos, text="prompt")
    with io.open(to / "captions.csv", encoding="utf-8-sig", newline="") as file:  # noqa: UP020 - text as csv wants it
        assert_equal(list(csv.DictReader(file)), photos, text="prompt")


def test_kohya_finds_every_caption_by_its_stem_and_takes_the_first_line(cars: list[DescribedPhoto], to: Path) -> None:
    """As sd-scripts, library/train_util.py: `os.path.splitext(img_path)[0] + caption_extension`, `lines[0].strip()`."""
    export.write("kohya", cars, to)
    found = {}
    for path in to.iterdir():
        if path.suffix.lower() == ".png" or path.suffix == ".jpg":
            found[path.read_bytes()] = path.with_suffix(".txt").read_text("utf-8").splitlines()[0].strip()
    assert [found[photo.file.path.read_bytes()] for photo in cars] == captions_of(cars)
