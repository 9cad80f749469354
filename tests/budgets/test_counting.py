"""Counts are those of the encoders themselves, and a budget is found by its name."""

import gzip
import hashlib
import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carscribe.budgets.counting import BUDGETS, budget_of
from carscribe.budgets.encoders import CLIP, T5, clip_tokenizer, t5_tokenizer
from carscribe.errors import InputError

Generate = Callable[..., list[str]]
ENCODERS = {"clip": (clip_tokenizer, CLIP), "t5": (t5_tokenizer, T5)}


@pytest.mark.parametrize("encoder", ["clip", "t5"])
def test_ten_thousand_descriptions_count_as_in_transformers(
    encoder: str, generate: Generate, hugging_face: dict[str, Any]
) -> None:
    texts = generate(10_000)
    theirs = hugging_face[encoder](texts).input_ids
    ours = [encoded.ids for encoded in ENCODERS[encoder][0]().encode_batch(texts)]
    assert [text for text, a, b in zip(texts, ours, theirs, strict=True) if a != b] == []
    budget = BUDGETS["clip" if encoder == "clip" else "t5-256"]
    assert [budget.count(text) for text in texts[:1000]] == [len(ids) for ids in theirs[:1000]]


def test_the_descriptions_hold_what_makes_counting_hard(generate: Generate) -> None:
    texts = generate(10_000)
    forms = {form: sum(unicodedata.is_normalized(form, text) for text in texts) for form in ("NFC", "NFD")}
    assert min(forms.values()) > 1000
    assert max(forms.values()) < 9000
    for part in (
        "은색",
        unicodedata.normalize("NFD", "은색"),
        "é",
        "e\u0301",
        "\u200d",
        "<|endoftext|>",
        "</s>",
        "\u3000",
    ):
        assert sum(part in text for text in texts) > 50, part


@pytest.mark.parametrize(
    ("text", "clip", "t5"),
    [
        ("a photo of a cat", [320, 1125, 539, 320, 2368], [3, 9, 1202, 13, 3, 9, 1712]),
        (
            "Compact SUV, 2.0-litre, gloss black roof",
            [13690, 15985, 267, 273, 269, 271, 268, 25786, 267, 22014, 1449, 6449],
            [24333, 14221, 6, 6864, 18, 14773, 6, 20666, 1001, 2955],
        ),
        (
            "Citroën DS déesse, naïve café",
            [27941, 29526, 333, 646, 25466, 22305, 267, 1097, 35689, 563, 15304],
            [11224, 52, 32, 2, 29, 3, 3592, 1136, 6119, 6, 3, 29, 9, 2, 162, 11949],
        ),
        (
            "낮고 넓은 스탠스",
            [27252, 106, 36216, 510, 167, 226, 241, 8276, 478, 20305, 15012, 254, 23829],
            [3, 2, 3, 2, 3, 2],
        ),
        ("🚗 wide-body", [22783, 3184, 268, 1774], [3, 2, 1148, 18, 6965]),
        ("＜/s＞ ½ ㎞", [171, 120, 250, 270, 338, 171, 120, 508, 33613, 159, 236, 508], [3, 1, 209, 2, 357, 2280]),
    ],
)
def test_ids_are_those_that_the_published_files_gave(text: str, clip: list[int], t5: list[int]) -> None:
    """Written down from transformers 5.17 with the tokenizer files of FLUX.1, which this project does not ship."""
    assert clip_tokenizer().encode(text).ids == [49406, *clip, 49407]
    assert t5_tokenizer().encode(text).ids == [*t5, 1]


def test_clips_vocabulary_is_the_published_one(clip_files: Path) -> None:
    def digest(name: str) -> str:
        return hashlib.sha256((clip_files / name).read_bytes()).hexdigest()

    assert digest("merges.txt") == "9fd691f7c8039210e0fced15865466c65820d09b63988b0174bfe25de299051a"
    assert digest("vocab.json") == "e089ad92ba36837a0d31433e555c8f45fe601ab5c221d4f607ded32d9f7a4349"
    assert len(json.loads((clip_files / "vocab.json").read_text("utf-8"))) == 49_408


def test_t5s_vocabulary_is_the_published_one() -> None:
    packed = (resources.files("carscribe.budgets") / "vocabulary" / "t5_spiece.model.gz").read_bytes()
    digest = hashlib.sha256(gzip.decompress(packed)).hexdigest()
    assert digest == "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
    assert t5_tokenizer().get_vocab_size() == 32_100


def test_each_vocabulary_comes_with_its_notice_and_is_small() -> None:
    files = {
        entry.name: entry.read_bytes() for entry in (resources.files("carscribe.budgets") / "vocabulary").iterdir()
    }
    assert b"Copyright (c) 2021 OpenAI" in files["CLIP_NOTICE.txt"]
    assert b"Permission is hereby granted" in files["CLIP_NOTICE.txt"]
    assert b"Apache License" in files["T5_NOTICE.txt"]
    assert b"END OF TERMS AND CONDITIONS" in files["T5_NOTICE.txt"]
    assert sum(map(len, files.values())) < 1_000_000


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="instant-clip-tokenizer has no wheel past Python 3.12")
def test_clip_counts_as_an_independent_tokenizer_does(generate: Generate) -> None:
    """Its vocabulary is OpenAI's own file. It has no NFC, no literal special tokens, and a final sigma."""
    import instant_clip_tokenizer

    other = instant_clip_tokenizer.Tokenizer()
    texts = [unicodedata.normalize("NFC", text) for text in generate(3000, seed=2) if "<" not in text]
    lowered = ["".join(character.lower() for character in text) for text in texts]
    assert len(texts) > 1000
    ours = [clip_tokenizer().encode(text).ids[1:-1] for text in texts]
    assert [text for text, ids, low in zip(texts, ours, lowered, strict=True) if ids != other.encode(low)] == []


@pytest.mark.parametrize("text", ["a\ud800b roof", "\udfff", "\ud83d\ude97 roof"])
def test_a_lone_surrogate_counts_as_a_replacement_character(text: str) -> None:
    readable = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    for encoder in (CLIP, T5):
        assert encoder.count(text) == encoder.count(readable)


@given(st.lists(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Z"]), min_size=1), max_size=8))
def test_words_between_single_spaces_count_one_by_one(words: list[str]) -> None:
    line = " ".join("".join(words).split())
    for encoder in (CLIP, T5):
        assert encoder.count_words(line) == encoder.count(line)


@pytest.mark.parametrize(
    ("name", "extra"), [("clip", 2), ("clip-150", 0), ("clip-225", 0), ("t5-128", 1), ("t5-256", 1), ("t5-512", 1)]
)
def test_each_budget_counts_its_own_special_tokens(name: str, extra: int) -> None:
    assert BUDGETS[name].count("") == extra
    limit = {"clip": 77, "clip-150": 150, "clip-225": 225, "t5-128": 128, "t5-256": 256, "t5-512": 512}[name]
    assert BUDGETS[name].limit == limit
    assert BUDGETS[name].count("red " * (limit - extra)) == limit


def test_none_counts_nothing() -> None:
    assert (BUDGETS["none"].count("red"), BUDGETS["none"].limit) == (None, None)


def test_a_budget_is_found_in_any_case() -> None:
    assert budget_of(" CLIP-150 ") is BUDGETS["clip-150"]


@pytest.mark.parametrize(
    ("name", "says"), [("clip-75", "Did you mean clip-225|clip-150"), ("t5", "t5-"), ("한글", "Known: clip,")]
)
def test_an_unknown_budget_names_the_nearest_and_all(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        budget_of(name)
    assert all(known in str(raised.value) for known in BUDGETS)


def test_two_budgets_of_one_encoder_share_its_tokenizer() -> None:
    assert BUDGETS["clip"].encoder is BUDGETS["clip-225"].encoder
    assert replace(BUDGETS["clip"], limit=20).count("red") == 3


def test_nothing_is_loaded_before_something_is_counted() -> None:
    code = "import sys, carscribe.budgets.composing; sys.exit('tokenizers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
