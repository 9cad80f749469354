"""What photos have answers to is kept beside the answers, and always what these say."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEngine
from workspaces import ANSWERED, COUNTED_ANEW, RECIPE, make_workspace

from carscribe import keeping
from carscribe.catalog import prompt_sets
from carscribe.catalog.workspace import write_workspace
from carscribe.pipeline import plan_run
from carscribe.records import Tiling


def engine(**how: object) -> FakeEngine:
    made = FakeEngine(limit=1, tiling=Tiling(tile_px=8))
    made.card = replace(made.card, **how)  # type: ignore[arg-type, misc]
    return made


def answered(workspace: Path) -> list[tuple[int, int, str]]:
    """What is kept, once it was held against the answers."""
    with closing(sqlite3.connect(workspace / "catalog.sqlite")) as connection:
        kept = connection.execute(ANSWERED).fetchall()
        assert kept == connection.execute(COUNTED_ANEW).fetchall()
    return kept


def test_each_run_adds_to_what_is_answered(tmp_path: Path) -> None:
    runs: list[tuple[Callable[[], FakeEngine], dict[str, object], list[str]]] = [
        (engine, {"languages": ["en"], "limit": 2}, ["1,2"] * 2),
        (engine, {"languages": ["en", "ko"]}, ["1,2,3,4"] * 3),
        (lambda: engine(dtype="bfloat16"), {"strict": True, "limit": 1}, ["1,2,3,4"] * 3),
        (lambda: engine(weights="other"), {"languages": ["ko"], "limit": 1}, ["1,2,3,4", "3,4", "1,2,3,4", "1,2,3,4"]),
    ]
    for make, options, kept in runs:
        workspace = make_workspace(tmp_path, engine=make(), **options)
        assert [prompts for _, _, prompts in answered(workspace)] == kept


def test_a_photo_that_was_set_aside_has_answers_to_nothing(tmp_path: Path) -> None:
    none = FakeEngine(limit=1, capacity=0)
    assert answered(make_workspace(tmp_path, engine=none)) == []


@pytest.mark.parametrize("enough", [1, 16])
def test_more_answers_than_are_asked_for_are_enough(
    enough: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the database is told that they are, or Python finds it out photo by photo."""
    monkeypatch.setattr(prompt_sets, "ENOUGH", enough)
    monkeypatch.setattr(prompt_sets, "REMEMBERED", enough)
    workspace = make_workspace(tmp_path, limit=1, languages=["ko", "en"])
    make_workspace(tmp_path, limit=2, languages=["en"])
    (tmp_path / "own.toml").write_text(RECIPE.replace("Color?", "Colour?"), "utf-8")
    make_workspace(tmp_path, languages=["en"])
    assert sorted(prompts for _, _, prompts in answered(workspace)) == ["1,2,3,4,5", "3,4,5", "4,5"]
    plan = plan_run(tmp_path / "photos", recipes=[tmp_path / "own.toml"], compare_bytes=False)
    with write_workspace(workspace, create=False) as opened:
        job = keeping.prepare(opened, plan, FakeEngine())
        assert not job.work.asks
        assert [len(result.answers) for result in keeping.in_order(job, None)] == [2] * 3
