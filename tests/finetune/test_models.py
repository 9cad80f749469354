"""Which parts of a model a training touches."""

from typing import Any

import pytest
import torch

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.finetune.models import NOT_IN_FOUR_BITS, load_for_training
from carscribe.finetune.settings import Settings


@pytest.mark.parametrize("model", ["demo", "qwen2", "qwen3"])
def test_of_a_model_in_four_bits_the_language_layers_alone_are(model: str, random_checkpoint: Any) -> None:
    """By transformers' own rule, without bitsandbytes."""
    from transformers.quantizers.quantizers_utils import should_convert_module

    folder = demo_checkpoint() if model == "demo" else random_checkpoint(backbone=model)
    loaded = load_for_training(open_checkpoint(str(folder)), Settings(), device="cpu")
    linear = {name for name, module in loaded.named_modules() if isinstance(module, torch.nn.Linear)}
    converted = {name for name in linear if should_convert_module(name, list(NOT_IN_FOUR_BITS))}
    assert converted == {name for name in linear if name.startswith("model.language_model.layers.")}
    assert len(linear) > len(converted) > 0
