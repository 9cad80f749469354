"""Files that look like others: moved, copied, replaced by another of the same name, or of the same bytes."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from fakes import FakeEngine
from photos_on_disk import write_photos
from workspaces import make_workspace

import carscribe
from carscribe.catalog.reading import KeptPhoto, kept_photos
from carscribe.catalog.status import status_of
from carscribe.catalog.workspace import read_workspace
from carscribe.errors import OutOfMemoryError
from carscribe.photos.decode import read_photo
from carscribe.records import Answer, Request, Tiling


def photos_in(workspace: Path) -> list[KeptPhoto]:
    with read_workspace(workspace) as opened:
        return list(kept_photos(opened))


@pytest.mark.parametrize(
    ("old_is_gone", "same_size", "known_in", "asked"),
    [
        pytest.param(True, True, ["new"], 0, id="moved"),
        pytest.param(False, True, ["photos", "new"], 0, id="copied"),
        pytest.param(True, False, ["photos", "new"], 12, id="others of the same names, in their stead"),
        pytest.param(False, False, ["photos", "new"], 12, id="others of the same names, beside them"),
    ],
)
def test_a_file_is_the_old_one_moved_only_if_that_is_gone_and_was_as_large(
    old_is_gone: bool, same_size: bool, known_in: list[str], asked: int, tmp_path: Path
) -> None:
    workspace = make_workspace(tmp_path)
    shutil.copytree(tmp_path / "photos", tmp_path / "new")
    if not same_size:
        for path in (tmp_path / "new").iterdir():
            path.write_bytes(path.read_bytes() + b"another")
    if old_is_gone:
        shutil.rmtree(tmp_path / "photos")
    engine = FakeEngine()
    own = {"recipes": [tmp_path / "own.toml"], "languages": ["en", "ko"], "engine": engine}
    results = list(carscribe.describe(tmp_path / "new", workspace=workspace, **own))  # type: ignore[arg-type]
    assert [len(result.answers) for result in results] == [4] * 3
    assert engine.prompts == asked
    known = photos_in(workspace)
    assert [photo.file.path.parent.name for photo in known] == [folder for folder in known_in for _ in range(3)]
    assert [len(photo.answers) for photo in known] == [4] * len(known)


def test_the_twin_of_a_photo_that_was_set_aside_is_asked_when_it_comes_later(tmp_path: Path) -> None:
    class ShortOfMemoryAtFirst(FakeEngine):
        def release(self) -> None:
            super().release()
            if self.released == 2:  # a photo alone is tried twice
                self.capacity = 1

    write_photos(tmp_path / "photos", 2)
    shutil.copy(tmp_path / "photos" / "차 0.png", tmp_path / "photos" / "차 2.png")
    engine = ShortOfMemoryAtFirst(limit=1, capacity=0, tiling=Tiling(tile_px=28, max_tiles=1))
    known = photos_in(make_workspace(tmp_path, engine=engine))
    assert len(engine.failed) == 2
    assert engine.prompts == 8
    assert [len(photo.answers) for photo in known] == [4, 4, 4]


def test_in_a_strict_run_the_twin_of_a_photo_whose_tiles_memory_lowered_is_not_asked(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 1)
    shutil.copy(tmp_path / "photos" / "차 0.png", tmp_path / "photos" / "차 1.png")
    engine = FakeEngine(limit=1, capacity=1, tiling=Tiling(tile_px=8))
    known = photos_in(make_workspace(tmp_path, engine=engine, strict=True))
    assert engine.prompts == 4
    assert [len(photo.answers) for photo in known] == [4, 4]
    assert all(origin and origin.tiles < origin.asked_tiles for photo in known for origin in photo.origins)


def test_the_twin_of_a_photo_that_fails_shares_its_failure_and_is_not_counted_as_answered(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 3)
    shutil.copy(tmp_path / "photos" / "차 0.png", tmp_path / "photos" / "차 0 again.png")

    class CannotDoTheFirst(FakeEngine):
        def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
            if any((request.tiles == first).all() for request in requests):
                raise OutOfMemoryError("too large")
            return super().answer(requests)

    tiling = Tiling(tile_px=28, max_tiles=1)
    first = read_photo(tmp_path / "photos" / "차 0.png", tiling).tiles
    workspace = make_workspace(tmp_path, engine=CannotDoTheFirst(limit=1, tiling=tiling))
    with read_workspace(workspace) as opened:
        status = status_of(opened)
    assert [key for key, _ in status.failed] == ["차 0 again.png", "차 0.png"]
    assert status.last_run is not None
    assert (status.last_run.figures["answered"], status.last_run.figures["failed"]) == (2, 2)
