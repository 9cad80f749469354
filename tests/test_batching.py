"""Batches have one tile count, nobody waits too long, and running out of memory loses no photo."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fakes import FakeEngine, OverlappingEngine
from hypothesis import given, settings
from hypothesis import strategies as st

from carscribe.batching import Ladder, Pending, group_by_tiles
from carscribe.errors import EngineError, PhotoError
from carscribe.records import ASKED_AGAIN, PhotoFile, PhotoResult, Prompt, TiledPhoto

PROMPT = Prompt(recipe_id="r", question_id="q", language="en", text="Wheels?", max_new_tokens=8)


def settled(groups: Iterable[list[PhotoResult]]) -> list[PhotoResult]:
    return [result for group in groups for result in group]


def pending(index: int, tiles: int) -> Pending:
    photo = TiledPhoto(sha256=f"{index}", width_px=9, height_px=9, tiles=np.full((tiles, 2, 2, 3), index, np.uint8))
    file = PhotoFile(location=f"{index}.jpg", key=f"{index}.jpg")
    return Pending(index=index, file=file, photo=photo, prompts=(PROMPT,))


def set_aside(index: int) -> PhotoResult:
    return PhotoResult(index=index, file=PhotoFile(location="x", key="x"), error="unreadable")


def fewer_tiles(photo: Pending, max_tiles: int) -> TiledPhoto:
    grid = min(max_tiles, len(photo.photo.tiles) - 1 or 1)
    return pending(photo.index, grid + (grid > 1)).photo


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([0, 1, 3, 7, 13]), max_size=60), st.integers(1, 5), st.integers(1, 60))
def test_every_photo_comes_out_once_in_batches_of_one_tile_count(tiles: list[int], size: int, look_ahead: int) -> None:
    stream = [set_aside(i) if count == 0 else pending(i, count) for i, count in enumerate(tiles)]
    seen: list[int] = []
    for batch in group_by_tiles(stream, lambda _: size, look_ahead_tiles=look_ahead):
        if isinstance(batch, PhotoResult):
            seen.append(batch.index)
            continue
        assert len({photo.tiles for photo in batch}) == 1
        assert 1 <= len(batch) <= size
        seen.extend(photo.index for photo in batch)
    assert sorted(seen) == list(range(len(tiles)))


def test_a_batch_goes_out_as_soon_as_it_is_full() -> None:
    batches = group_by_tiles([pending(0, 7), pending(1, 1), pending(2, 7), pending(3, 1)], lambda _: 2)
    assert [[photo.index for photo in batch] for batch in batches if isinstance(batch, list)] == [[0, 2], [1, 3]]


def test_a_rare_tile_count_does_not_wait_for_others_of_its_kind() -> None:
    stream = [pending(0, 3), *(pending(i, 1) for i in range(1, 100))]
    order = [
        batch[0].index for batch in group_by_tiles(stream, lambda _: 4, look_ahead_tiles=8) if isinstance(batch, list)
    ]
    assert 0 in order[:3]


def test_a_photo_waits_from_when_it_came_not_from_when_others_like_it_left() -> None:
    stream = [pending(i, 1) for i in range(8)]
    batches = [
        len(batch) for batch in group_by_tiles(stream, lambda _: 4, look_ahead_tiles=4) if isinstance(batch, list)
    ]
    assert batches == [4, 4]


@pytest.mark.parametrize(("size", "sizes"), [(128, [32, 128, 90]), (20, [16, 20, 20]), (8, [8, 8, 8])])
def test_the_first_batch_is_smaller_so_that_the_device_begins_early(size: int, sizes: list[int]) -> None:
    stream = [pending(i, 1) for i in range(250)]
    batches = [batch for batch in group_by_tiles(stream, lambda _: size) if isinstance(batch, list)]
    assert [len(batch) for batch in batches][: len(sizes)] == sizes
    assert [row.index for batch in batches for row in batch] == list(range(250))


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 13, 20, 100])
@pytest.mark.parametrize("tiles", [1, 7, 13])
def test_every_photo_is_answered_however_little_memory_there_is(capacity: int, tiles: int) -> None:
    engine = FakeEngine(limit=16, capacity=capacity)
    ladder = Ladder(engine, fewer_tiles)
    results = settled(ladder.answer([pending(i, tiles) for i in range(16)]))
    assert sorted(result.index for result in results) == list(range(16))
    assert all(result.answers and result.error is None for result in results)
    assert all(result.tiles is not None and result.tiles <= max(1, capacity) for result in results)
    assert engine.released == len(engine.failed)


def test_the_size_that_fits_is_remembered() -> None:
    engine = FakeEngine(limit=16, capacity=4 * 7)
    ladder = Ladder(engine, fewer_tiles)
    settled(ladder.answer([pending(i, 7) for i in range(16)]))
    assert engine.failed == [(16, 7), (8, 7)]
    assert ladder.size(pending(0, 7)) == 4
    assert ladder.size(pending(0, 13)) == 4
    assert ladder.size(pending(0, 1)) == 16
    settled(ladder.answer([pending(i, 7) for i in range(16)]))
    assert len(engine.failed) == 2


def test_the_grid_that_fits_is_remembered_for_photos_yet_to_be_read() -> None:
    engine = FakeEngine(limit=2, capacity=7)
    ladder = Ladder(engine, fewer_tiles)
    assert ladder.most_grid_tiles is None
    settled(ladder.answer([pending(0, 13)]))
    assert ladder.most_grid_tiles is not None
    assert ladder.most_grid_tiles + 1 <= 7
    failed = len(engine.failed)
    settled(ladder.answer([pending(1, 13), pending(2, 13)]))
    assert engine.failed[failed:] in ([], [(2, 7)])


def test_a_photo_whose_last_tile_does_not_fit_is_set_aside_with_the_reason() -> None:
    ladder = Ladder(FakeEngine(limit=4, capacity=0), fewer_tiles)
    results = settled(ladder.answer([pending(i, 3) for i in range(3)]))
    assert sorted(result.index for result in results) == [0, 1, 2]
    assert all(result.error and "smaller model" in result.error for result in results)


def test_memory_that_was_short_for_a_moment_costs_no_tiles() -> None:
    engine, said = FakeEngine(limit=1, capacity=5), list[str]()
    tight = engine.release

    def freed_meanwhile() -> None:
        engine.capacity = 100
        tight()

    engine.release = freed_meanwhile  # type: ignore[method-assign]
    (result,) = settled(Ladder(engine, fewer_tiles, said.append).answer([pending(0, 13)]))
    assert (result.tiles, said) == (13, [])


def test_each_step_down_is_said() -> None:
    said: list[str] = []
    settled(Ladder(FakeEngine(limit=4, capacity=6), fewer_tiles, said.append).answer([pending(i, 7) for i in range(4)]))
    assert said[:2] == [
        "Out of memory with 4 photos of 7 tiles; going on with 2 at once.",
        "Out of memory with 2 photos of 7 tiles; going on with 1 at once.",
    ]
    assert said[2].startswith("Out of memory with 1 photo of 7 tiles; from here on")


def test_a_photo_that_vanished_before_it_was_cut_again_is_set_aside() -> None:
    def gone(photo: Pending, max_tiles: int) -> TiledPhoto:
        raise PhotoError("The file is gone.")

    (result,) = settled(Ladder(FakeEngine(limit=4, capacity=3), gone).answer([pending(0, 7)]))
    assert result.error == "The file is gone."


def test_memory_errors_of_the_interpreter_count_too() -> None:
    class Full(FakeEngine):
        def answer(self, requests):  # type: ignore[no-untyped-def]
            if len(requests) > 1:
                self.failed.append((len(requests), 1))
                raise MemoryError
            return super().answer(requests)

    results = settled(Ladder(Full(limit=4), fewer_tiles).answer([pending(i, 1) for i in range(4)]))
    assert [bool(result.answers) for result in results] == [True] * 4


def test_a_batch_begins_before_the_answers_of_the_one_before_are_handed_on() -> None:
    engine = OverlappingEngine()
    ladder = Ladder(engine, fewer_tiles)
    for results in ladder.answer_all([[pending(0, 1)], set_aside(9), [pending(1, 1)], [pending(2, 7)]]):
        engine.events.append(f"got {results[0].index}")
    assert engine.events == [
        *("ready 0", "begin 0", "got 9"),
        *("ready 1", "run 0", "begin 1", "read 0", "got 0"),
        *("ready 2", "run 1", "begin 2", "read 1", "got 1"),
        *("run 2", "read 2", "got 2"),
    ]


@pytest.mark.parametrize("at", ["begin", "run"])
@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 13, 20, 100])
@pytest.mark.parametrize("tiles", [1, 7, 13])
def test_overlapping_every_photo_is_answered_however_little_memory_there_is(capacity: int, tiles: int, at: str) -> None:
    engine = OverlappingEngine(limit=4, capacity=capacity, at=at)
    ladder = Ladder(engine, fewer_tiles)
    stream = [pending(i, tiles if i % 5 else 1) for i in range(24)]
    results = settled(ladder.answer_all(group_by_tiles(stream, ladder.size)))
    assert sorted(result.index for result in results) == list(range(24))
    assert all(result.answers and result.error is None for result in results)
    assert len(engine.failed) <= engine.released + 1


@pytest.mark.parametrize(("at", "told"), [("ready", [0, 1]), ("begin", [0, 1]), ("run", [0, 1])])
def test_overlapping_what_was_under_way_is_not_lost_with_a_batch_that_fails(at: str, told: list[int]) -> None:
    ladder = Ladder(OverlappingEngine(at=at, broken=2), fewer_tiles)
    seen: list[int] = []
    stream = ladder.answer_all([[pending(i, 1)] for i in range(5)])
    with pytest.raises(EngineError, match="broken"):
        seen.extend(result.index for results in stream for result in results)
    assert seen == told


def test_overlapping_what_is_asked_again_waits_for_a_free_device() -> None:
    refusal = Prompt(recipe_id="r", question_id="q", language="en", text="I cannot help with that.", max_new_tokens=8)
    engine = OverlappingEngine()

    def answers(requests: Any) -> Any:
        assert not engine.busy
        return [
            tuple(replace(a, text="silver wheels") for a in row)
            for row in super(OverlappingEngine, engine).answer(requests)
        ]

    engine.answer = answers  # type: ignore[method-assign]
    odd = [replace(pending(i, 1), prompts=(refusal if i % 2 else PROMPT,)) for i in range(5)]
    ladder = Ladder(engine, fewer_tiles)
    results = settled(ladder.answer_all([[row] for row in odd]))
    assert sorted(result.index for result in results) == list(range(5))
    by_index = {result.index: result.answers[0] for result in results}
    assert [by_index[i].remark for i in range(5)] == ["", ASKED_AGAIN, "", ASKED_AGAIN, ""]
