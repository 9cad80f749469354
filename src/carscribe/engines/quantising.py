"""The projections of a model's language layers quantised: each as its weight is read, or all of a loaded model.

transformers asks a quantizer about every weight it reads, and reads the next one when that is done: neither the host
nor the device ever holds more than one projection that is not quantised yet.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from transformers.core_model_loading import ConversionOps
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, register_quantizer
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from carscribe.engines.quantised import QuantisedLinear
from carscribe.errors import CheckpointError
from carscribe.memory import Held, projection_bytes

METHOD = "carscribe"
"""The name under which transformers knows the quantizer."""

LAYERS = "model.language_model.layers."
"""Where the projections to quantise are: vision tower, projector, embeddings and head are elsewhere."""


def quantisation(held: Held) -> Any:
    """What `from_pretrained` takes as `quantization_config`, for projections to be held so."""
    if METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantizer(METHOD)(_Quantizer)
    return _Config(held)


@torch.no_grad()
def quantise(model: Any, held: Held, device: torch.device) -> None:
    """Quantise the projections of a loaded model on `device`, one after another, and move all else there.

    Raises: CheckpointError when their sizes do not allow it.
    """
    _check(model, held)
    for name in [name for name, _ in _projections(model)]:
        linear = model.get_submodule(name)
        bias = None if linear.bias is None else linear.bias.to(device)
        model.set_submodule(name, QuantisedLinear.of(held, linear.weight.to(device), bias))
    model.to(device)


def _projections(model: Any) -> Iterator[tuple[str, nn.Linear]]:
    for name, module in model.named_modules():
        if name.startswith(LAYERS) and isinstance(module, nn.Linear):
            yield name, module


def _check(model: Any, held: Held) -> None:
    for name, linear in _projections(model):
        try:
            projection_bytes(linear.out_features, linear.in_features, held)
        except ValueError as error:
            raise CheckpointError(f"{name}: {error} Give --dtype int8 or fp8.") from None


class _Config(QuantizationConfigMixin):  # type: ignore[misc]  # transformers is untyped
    def __init__(self, held: Held) -> None:
        self.quant_method: Any = METHOD
        self.held = held


class _Quantizer(HfQuantizer):  # type: ignore[misc]
    """Puts a `QuantisedLinear` in a projection's place as soon as its weight is read."""

    def __init__(self, config: _Config, **options: Any) -> None:
        super().__init__(config, **options)
        self.held = config.held
        self.shapes: dict[str, torch.Size] = {}
        self.mismatched: list[str] = []

    def param_needs_quantization(self, model: Any, param_name: str, **_: Any) -> bool:
        """Whether it is the weight of a projection."""
        path, name = param_name.rpartition(".")[::2]
        return name == "weight" and path.startswith(LAYERS) and isinstance(model.get_submodule(path), nn.Linear)

    def param_element_size(self, model: Any, param_name: str, param: torch.Tensor) -> float:
        """Bytes a weight will take on the device: so much is set aside there."""
        if not self.param_needs_quantization(model, param_name):
            return float(param.element_size())
        outputs, inputs = param.shape
        return projection_bytes(outputs, inputs, self.held, str(param.dtype).removeprefix("torch.")) / param.numel()

    def get_quantize_ops(self) -> Any:
        """What is done with a projection's weight."""
        return _Quantise(self)

    def is_serializable(self) -> bool:
        """It is not: a checkpoint keeps its own weights."""
        return False

    @property
    def is_trainable(self) -> bool:
        """It is not."""
        return False

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        _check(model, self.held)
        self.shapes = {name: parameter.shape for name, parameter in model.named_parameters()}

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        """Look at the sizes, which transformers does not where a quantizer may change them.

        Raises: RuntimeError, as transformers without one.
        """
        self.mismatched += [
            f"{name}.{own}"
            for name, module in model.named_modules()
            if not isinstance(module, QuantisedLinear)
            for own, parameter in module.named_parameters(recurse=False)
            if parameter.shape != self.shapes[f"{name}.{own}"]
        ]
        if self.mismatched:
            raise RuntimeError(f"mismatched sizes of {len(self.mismatched)} weights ({self.mismatched[0]} …)")
        self.remove_quantization_config(model)
        return model


class _Quantise(ConversionOps):  # type: ignore[misc]
    def __init__(self, quantizer: _Quantizer) -> None:
        self.quantizer = quantizer

    def convert(
        self, input_dict: dict[str, Any], *, full_layer_name: str, model: Any, missing_keys: set[str], **_: Any
    ) -> dict[str, torch.Tensor]:
        """Nothing is left to be set: the module itself is replaced."""
        (weight,) = input_dict.values()
        weight = weight[0] if isinstance(weight, list) else weight
        path = full_layer_name.rpartition(".")[0]
        linear = model.get_submodule(path)
        if weight.shape != linear.weight.shape:
            self.quantizer.mismatched.append(full_layer_name)
            return {}
        model.set_submodule(path, QuantisedLinear.of(self.quantizer.held, weight, linear.bias))
        missing_keys.discard(full_layer_name)
        return {}
