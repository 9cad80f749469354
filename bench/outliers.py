"""A copy of a checkpoint in which a few activations are much larger than the others, and every answer is the same.

Where one weight writes a channel and others read it, the first is multiplied by a power of two and the others are
divided by it: what comes of them is the same to the bit, in float32 and in bfloat16, and the channel in between is so
much larger. That is done of a few channels of

- both norms of a layer, which query, key and value, or gate and up, read;
- value, which the output projection reads;
- up, which down reads.

Real language models have such channels, with weights behind them of the usual size. Here these weights are smaller by
as much as the channel is larger, and whole numbers can hold them less well: quantising does more to such a copy than to
a model that grew its outliers.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    """The powers of two by which channels are larger: one channel for each, in every layer."""

    norms: tuple[int, ...] = ()
    value: tuple[int, ...] = ()
    up: tuple[int, ...] = ()


LIKE_A_LARGE_MODEL = Outliers(norms=(7, 8, 9, 10), value=(6,), up=(7, 8, 9, 10))
"""128 to 1,024 times as large, where a norm or up is read; 64 times in each key/value head."""

BEYOND_FLOAT16 = Outliers(up=(20, 20))
"""A million times as large: more than the 65,504 that float16 holds, nothing to bfloat16."""


def with_outliers(checkpoint: Path, to: Path, outliers: Outliers) -> Path:
    """Write the copy, of a checkpoint in one file. The same channels are larger in all layers, as in real models."""
    shutil.copytree(checkpoint, to)
    text = json.loads((checkpoint / "config.json").read_text("utf-8"))["text_config"]
    weights = load_file(checkpoint / WEIGHTS)
    for layer in range(text["num_hidden_layers"]):
        place = f".layers.{layer}."
        _rescale(
            {name.partition(place)[2]: weights[name] for name in weights if place in name and "language_model" in name},
            hidden=_spread(text["hidden_size"], outliers.norms),
            head=_spread(text["head_dim"], outliers.value),
            mlp=_spread(text["intermediate_size"], outliers.up),
        )
    save_file(weights, to / WEIGHTS, {"format": "pt"})
    return to


def _rescale(layer: Mapping[str, torch.Tensor], *, hidden: torch.Tensor, head: torch.Tensor, mlp: torch.Tensor) -> None:
    """Change a layer's weights in place, by a factor a channel of the hidden size, of a head and of the MLP."""
    for norm, readers in (
        ("input_layernorm", ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")),
        ("post_attention_layernorm", ("mlp.gate_proj", "mlp.up_proj")),
    ):
        layer[f"{norm}.weight"].mul_(hidden)
        for reader in readers:
            layer[f"{reader}.weight"].div_(hidden)
    value, out = layer["self_attn.v_proj.weight"], layer["self_attn.o_proj.weight"]
    value.mul_(head.repeat(len(value) // len(head))[:, None])
    layer["self_attn.v_proj.bias"].mul_(head.repeat(len(value) // len(head)))
    out.div_(head.repeat(out.shape[1] // len(head)))
    layer["mlp.up_proj.weight"].mul_(mlp[:, None])
    layer["mlp.down_proj.weight"].div_(mlp)


def _spread(channels: int, powers: Sequence[int]) -> torch.Tensor:
    """A factor a channel [channels]: ones, and the powers of two at channels that are far from each other."""
    factors = torch.ones(channels)
    for place, power in enumerate(powers):
        factors[(2 * place + 1) * channels // (2 * len(powers))] = 2.0**power
    return factors
