"""The plain way, to compare with: a checkpoint as transformers loads it, asked one question about one photo at a time.

Nothing of Carscribe's engine is used for what it says: no packing, no cache of our own, no attention of our own. Only
the ids of a choice come from `PromptEncoder`, which `expected` compares. Shapes: T new tokens, V vocabulary.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from carscribe.doctor.expected import expanded_ids, load_tokenizer
from carscribe.engines.checkpoint import Checkpoint
from carscribe.engines.prompting import PromptEncoder
from carscribe.records import Prompt

PLAIN_GREEDY = {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0}
"""`generate` without the settings of a generation config that change greedy decoding: Carscribe has none of them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Said:
    """What the model said to one open question, by `generate`, and once more in a single pass over its own words.

    `tokens` [T] ends with the end of turn when the model ended its turn. `logits` float32 [T, V] are those of the
    single pass. `noise` is how far the lead of the best token over the second moved between the two ways at most:
    logits that one and the same model gives for one and the same text differ by about so much.
    """

    tokens: tuple[int, ...]
    logits: torch.Tensor
    noise: float


class Alone:
    """A checkpoint loaded as transformers loads it."""

    def __init__(self, checkpoint: Checkpoint, *, device: str, dtype: str) -> None:
        """Load it a second time: call when the engine's own copy is gone."""
        from transformers import InternVLForConditionalGeneration
        from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil
        from transformers.utils import logging

        logging.disable_progress_bar()
        self._checkpoint = checkpoint
        self._prompts = PromptEncoder(checkpoint)
        self._tokenizer = load_tokenizer(checkpoint)
        self._processor = GotOcr2ImageProcessorPil.from_pretrained(checkpoint.folder)
        self._device = torch.device(device)
        self._model: Any = InternVLForConditionalGeneration.from_pretrained(
            checkpoint.folder,
            dtype=getattr(torch, dtype),
            device_map=device,
            use_safetensors=True,
            trust_remote_code=False,
        ).eval()
        said = self._model.generation_config.eos_token_id
        ends = said if isinstance(said, list) else [] if said is None else [said]
        self._end_ids = list(dict.fromkeys((self._prompts.end_of_turn_id, *ends)))

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as text, special ones too."""
        text: str = self._tokenizer.decode(list(tokens))
        return text

    @torch.inference_mode()
    def say(self, tiles: np.ndarray, prompt: Prompt) -> Said:
        """Answer an open question about a photo, uint8 tiles [tiles, px, px, 3]."""
        inputs = self._inputs(tiles, prompt.text)
        start = inputs["input_ids"].shape[1]
        out = self._model.generate(
            **inputs,
            **PLAIN_GREEDY,
            max_new_tokens=prompt.max_new_tokens,
            eos_token_id=self._end_ids,
            return_dict_in_generate=True,
            output_logits=True,
        )
        tokens = out.sequences[:, start:]
        again = self._read_back(inputs, tokens)
        step_by_step = torch.stack([step[0] for step in out.logits]).float()
        best = step_by_step.topk(2, dim=-1).indices
        moved = (_lead(step_by_step, best) - _lead(again, best)).abs().max()
        return Said(tokens=tuple(tokens[0].tolist()), logits=again, noise=float(moved))

    @torch.inference_mode()
    def logits_along(self, tiles: np.ndarray, text: str, tokens: Sequence[int]) -> torch.Tensor:
        """Float32 [T, V]: the logits behind each of `tokens` [T], in a single pass over the question and them."""
        return self._read_back(self._inputs(tiles, text), torch.tensor([list(tokens)], device=self._device))

    @torch.inference_mode()
    def choose(self, tiles: np.ndarray, prompt: Prompt) -> list[float]:
        """log P(choice and end of turn) of each choice of a prompt, the photo and question read once."""
        inputs = self._inputs(tiles, prompt.text)
        read = self._model(**inputs, use_cache=True, logits_to_keep=1)
        first = read.logits[0, -1].float().log_softmax(-1)
        return [
            float(first[leaf[0]]) + self._tail(read.past_key_values, inputs["input_ids"].shape[1], leaf)
            for leaf in self._prompts.leaves(prompt.text, prompt.choices)
        ]

    def _read_back(self, inputs: dict[str, torch.Tensor], tokens: torch.Tensor) -> torch.Tensor:
        """Logits [T, V] along tokens [1, T].

        The photo is put in by hand: a model may itself have said the token that stands for a photo, and transformers
        would then look for another photo to put there.
        """
        embed, ids = self._model.get_input_embeddings(), inputs["input_ids"]
        features = self._model.model.get_image_features(pixel_values=inputs["pixel_values"]).pooler_output
        prompt = embed(ids).clone()
        prompt[ids == self._checkpoint.image_token_id] = features.reshape(-1, prompt.shape[-1]).to(prompt.dtype)
        whole = torch.cat([prompt, embed(tokens[:, :-1])], 1)
        mask = torch.ones(whole.shape[:2], dtype=torch.long, device=self._device)
        out = self._model(inputs_embeds=whole, attention_mask=mask, logits_to_keep=tokens.shape[1])
        logits: torch.Tensor = out.logits[0].float()
        return logits

    def _tail(self, cache: Any, read_tokens: int, leaf: Sequence[int]) -> float:
        """log P of all tokens of a leaf but the first, behind what `cache` holds, which is left as it is."""
        fed = torch.tensor([leaf[:-1]], device=self._device)
        mask = torch.ones((1, read_tokens + fed.shape[1]), dtype=torch.long, device=self._device)
        logits = self._model(input_ids=fed, attention_mask=mask, past_key_values=copy.deepcopy(cache)).logits[0]
        spread = logits.float().log_softmax(-1)
        return float(spread.gather(1, torch.tensor(leaf[1:], device=self._device)[:, None]).sum())

    def _inputs(self, tiles: np.ndarray, text: str) -> dict[str, torch.Tensor]:
        """What the checkpoint's own classes make of tiles that were cut already, and of the text."""
        ids = torch.tensor([expanded_ids(self._checkpoint, self._tokenizer, text, len(tiles))], device=self._device)
        pixels = self._processor(list(tiles), crop_to_patches=False, return_tensors="pt")["pixel_values"]
        return {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "pixel_values": pixels.to(self._device, self._model.dtype),
        }


def _lead(logits: torch.Tensor, best: torch.Tensor) -> torch.Tensor:
    """How far the first of `best` [T, 2] is ahead of the second in logits [T, V]: [T]."""
    pair = logits.gather(1, best)
    return pair[:, 0] - pair[:, 1]
