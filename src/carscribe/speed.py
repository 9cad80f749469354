"""How long a batch takes on a GPU, from its data sheet alone. Arithmetic only.

A roofline: a pass takes as long as its multiplications take the matrix units, and a decode step as long as the slowest
of three things, which go on side by side: multiplying, reading weights and cache from the GPU's memory, and beginning
one kernel after another. What is not in it: photos to read and to cut, weights to fetch and to load, answers that end
before their limit. Counts are of multiply-adds as two operations; biases, norms and rotations are left out.

Three of the constants were fitted to six runs of weights of the 8B's size on one H100, compiled, with decode steps in
graphs, answers as long as their limits: eight questions and one in bfloat16, eight in fp8, at 1 and at 7 tiles. The
engine is another since, and the constants are not: `tests/test_speed.py` has what the same six reach now
(`bench/results/versus/ours.json`, `ours_fp8.json`). What this does not show: that time scales with another GPU's data
sheet, other sizes of model, and small batches.

Nothing here was measured with int8 and int4: they are taken to multiply at the rate of 16-bit floats, and every pass
and step writes the weights dequantised and reads them again.
"""

from dataclasses import dataclass

from carscribe.gpus import DataSheet
from carscribe.memory import ModelShape, RowShape, kv_bytes_per_token, layer_bytes, value_bytes

MATRIX_SHARE = 0.55
"""Of a data sheet's matrix rate, what compiled layers reach over a whole batch. Fitted; a plain product reaches 0.8."""

BANDWIDTH_SHARE = 0.5
"""Of a data sheet's bandwidth, what decode steps reach, which read weights and cache. Fitted."""

FP8_RATE = 1.35
"""Of the rate of 16-bit floats, that of 8-bit floats: data sheets have 2, but activations are quantised. Fitted."""

STEP_S = 0.003
"""The least a decode step takes: the kernels of 28 layers in a graph. Assumed, for no run waited for it."""

PASSES = 2
"""Over all weights before the first step: the photos are read, then the questions asked."""

STEP_LAYERS = 28
"""Layers of the model that `STEP_S` was fitted with. That it grows with them is assumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchWork:
    """What a batch asks of a GPU: operations of the passes over photos and questions, then `steps` decode steps.

    Operations are counted as those of 16-bit floats: half a one for one of 8-bit floats. `pass_bytes` are those of
    dequantising weights, which nothing goes on beside.
    """

    pass_operations: float
    pass_bytes: float
    steps: int
    layers: int
    step_operations: float
    step_bytes: float


def batch_work(shape: ModelShape, row: RowShape, photos: int, *, dtype: str = "bfloat16") -> BatchWork:
    """The work of `photos` such rows. Every answer is taken to use all of its tokens.

    An answer's first token comes with its question, so there is one step less than new tokens.
    """
    vision, reading = vision_operations(shape, row.tiles), reading_operations(shape, row, dtype)
    slots, value = row.slots(shape), value_bytes(dtype)
    per_slot = kv_bytes_per_token(
        layers=shape.layers, kv_heads=shape.kv_heads, head_dim=shape.head_dim, bytes_per_value=value
    )
    dequantising = dequantising_bytes(shape, dtype)
    step_bytes = layer_bytes(shape, dtype) + shape.head_parameters * value + photos * slots * per_slot
    return BatchWork(
        pass_operations=photos * (vision + reading + asking_operations(shape, row, dtype)),
        pass_bytes=PASSES * dequantising,
        steps=max(0, row.new_tokens - 1) if row.columns else 0,
        layers=shape.layers,
        step_operations=photos * _language_operations(shape, row.columns, dtype, seen=slots, logits=row.columns),
        step_bytes=step_bytes + dequantising,
    )


def dequantising_bytes(shape: ModelShape, dtype: str) -> int:
    """Bytes that one pass over the layers writes and reads again because weights are dequantised first.

    >>> from carscribe.memory import FAMILY
    >>> eight = FAMILY["OpenGVLab/InternVL3-8B-hf"]
    >>> [round(dequantising_bytes(eight, dtype) / 1e9, 1) for dtype in ("bfloat16", "fp8", "int4")]
    [0.0, 0.0, 26.1]
    """
    return 2 * shape.layer_parameters * value_bytes(dtype) if dtype in ("int8", "int4") else 0


def vision_operations(shape: ModelShape, tiles: int) -> float:
    """Operations of the vision tower, each tile attending to itself, and of what leads into the language model.

    >>> from carscribe.memory import FAMILY
    >>> round(vision_operations(FAMILY["OpenGVLab/InternVL3-8B-hf"], 1) / 1e12, 2)
    0.74
    """
    tokens = shape.vision_tokens + 1
    attention = 4 * tokens**2 * shape.vision_hidden * shape.vision_layers
    tower = 2 * tokens * shape.vision_parameters + attention
    return float(tiles * (tower + 2 * shape.tile_tokens * shape.projector_parameters))


def reading_operations(shape: ModelShape, row: RowShape, dtype: str) -> float:
    """Operations of the prefix in the language model: causal, so a token sees half of it."""
    tokens = row.prefix_tokens(shape)
    return _language_operations(shape, tokens, dtype, seen=tokens / 2, logits=0)


def asking_operations(shape: ModelShape, row: RowShape, dtype: str) -> float:
    """Operations of all questions' tokens, which are held against the prefix and each other under a mask."""
    seen = row.prefix_tokens(shape) + row.branch_tokens
    return _language_operations(shape, row.branch_tokens, dtype, seen=seen, logits=row.columns)


def batch_seconds(work: BatchWork, sheet: DataSheet) -> float:
    """How long a batch is expected to take, from its pixels on the GPU to its last token."""
    rate = MATRIX_SHARE * sheet.matrix_tflops * 1e12
    bytes_per_s = BANDWIDTH_SHARE * sheet.bandwidth_gb_per_s * 1e9
    step_s = max(
        work.step_operations / rate,
        work.step_bytes / bytes_per_s,
        STEP_S * work.layers / STEP_LAYERS,
    )
    return work.pass_operations / rate + work.pass_bytes / bytes_per_s + work.steps * step_s


def _language_operations(shape: ModelShape, tokens: int, dtype: str, *, seen: float, logits: int) -> float:
    """Operations of `tokens` that each see `seen` others, `logits` of which become logits."""
    projections = 2 * shape.layer_parameters / (FP8_RATE if dtype == "fp8" else 1)
    attention = 4 * seen * shape.heads * shape.head_dim * shape.layers
    return tokens * (projections + attention) + 2 * logits * shape.head_parameters
