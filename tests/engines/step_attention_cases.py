"""What `test_step_attention.py` has a process of its own run, in which triton interprets its kernels on a CPU."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from alone import Alone, Recording, Replaying, assert_equals_alone, open_prompt, photo

from carscribe.engines import packed
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.packed import folded, packed_attention
from carscribe.engines.step_attention import step_attention
from carscribe.records import Request

Make = Callable[..., Path]


@pytest.mark.parametrize(
    ("heads", "kv_heads", "columns", "slots", "width", "dtype"),
    [
        (14, 2, 3, 200, 16, torch.float32),
        (7, 1, 9, 130, 32, torch.float32),
        (6, 2, 1, 70, 64, torch.float16),
        (4, 4, 2, 64, 16, torch.float32),
    ],
)
@pytest.mark.parametrize("common", [0, 50, 64])
@pytest.mark.parametrize("masks", [1, 3])
def test_it_is_attention(
    heads: int,
    kv_heads: int,
    columns: int,
    slots: int,
    width: int,
    dtype: torch.dtype,
    common: int,
    masks: int,
) -> None:
    rows, used = 3, slots - 5
    torch.manual_seed(heads + slots + common)
    query = torch.randn(rows, columns, heads, width).to(dtype).transpose(1, 2)
    key, value = (torch.randn(rows + 1, kv_heads, slots, width).to(dtype)[1:] for _ in range(2))
    written = torch.arange(used - columns, used)
    seen = torch.rand(masks, columns, slots) > 0.5
    seen[..., : min(common, used)], seen[..., used:] = True, False
    seen[:, range(columns), written.tolist()] = True
    key[..., used:, :] = value[..., used:, :] = torch.nan  # never looked at
    alive = torch.tensor([True, False, True])
    found = step_attention(
        query, key, value, seen, alive, written, torch.tensor([min(common, used)]), scaling=width**-0.5
    )
    mask = folded(seen[..., :used].expand(rows, -1, -1), heads // kv_heads)
    wide = query.float(), key[..., :used, :].float(), value[..., :used, :].float()
    expected, _ = packed_attention(None, *wide, mask, scaling=width**-0.5)
    close = 1e-6 if dtype == torch.float32 else 1e-3
    assert torch.allclose(found[alive].float(), expected[alive], atol=close, rtol=close)


def test_slots_that_lie_otherwise_are_refused() -> None:
    tensor = torch.zeros(1, 2, 16, 16)
    one = torch.ones(1, dtype=torch.long)
    with pytest.raises(ValueError, match="side by side"):
        step_attention(
            tensor[:, :, :1], tensor.mT, tensor.mT, one.bool()[:, None, None], one.bool(), one, one, scaling=1.0
        )


@dataclass(slots=True)
class Watched:
    """`step_attention`, with noise that nobody may use where it leaves what was there."""

    alive: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)

    def __call__(self, query: torch.Tensor, *rest: Any, alive: torch.Tensor, **more: Any) -> torch.Tensor:
        self.alive.append(int(alive.sum()))
        self.columns.append(query.shape[2])
        found = step_attention(query, *rest, alive=alive, **more)
        found[~alive] = torch.nan
        return found


@pytest.fixture
def watched(random_checkpoint: Make, monkeypatch: pytest.MonkeyPatch) -> tuple[Recording, Watched, Alone]:
    folder = random_checkpoint()
    engine = Recording(open_checkpoint(str(folder)), device="cpu", dtype="float32")
    engine._packed.step_attention = watched = Watched()
    monkeypatch.setattr(packed, "MOST_STEP_QUERIES", 8 * engine._packed.heads_per_kv)
    monkeypatch.setattr(packed, "LEAST_STEP_PROGRAMS", 1)
    return engine, watched, Alone(folder)


def test_answers_that_end_at_different_steps_equal_alone(watched: tuple[Recording, Watched, Alone]) -> None:
    """Rows that have ended are passed over, columns and entries dropped, steps replayed."""
    engine, seen, alone = watched
    engine._graphs, engine._entries, engine._late = Replaying(), 2, 10
    prompts = tuple(open_prompt(f"Question {i}: {'what wheels ' * (i % 3)}?", new=2 + 3 * i) for i in range(9))
    asked = prompts, prompts[:3], prompts[:5]
    assert_equals_alone(engine, alone, [Request(tiles=photo(i, 1), prompts=row) for i, row in enumerate(asked)])
    assert max(seen.alive) == 3
    assert min(seen.alive) == 1
    assert max(seen.columns) == 8, "with more, torch's attention is used"
    assert engine._graphs.captured


def test_a_graph_knows_nothing_of_the_batch_it_was_captured_in(
    watched: tuple[Recording, Watched, Alone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither how long the prefix was, in a cache of as many slots, nor which rows had ended."""
    engine, seen, alone = watched
    monkeypatch.setattr("carscribe.engines.step_attention.SLOTS", 16)  # prefixes are short
    engine._graphs, engine._quantum, engine._entries, engine._late = Replaying(), 1024, 3, 100
    captured = list[int]()
    for tiles in (5, 1):
        for early in (0, 2):
            prompts = [
                tuple(open_prompt(f"Question {i} of {row}?", new=2 if row == early else 9) for i in range(3))
                for row in range(3)
            ]
            requests = [Request(tiles=photo(9 * tiles + row, tiles), prompts=prompts[row]) for row in range(3)]
            assert_equals_alone(engine, alone, requests)
            captured.append(engine._graphs.captured)
    assert set(seen.alive) == {2, 3}
    assert captured[1:] == captured[1:2] * 3, "all batches replay the same steps"


def test_few_rows_are_left_to_torch(watched: tuple[Recording, Watched, Alone], monkeypatch: pytest.MonkeyPatch) -> None:
    engine, seen, alone = watched
    monkeypatch.setattr(packed, "LEAST_STEP_PROGRAMS", 2 * engine._packed.shape.kv_heads)
    question = (open_prompt("Wheels?", new=4),)
    for photos in (1, 2):
        assert_equals_alone(engine, alone, [Request(tiles=photo(i, 1), prompts=question) for i in range(photos)])
        assert set(seen.alive) == {2} & {photos}
