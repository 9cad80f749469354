"""Packed training rows are learned from as rows of their own are: the same loss, the same gradients."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from PIL import Image

from carscribe.engines.checkpoint import Checkpoint, open_checkpoint
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.engines.prompting import PromptEncoder
from carscribe.examples import Example, Pair
from carscribe.finetune.attention import branch_mask
from carscribe.finetune.collator import Collator
from carscribe.finetune.layouts import IGNORED, Tokens, pack
from carscribe.finetune.models import load_for_training
from carscribe.finetune.settings import Settings
from carscribe.finetune.training import PhotoTrainer, trainer_config

QUESTIONS = ("wheels", "\nwhat color?", "Describe the grille as a designer would.", "이 차의 색은?", " roof")
ANSWERS = ("five-spoke", "red", "a honeycomb grille, wide", "빨간색", "1")
TALK = (
    ("wheels", "red"),
    ("\nwhat color?", "two\n\nlines"),
    ("\n\nroof? \n", "five-spoke\n"),
    (" doors", " 1"),
    ("\t2026?", "빨간색 "),
    ("휠", "7"),
    ("“seats”", "“low”"),
    ("wheels", "red"),
)


def picture(seed: int, size: tuple[int, int]) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def examples(count: int = 4) -> list[dict[str, Any]]:
    """Photos of 2, 5 and 7 tiles with one to five pairs each."""
    sizes = ((224, 112), (224, 224), (300, 200))
    return [
        Example(
            photo=picture(i, sizes[i % 3]),
            pairs=tuple(Pair(question=QUESTIONS[(i + k) % 5], answer=ANSWERS[(i + k * k) % 5]) for k in range(1 + i)),
            key=str(i),
        ).to_row()
        for i in range(count)
    ]


def learned(folder: Path, way: str, to: Path) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss of one batch, and what it would change, by TRL's trainer."""
    checkpoint = open_checkpoint(str(folder))
    encoder = PromptEncoder(checkpoint)
    settings = Settings(rows=way, train="full", vision=True, projector=True, batch_photos=4, checkpointing=False)  # type: ignore[arg-type]
    model = load_for_training(checkpoint, settings, device="cpu")
    collator = Collator(encoder, checkpoint.tiling, rows=settings.rows)
    trainer = PhotoTrainer(
        checkpoint=checkpoint,
        model=model,
        args=trainer_config(settings, to, device="cpu", measured=False),
        data_collator=collator,
        train_dataset=Dataset.from_list(examples()),
        processing_class=encoder.tokenizer,
    )
    loss = trainer.compute_loss(model, trainer._prepare_inputs(collator(examples())))
    loss.backward()
    return float(loss.detach()), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("backbone", ["qwen2", "qwen3"])
def test_packed_rows_have_the_loss_and_the_gradients_of_rows_of_their_own(
    backbone: str, random_checkpoint: Any, tmp_path: Path
) -> None:
    folder = random_checkpoint(backbone=backbone)
    packed_loss, packed = learned(folder, "packed", tmp_path / "packed")
    plain_loss, plain = learned(folder, "plain", tmp_path / "plain")
    assert packed_loss == pytest.approx(plain_loss, rel=1e-5)
    assert packed.keys() == plain.keys()
    largest = max(float(gradient.abs().max()) for gradient in plain.values())
    assert largest > 0.1
    for name, gradient in plain.items():
        apart = float((packed[name] - gradient).abs().max())
        assert apart <= 2e-4 * float(gradient.abs().max()) + 1e-6 * largest, name


def test_a_conversation_learns_every_answer_and_no_question(random_checkpoint: Any) -> None:
    checkpoint = open_checkpoint(str(random_checkpoint()))
    encoder = PromptEncoder(checkpoint)
    (row,) = examples(4)[3:]
    batch = Collator(encoder, checkpoint.tiling, rows="turns")([row])
    spoken = [int(token) for token in batch["labels"][0] if token != IGNORED]
    ends = [i for i, token in enumerate(spoken) if token == encoder.end_of_turn_id]
    starts = [0, *(end + 1 for end in ends[:-1])]
    assert [encoder.text(spoken[start:end]) for start, end in zip(starts, ends, strict=True)] == row["answers"]
    text = encoder.tokenizer.decode(batch["input_ids"][0])
    assert [text.count(question) >= 1 for question in row["questions"]] == [True] * 4
    assert text.count("<img>") == 1


@pytest.mark.parametrize("model", ["demo", "qwen2", "qwen3"])
def test_a_conversation_is_what_the_chat_template_writes(model: str, random_checkpoint: Any) -> None:
    checkpoint = open_checkpoint(str(demo_checkpoint() if model == "demo" else random_checkpoint(backbone=model)))
    encoder = PromptEncoder(checkpoint)
    pairs = tuple(Pair(question=q, answer=a) for q, a in TALK)
    rows = [Example(photo=picture(i, (224, 112)), pairs=pairs[i:]).to_row() for i in range(len(pairs))]
    batch = Collator(encoder, checkpoint.tiling, rows="turns")(rows)
    width = batch["input_ids"].shape[1]
    for b, row in enumerate(rows):
        ids, labels = written(encoder, checkpoint, row, tiles=len(batch["pixel_values"]) // len(rows))
        # The new line behind the last end of turn is left out: nothing is predicted from it.
        assert batch["input_ids"][b].tolist() == [*ids[:-1], *[encoder.pad_id] * (width - len(ids) + 1)]
        assert batch["labels"][b].tolist() == [*labels[:-1], *[IGNORED] * (width - len(ids) + 1)]
        assert batch["attention_mask"][b].tolist() == [int(i < len(ids) - 1) for i in range(width)]
        assert batch["position_ids"][b].tolist() == [*range(width)]


def written(
    encoder: PromptEncoder, checkpoint: Checkpoint, row: dict[str, Any], *, tiles: int
) -> tuple[list[int], list[int]]:
    """A row's conversation as the template writes it whole: its ids, and the labels of answers and ends of turn."""
    messages: list[dict[str, Any]] = []
    for question, answer in zip(row["questions"], row["answers"], strict=True):
        messages.append({"role": "user", "content": [{"type": "text", "text": question}]})
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    messages[0]["content"].insert(0, {"type": "image"})
    template = (checkpoint.folder / "chat_template.jinja").read_text("utf-8")
    text = encoder.tokenizer.apply_chat_template(messages, chat_template=template, tokenize=False)
    image = f"<img>{'<IMG_CONTEXT>' * (checkpoint.image_tokens * tiles)}</img>"
    ids = encoder.tokenizer(text.replace("<IMG_CONTEXT>", image))["input_ids"]
    header = encoder.tokenizer("<|im_start|>assistant\n")["input_ids"]
    labels = [IGNORED] * len(ids)
    starts = [i + len(header) for i in range(len(ids)) if ids[i : i + len(header)] == header]
    assert len(starts) == len(row["answers"])
    for start in starts:
        end = ids.index(encoder.end_of_turn_id, start) + 1
        labels[start:end] = ids[start:end]
    return ids, labels


def test_most_pairs_are_drawn_anew_each_time(random_checkpoint: Any) -> None:
    checkpoint = open_checkpoint(str(random_checkpoint()))
    collator = Collator(PromptEncoder(checkpoint), checkpoint.tiling, rows="packed", most_pairs=2)
    row = Example(photo=picture(0, (112, 112)), pairs=tuple(map(_pair, range(5)))).to_row()
    drawn = {tuple(collator([row])["labels"][0].tolist()) for _ in range(40)}
    assert len(drawn) > 5
    assert all(sum(token != IGNORED for token in labels) < 12 for labels in drawn)


def _pair(i: int) -> Pair:
    return Pair(question=QUESTIONS[i], answer=str(i))


def test_a_branch_sees_its_own_photos_prefix_and_itself_alone() -> None:
    def pair(prompt: tuple[int, ...], image_end: int, answer: tuple[int, ...]) -> Tokens:
        return Tokens(prompt=prompt, image_end=image_end, answer=answer)

    rows = [
        [pair((1, 2, 30, 31), 2, (40, 9)), pair((1, 2, 32), 2, (41, 9))],
        [pair((1, 2, 3, 4, 33), 4, (42, 43, 9))],
    ]
    batch = pack(rows, pad_id=0, quantum=4)
    prefix = batch.prefix_tokens
    assert prefix == 4
    assert batch.own_prefix is not None
    own_prefix = torch.from_numpy(batch.own_prefix)
    mask = branch_mask(torch.from_numpy(batch.mask), own_prefix, prefix_tokens=prefix, heads_per_kv=2)
    branch_tokens = batch.token_ids.shape[1] - prefix
    assert mask.shape == (2, 1, 2 * branch_tokens, batch.token_ids.shape[1])
    assert torch.equal(mask[:, :, :branch_tokens], mask[:, :, branch_tokens:])
    for b, row in enumerate(rows):
        for pair_ in row:
            own = (*pair_.prompt[pair_.image_end :], *pair_.answer)
            at = next(
                i for i in range(prefix, batch.token_ids.shape[1]) if tuple(batch.token_ids[b, i : i + len(own)]) == own
            )
            for k in range(len(own)):
                seen = set(np.flatnonzero(mask[b, 0, at + k - prefix]))
                assert seen == {*range(pair_.image_end), *range(at, at + k + 1)}
                assert batch.position_ids[b, at + k] == pair_.image_end + k
            labels = batch.labels[b, at : at + len(own)]
            assert tuple(labels[-len(pair_.answer) :]) == pair_.answer
            assert set(labels[: -len(pair_.answer)]) <= {IGNORED}
