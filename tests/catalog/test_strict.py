"""What --strict asks again, and which of several answers to one question is shown."""

from dataclasses import replace
from pathlib import Path

from fakes import FakeEngine
from workspaces import make_workspace

from carscribe.catalog.reading import kept_photos
from carscribe.catalog.workspace import read_workspace


def prompts_asked(folder: Path, **options: object) -> int:
    engine = FakeEngine()
    make_workspace(folder, engine=engine, **options)
    return engine.prompts


def half_precision() -> FakeEngine:
    engine = FakeEngine()
    engine.card = replace(engine.card, dtype="bfloat16")  # type: ignore[misc]
    return engine


def shown_dtypes(workspace: Path) -> list[set[str]]:
    with read_workspace(workspace) as opened:
        return [{origin.dtype for origin in photo.origins if origin} for photo in kept_photos(opened)]


def test_a_strict_run_with_exact_decode_asks_again_what_was_read_without_it(tmp_path: Path) -> None:
    assert prompts_asked(tmp_path) == 12
    assert prompts_asked(tmp_path, exact_decode=True) == 0
    assert prompts_asked(tmp_path, exact_decode=True, strict=True) == 12
    assert prompts_asked(tmp_path, exact_decode=True, strict=True) == 0
    assert prompts_asked(tmp_path, strict=True) == 0


def test_of_several_answers_to_one_question_the_newest_is_shown(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, limit=1)
    make_workspace(tmp_path, engine=half_precision())
    assert shown_dtypes(workspace) == [{"float32"}, {"bfloat16"}, {"bfloat16"}]
    make_workspace(tmp_path, strict=True)
    assert shown_dtypes(workspace) == [{"float32"}] * 3
    make_workspace(tmp_path, engine=half_precision(), strict=True)
    assert shown_dtypes(workspace) == [{"bfloat16"}, {"float32"}, {"float32"}]
