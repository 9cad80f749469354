"""Descriptions as nasty as models, crawls and people write them, and the tokenizers of transformers to count them."""

import gzip
import json
import random
import re
import unicodedata
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from carscribe.budgets.encoders import clip_entries, clip_merges, sentencepiece

WORDS = re.findall(
    r"\S+",
    """compact SUV sedan metallic red gloss black floating roof slim LED headlamps C-shaped DRL five-spoke 19-inch alloy
    wheels sculpted shoulder line dash-to-axle greenhouse 2.0-litre 1,5 don't it's we'll grille's hexagonal (closed)
    Citroën Škoda café naïve Ångström über façade İstanbul ΣΟΦΟΣ straße ﬁne Ⅳ ½ № ㎞ 50% #1 @studio 3D V8 A4/A5 a&b""",
)
KOREAN = re.findall(
    r"\S+", "낮고 넓은 스탠스 날렵한 헤드램프 은색 세단 컴팩트 SUV 휠 아치 플로팅 루프 빨간색 차체 ㅋㅋ 값싼 20인치"
)
PICTURES = ["🚗", "👩‍🎨", "🇰🇷", "👍🏽", "❤️", "🏎️", "☃", "🧑🏿‍🚒"]
LITERAL = ["<|startoftext|>", "<|endoftext|>", "<|ENDOFTEXT|>", "<|StartOfText|>", "</s>", "<pad>", "<unk>"]
LITERAL += ["<extra_id_7>", "＜|endoftext|＞", "＜/s＞", "<|im_end|>", "<|endof", "text|>", "<"]
T5_SENTINELS = [(f"<extra_id_{i}>", 0.0) for i in reversed(range(100))]
SPACES = [
    " ",
    " ",
    " ",
    " ",
    ", ",
    ", ",
    ", ",
    ". ",
    "; ",
    "\n",
    "\t",
    "\u00a0",
    "\u3000",
    "\u2028",
    "\x85",
    "\r\n",
    "  ",
]
SPACES += ["\u200b", "\u00ad", "\x00", "\x1b[31m", "\ufeff", "\u2003", "", "-", ",", "، ", "、", "\n- ", " **"]


@pytest.fixture(scope="session")
def generate() -> Callable[..., list[str]]:
    """Makes descriptions, always the same for the same seed."""

    def made(count: int, *, seed: int = 1, most_words: int = 24) -> list[str]:
        chance = random.Random(seed)
        return [_description(chance, chance.randint(0, most_words)) for _ in range(count)]

    return made


def _description(chance: random.Random, words: int) -> str:
    pieces: list[str] = []
    for _ in range(words):
        kinds = [WORDS, KOREAN, PICTURES, LITERAL, [chr(chance.choice((chance.randint(33, 0x2FFF), 0x301, 0x1F68C)))]]
        pieces += [chance.choice(chance.choices(kinds, (60, 25, 5, 4, 6))[0]), chance.choice(SPACES)]
    form = chance.choice(("NFC", "NFD", "NFC", "NFD", None))
    text = "".join(pieces)
    return unicodedata.normalize(form, text) if form else text


@pytest.fixture(scope="session")
def clip_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of openai/clip-vit-large-patch14 that its tokenizer is read from, made of what is shipped."""
    folder = tmp_path_factory.mktemp("clip")
    entries = {entry: i for i, entry in enumerate(clip_entries(clip_merges()))}
    text = json.dumps(dict(sorted(entries.items())), indent=2, ensure_ascii=False) + "\n"
    (folder / "vocab.json").write_text(text, "utf-8")
    (folder / "merges.txt").write_bytes(shipped("clip_merges.txt.gz"))
    marks = {49406: ("<|startoftext|>", True), 49407: ("<|endoftext|>", False)}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "added_tokens_decoder": {
            number: {"content": mark, "lstrip": False, "normalized": normalized, "rstrip": False, "special": True}
            for number, (mark, normalized) in marks.items()
        },
        "bos_token": "<|startoftext|>",
        **dict.fromkeys(("eos_token", "pad_token", "unk_token"), "<|endoftext|>"),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def hugging_face(clip_files: Path) -> dict[str, Any]:
    """CLIPTokenizer and T5Tokenizer of transformers, by encoder."""
    from transformers import CLIPTokenizer, T5Tokenizer

    pieces, characters = sentencepiece(shipped("t5_spiece.model.gz"))
    t5 = T5Tokenizer(vocab=[*pieces, *T5_SENTINELS], _spm_precompiled_charsmap=characters)
    return {"clip": CLIPTokenizer.from_pretrained(clip_files), "t5": t5}


def shipped(name: str) -> bytes:
    return gzip.decompress((resources.files("carscribe.budgets") / "vocabulary" / name).read_bytes())
