"""The photos of folders: held as names, given one by one or in blocks, always in natural order."""

from itertools import chain
from pathlib import Path

import pytest

from carscribe.photos import folders
from carscribe.photos.folders import FolderPhotos, walk_photos

TREES = {
    "a photo between folders": ["b/1.jpg", "b 1.jpg", "c/1.jpg", "a.jpg", "b.jpg", "bb.jpg"],
    "photos around the folders below them": ["1.jpg", "3.jpg", "2/5.jpg", "2/b/1.jpg", "2/a.jpg", "20.jpg"],
    "folders that differ in capitals": ["B/2.jpg", "b/1.jpg", "b/3.jpg", "B/10.jpg", "b/c/1.jpg", "B/C/2.jpg", "a.jpg"],
    "numbers of any length": [
        "10.jpg",
        "9.jpg",
        "009.jpg",
        "1000000.jpg",
        "0.jpg",
        "a1b10.jpg",
        "a1b9.jpg",
        "a1.jpg",
    ],
    "one folder": [f"차 {i:03}.jpg" for i in range(9)],
}


def made(folder: Path, names: list[str]) -> FolderPhotos:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return walk_photos(folder).photos


def naturally(key: str) -> tuple[list[str], str]:
    return [folders.natural_order(part) for part in key.split("/")], key


@pytest.mark.parametrize("block", [1, 2, 4096])
@pytest.mark.parametrize("names", TREES.values(), ids=TREES)
def test_blocks_have_every_photo_once_and_know_its_place(
    names: list[str], block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "BLOCK", block)
    photos = made(tmp_path, names)
    blocks = list(photos.blocks())
    places = [list(each.places()) for each in blocks]
    assert [sorted(each) for each in places] == [list(range(min(each), max(each) + 1)) for each in places]
    found = dict(zip(chain(*places), chain(*(each.keys for each in blocks)), strict=True))
    assert [found[place] for place in range(len(photos))] == sorted(names, key=naturally)
    assert [file.key for file in photos] == sorted(names, key=naturally)
    assert [photos[place] for place in range(len(photos))] == list(photos)
    ways = [way + name for each in blocks for way, some in each.folders for name in some]
    assert sorted(ways) == sorted(file.location for file in photos)


def test_there_is_no_photo_past_the_last(tmp_path: Path) -> None:
    photos = made(tmp_path, ["1.jpg", "a/2.jpg"])
    with pytest.raises(IndexError):
        photos[2]
    with pytest.raises(IndexError):
        photos[-1]


def test_of_many_ways_to_a_photo_the_first_in_order_stays(tmp_path: Path) -> None:
    made(tmp_path, ["m/real.jpg", "m/other.jpg"])
    for name in ("a.jpg", "z.jpg", "m/0.jpg"):
        try:
            (tmp_path / name).symlink_to(tmp_path / "m" / "real.jpg")
        except OSError:
            pytest.skip("this system does not let us make symbolic links")
    photos = walk_photos(tmp_path).photos
    assert [file.key for file in photos] == ["a.jpg", "m/other.jpg"]
    assert list(photos.identities()) == [str(tmp_path.resolve() / "m" / name) for name in ("real.jpg", "other.jpg")]
