"""Only images with the bytes that were described get into an export; the others are named."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from carscribe import export
from carscribe.errors import InputError
from carscribe.export.images import bring
from carscribe.records import DescribedPhoto

from .conftest import tree

Describe = Callable[..., DescribedPhoto]


@pytest.mark.parametrize("mode", ["copy", "link"])
def test_missing_and_changed_images_are_named_and_not_written(described: Describe, to: Path, mode: str) -> None:
    keys = ["good.png", "gone.png", "changed.png", "folder.png", "zero\0.png"]
    good, gone, changed, folder, zero = [described(key) for key in keys]
    gone.file.path.unlink()
    changed.file.path.write_bytes(changed.file.path.read_bytes() + b"!")
    folder.file.path.unlink()
    folder.file.path.mkdir()
    zero = replace(zero, file=replace(zero.file, location="a\0.png"))
    report = export.write("kohya", [changed, good, gone, folder, zero], to, images=mode)  # type: ignore[arg-type]
    assert tree(to) == ["good.png", "good.txt"]
    assert (report.photos, report.missing.count, report.changed.count) == (1, 3, 1)
    assert report.missing.first == ("gone.png", "folder.png", "zero\0.png")
    assert report.changed.first == ("changed.png",)
    assert (to / "good.png").read_bytes() == good.file.path.read_bytes()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_in_the_place_of_an_image_is_missing_and_not_waited_for(described: Describe, to: Path) -> None:
    good, pipe = described("good.png"), described("pipe.png")
    pipe.file.path.unlink()
    os.mkfifo(pipe.file.path)
    assert export.write("kohya", [pipe, good], to).missing.first == ("pipe.png",)


def test_links_take_no_space_and_copies_are_files_of_their_own(described: Describe, tmp_path: Path) -> None:
    photo = described("a.png")
    linked = export.write("csv", [photo], tmp_path / "linked", images="link")
    copied = export.write("csv", [photo], tmp_path / "copied", images="copy")
    assert photo.file.path.samefile(tmp_path / "linked/images/a.png")
    assert not photo.file.path.samefile(tmp_path / "copied/images/a.png")
    assert (linked.linked, linked.copied, linked.link_refused) == (1, 0, 0)
    assert (copied.linked, copied.copied, copied.link_refused) == (0, 1, 0)
    table_bytes = (tmp_path / "copied/captions.csv").stat().st_size
    assert copied.bytes_written == table_bytes + photo.file.path.stat().st_size
    assert linked.bytes_written == table_bytes


def test_the_file_behind_a_symbolic_link_is_linked(described: Describe, to: Path, tmp_path: Path) -> None:
    photo = described("a.png")
    (tmp_path / "link.png").symlink_to(photo.file.path)
    through = replace(photo, file=replace(photo.file, location=str(tmp_path / "link.png")))
    export.write("kohya", [through], to, images="link")
    assert not (to / "a.png").is_symlink()
    assert photo.file.path.samefile(to / "a.png")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no second file system")
def test_a_link_across_file_systems_becomes_a_copy(described: Describe, to: Path) -> None:
    photo = described("a.png")
    shared = Path(f"/dev/shm/carscribe-{os.getpid()}.png")
    try:
        shared.write_bytes(photo.file.path.read_bytes())
        elsewhere = replace(photo, file=replace(photo.file, location=str(shared)))
        if shared.stat().st_dev == photo.file.path.stat().st_dev:
            pytest.skip("one file system")
        report = export.write("kohya", [elsewhere], to, images="link")
        assert (report.copied, report.link_refused, report.linked) == (1, 1, 0)
        again = export.write("kohya", [elsewhere], to, images="link", overwrite=True)
        assert (again.kept, again.copied) == (1, 0)
    finally:
        shared.unlink(missing_ok=True)


def test_images_are_kept_when_only_captions_changed(described: Describe, to: Path) -> None:
    photos = [described("a.png", "old"), described("b.png", "old")]
    export.write("imagefolder", photos, to)
    inode = (to / "train/a.png").stat().st_ino
    new = [replace(photo, description=replace(photo.description, text="new")) for photo in photos]
    report = export.write("imagefolder", new, to, overwrite=True)
    assert (report.kept, report.copied) == (2, 0)
    assert (to / "train/a.png").stat().st_ino == inode
    assert (to / "train/metadata.jsonl").read_text("utf-8").count('"new"') == 2


def touch(path: Path) -> None:
    os.utime(path, ns=(1, 1))


@pytest.mark.parametrize("spoil", [touch, lambda path: path.write_bytes(b"x"), lambda path: path.unlink()])
def test_an_image_that_was_touched_since_is_brought_again(
    described: Describe, to: Path, spoil: Callable[[Path], object]
) -> None:
    photo = described("a.png")
    export.write("kohya", [photo], to)
    spoil(to / "a.png")
    report = export.write("kohya", [photo], to, overwrite=True)
    assert (report.kept, report.copied) == (0, 1)
    assert (to / "a.png").read_bytes() == photo.file.path.read_bytes()


def test_an_image_whose_source_changed_is_not_kept_either(described: Describe, to: Path) -> None:
    photo, other = described("a.png"), described("b.png")
    export.write("kohya", [photo, other], to)
    photo.file.path.write_bytes(b"something else")
    report = export.write("kohya", [photo, other], to, overwrite=True)
    assert report.changed.first == ("a.png",)
    assert tree(to) == ["b.png", "b.txt"]


def test_another_photo_of_the_same_name_replaces_the_first(described: Describe, to: Path) -> None:
    first, second = described("a.png"), described("a.png")
    os.utime(second.file.path, ns=(5, 5))
    os.utime(first.file.path, ns=(5, 5))  # as alike as two files can be: same size, same time
    assert first.file.path.stat().st_size == second.file.path.stat().st_size
    export.write("kohya", [first], to)
    export.write("kohya", [second], to, overwrite=True)
    assert (to / "a.png").read_bytes() == second.file.path.read_bytes()


@pytest.mark.parametrize(("before", "after"), [("copy", "link"), ("link", "copy"), ("link", "link")])
def test_the_way_images_are_taken_can_be_changed(described: Describe, to: Path, before: str, after: str) -> None:
    photo = described("a.png")
    content = photo.file.path.read_bytes()
    export.write("kohya", [photo], to, images=before)  # type: ignore[arg-type]
    report = export.write("kohya", [photo], to, images=after, overwrite=True)  # type: ignore[arg-type]
    assert photo.file.path.samefile(to / "a.png") == (after == "link")
    assert report.kept == (before == after)
    assert photo.file.path.read_bytes() == (to / "a.png").read_bytes() == content


def test_a_linked_image_that_is_wrong_leaves_the_photo_alone(described: Describe, tmp_path: Path) -> None:
    photo = described("a.png")
    target = tmp_path / "target"
    assert bring(photo.file.path, target, "0" * 64, link=True) == "changed"
    assert photo.file.path.exists()
    assert not target.exists()


def test_an_export_of_nothing_says_why_and_leaves_the_earlier_one(described: Describe, to: Path) -> None:
    photos = [described("a\x1b[31m.png"), described("b.png", "")]
    export.write("kohya", photos[:1], to)
    before = tree(to, hidden=True)
    photos[0].file.path.unlink()
    with pytest.raises(InputError, match=r"1 image files are not there .*\(a \[31m\.png\).* 1 photos have no caption"):
        export.write("kohya", photos, to, overwrite=True)
    assert tree(to, hidden=True) == before
    with pytest.raises(InputError, match="no photo was given"):
        export.write("kohya", [], to, overwrite=True)
    assert tree(to, hidden=True) == before


@pytest.mark.parametrize("format_", ["kohya", "csv", "jsonl"])
def test_without_images_their_files_are_not_looked_at(described: Describe, to: Path, format_: str) -> None:
    photo = described("a.png")
    photo.file.path.unlink()
    report = export.write(format_, [photo], to, images="none")
    assert (report.photos, report.missing.count) == (1, 0)
    assert not [name for name in tree(to) if name.endswith(".png")]
