"""A workspace is asked only for what it lacks: what decides that, and what does not."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import FakeEngine
from photos_on_disk import write_photos

import carscribe
from carscribe import keeping
from carscribe.catalog.reading import kept_photos
from carscribe.catalog.status import last_run, status_of
from carscribe.catalog.workspace import read_workspace, write_workspace
from carscribe.catalog.writing import Outcome, RunWriter
from carscribe.errors import WorkspaceError
from carscribe.pipeline import ModelRequest, plan_run
from carscribe.records import Answer, PhotoResult, Request, Tiling

Ask = Callable[..., tuple[int, list[PhotoResult]]]

RECIPE = """
id = "own"
version = 1
languages = ["en", "ko"]
[[questions]]
id = "wheels"
priority = 1
max_new_tokens = 8
text.en = "Wheels?"
text.ko = "휠은?"
[[questions]]
id = "colour"
priority = 2
text.en = "Color?"
text.ko = "색은?"
choices.en = ["red", "blue"]
choices.ko = ["빨강", "파랑"]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(RECIPE, "utf-8")
    return path


@pytest.fixture
def ask(tmp_path: Path, recipe: Path) -> Ask:
    """Describes tmp_path/photos into one workspace; how many prompts were asked, and the results."""
    write_photos(tmp_path / "photos", 5)

    def run(engine: FakeEngine | None = None, **options: object) -> tuple[int, list[PhotoResult]]:
        engine = engine or FakeEngine()
        before = engine.prompts
        arguments = {"recipes": [recipe], "workspace": tmp_path / "공간", "engine": engine} | options
        results = list(carscribe.describe(arguments.pop("photos", tmp_path / "photos"), **arguments))  # type: ignore[arg-type]
        return engine.prompts - before, results

    return run


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    def query(sql: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(tmp_path / "공간" / "catalog.sqlite")) as connection:
            return connection.execute(sql).fetchall()

    return query


def test_the_same_command_again_asks_nothing_and_gives_the_same_results(ask: Ask) -> None:
    first, results = ask()
    again, same = ask()
    assert (first, again) == (10, 0)
    assert [(r.file.key, r.answers, r.sha256, r.tiles) for r in results] == [
        (r.file.key, r.answers, r.sha256, r.tiles) for r in same
    ]
    assert all(len(result.answers) == 2 for result in results)


def test_the_workspace_says_what_a_run_without_one_says(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    _, kept = ask()
    plain = list(carscribe.describe(tmp_path / "photos", recipes=[recipe], engine=FakeEngine()))
    assert [replace(result, seconds=None) for result in plain] == [replace(result, seconds=None) for result in kept]


def test_new_photos_are_asked_and_no_others(ask: Ask, tmp_path: Path) -> None:
    ask()
    write_photos(tmp_path / "photos", 2, start=7)
    count, results = ask()
    assert count == 4
    assert len(results) == 7


@pytest.mark.parametrize(
    ("old", "new", "asked"),
    [
        ('text.en = "Wheels?"', 'text.en = "Wheels now?"', 5),
        ("max_new_tokens = 8", "max_new_tokens = 9", 5),
        ('choices.en = ["red", "blue"]', 'choices.en = ["blue", "red"]', 5),
        ('text.ko = "휠은?"', 'text.ko = "바퀴는?"', 0),
        ("version = 1", "version = 2", 0),
        ('id = "own"', 'id = "other"', 0),
        ('id = "wheels"', 'id = "rims"', 0),
        ("priority = 2", "priority = 3", 0),
    ],
)
def test_only_a_changed_question_is_asked_again(ask: Ask, recipe: Path, old: str, new: str, asked: int) -> None:
    ask()
    assert RECIPE.count(old) == 1
    recipe.write_text(RECIPE.replace(old, new), "utf-8")
    count, results = ask()
    assert count == asked
    assert all(len(result.answers) == 2 for result in results)


def test_a_question_changed_back_has_its_old_answer(ask: Ask, recipe: Path) -> None:
    _, first = ask()
    recipe.write_text(RECIPE.replace("Wheels?", "Wheels now?"), "utf-8")
    _, changed = ask()
    recipe.write_text(RECIPE, "utf-8")
    count, back = ask()
    assert count == 0
    assert [result.answers for result in back] == [result.answers for result in first]
    assert [result.answers for result in changed] != [result.answers for result in first]


def test_another_language_is_asked_beside_the_first(ask: Ask) -> None:
    ask()
    count, results = ask(languages=["en", "ko"])
    assert count == 10
    assert {answer.language for answer in results[0].answers} == {"en", "ko"}


def test_metadata_in_the_prompt_is_part_of_the_question(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("Wheels?", "Wheels of this {name}?"), "utf-8")
    ask()
    cars = tmp_path / "cars.json"
    cars.write_text('[{"name": "기아", "image": "차 0.png"}, {"kind": "SUV", "image": "차 1.png"}]', "utf-8")
    count, results = ask(metadata=cars)
    assert count == 1
    assert "Wheels of this 기아?" in results[0].answers[0].text


def test_a_run_without_metadata_goes_on_with_the_names_and_kinds_that_are_known(
    ask: Ask, recipe: Path, rows: Callable[[str], list[tuple[object, ...]]], tmp_path: Path
) -> None:
    recipe.write_text(RECIPE.replace("Wheels?", "Wheels of this {name}?"), "utf-8")
    cars = tmp_path / "cars.json"
    cars.write_text('[{"name": "기아", "kind": "SUV", "연식": "2019", "image": "차 0.png"}]', "utf-8")
    ask(metadata=cars)
    count, results = ask()
    assert count == 0
    assert (results[0].file.metadata.name, dict(results[0].file.metadata.extra)) == ("기아", {"연식": "2019"})
    assert [each.file.metadata.name for each in results[1:]] == [None] * 4
    assert rows("SELECT name, kind FROM files WHERE name NOTNULL") == [("기아", "SUV")]

    shutil.move(tmp_path / "photos", tmp_path / "moved")
    count, results = ask(photos=tmp_path / "moved")
    assert (count, results[0].file.metadata.name) == (0, "기아")


def test_metadata_that_is_given_takes_the_place_of_what_is_known(ask: Ask, tmp_path: Path) -> None:
    first, second = tmp_path / "cars.json", tmp_path / "others.json"
    first.write_text('[{"name": "기아", "image": "차 0.png"}, {"name": "현대", "image": "차 1.png"}]', "utf-8")
    second.write_text('[{"name": "Kia", "image": "차 0.png"}]', "utf-8")
    ask(metadata=first)
    _, results = ask(metadata=second)
    assert [each.file.metadata.name for each in results[:2]] == ["Kia", None]
    listed = tmp_path / "list.json"
    listed.write_text('[{"name": "Niro", "image": "photos/차 0.png"}, {"image": "photos/차 2.png"}]', "utf-8")
    _, results = ask(photos=listed)
    assert [each.file.metadata.name for each in results] == ["Niro", None]


def test_a_photo_of_the_same_name_elsewhere_is_not_given_the_name_of_a_car(ask: Ask, tmp_path: Path) -> None:
    cars = tmp_path / "cars.json"
    cars.write_text('[{"name": "기아", "image": "차 0.png"}]', "utf-8")
    ask(metadata=cars)
    write_photos(tmp_path / "others", 5)
    _, results = ask(photos=tmp_path / "others")
    assert results[0].file.key == "차 0.png"
    assert results[0].file.metadata.name is None


def test_a_damaged_catalogue_is_told_where_it_is_looked_up_for_names(ask: Ask, tmp_path: Path) -> None:
    ask()
    with closing(sqlite3.connect(tmp_path / "공간" / "catalog.sqlite")) as connection:
        connection.execute("ALTER TABLE files RENAME COLUMN kind TO lost")
    with pytest.raises(WorkspaceError, match="no such column"):
        ask()


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ({"weights": "other"}, 10),
        ({"dtype": "bfloat16"}, 0),
        ({"dtype": "int4"}, 10),
        ({"device": "cuda:1", "hardware": "H100"}, 0),
        ({"versions": {"torch": "9"}}, 0),
        ({"model": "a new name for the same weights"}, 0),
    ],
)
def test_weights_decide_and_provenance_does_not(ask: Ask, change: dict[str, str], asked: int) -> None:
    ask()
    engine = FakeEngine()
    engine.card = replace(engine.card, **change)  # type: ignore[misc]
    assert ask(engine)[0] == asked


def test_a_strict_run_asks_again_when_the_provenance_differs(ask: Ask, rows: Callable[[str], list[object]]) -> None:
    ask()
    assert ask(strict=True)[0] == 0
    engine = FakeEngine()
    engine.card = replace(engine.card, dtype="bfloat16")  # type: ignore[misc]
    assert ask(engine, strict=True)[0] == 10
    assert ask()[0] == 0
    assert rows("SELECT count(*) FROM answers") == [(20,)]


def test_more_tiles_are_another_question_and_the_default_is_its_own_number(ask: Ask) -> None:
    ask()
    assert ask(max_tiles=12)[0] == 0
    assert ask(max_tiles=6)[0] == 10


def test_a_photo_whose_tiles_memory_lowered_is_not_asked_again_unless_strict(
    ask: Ask, rows: Callable[[str], list[object]]
) -> None:
    small = FakeEngine(capacity=1, tiling=Tiling(tile_px=8))
    assert len(ask(small)[1][0].answers) == 2
    assert rows("SELECT DISTINCT tiles, asked_tiles > tiles FROM answers") == [(1, 1)]
    large = FakeEngine(tiling=Tiling(tile_px=8))
    assert ask(large)[0] == 0
    assert ask(large, strict=True)[0] == 10
    assert ask(large, strict=True)[0] == 0


def test_the_same_bytes_are_asked_once_wherever_they_lie(ask: Ask, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "photos" / "차 0.png", tmp_path / "photos" / "twin.png")
    count, results = ask()
    assert count == 10
    assert results[0].answers == next(r for r in results if r.file.key == "twin.png").answers
    shutil.copy(tmp_path / "photos" / "차 1.png", tmp_path / "photos" / "later twin.png")
    assert ask()[0] == 0


def test_a_twin_with_other_metadata_is_asked_what_its_twin_was_not(ask: Ask, recipe: Path, tmp_path: Path) -> None:
    recipe.write_text(RECIPE.replace("Wheels?", "Wheels of this {name}?"), "utf-8")
    shutil.copy(tmp_path / "photos" / "차 0.png", tmp_path / "photos" / "twin.png")
    (tmp_path / "cars.json").write_text('[{"name": "Kia", "image": "twin.png"}]', "utf-8")
    count, results = ask(metadata=tmp_path / "cars.json")
    assert count == 11
    twin = next(r for r in results if r.file.key == "twin.png")
    assert "Wheels of this Kia?" in twin.answers[0].text
    first = next(r for r in results if r.file.key == "차 0.png")
    assert "Wheels of this car?" in first.answers[0].text


def test_a_moved_folder_is_known_again(ask: Ask, tmp_path: Path, rows: Callable[[str], list[object]]) -> None:
    ask()
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    assert ask(photos=tmp_path / "elsewhere")[0] == 0
    assert rows("SELECT count(*) FROM files") == [(5,)]


def test_two_folders_with_the_same_names_stay_apart(ask: Ask, tmp_path: Path) -> None:
    ask()
    write_photos(tmp_path / "b", 3, start=20)
    for i in range(3):
        (tmp_path / "b" / f"차 {20 + i}.png").rename(tmp_path / "b" / f"차 {i}.png")
    assert ask(photos=tmp_path / "b")[0] == 6
    assert ask()[0] == 0


def test_a_photo_replaced_by_another_is_asked_though_its_name_is_the_same(ask: Ask, tmp_path: Path) -> None:
    ask()
    write_photos(tmp_path / "new", 1, start=50)
    (tmp_path / "new" / "차 50.png").replace(tmp_path / "photos" / "차 0.png")
    assert ask()[0] == 2


def test_a_touched_photo_is_read_again_and_not_asked(ask: Ask, tmp_path: Path) -> None:
    ask()
    os.utime(tmp_path / "photos" / "차 0.png", (1, 1))
    assert ask()[0] == 0


def test_a_failure_is_kept_and_tried_again_when_asked_or_when_the_file_changes(
    ask: Ask, tmp_path: Path, rows: Callable[[str], list[object]]
) -> None:
    broken = tmp_path / "photos" / "차 2.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:60])
    count, results = ask()
    assert (count, [r.error is None for r in results]) == (8, [True, True, False, True, True])
    engine = FakeEngine()
    _, again = ask(engine)
    assert again[2].error == results[2].error
    assert engine.batches == []
    tried = rows("SELECT count(*) FROM failures")
    assert ask(retry_failed=True)[1][2].error == results[2].error
    assert (tried, rows("SELECT count(*) FROM failures")) == ([(1,)], [(2,)])
    broken.write_bytes(whole)
    count, healed = ask()
    assert (count, healed[2].error) == (2, None)


def test_a_photo_refused_for_its_size_is_tried_with_a_higher_limit(ask: Ask) -> None:
    assert all(result.error for result in ask(pixel_limit=10)[1])
    assert ask(pixel_limit=10)[0] == 0
    count, results = ask()
    assert count == 10
    assert not any(result.error for result in results)


def test_running_out_of_memory_is_a_failure_of_that_model_alone(ask: Ask) -> None:
    _, results = ask(FakeEngine(capacity=0))
    assert all("do not fit" in str(result.error) for result in results)
    assert ask()[0] == 0
    other = FakeEngine()
    other.card = replace(other.card, weights="smaller")  # type: ignore[misc]
    assert ask(other)[0] == 10


def test_a_file_name_that_is_no_text_is_kept(ask: Ask, tmp_path: Path) -> None:
    name = os.fsencode(tmp_path / "photos") + b"/\xb1\xe2\xbe\xc6.png"
    try:
        (tmp_path / "photos" / "차 0.png").rename(os.fsdecode(name))
    except OSError:
        pytest.skip("this file system takes only UTF-8")
    assert ask()[0] == 10
    assert ask()[0] == 0


def test_what_was_asked_and_answered_is_in_the_catalogue(ask: Ask, rows: Callable[[str], list[object]]) -> None:
    ask()
    assert rows("SELECT state, photos, to_ask FROM runs") == [("done", 5, 5)]
    assert rows("SELECT DISTINCT finish, tokens, seconds > 0 FROM answers ORDER BY 1") == [
        ("choice", 3, 1),
        ("stop", 3, 1),
    ]
    assert rows("SELECT DISTINCT scores FROM answers WHERE finish = 'choice'") == [('{"red":0.5,"blue":0.5}',)]


def test_a_consumer_that_stops_early_leaves_a_stopped_run_to_go_on_with(
    tmp_path: Path, ask: Ask, recipe: Path, rows: Callable[[str], list[object]]
) -> None:
    results = carscribe.describe(
        tmp_path / "photos", recipes=[recipe], workspace=tmp_path / "공간", engine=FakeEngine(limit=1)
    )
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert rows("SELECT state FROM runs") == [("stopped",)]
    assert ask()[0] < 10


def listed(folder: Path) -> Path:
    """A list of the photos, so that one that is gone is still asked for."""
    path = folder / "list.json"
    path.write_text(json.dumps([{"image": str(file)} for file in sorted((folder / "photos").glob("*.png"))]), "utf-8")
    return path


def test_a_file_that_is_gone_for_a_while_keeps_its_answers(ask: Ask, tmp_path: Path) -> None:
    photos = listed(tmp_path)
    assert ask(photos=photos)[0] == 10
    away = (tmp_path / "photos" / "차 0.png").rename(tmp_path / "away")
    count, results = ask(photos=photos)
    assert (count, [len(result.answers) for result in results]) == (0, [2] * 5)
    assert "does not exist" in str(ask(photos=photos, languages=["ko"])[1][0].error)
    away.rename(tmp_path / "photos" / "차 0.png")
    count, results = ask(photos=photos, languages=["ko"])
    assert (count, [result.error for result in results]) == (2, [None] * 5)


def test_a_failure_of_one_recipe_is_none_of_another(ask: Ask, tmp_path: Path) -> None:
    photos = listed(tmp_path)
    (tmp_path / "photos" / "차 0.png").rename(tmp_path / "away")
    assert ask(photos=photos)[1][0].error
    (tmp_path / "away").rename(tmp_path / "photos" / "차 0.png")
    results = ask(photos=photos, recipes=["brief"])[1]
    assert [(result.error, len(result.answers)) for result in results] == [(None, 1)] * 5


def test_a_copy_beside_the_original_is_another_file_of_the_same_photo(
    ask: Ask, tmp_path: Path, rows: Callable[[str], list[object]]
) -> None:
    ask()
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    assert ask(photos=tmp_path / "copy")[0] == 0
    assert rows("SELECT count(*), count(DISTINCT photo_id) FROM files") == [(10, 5)]


def test_a_folder_reached_through_a_link_is_the_same_folder(
    ask: Ask, tmp_path: Path, rows: Callable[[str], list[object]]
) -> None:
    ask()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    assert ask(photos=tmp_path / "link")[0] == 0
    assert rows("SELECT count(*) FROM files") == [(5,)]


def _touch(photos: Path) -> Path:
    for path in photos.iterdir():
        os.utime(path, (1, 1))
    return photos


def _copy_without_times(photos: Path) -> Path:
    to = photos.with_name("copy")
    shutil.copytree(photos, to, copy_function=shutil.copyfile)
    return to


@pytest.mark.parametrize("change", [_touch, _copy_without_times])
def test_photos_that_were_only_touched_or_copied_are_known_before_a_model_is_loaded(
    change: Callable[[Path], Path], ask: Ask, tmp_path: Path, recipe: Path
) -> None:
    ask()
    photos = change(tmp_path / "photos")
    said: list[str] = []
    plan = plan_run(photos, recipes=[recipe], compare_bytes=False)
    with write_workspace(tmp_path / "공간", create=False) as opened:
        job = keeping.prepare(opened, plan, FakeEngine(), say=said.append)
        assert not job.work.asks
        assert [len(result.answers) for result in keeping.in_order(job, None)] == [2] * 5
    assert "comparing their bytes" in said[0]


def test_a_photo_changed_without_a_change_of_size_is_asked(ask: Ask, tmp_path: Path, recipe: Path) -> None:
    ask()
    photo = tmp_path / "photos" / "차 0.png"
    photo.write_bytes(photo.read_bytes()[:-1] + b"!")
    plan = plan_run(tmp_path / "photos", recipes=[recipe], compare_bytes=False)
    with write_workspace(tmp_path / "공간", create=False) as opened:
        assert [ask.file.key for ask in keeping.prepare(opened, plan, FakeEngine()).work.asks] == ["차 0.png"]


def test_copies_under_other_names_are_written_down_together(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask()
    for path in list((tmp_path / "photos").iterdir()):
        path.rename(path.with_stem(f"{path.stem} again"))
    kept: list[int] = []

    class Counting(RunWriter):
        def keep(self, outcomes: Sequence[Outcome]) -> None:
            kept.append(len(outcomes))
            super().keep(outcomes)

    monkeypatch.setattr(keeping, "RunWriter", Counting)
    assert ask()[0] == 0
    assert kept == [5]


def test_the_same_commit_of_a_hub_model_is_gone_on_with(tmp_path: Path, ask: Ask) -> None:
    engine = FakeEngine()
    engine.card = replace(engine.card, model="a/b", weights="hub:" + "c" * 40)  # type: ignore[misc]
    ask(engine)
    said: list[str] = []
    with read_workspace(tmp_path / "공간") as opened:
        before = last_run(opened)
    assert before is not None
    as_before = keeping._as_before
    assert as_before(ModelRequest(), before, said.append) == ModelRequest(model="a/b", revision="c" * 40)
    assert as_before(ModelRequest(model="a/b"), before, said.append).revision == "c" * 40
    assert as_before(ModelRequest(model="a/b", revision="main"), before, said.append).revision == "main"
    assert as_before(ModelRequest(model="x/y"), before, said.append).revision is None
    assert "--revision main" in said[1]
    by_folder = replace(before, model=str(tmp_path))  # a snapshot in the hub's cache, named by its folder
    assert as_before(ModelRequest(), by_folder, said.append) == ModelRequest(model=str(tmp_path))


def test_quantised_weights_answer_beside_the_others_and_are_gone_on_with(tmp_path: Path, ask: Ask) -> None:
    ask()
    engine = FakeEngine()
    engine.card = replace(engine.card, dtype="int4")  # type: ignore[misc]
    assert ask(engine)[0] == 10
    assert [ask()[0], ask(engine)[0]] == [0, 0]
    with read_workspace(tmp_path / "공간") as opened:
        before = last_run(opened)
        assert {target.model for target in status_of(opened).targets} == {"fake as int4"}
        assert [len(list(kept_photos(opened, model=model))) for model in ("fake", "fake as int4")] == [5, 5]
    assert before is not None
    assert (before.model, before.weights, before.held) == ("fake", "fake", "int4")
    said: list[str] = []
    as_before = keeping._as_before
    assert as_before(ModelRequest(), before, said.append) == ModelRequest(model="fake", dtype="int4")
    assert "fake in int4, as in the last run" in said[0]
    assert as_before(ModelRequest(dtype="bfloat16"), before, said.append).dtype == "bfloat16"
    assert as_before(ModelRequest(model="fake"), before, said.append).dtype == "auto"


def test_a_run_that_is_told_to_stop_ends_after_a_batch(tmp_path: Path, ask: Ask, recipe: Path) -> None:
    plan = plan_run(tmp_path / "photos", recipes=[recipe], compare_bytes=False)
    with write_workspace(tmp_path / "공간", create=True) as opened:
        job = keeping.prepare(opened, plan, FakeEngine(limit=2))
        told: list[bool] = []
        asked = keeping.ask_missing(job, FakeEngine(limit=2), stopped=lambda: bool(told))
        assert len(next(asked)) == 2
        told.append(True)
        assert list(asked) == []
        ended = last_run(opened)
    assert ended is not None
    assert ended.state == "stopped"
    assert ask()[0] == 6


def test_a_workspace_that_is_removed_meanwhile_is_said(tmp_path: Path, ask: Ask) -> None:
    class Removing(FakeEngine):
        def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
            shutil.rmtree(tmp_path / "공간", ignore_errors=True)
            return super().answer(requests)

    with pytest.raises(WorkspaceError, match="was removed meanwhile"):
        ask(Removing())
