"""Ways to compute attention over packed rows: which kernel runs, and how long, at the 8B's shapes.

usage: python bench/gpu_attention.py [--device cuda] [--rounds 20]

Three passes: `read` (the prefix, causal), `ask` (the questions' tokens: all of the prefix, their own branch of the
rest) and `decode` (one token of each column). `folded`: query heads that share a key/value head folded into the query
axis, one call under a mask, as shipped for questions. `step`: what is shipped for a decode step, with all rows alive or
a quarter of them; half of the answers' slots are written. `grouped`: heads left as they are, torch told of the groups.
`merged`: the prefix without a mask by flash attention, the branches under one, put together by their log-sum-exps.
`flex`: FlexAttention, compiled, blocks that nobody sees left out. `cudnn` and `flash`: the prefix by one backend of
torch or the other. `apart` is the largest difference to `folded`.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from carscribe.plaintext import counted
from recording import record

HEADS, KV_HEADS, WIDTH = 28, 4, 128
GROUP = HEADS // KV_HEADS
CASES = ((1, 64, 384, 264), (7, 9, 256, 1800), (13, 4, 137, 3336))
"""Tiles, rows that are read at once and decoded at once, tokens of the prefix."""

ASKED_ROWS = 40

QUESTIONS, QUESTION_TOKENS, COLUMNS, STEPS = 10, 40, (8, 1), 20

Way = Callable[[], torch.Tensor]


def branch_mask(device: str) -> torch.Tensor:
    """Bool [N, N]: causal within each question."""
    tokens = QUESTIONS * QUESTION_TOKENS
    at = torch.arange(tokens, device=device)
    return (at[:, None] // QUESTION_TOKENS == at // QUESTION_TOKENS) & (at <= at[:, None])


def folded(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[B, H, T, D] under a mask [T, K], as the engine does it."""
    rows, _, tokens, _ = query.shape
    flat = query.reshape(rows, KV_HEADS, GROUP * tokens, WIDTH)
    spread = mask.repeat(GROUP, 1)[None, None]
    return F.scaled_dot_product_attention(flat, key, value, attn_mask=spread).reshape(query.shape)


def grouped(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The same without folding: torch shares keys and values by itself, or repeats them."""
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[None, None], enable_gqa=True)


def merged(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, prefix: int
) -> torch.Tensor:
    """The same in two parts: `prefix` keys that all see, the others under the mask's right side."""
    rows, _, tokens, _ = query.shape
    flat = query.reshape(rows, KV_HEADS, GROUP * tokens, WIDTH)
    far, far_sum = torch.ops.aten._scaled_dot_product_flash_attention(flat, key[:, :, :prefix], value[:, :, :prefix])[
        :2
    ]
    bias = torch.zeros(mask.shape[0], mask.shape[1] - prefix, device=mask.device, dtype=query.dtype)
    bias = bias.masked_fill(~mask[:, prefix:], float("-inf")).repeat(GROUP, 1)[None, None]
    bias = bias.expand(rows, KV_HEADS, -1, -1)
    near, near_sum = torch.ops.aten._scaled_dot_product_efficient_attention(
        flat, key[:, :, prefix:], value[:, :, prefix:], bias, True
    )[:2]
    share = torch.sigmoid(far_sum.float() - near_sum[:, :, : far_sum.shape[2]].float())[..., None].to(query.dtype)
    return (far * share + near * (1 - share)).reshape(query.shape)


def flex(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor) -> Way:
    """FlexAttention with the mask's blocks found once."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def sees(_b: Any, _h: Any, q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        return mask[q, k]

    blocks = create_block_mask(sees, None, None, mask.shape[0], mask.shape[1], device=query.device)
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda: compiled(query, key, value, block_mask=blocks, enable_gqa=True)


def decode_mask(columns: int, prefix: int, slots: int, device: str) -> torch.Tensor:
    """Bool [C, K]: the prefix, a question each, and its own of the answers' slots that are written, half of them."""
    mask = torch.zeros(columns, slots, dtype=torch.bool, device=device)
    mask[:, :prefix] = True
    answers = prefix + QUESTIONS * QUESTION_TOKENS
    for column in range(columns):
        start = prefix + column * QUESTION_TOKENS
        mask[column, start : start + QUESTION_TOKENS] = True
        mask[column, answers + column : written(columns, prefix) : columns] = True
    return mask


def written(columns: int, prefix: int) -> int:
    """Slots in use when half of the steps are done."""
    return prefix + QUESTIONS * QUESTION_TOKENS + columns * (STEPS // 2)


def step(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, prefix: int, alive: float
) -> Way:
    """The decode step's own, with a share of the rows alive; of the others it says nothing."""
    from carscribe.engines.step_attention import step_attention

    columns, device = mask.shape[0], query.device
    end = written(columns, prefix)
    slots = torch.arange(end - columns, end, device=device)
    living = torch.arange(len(query), device=device) % round(1 / alive) == 0
    common = torch.full((1,), prefix, dtype=torch.long, device=device)
    scaling = WIDTH**-0.5
    return lambda: step_attention(query, key, value, mask[None], living, slots, common, scaling=scaling).transpose(1, 2)


def by_backend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, backend: SDPBackend) -> Way:
    """Causal, by one of torch's backends."""

    def way() -> torch.Tensor:
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

    return way


def timed(way: Way, device: str, rounds: int) -> dict[str, Any]:
    """Milliseconds, and the kernels that took the time."""
    try:
        for _ in range(3):
            way()
        if device == "cpu":
            return {"ms": 0.0}
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(rounds):
            way()
        torch.cuda.synchronize()
        spent = (time.perf_counter() - start) / rounds * 1e3
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as seen:
            way()
            torch.cuda.synchronize()
        kernels = sorted(seen.key_averages(), key=lambda event: -event.self_device_time_total)[:2]
    except (RuntimeError, NotImplementedError) as error:
        return {"failed": str(error).strip().splitlines()[0][:160]}
    return {"ms": round(spent, 3), "kernels": [event.key[:90] for event in kernels]}


def main() -> None:
    """All cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    dtype = torch.bfloat16 if cuda else torch.float32
    rows_of: list[dict[str, Any]] = []
    torch.manual_seed(0)
    with torch.inference_mode():
        for tiles, read_rows, rows, prefix in CASES if cuda else ((1, 1, 1, 64),):
            tokens = QUESTIONS * QUESTION_TOKENS
            slots = -(-(prefix + tokens + max(COLUMNS) * STEPS) // 64) * 64
            key, value = (torch.randn(rows, KV_HEADS, slots, WIDTH, device=options.device).to(dtype) for _ in range(2))

            def query_of(count: int, rows: int) -> torch.Tensor:
                """As projections leave it: tokens before heads in memory."""
                return torch.randn(rows, count, HEADS, WIDTH, device=options.device).to(dtype).transpose(1, 2)

            reading = query_of(prefix, read_rows)
            ways: dict[tuple[str, str], Way] = {}
            for name, backend in (("flash", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
                ways["read", name] = by_backend(
                    reading, key[:read_rows, :, :prefix], value[:read_rows, :, :prefix], backend
                )
            seen = torch.ones(tokens, prefix, dtype=torch.bool, device=options.device)
            asking = torch.cat([seen, branch_mask(options.device)], dim=1)
            masks = {"ask": asking}
            for columns in COLUMNS:
                masks[f"decode, {counted(columns, 'column')}"] = decode_mask(columns, prefix, slots, options.device)
            for stage, mask in masks.items():
                near = slice(0, min(rows, ASKED_ROWS) if stage == "ask" else rows)
                query = query_of(mask.shape[0], near.stop)
                near_key, near_value = key[near, :, : mask.shape[1]], value[near, :, : mask.shape[1]]
                arguments = (query, near_key, near_value, mask)
                ways[stage, "folded"] = lambda a=arguments: folded(*a)  # type: ignore[misc]
                ways[stage, "grouped"] = lambda a=arguments: grouped(*a)  # type: ignore[misc]
                ways[stage, "merged"] = lambda a=arguments, p=prefix: merged(*a, p)  # type: ignore[misc]
                ways[stage, "flex"] = flex(*arguments)
                if cuda and stage != "ask":
                    ways[stage, "step"] = step(*arguments, prefix, 1.0)
                    ways[stage, "step, a quarter alive"] = step(*arguments, prefix, 0.25)
            for (stage, name), way in ways.items():
                at_once = {"read": read_rows, "ask": min(rows, ASKED_ROWS)}.get(stage, rows)
                row: dict[str, Any] = {"tiles": tiles, "rows": at_once, "stage": stage, "way": name}
                row |= timed(way, options.device, options.rounds)
                if stage != "read" and name not in ("folded", "step, a quarter alive") and "failed" not in row:
                    apart = (way().float() - ways[stage, "folded"]().float()).abs().max()
                    row["apart"] = round(float(apart), 4)
                rows_of.append(row)
                print(json.dumps(row), flush=True)
    print(record("gpu_attention", {"rows": rows_of}, command="python bench/gpu_attention.py"))


if __name__ == "__main__":
    main()
