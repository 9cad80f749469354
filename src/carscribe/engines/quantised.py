"""Linear layers whose weight is held in 8 or 4 bits: how a weight becomes one, and how one is multiplied with.

fp8     e4m3 by output, a scale in float32 each; the input is rounded to e4m3 too, by row, as it comes. Multiplied in
        8 bits on a GPU, and as the same numbers in float32 elsewhere.
int8    symmetric by output, a scale each; dequantised and multiplied.
int4    asymmetric by group of inputs, a scale and a zero each, two values a byte; dequantised and multiplied.

A zero of int4 is a whole number among the 16 steps, so that a weight of 0 stays 0: an input that is much larger than
its sisters has weights near 0, and would multiply whatever else they became. Dequantising is element by element, which
a compiler makes one kernel of; what it makes is freed before the next projection.

Shapes: M rows, N outputs, K inputs, G inputs a group.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from carscribe.memory import Held, int4_group

FP8 = torch.float8_e4m3fn
LARGEST_FP8, LARGEST_INT8, LARGEST_INT4 = 448.0, 127, 15
LEAST_SCALE = 1e-30
"""Of e4m3 in float32: a row of zeros stays one."""

FP8_MULTIPLE = 16
"""Of what N and K must be multiples for a GPU to multiply in 8 bits."""


class QuantisedLinear(nn.Module):
    """`nn.Linear` with its weight held as `held` says; made by `of` and `joined`.

    weight: e4m3 or int8 [N, K], or uint8 [N, K/2] with the even inputs in the high bits. scale: float32 [N] (fp8), or
    in what is computed in [N] (int8), [N, K/G] (int4). zero: [N, K/G], of int4 alone. bias: [N] or None.
    """

    weight: nn.Parameter
    scale: nn.Parameter
    zero: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(
        self,
        held: Held,
        weight: torch.Tensor,
        scale: torch.Tensor,
        zero: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
    ) -> None:
        super().__init__()
        self.held = held
        self.out_features = weight.shape[0]
        self.in_features = weight.shape[1] * (2 if held == "int4" else 1)
        for name, tensor in (("weight", weight), ("scale", scale), ("zero", zero), ("bias", bias)):
            self.register_parameter(name, None if tensor is None else nn.Parameter(tensor, requires_grad=False))

    @classmethod
    def of(cls, held: Held, weight: torch.Tensor, bias: torch.Tensor | None = None) -> "QuantisedLinear":
        """Of a float weight [N, K], which is in what will be computed in.

        Raises: ValueError for int4 when K is no multiple of 16.
        """
        match held:
            case "fp8":
                values, scale = rounded_to_fp8(weight)
                return cls(held, values, scale[:, 0].contiguous(), bias=bias)
            case "int8":
                return cls(held, *_rounded_to_int8(weight), bias=bias)
            case "int4":
                return cls(held, *_rounded_to_int4(weight), bias=bias)

    @classmethod
    def joined(cls, parts: Sequence["QuantisedLinear"]) -> "QuantisedLinear":
        """Several of the same input as one, their outputs one behind another; exactly, as no scale spans two outputs.

        Raises: ValueError when they are held differently or have other inputs.
        """
        first = parts[0]
        if {(part.held, part.in_features) for part in parts} != {(first.held, first.in_features)}:
            raise ValueError("Only projections of the same input, held alike, can be joined.")
        zeros: list[torch.Tensor] = [part.zero for part in parts if part.zero is not None]
        like = next((part.bias for part in parts if part.bias is not None), None)
        biases = [] if like is None else [like.new_zeros(p.out_features) if p.bias is None else p.bias for p in parts]
        return cls(
            first.held,
            torch.cat([part.weight for part in parts]),
            torch.cat([part.scale for part in parts]),
            torch.cat(zeros) if zeros else None,
            torch.cat(biases) if biases else None,
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., K] to [..., N], in the dtype of x."""
        if self.held == "fp8":
            return self._in_fp8(x)
        return F.linear(x, self.dequantised(), self.bias)

    def dequantised(self) -> torch.Tensor:
        """The float weight [N, K] that the held one stands for, in the dtype of its scale."""
        if self.zero is None:
            return self.weight.to(self.scale.dtype).mul_(self.scale[:, None])
        shifts = 4 - 4 * torch.arange(2, dtype=torch.uint8, device=self.weight.device)
        steps = (self.weight[..., None] >> shifts).bitwise_and_(LARGEST_INT4).view(*self.scale.shape, -1)
        values = steps.to(self.scale.dtype).sub_(self.zero[..., None]).mul_(self.scale[..., None])
        return values.view(self.out_features, self.in_features)

    def extra_repr(self) -> str:
        """As `nn.Linear` shows itself."""
        return f"{self.held}, in_features={self.in_features}, out_features={self.out_features}"

    def _in_fp8(self, x: torch.Tensor) -> torch.Tensor:
        rows, scale = rounded_to_fp8(x.reshape(-1, self.in_features))
        if x.is_cuda and self.in_features % FP8_MULTIPLE == 0 and self.out_features % FP8_MULTIPLE == 0:
            out = torch._scaled_mm(
                rows,
                self.weight.t(),
                scale_a=scale,
                scale_b=self.scale[None],
                bias=self.bias,
                out_dtype=x.dtype,
                use_fast_accum=True,
            )
        else:
            bias = None if self.bias is None else self.bias.float()
            out = F.linear(rows.float().mul_(scale), self.dequantised(), bias).to(x.dtype)
        return out.view(*x.shape[:-1], self.out_features)


def rounded_to_fp8(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows [M, K] as e4m3 [M, K] and their scales, float32 [M, 1]: the largest of each row becomes 448.

    A row that is not finite becomes NaN, so that what comes of it is seen.
    """
    scale = (rows.abs().amax(-1, keepdim=True).float() / LARGEST_FP8).clamp_(min=LEAST_SCALE)
    return (rows / scale).to(FP8), scale


def _rounded_to_int8(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 [N, K] and scales [N] in the dtype of the weight, to which they are rounded first."""
    scale = _held_scale(weight.abs().amax(-1).float() / LARGEST_INT8, weight.dtype)
    steps = (weight / scale.float()[:, None]).round_().clamp_(-LARGEST_INT8, LARGEST_INT8)
    return steps.to(torch.int8), scale


def _rounded_to_int4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """uint8 [N, K/2], scales and zeros [N, K/G] in the dtype of the weight."""
    outputs, inputs = weight.shape
    groups = weight.float().view(outputs, -1, int4_group(inputs))
    low, high = groups.amin(-1).clamp_(max=0), groups.amax(-1).clamp_(min=0)
    scale = _held_scale((high - low) / LARGEST_INT4, weight.dtype)
    zero = (-low / scale.float()).round_().clamp_(0, LARGEST_INT4)
    steps = (groups / scale.float()[..., None]).round_().add_(zero[..., None]).clamp_(0, LARGEST_INT4)
    pairs = steps.view(outputs, -1, 2).to(torch.uint8)
    return pairs[..., 0] << 4 | pairs[..., 1], scale, zero.to(weight.dtype)


def _held_scale(scale: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return scale.to(dtype).clamp_(min=torch.finfo(dtype).tiny)
