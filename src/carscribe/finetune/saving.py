"""What a training gives: an adapter, or a whole checkpoint that transformers and vLLM load."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from carscribe.engines.adapters import Adapter, merged
from carscribe.engines.checkpoint import Checkpoint
from carscribe.engines.identity import DECIDING
from carscribe.finetune.run_folder import whole_folder

WRITTEN_WITH_WEIGHTS = frozenset({"config.json", "model.safetensors.index.json"})


def write_adapter(model: Any, state: Mapping[str, torch.Tensor], to: Path) -> None:
    """The LoRA of a PEFT model, from the model's whole state."""
    with whole_folder(to) as beside:
        model.save_pretrained(beside, state_dict=state)


def write_checkpoint(
    checkpoint: Checkpoint,
    to: Path,
    *,
    adapter: Adapter | None = None,
    state: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """A whole checkpoint in bfloat16: the first one's weights with `adapter` added, or `state` in their stead.

    Made from the first one's files, so nothing of how it was trained (in 4 bits, in shards, with which attention) is
    left in it.
    """
    from transformers import InternVLForConditionalGeneration
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config
    from transformers.utils import logging

    logging.disable_progress_bar()
    unset_hf_deepspeed_config()  # else its third stage, still set behind a training, divides this model too
    model = InternVLForConditionalGeneration.from_pretrained(
        checkpoint.folder, dtype="auto", device_map="cpu", use_safetensors=True, trust_remote_code=False
    )
    if adapter is not None:
        model = merged(model, adapter)
    if state is not None:
        model.to(torch.bfloat16).load_state_dict(state)
    model.to(torch.bfloat16)
    for part in (model.config, model.config.get_text_config(), model.config.vision_config):
        part.dtype = torch.bfloat16  # save_pretrained looks at the whole alone, vLLM at the parts too
    with whole_folder(to) as beside:
        model.save_pretrained(beside)
        for name in set(DECIDING) - WRITTEN_WITH_WEIGHTS:
            if (checkpoint.folder / name).exists():
                (beside / name).write_bytes((checkpoint.folder / name).read_bytes())
