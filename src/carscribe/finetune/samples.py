"""What a model says to a few held-out questions, before and after a training: for people to read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from carscribe.engines.checkpoint import Checkpoint
from carscribe.engines.prompting import PromptEncoder
from carscribe.examples import Example
from carscribe.photos.decode import read_photo
from carscribe.records import Tiling

MOST_NEW_TOKENS = 96


@torch.no_grad()
def answers_of(
    model: Any,
    checkpoint: Checkpoint,
    encoder: PromptEncoder,
    examples: Sequence[Example],
    *,
    questions: int,
    tiling: Tiling,
) -> list[list[str]]:
    """For each example the answers to its first `questions` questions, by plain greedy `generate`.

    The model runs with torch's own attention meanwhile, and is left as it was.
    """
    trained_with = model.config.get_text_config()._attn_implementation
    training = model.training
    model.set_attn_implementation({"text_config": "sdpa"})
    model.eval()
    device = next(model.parameters()).device
    dtypes = {p.dtype for p in model.parameters() if p.is_floating_point()}
    dtype = torch.float32 if dtypes == {torch.float32} else torch.bfloat16
    mixed = torch.autocast(device.type, dtype=dtype, enabled=len(dtypes) > 1)  # a projector that learns is in float32
    mean, std = torch.tensor(checkpoint.mean, device=device), torch.tensor(checkpoint.std, device=device)
    found: list[list[str]] = []
    try:
        for example in examples:
            tiles = read_photo(Path(str(example.photo)), tiling).tiles
            pixels = torch.from_numpy(tiles).to(device).float() / checkpoint.divisor
            scaled = ((pixels - mean) / std).permute(0, 3, 1, 2).to(dtype)
            said = []
            for pair in example.pairs[:questions]:
                ids = torch.tensor([encoder.ids(pair.question, len(tiles))], device=device)
                with mixed:
                    out = model.generate(
                        input_ids=ids,
                        attention_mask=torch.ones_like(ids),
                        pixel_values=scaled,
                        do_sample=False,
                        max_new_tokens=MOST_NEW_TOKENS,
                        eos_token_id=encoder.end_of_turn_id,
                        pad_token_id=encoder.pad_id,
                    )
                said.append(encoder.text(out[0, ids.shape[1] :].tolist()))
            found.append(said)
    finally:
        model.set_attn_implementation({"text_config": trained_with})
        model.train(training)
    return found
