"""Attention of a decode step on a GPU: each answer's next token over the photo, its question and what was said.

Flash attention with an online softmax, for few queries: torch's makes little of the memory's rate with them
(`bench/gpu_attention.py`). One program holds all queries of a row that share a key/value head, and reads keys and
values once. What all answers see needs no mask; slots that nothing was written to yet, and rows without an entry in the
step, are passed over, by numbers that lie on the GPU: a step's shapes do not change, so that a graph can replay it.
Keys are not split among programs: it takes many rows to keep a GPU busy.

triton comes with torch for GPUs. Elsewhere nobody imports this module.
"""

from typing import Any

import torch
import triton
from triton import language as tl

SLOTS, WARPS, STAGES = 64, 4, 2
"""Slots that are looked at together, and how: the fastest on an H100 of those tried, or within 3 % of it."""

MASKED = tl.constexpr(-1.0e30)
LOG2_E = 1.4426950408889634


@triton.jit
def _taken_in(scores, values, highest, total, found):  # type: ignore[no-untyped-def]
    higher = tl.maximum(highest, tl.max(scores, 1))
    shares = tl.exp2(scores - higher[:, None])
    fading = tl.exp2(highest - higher)
    found = tl.dot(shares.to(values.dtype), values, found * fading[:, None])
    return higher, total * fading + tl.sum(shares, 1), found


@triton.jit  # type: ignore[untyped-decorator]
def _attend(  # type: ignore[no-untyped-def]
    out,
    query,
    key,
    value,
    seen,
    alive,
    slots,
    common,
    columns,
    scaling,
    query_row,
    query_head,
    query_column,
    key_row,
    key_head,
    value_row,
    value_head,
    seen_row,
    seen_column,
    GROUP: tl.constexpr,  # noqa: N803 - triton's compile-time numbers are named so
    WIDTH: tl.constexpr,  # noqa: N803
    QUERIES: tl.constexpr,  # noqa: N803
    SLOTS: tl.constexpr,  # noqa: N803
):
    kv_head, row = tl.program_id(0), tl.program_id(1).to(tl.int64)
    if tl.load(alive + row) == 0:
        return
    at, across, near = tl.arange(0, QUERIES), tl.arange(0, WIDTH), tl.arange(0, SLOTS)
    column, head = at // GROUP, kv_head * GROUP + at % GROUP
    inside = (column < columns)[:, None]
    place = query + row * query_row + head * query_head + column * query_column
    queries = tl.load(place[:, None] + across[None, :], mask=inside, other=0.0)
    key += row * key_row + kv_head * key_head
    value += row * value_row + kv_head * value_head
    seen += row * seen_row + column[:, None] * seen_column
    highest = tl.full([QUERIES], MASKED, tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    found = tl.zeros([QUERIES, WIDTH], tl.float32)
    unmasked, used = tl.load(common) // SLOTS * SLOTS, tl.load(slots + columns - 1) + 1
    for start in range(0, unmasked, SLOTS):
        slot = start + near
        keys = tl.load(key + slot[None, :] * WIDTH + across[:, None])
        values = tl.load(value + slot[:, None] * WIDTH + across[None, :])
        scores = tl.dot(queries, keys) * scaling
        highest, total, found = _taken_in(scores, values, highest, total, found)
    for start in range(unmasked, used, SLOTS):
        slot = start + near
        there = slot < used
        sees = tl.load(seen + slot[None, :], mask=inside & there[None, :], other=0) != 0
        keys = tl.load(key + slot[None, :] * WIDTH + across[:, None], mask=there[None, :], other=0.0)
        values = tl.load(value + slot[:, None] * WIDTH + across[None, :], mask=there[:, None], other=0.0)
        scores = tl.where(sees, tl.dot(queries, keys) * scaling, MASKED)
        highest, total, found = _taken_in(scores, values, highest, total, found)
    place = out + ((row * columns + column) * tl.num_programs(0) * GROUP + head) * WIDTH
    tl.store(place[:, None] + across[None, :], (found / total[:, None]).to(out.dtype.element_ty), mask=inside)


def step_attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor,
    alive: torch.Tensor,
    slots: torch.Tensor,
    common: torch.Tensor,
    *,
    scaling: float,
) -> torch.Tensor:
    """What C columns of B rows attend to, [B, C, H, D]; of a row that is not alive, nothing that means anything.

    query [B, H, C, D]; key and value [B, H_kv, K, D], D a power of two, 16 or more. seen bool [1 or B, C, K] says which
    slots each sees, one at least; alive bool [B]. slots int64 [C]: where this step's keys and values went, in order:
    what lies behind the last is not looked at. common int64 [1]: how many slots, from the first, all see.

    Raises: ValueError for numbers of a slot that do not lie side by side, and slots that are not one behind another.
    """
    rows, heads, columns, width = query.shape
    kv_heads = key.shape[1]
    if not (key.stride()[2:] == value.stride()[2:] == (width, 1) and query.stride(3) == seen.stride(2) == 1):
        raise ValueError("a slot's numbers must lie side by side, and slots one behind another")
    out = torch.empty((rows, columns, heads, width), dtype=query.dtype, device=query.device)
    launch: Any = _attend[(kv_heads, rows)]
    launch(
        *(out, query, key, value, seen.view(torch.uint8), alive.view(torch.uint8), slots, common, columns),
        scaling * LOG2_E,
        *query.stride()[:3],
        *(*key.stride()[:2], *value.stride()[:2]),
        *(seen.stride(0) if len(seen) > 1 else 0, seen.stride(1)),
        GROUP=heads // kv_heads,
        WIDTH=width,
        QUERIES=max(16, triton.next_power_of_2(columns * heads // kv_heads)),
        SLOTS=SLOTS,
        num_warps=WARPS,
        num_stages=STAGES,
    )
    return out
