"""A checkpoint loaded to be trained: which attention it runs with, and which of its weights learn."""

from typing import Any

import torch

from carscribe.engines.checkpoint import Checkpoint, first_line
from carscribe.errors import CheckpointError, InputError, MissingExtraError
from carscribe.finetune.attention import TRAINING_ATTENTION, register_training_attention
from carscribe.finetune.settings import Settings

LANGUAGE_LAYERS = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
PROJECTOR = r".*multi_modal_projector\.linear_\d"
VISION_LAYERS = r".*vision_tower\.encoder\.layer\.\d+\.(attention\.([qkv]_proj|projection_layer)|mlp\.fc[12])"
"""Modules that LoRA is put on, matched whole. The vision tower has a `q_proj` too: a bare name would catch it."""

NOT_IN_FOUR_BITS = ("model.vision_tower", "model.multi_modal_projector", "lm_head")
"""Modules that qlora leaves as they are, from the root: transformers matches a name's beginning or its end."""


def load_for_training(checkpoint: Checkpoint, settings: Settings, *, device: str) -> Any:
    """The model in training mode on `device`, what is not to learn frozen.

    LoRA trains beside weights in bfloat16 (4-bit with qlora), and so does a projector, which itself is in float32; full
    training keeps all weights in float32, and computes in bfloat16 on a GPU.

    Raises: CheckpointError when it does not load; InputError for a GPU that cannot do what the settings want.
    """
    if device.startswith("cuda") and settings.dtype != "float32" and not torch.cuda.is_bf16_supported(False):
        raise InputError('This GPU has no bfloat16: set dtype = "float32" in --config.')
    from transformers import InternVLForConditionalGeneration
    from transformers.utils import logging

    register_training_attention()
    logging.disable_progress_bar()
    # The trainer sets the model's end tokens to the tokenizer's and warns of it; what is written has the checkpoint's.
    logging.get_logger("transformers.trainer_utils").setLevel(logging.ERROR)
    how = TRAINING_ATTENTION if settings.rows == "packed" else "sdpa"
    more: dict[str, Any] = {"quantization_config": _four_bits()} if settings.train == "qlora" else {}
    try:
        model = InternVLForConditionalGeneration.from_pretrained(
            checkpoint.folder,
            dtype=weights_dtype(settings, device),
            device_map=device,
            attn_implementation={"text_config": how, "vision_config": "sdpa"},
            use_safetensors=True,
            trust_remote_code=False,
            **more,
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{checkpoint.name} does not load: {first_line(error)}. Fetch it again.") from error
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not settings.gives_adapter and _learns(name, settings))
    if settings.train == "projector":
        model.model.multi_modal_projector.float()
    return model.train()


def weights_dtype(settings: Settings, device: str) -> torch.dtype:
    """What weights are held in while they are trained, or trained beside."""
    if settings.train == "full" or settings.dtype == "float32" or device.startswith("cpu"):
        return torch.float32
    return torch.bfloat16


def lora_config(settings: Settings) -> Any:
    """PEFT's settings; None where no adapter is trained. Raises: MissingExtraError."""
    if not settings.gives_adapter:
        return None
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise MissingExtraError("Fine-tuning", extra="train") from error
    parts = [LANGUAGE_LAYERS, *[PROJECTOR] * settings.projector, *[VISION_LAYERS] * settings.vision]
    return LoraConfig(
        r=settings.lora_rank,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules="|".join(f"(?:{part})" for part in parts),
        task_type="CAUSAL_LM",
    )


def _learns(name: str, settings: Settings) -> bool:
    if "vision_tower" in name:
        return settings.vision
    if "multi_modal_projector" in name:
        return settings.projector or settings.train == "projector"
    return settings.train == "full"


def _four_bits() -> Any:
    """Weights in 4 bits."""
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=list(NOT_IN_FOUR_BITS),
    )
