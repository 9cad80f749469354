"""A small language model trained on text alone: another width, tokenizer and template than the demo model's.

It learns to answer the shipped recipes' questions about a car that is told of in words, in English and Korean, as a
language model that is to see cars must know words about them first. A Llama with tied embeddings and a byte-level BPE.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow.parquet
import torch
from tokenizers import AddedToken
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, Trainer, TrainingArguments

from carscribe.engines.new_checkpoint import train_bpe
from render_set import LANGUAGES, prompts
from rendered.attributes import ASPECTS

BEGIN, USER, ASSISTANT, END = "<|begin|>", "<|user|>", "<|assistant|>", "<|end|>"
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] | trim + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
VOCABULARY, TOKENIZER_ROWS = 3000, 2000
IGNORED, SAME_LANGUAGE = -100, 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSizes:
    """The sizes of the language model."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int

    @staticmethod
    def of(*, hidden: int, layers: int) -> "TextSizes":
        """Heads of 32, two key/value heads where that goes, an MLP of twice the width."""
        heads = hidden // 32
        return TextSizes(hidden=hidden, layers=layers, heads=heads, kv_heads=2 - heads % 2, mlp=2 * hidden)


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What a person says and what is answered."""

    asked: str
    said: str


class CarTexts(Dataset[Turn]):
    """`length` turns about the cars of prepared rows: a car in words, and a question, mostly in the same language.

    What is told before a question about one aspect is that aspect and any number of others: where little is told, a
    model learns to find the answer in it sooner.
    """

    def __init__(self, tables: Sequence[Path], length: int, places: Sequence[int]) -> None:
        """`places` are those of a row's questions that are asked, by the order of `asked_places`."""
        columns = [pyarrow.parquet.read_table(path, columns=["questions", "answers"]).to_pylist() for path in tables]
        self.rows = [row for table in columns for row in table]
        self._length, self._places = length, places
        self._languages = sorted({_asked()[place][0] for place in places})

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Turn:
        chance = random.Random(index)
        row = self.rows[index % len(self.rows)]
        place = chance.choice(self._places)
        language, aspect = _asked_of(place)
        told_in = language if chance.random() < SAME_LANGUAGE else chance.choice(self._languages)
        facts = chance.sample(ASPECTS, len(ASPECTS))
        if aspect in facts:
            others = [each for each in facts if each != aspect][: chance.randrange(len(ASPECTS))]
            facts = chance.sample([aspect, *others], len(others) + 1)
        told = [row["answers"][_place_of(told_in, each)] for each in facts]
        return Turn(asked=f"{', '.join(told)}\n{row['questions'][place]}", said=row["answers"][place])


@cache
def _asked() -> list[tuple[str, str, str]]:
    """Language, recipe and question of each place in a prepared row."""
    return [(language, prompt.recipe_id, prompt.question_id) for language in LANGUAGES for prompt in prompts(language)]


def asked_places(languages: Sequence[str], aspects: Sequence[str] = ()) -> list[int]:
    """Which questions of a prepared row are in these languages and, of `designer`, about these aspects; () for all."""
    wanted = [("designer", aspect) for aspect in aspects]
    return [
        place
        for place, (language, *key) in enumerate(_asked())
        if language in languages and (not aspects or tuple(key) in wanted)
    ]


def _asked_of(place: int) -> tuple[str, str]:
    language, _, question = _asked()[place]
    return language, question


def _place_of(language: str, aspect: str) -> int:
    return _asked().index((language, "designer", aspect))


class Turns:
    """Turns as ids, padded behind; what is answered is what is learned."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.tokenizer = tokenizer

    def __call__(self, turns: Sequence[Turn]) -> dict[str, torch.Tensor]:
        """`input_ids`, `attention_mask` and `labels` int64 [B, S]."""
        rows = []
        for turn in turns:
            asked = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": turn.asked}], add_generation_prompt=True, tokenize=False
            )
            prompt, answer = (
                self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in (asked, turn.said)
            )
            rows.append((prompt, [*answer, self.tokenizer.convert_tokens_to_ids(END)]))
        width = max(len(prompt) + len(answer) for prompt, answer in rows)
        ids = torch.zeros(len(rows), width, dtype=torch.long)
        labels, mask = torch.full_like(ids, IGNORED), torch.zeros_like(ids)
        for i, (prompt, answer) in enumerate(rows):
            end = len(prompt) + len(answer)
            ids[i, :end], mask[i, :end] = torch.tensor([*prompt, *answer]), 1
            labels[i, len(prompt) : end] = torch.tensor(answer)
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def write_text_model(
    folder: Path,
    tables: Sequence[Path],
    *,
    places: Sequence[int],
    sizes: TextSizes,
    steps: int,
    batch: int,
    workers: int,
    cuda: bool,
) -> float:
    """Train a language model on the texts of prepared rows and write it to `folder`; the last loss."""
    texts = CarTexts(tables, steps * batch, places)
    tokenizer = _tokenizer(texts.rows[:TOKENIZER_ROWS])
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            hidden_size=sizes.hidden,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            num_key_value_heads=sizes.kv_heads,
            intermediate_size=sizes.mlp,
            vocab_size=len(tokenizer),
            max_position_embeddings=8192,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    arguments: dict[str, Any] = {
        "output_dir": str(folder.with_name(f"{folder.name}-trainer")),
        "max_steps": steps,
        "per_device_train_batch_size": batch,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "cosine",
        "warmup_steps": max(1, steps // 20),
        "weight_decay": 0.01,
        "bf16": cuda,
        "use_cpu": not cuda,
        "save_strategy": "no",
        "logging_steps": max(1, steps // 20),
        "dataloader_num_workers": workers,
        "remove_unused_columns": False,
        "report_to": "none",
        "disable_tqdm": True,
    }
    trainer = Trainer(
        model=model, args=TrainingArguments(**arguments), train_dataset=texts, data_collator=Turns(tokenizer)
    )
    trainer.train()
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return float(next(row["loss"] for row in reversed(trainer.state.log_history) if "loss" in row))


def _tokenizer(rows: Sequence[Mapping[str, Any]]) -> PreTrainedTokenizerFast:
    bpe = train_bpe((text for row in rows for text in (*row["questions"], *row["answers"])), VOCABULARY)
    special = (BEGIN, USER, ASSISTANT, END)
    bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BEGIN, eos_token=END, pad_token=END)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def describe_sizes(folder: Path) -> dict[str, Any]:
    """What a reader wants to know of a language model: kind, width, layers, rows of its vocabulary."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    names = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    return {name: config[name] for name in names}
