"""Formats of a few large files: shards are bounded, images are their bytes, the same photos make the same files."""

import hashlib
import io
import json
import os
import sys
import tarfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from carscribe import export
from carscribe.errors import InputError, MissingExtraError
from carscribe.export.packed import BATCH_ROWS
from carscribe.records import DescribedPhoto, MaskedImage, PhotoFile

from .conftest import tree

Describe = Callable[..., DescribedPhoto]

PACKED = [name for name, each in export.FORMATS.items() if each.shards]


def test_shards_are_bounded_by_photos_and_named_with_their_count(described: Describe, to: Path) -> None:
    pytest.importorskip("pyarrow")
    photos = [described(f"{i}.png") for i in range(5)]
    names = {
        "parquet": [f"data/train-0000{i}-of-00003.parquet" for i in range(3)],
        "webdataset": [f"00000{i}.tar" for i in range(3)],
        "datasets": [f"data-0000{i}-of-00003.arrow" for i in range(3)] + ["dataset_info.json", "state.json"],
    }
    for format_ in PACKED:
        export.write(format_, photos, to / format_, limits=export.ShardLimits(photos=2))
        assert tree(to / format_) == names[format_]


def test_shards_are_bounded_by_size_and_a_larger_photo_has_one_of_its_own(described: Describe, to: Path) -> None:
    photos = [described(f"{i}.png") for i in range(6)]
    photos[2].file.path.write_bytes(large := os.urandom(40_000))
    photos[2] = replace(photos[2], sha256=hashlib.sha256(large).hexdigest())
    export.write("webdataset", photos, to, limits=export.ShardLimits(size_bytes=1500))
    held = []
    for name in tree(to):
        with tarfile.open(to / name) as tar:
            held.append(len(tar.getnames()) // 3)
    assert sum(held) == 6
    sizes = [(to / name).stat().st_size for name in tree(to)]
    assert [count for count, size in zip(held, sizes, strict=True) if size > 40_000] == [1]


@pytest.mark.parametrize("format_", PACKED)
def test_no_shard_is_larger_than_asked(described: Describe, to: Path, format_: str) -> None:
    photos = []
    for i in range(12):
        photo = described(f"{i}.png")
        photo.file.path.write_bytes(content := os.urandom(20_000 + i))
        photos.append(replace(photo, sha256=hashlib.sha256(content).hexdigest()))
    export.write(format_, photos, to, limits=export.ShardLimits(size_bytes=100_000))
    sizes = [path.stat().st_size for path in to.rglob("*") if path.suffix in {".tar", ".parquet", ".arrow"}]
    assert max(sizes) <= 100_000
    assert len(sizes) <= 6


@pytest.mark.parametrize("limits", [{"size_bytes": 0}, {"photos": 0}])
def test_a_shard_that_holds_nothing_is_refused(limits: dict[str, int]) -> None:
    with pytest.raises(InputError, match="at least one photo"):
        export.ShardLimits(**limits)


@pytest.mark.parametrize("format_", PACKED)
def test_missing_changed_and_undescribed_photos_are_named_and_left_out(
    described: Describe, to: Path, format_: str
) -> None:
    good, gone, changed, empty = [described(key) for key in ("기아/니로.png", "gone.png", "changed.png", "empty.png")]
    gone.file.path.unlink()
    changed.file.path.write_bytes(b"other")
    empty = replace(empty, description=replace(empty.description, text=" "))
    report = export.write(format_, [gone, good, changed, empty], to)
    assert (report.photos, report.copied) == (1, 1)
    assert (report.missing.first, report.changed.first) == (("gone.png",), ("changed.png",))
    assert report.empty.first == ("empty.png",)


@pytest.mark.parametrize("format_", PACKED)
def test_the_same_photos_make_the_same_bytes(described: Describe, to: Path, format_: str) -> None:
    photos = [described("a.png", "one"), described("b.png", "둘")]
    for name in ("first", "second"):
        export.write(format_, photos, to / name)
    for name in tree(to / "first"):
        assert (to / "first" / name).read_bytes() == (to / "second" / name).read_bytes()


def test_other_captions_have_another_fingerprint_so_that_no_cache_of_old_ones_is_taken(
    described: Describe, to: Path
) -> None:
    photo = described("a.png", "old")
    fingerprints = []
    for text in ("old", "new"):
        export.write("datasets", [replace(photo, description=replace(photo.description, text=text))], to / text)
        fingerprints.append(json.loads((to / text / "state.json").read_text())["_fingerprint"])
    assert len(set(fingerprints)) == 2


@pytest.mark.parametrize("format_", PACKED)
def test_an_overwritten_export_of_fewer_shards_leaves_none_of_the_old(
    described: Describe, to: Path, format_: str
) -> None:
    photos = [described(f"{i}.png") for i in range(4)]
    export.write(format_, photos, to, limits=export.ShardLimits(photos=1))
    (to / "cache-mine.arrow").write_text("mine")
    export.write(format_, photos, to, overwrite=True)
    assert len(tree(to)) == {"parquet": 2, "webdataset": 2, "datasets": 4}[format_]
    assert (to / "cache-mine.arrow").read_text() == "mine"


@pytest.mark.parametrize("format_", ["parquet", "datasets", "paths", "columns"])
def test_a_path_that_is_no_text_is_named_and_left_out(described: Describe, to: Path, format_: str) -> None:
    good, bad = described("a.png"), described("b\udcb0.png")
    bad = replace(bad, file=replace(bad.file, location="/photos/b\udcb0.png"))
    report = export.write(format_, [good, bad], to, images="none")
    assert (report.photos, report.unwritable.first) == (1, ("b\udcb0.png",))
    with pytest.raises(InputError, match=r"path that is no text.*--images copy"):
        export.write(format_, [bad], to, images="none", overwrite=True)


@pytest.mark.parametrize("format_", [*PACKED, "paths", "columns"])
def test_a_photo_leaves_nothing_in_memory(described: Describe, to: Path, format_: str) -> None:
    one = described("a.png")
    count, extra_bytes = 3 * BATCH_ROWS, 2000

    def photos(count: int) -> Iterator[DescribedPhoto]:
        for i in range(count):
            text = f"{i} " * (extra_bytes // len(f"{i} "))
            yield replace(one, description=replace(one.description, text=text))

    def peak_bytes(count: int) -> int:
        tracemalloc.start()
        limits = export.ShardLimits(photos=BATCH_ROWS)
        images = "none" if "none" in export.FORMATS[format_].modes else None
        export.write(format_, photos(count), to / str(count), images=images, limits=limits)  # type: ignore[arg-type]
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = peak_bytes(BATCH_ROWS), peak_bytes(count)
    assert many - few < (count - BATCH_ROWS) * extra_bytes / 10


def test_row_groups_are_bounded(described: Describe, to: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    one = described("a.png")
    export.write("parquet", [one] * (2 * BATCH_ROWS + 1), to)
    with parquet.ParquetFile(to / "data/train-00000-of-00001.parquet") as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [BATCH_ROWS, BATCH_ROWS, 1]


def test_a_tar_holds_samples_side_by_side_with_names_that_cannot_collide(described: Describe, to: Path) -> None:
    photos = [described("기아/니로.v2.png"), described("기아/니로.v2.jpg", file="x.jpg"), described("b.webp")]
    export.write("webdataset", photos, to)
    with tarfile.open(to / "000000.tar") as tar:
        names = tar.getnames()
        about = json.load(tar.extractfile("000000001.json") or io.BytesIO())
        assert (tar.extractfile("000000000.jpg") or io.BytesIO()).read() == photos[0].file.path.read_bytes()
    assert names == [f"00000000{i}.{suffix}" for i in range(3) for suffix in ("jpg", "txt", "json")]
    assert (about["photo"], about["suffix"], about["width_px"]) == ("기아/니로.v2.jpg", ".jpg", 8)
    assert about["sha256"] == photos[1].sha256


def test_without_pyarrow_it_says_what_to_install(
    described: Describe, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for format_ in ("parquet", "datasets"):
        with pytest.raises(MissingExtraError, match=r"carscribe\[parquet\]"):
            export.write(format_, [described("a.png")], to)
        assert not to.exists()
    assert export.write("webdataset", [described("b.png")], to).photos == 1


class Painter:
    """Masks everything: what it makes says nothing of the photo."""

    def mask(self, photo: PhotoFile, sha256: str, content: bytes, format_: str) -> MaskedImage:
        return MaskedImage(content=f"{format_} made anew".encode(), boxes={"face": 1})


@pytest.mark.parametrize("format_", PACKED)
def test_masked_images_are_packed_and_no_photo_is(described: Describe, to: Path, format_: str) -> None:
    photos = [described("a.png"), described("b.heic")]
    report = export.write(format_, photos, to, masker=Painter(), limits=export.ShardLimits(photos=1))
    assert report.masked is not None
    assert (report.photos, report.masked.with_boxes) == (2, 2)
    written = b"".join(path.read_bytes() for path in to.rglob("*") if path.is_file())
    for photo in photos:
        assert photo.file.path.read_bytes() not in written
        assert str(photo.file.path).encode() not in written
    assert b"PNG made anew" in written
    assert b"JPEG made anew" in written
