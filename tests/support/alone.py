"""The plain way, to compare with: one question at a time through transformers' own `generate` and forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, InternVLForConditionalGeneration
from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

from carscribe.engines.decoding import Graphs
from carscribe.engines.local import LocalEngine
from carscribe.records import Answer, Prompt, Request


class Alone:
    """A checkpoint loaded as transformers loads it, asked one question about one photo at a time."""

    def __init__(self, folder: Path) -> None:
        self.model: Any = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.processor: Any = GotOcr2ImageProcessorPil.from_pretrained(folder)
        self.image_tokens: int = self.model.config.image_seq_length

    def inputs(self, tiles: np.ndarray, text: str) -> dict[str, torch.Tensor]:
        """What the processor of the checkpoint makes of tiles that were cut already, and of the text."""
        message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
        rendered = self.tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
        expanded = rendered.replace(
            "<IMG_CONTEXT>", f"<img>{'<IMG_CONTEXT>' * self.image_tokens * len(tiles)}</img>", 1
        )
        bos = self.tokenizer.bos_token
        added = not (bos and expanded.startswith(bos))  # else the template wrote it already
        ids = torch.tensor([self.tokenizer(expanded, add_special_tokens=added)["input_ids"]])
        pixels = self.processor(list(tiles), crop_to_patches=False, return_tensors="pt")["pixel_values"]
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}

    @torch.inference_mode()
    def generate(self, tiles: np.ndarray, prompt: Prompt) -> list[int]:
        """The new tokens, the end of turn included when the model said it."""
        inputs = self.inputs(tiles, prompt.text)
        out = self.model.generate(**inputs, max_new_tokens=prompt.max_new_tokens, do_sample=False)
        new: list[int] = out[0, inputs["input_ids"].shape[1] :].tolist()
        return new

    @torch.inference_mode()
    def log_probability(self, tiles: np.ndarray, text: str, choice: str) -> float:
        """log P(choice and end of turn), from one forward pass over prompt and choice."""
        inputs = self.inputs(tiles, text)
        ends = self.model.generation_config.eos_token_id
        tail = [
            *self.tokenizer(choice, add_special_tokens=False)["input_ids"],
            ends if isinstance(ends, int) else ends[0],
        ]
        ids = torch.cat([inputs["input_ids"], torch.tensor([tail])], 1)
        logits = self.model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0].double()
        start = inputs["input_ids"].shape[1]
        spread = logits.log_softmax(-1)
        return float(sum(spread[start + i - 1, token] for i, token in enumerate(tail)))


class Replaying(Graphs):
    """Graphs without a GPU: what replays a step does it again with what it was captured with, whoever asks."""

    def capture(self, step: Callable[[], None]) -> Any:
        return SimpleNamespace(replay=step)


class Recording(LocalEngine):
    """The engine itself, keeping the token ids behind each open answer."""

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        """As the engine answers; `ids` then holds, per (row, question id), the tokens up to their end."""
        self.ids: dict[tuple[int, str], list[int]] = {}
        requests = [  # prompts of their own for every row, so that an answer tells its row
            replace(request, prompts=tuple(replace(prompt) for prompt in request.prompts)) for request in requests
        ]
        self._rows = {id(prompt): row for row, request in enumerate(requests) for prompt in request.prompts}
        return super().answer(requests)

    def _opens(self, prompts: Sequence[Prompt], said: Sequence[list[int]]) -> list[Answer]:
        answers = super()._opens(prompts, said)
        for prompt, answer, tokens in zip(prompts, answers, said, strict=True):
            ended = answer.finish == "stop"
            self.ids[self._rows[id(prompt)], prompt.question_id] = tokens[: answer.tokens + ended]
        return answers


def open_prompt(text: str, *, new: int = 10, name: str | None = None) -> Prompt:
    return Prompt(recipe_id="test", question_id=name or text, language="en", text=text, max_new_tokens=new)


def choice_prompt(text: str, choices: tuple[str, ...]) -> Prompt:
    return Prompt(recipe_id="test", question_id=text, language="en", text=text, max_new_tokens=1, choices=choices)


def photo(seed: int, tiles: int, tile_px: int = 112) -> np.ndarray:
    """Random tiles, uint8 [tiles, px, px, 3]; blotches rather than noise, so that photos differ to a model."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (tiles, tile_px // 14, tile_px // 14, 3), dtype=np.uint8)
    return coarse.repeat(14, axis=1).repeat(14, axis=2)


def assert_equals_alone(engine: Recording, alone: Alone, requests: list[Request]) -> None:
    answers = engine.answer(requests)
    for row, request in enumerate(requests):
        for prompt, answer in zip(request.prompts, answers[row], strict=True):
            assert answer.question_id == prompt.question_id
            if prompt.choices:
                assert_score_equals_forward(alone, request, prompt, answer.scores, answer.mass)
                continue
            expected = alone.generate(request.tiles, prompt)
            assert engine.ids[row, prompt.question_id] == expected
            ended = expected[-1] in engine._end_ids
            assert answer.finish == ("stop" if ended else "length")
            assert answer.tokens == len(expected) - ended
            said = expected[:-1] if ended else expected
            assert answer.text == alone.tokenizer.decode(said, skip_special_tokens=True).strip()


def assert_score_equals_forward(
    alone: Alone, request: Request, prompt: Prompt, scores: object, mass: float | None
) -> None:
    logs = np.array([alone.log_probability(request.tiles, prompt.text, choice) for choice in prompt.choices])
    shares = np.exp(logs - logs.max())
    assert isinstance(scores, dict)
    assert list(scores) == list(prompt.choices)
    np.testing.assert_allclose(list(scores.values()), shares / shares.sum(), rtol=2e-3, atol=1e-7)
    assert mass is not None
    np.testing.assert_allclose(np.log(mass), np.log(np.exp(logs).sum()), rtol=1e-4)
