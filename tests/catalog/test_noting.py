"""Files are compared a page at a time: what comes of it depends neither on the pages nor on the order of files."""

import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fakes import FakeEngine
from photos_on_disk import write_photos
from workspaces import make_workspace

import carscribe
from carscribe import found, keeping
from carscribe.catalog import noting
from carscribe.catalog.workspace import write_workspace
from carscribe.errors import WorkspaceError
from carscribe.photos import folders
from carscribe.pipeline import RunPlan, plan_run
from carscribe.records import PhotoResult

PAGES = pytest.mark.parametrize("page", [1, 2, 500])


@pytest.fixture
def page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    size: int = request.param
    monkeypatch.setattr(noting, "PAGE", size)
    monkeypatch.setattr(found, "BLOCK", size + 1)
    monkeypatch.setattr(folders, "BLOCK", size + 1)
    return size


def plan_of(folder: Path) -> RunPlan:
    return plan_run(folder / "photos", recipes=[folder / "own.toml"], languages=["en", "ko"], compare_bytes=False)


def to_ask(folder: Path) -> list[str]:
    """The keys of the photos that would be asked."""
    with write_workspace(folder / "workspace", create=False) as opened:
        asks = keeping.prepare(opened, plan_of(folder), FakeEngine()).work.asks
        assert list(asks.indexes) == sorted(asks.indexes)
        assert [plan_of(folder).files[ask.index] for ask in asks] == [ask.file for ask in asks]
        return [ask.file.key for ask in asks]


@pytest.mark.parametrize("page", [1, 2, 500], indirect=True)
@pytest.mark.parametrize("copy", ["a copy/차 1.png", "z copy/차 1.png"])
def test_a_copy_is_known_though_its_original_was_replaced_meanwhile(page: int, copy: str, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos" / "m", 3).parent
    make_workspace(tmp_path)
    (photos / copy).parent.mkdir()
    shutil.copyfile(photos / "m" / "차 1.png", photos / copy)
    (photos / "m" / "차 1.png").write_bytes(b"something else")
    assert to_ask(tmp_path) == ["m/차 1.png"]


@pytest.mark.parametrize("page", [1, 2, 500], indirect=True)
def test_two_photos_that_changed_places_are_known(page: int, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    make_workspace(tmp_path)
    for old, new in (("차 0.png", "aside"), ("차 3.png", "차 0.png"), ("aside", "차 3.png")):
        (photos / old).rename(photos / new)
    changed = {f"차 {i}.png" for i in (0, 3)}
    assert set(to_ask(tmp_path)) <= changed  # of another size, they are known once they are read
    engine = FakeEngine()
    make_workspace(tmp_path, engine=engine)
    assert engine.prompts == 0


@pytest.mark.parametrize("page", [1, 2, 500], indirect=True)
def test_only_what_is_missing_is_asked_wherever_it_stands(page: int, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 7)
    write_photos(tmp_path / "photos" / "차 3", 3)
    make_workspace(tmp_path)
    write_photos(tmp_path / "photos", 2, start=20)
    write_photos(tmp_path / "photos" / "차 3", 1, start=30)
    (tmp_path / "photos" / "차 5.png").write_bytes(b"nothing that can be read")
    os.utime(tmp_path / "photos" / "차 6.png", (1, 1))
    assert to_ask(tmp_path) == ["차 3/차 30.png", "차 5.png", "차 20.png", "차 21.png"]


@pytest.mark.parametrize("page", [1, 2, 500], indirect=True)
def test_a_listed_file_that_is_missing_is_not_taken_for_one_that_moved(page: int, tmp_path: Path) -> None:
    """The new file has the key and the size that the missing one had, but that one is still asked for."""
    photos = write_photos(tmp_path / "photos", 1)
    make_workspace(tmp_path)
    write_photos(tmp_path / "b" / "photos", 1)
    (photos / "차 0.png").rename(tmp_path / "away")

    def describe(sources: list[Path]) -> list[PhotoResult]:
        results = carscribe.describe(
            sources,
            workspace=tmp_path / "workspace",
            recipes=[tmp_path / "own.toml"],
            languages=["en", "ko"],
            engine=FakeEngine(),
        )
        return list(results)

    listed = tmp_path / "list.json"
    listed.write_text(json.dumps([{"image": "photos/차 0.png"}]), "utf-8")
    results = describe([tmp_path / "b" / "photos", listed])
    assert [(result.file.key, len(result.answers)) for result in results] == [("차 0.png", 4), ("photos/차 0.png", 4)]
    with closing(sqlite3.connect(tmp_path / "workspace" / "catalog.sqlite")) as connection:
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (2,)


def test_a_sample_of_what_is_to_ask_is_spread_evenly(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 10)
    workspace = make_workspace(tmp_path, limit=1)
    with write_workspace(workspace, create=False) as opened:
        asks = keeping.prepare(opened, plan_of(tmp_path), FakeEngine()).work.asks
    assert [ask.index for ask in asks.spread(3)] == [1, 4, 7]
    assert [ask.index for ask in asks.spread(100)] == list(range(1, 10))


def test_a_file_that_the_catalogue_lost_sight_of_is_said(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    with write_workspace(workspace, create=False) as opened:
        job = keeping.prepare(opened, plan_of(tmp_path), FakeEngine())
        opened.connection.execute("UPDATE files SET path = path || '.gone' WHERE id = 2")
        with pytest.raises(WorkspaceError, match=r"차 1.png was moved while.*same command"):
            list(keeping.in_order(job, None))
