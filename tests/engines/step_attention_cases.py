"""What `test_step_attention.py` has a process of its own run, in which triton interprets its kernels on a CPU."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from alone import Alone, Recording, assert_equals_alone, open_prompt, photo

from carscribe.engines import packed
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.decoding import Graphs
from carscribe.engines.packed import folded, packed_attention
from carscribe.engines.step_attention import step_attention
from carscribe.records import Request

Make = Callable[..., Path]
NUMPY = "ignore::DeprecationWarning"  # the interpreter's


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


class Replaying(Graphs):
    def capture(self, step: Callable[[], None]) -> Any:
        return SimpleNamespace(replay=step)


def test_answers_that_end_at_different_steps_equal_alone(
    random_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that have ended are passed over, columns and entries dropped, steps replayed."""
    folder = random_checkpoint()
    engine = Recording(open_checkpoint(str(folder)), device="cpu", dtype="float32")
    monkeypatch.setattr(packed, "MOST_STEP_QUERIES", 8 * engine._packed.heads_per_kv)
    engine._graphs, engine._entries, engine._late = Replaying(), 2, 10
    rows_alive, columns_seen = list[int](), list[int]()

    def watched(query: torch.Tensor, *rest: Any, alive: torch.Tensor, **more: Any) -> torch.Tensor:
        rows_alive.append(int(alive.sum()))
        columns_seen.append(query.shape[2])
        return step_attention(query, *rest, alive=alive, **more)

    engine._packed.step_attention = watched
    prompts = tuple(open_prompt(f"Question {i}: {'what wheels ' * (i % 3)}?", new=2 + 3 * i) for i in range(9))
    requests = [
        Request(tiles=photo(0, 1), prompts=prompts),
        Request(tiles=photo(1, 1), prompts=prompts[:3]),
        Request(tiles=photo(2, 1), prompts=prompts[:5]),
    ]
    assert_equals_alone(engine, Alone(folder), requests)
    assert max(rows_alive) == 3
    assert min(rows_alive) == 1
    assert max(columns_seen) == 8, "with more, torch's attention is used"
    assert engine._graphs.captured
