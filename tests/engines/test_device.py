"""What a device has left for this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.device import free_bytes
from carscribe.engines.local import LocalEngine
from carscribe.memory import GIB
from carscribe.records import Prompt, Request

TOTAL_GIB = 80


@pytest.mark.parametrize(
    ("fraction", "free_gib", "reserved_gib", "allocated_gib", "expected_gib"),
    [
        pytest.param(1.0, 79, 0, 0, 79, id="alone"),
        pytest.param(1.0, 60, 19, 15, 64, id="what its allocator holds unused counts"),
        pytest.param(0.3, 79, 0, 0, 24, id="a fraction is all there is"),
        pytest.param(0.3, 60, 19, 15, 9, id="of which what is allocated is taken"),
        pytest.param(0.3, 2, 19, 15, 6, id="other processes may have left less than it allows"),
        pytest.param(0.1, 60, 19, 15, -7, id="a fraction that was exceeded before leaves nothing"),
    ],
)
def test_of_a_gpu_no_more_is_free_than_the_memory_fraction_leaves(
    monkeypatch: pytest.MonkeyPatch,
    fraction: float,
    free_gib: int,
    reserved_gib: int,
    allocated_gib: int,
    expected_gib: int,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free_gib * GIB, TOTAL_GIB * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: reserved_gib * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: allocated_gib * GIB)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "memory_snapshot", list)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", {1: fraction}.__getitem__)  # by its index alone
    assert free_bytes(torch.device("cuda")) == pytest.approx(expected_gib * GIB, abs=1)


def test_what_graphs_hold_unused_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    def segment(device: int, pool: tuple[int, int], total: int, allocated: int) -> dict[str, object]:
        return {"device": device, "segment_pool_id": pool, "total_size": total, "allocated_size": allocated}

    held = [segment(0, (0, 0), 10, 4), segment(0, (0, 1), 3, 1), segment(0, (2, 0), 5, 5), segment(1, (0, 1), 9, 0)]
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 200))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 18)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 10)
    monkeypatch.setattr(torch.cuda, "get_per_process_memory_fraction", lambda _: 1.0)
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: held)
    assert free_bytes(torch.device("cuda:0")) == 100 + 6


def test_the_memory_of_earlier_batches_caches_is_there_for_the_next(
    random_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine(open_checkpoint(str(random_checkpoint())), device="cpu", dtype="float32")
    prompts = (Prompt(recipe_id="r", question_id="q", language="en", text="Wheels?", max_new_tokens=4),)
    caches = engine._packed.caches
    monkeypatch.setattr("carscribe.engines.local.free_bytes", lambda _: 20_000_000 - caches.held_bytes)
    before = engine.plan_batch(3, prompts)
    px = engine.tiling.tile_px
    engine.answer([Request(tiles=torch.zeros(1, px, px, 3, dtype=torch.uint8).numpy(), prompts=prompts)] * 4)
    assert caches.held_bytes == sum(buffer.numel() * 4 for buffer in caches._buffers) > 0
    assert engine.plan_batch(3, prompts) == before
    engine.release()
    assert caches.held_bytes == 0
