"""Parts of a model that run faster than transformers' own and say the same.

A decoder layer of the Qwen and Llama kind with its projections fused, in two parts: before attention and after it.

transformers' own layers do the same with twice as many kernels, and hand a cache object through, which compilers look
at anew for each layer. Here each part takes tensors whose first axis is tokens, of any rows and of any number, so that
one compilation serves every shape of a run; attention and the cache stay outside. And the vision tower's first
convolution as a product of matrices.

Shapes: M tokens, H heads, H_kv key/value heads, D head width.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from carscribe.engines.quantised import QuantisedLinear
from carscribe.packing import round_up

KNOWN = frozenset({"Qwen2DecoderLayer", "Qwen3DecoderLayer", "LlamaDecoderLayer"})
"""Layers of transformers that `FusedLayer` equals: `tests/engines/test_layers.py` holds it to them."""

ALIGNED_BYTES = 512
"""Where torch's allocator has tensors begin, which kernels rely on."""


class FusedLayer(nn.Module):
    """One decoder layer. Its weights are those of the layer it is made of, query, key and value side by side."""

    def __init__(self, layer: Any) -> None:
        """Of a transformers layer in `KNOWN`, whose projections are taken from it: it is of no use afterwards."""
        super().__init__()
        attention, mlp = layer.self_attn, layer.mlp
        self.width: int = attention.head_dim
        self.heads = attention.q_proj.out_features // self.width
        self.kv_heads = attention.k_proj.out_features // self.width
        self.scaling: float = attention.scaling
        self.norm, self.norm_after = layer.input_layernorm, layer.post_attention_layernorm
        self.query_norm, self.key_norm = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
        self.qkv = joined([attention.q_proj, attention.k_proj, attention.v_proj])
        self.out = attention.o_proj
        self.gate_up = joined([mlp.gate_proj, mlp.up_proj])
        self.down, self.act = mlp.down_proj, mlp.act_fn
        for part, names in ((attention, ("q_proj", "k_proj", "v_proj")), (mlp, ("gate_proj", "up_proj"))):
            for name in names:
                delattr(part, name)  # its weights are kept once

    def before(
        self, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Query [M, H, D], key and value [M, H_kv, D] of hidden [M, hidden], turned by cos and sin [M, D]."""
        heads = self.qkv(_normed(self.norm, hidden)).unflatten(-1, (-1, self.width))
        query, key, value = heads.split([self.heads, self.kv_heads, self.kv_heads], dim=-2)
        if self.query_norm is not None:
            query, key = _normed(self.query_norm, query), _normed(self.key_norm, key)
        cos, sin = cos[:, None], sin[:, None]
        return _turned(query, cos, sin), _turned(key, cos, sin), value.contiguous()

    def after(self, hidden: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """hidden [M, hidden] with what was attended to [M, H · D], and the MLP's part."""
        hidden = hidden + self.out(attended)
        gate, up = self.gate_up(_normed(self.norm_after, hidden)).chunk(2, dim=-1)
        result: torch.Tensor = hidden + self.down(self.act(gate) * up)
        return result


class PatchProjection(nn.Module):
    """A convolution over patches that do not overlap, as one product: cuDNN's ran without tensor cores on an H100."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        """The weights are copied. Raises: ValueError for a convolution whose stride is not its kernel's size."""
        super().__init__()
        if convolution.stride != convolution.kernel_size or convolution.padding != (0, 0):
            raise ValueError("patches that overlap, or have a border, are no product of matrices")
        self.patch: tuple[int, ...] = convolution.kernel_size
        values = convolution.weight.detach().flatten(1)
        self.padding = -values.shape[1] % 8  # a side that is no multiple of 8 is slow too
        self.weight = nn.Parameter(F.pad(values, (0, self.padding)), requires_grad=False)
        self.bias = None if convolution.bias is None else nn.Parameter(convolution.bias.detach(), requires_grad=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """[B, 3, height, width] to [B, hidden, rows, columns] of patches."""
        high, wide = self.patch
        batch, colours, height, width = pixels.shape
        rows, columns = height // high, width // wide
        cut = pixels[..., : rows * high, : columns * wide].reshape(batch, colours, rows, high, columns, wide)
        patches = cut.permute(0, 2, 4, 1, 3, 5).reshape(batch, rows * columns, -1)
        projected = F.linear(F.pad(patches, (0, self.padding)), self.weight, self.bias)
        return projected.transpose(1, 2).reshape(batch, -1, rows, columns)


def fused(layers: Sequence[Any]) -> list[FusedLayer] | None:
    """All layers fused, one after another, each one's parts freed before the next; None for layers of another kind.

    On a GPU each is `gathered`. In the host's memory nothing is gained by it, and what is mapped from a file stays so.
    """
    if any(type(layer).__name__ not in KNOWN for layer in layers):
        return None
    return [gathered(own) if own.out.weight.is_cuda else own for own in map(FusedLayer, layers)]


def gathered(layer: FusedLayer) -> FusedLayer:
    """The layer with its weights moved into one stretch of memory, one behind another.

    What its parts leave behind is then as large as what the next layer wants. Without that, the places of query, key
    and value stay free between others, too small to go back to the driver: 30 MiB a layer on a GPU.
    """
    weights = list(layer.parameters())
    ends = list(accumulate(round_up(weight.nbytes, ALIGNED_BYTES) for weight in weights))
    stretch = torch.empty(ends[-1], dtype=torch.uint8, device=weights[0].device)
    for weight, start in zip(weights, [0, *ends], strict=False):
        place = stretch[start : start + weight.nbytes].view(weight.dtype).view(weight.shape)
        weight.data = place.copy_(weight)
    return layer


def joined(parts: Sequence[Any]) -> Any:
    """Projections of the same input as one: their rows one under another."""
    if all(isinstance(part, QuantisedLinear) for part in parts):
        return QuantisedLinear.joined(parts)
    if not all(isinstance(part, nn.Linear) for part in parts):
        raise TypeError(f"cannot join {', '.join(type(part).__name__ for part in parts)}")
    whole = nn.Linear(1, 1, bias=False, device="meta")
    whole.weight = nn.Parameter(torch.cat([part.weight for part in parts]), requires_grad=False)
    whole.in_features, whole.out_features = parts[0].in_features, len(whole.weight)
    if any(part.bias is not None for part in parts):
        biases = [part.weight.new_zeros(part.out_features) if part.bias is None else part.bias for part in parts]
        whole.bias = nn.Parameter(torch.cat(biases), requires_grad=False)
    return whole


def _normed(norm: Any, hidden: torch.Tensor) -> torch.Tensor:
    wide = hidden.float()
    scaled = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + norm.variance_epsilon)
    result: torch.Tensor = norm.weight * scaled.to(hidden.dtype)
    return result


def _turned(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin
