"""Answers are cut into whole phrases: what parts them, what must stay together, and what is no part of a phrase."""

import time
import unicodedata
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carscribe.budgets.encoders import clip_tokenizer, t5_tokenizer
from carscribe.budgets.phrases import Phrase, plain_phrase, split_phrases
from carscribe.plaintext import model_mark_in


def texts(text: str) -> list[str]:
    return [phrase.text for phrase in split_phrases(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("compact SUV, upright stance,high tail", ["compact SUV", "upright stance", "high tail"]),
        (
            "컴팩트 SUV, 높은 지상고、 각진 휠 아치，검은 클래딩",
            ["컴팩트 SUV", "높은 지상고", "각진 휠 아치", "검은 클래딩"],
        ),
        ("slim LED; C-shaped DRL；smoked lens", ["slim LED", "C-shaped DRL", "smoked lens"]),
        ("slim LED\nC-shaped DRL\r\nsmoked lens\u2028clear", ["slim LED", "C-shaped DRL", "smoked lens", "clear"]),
        ("SUV | red | black roof", ["SUV", "red", "black roof"]),
        ("3-door. 5 seats. Black roof", ["3-door", "5 seats", "Black roof"]),
        ("빨간 차체。검은 루프。", ["빨간 차체", "검은 루프"]),
        ("long hood, and short deck, or a stub", ["long hood", "short deck", "a stub"]),
        ("빨간 차체, 및 검은 루프", ["빨간 차체", "검은 루프"]),
        ("red roof!", ["red roof"]),
    ],
)
def test_commas_stops_and_lines_part_phrases(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "1,5 l diesel",
        "2.0-litre turbo",
        "20.5-inch wheels",
        "No. 3 badge",
        "approx. 20-inch wheels",
        "tires by J. Mays",
        "wheels, e.g. Michelin".removeprefix("wheels, "),
        "roof (black, gloss; with rails. Really)",
        "grille 「넓은, 검은」 패턴",
        "lamps (slim [LED, matrix], low)",
        "vs. BMW",
        "Headlamps: slim LED",
        "five*spoke wheel",
        "don't",
        "sleek... sharp",
        "dash-to-axle 1:1.5",
    ],
)
def test_nothing_is_cut_inside_numbers_brackets_or_abbreviations(text: str) -> None:
    assert texts(text) == [text]


def test_a_bracket_that_is_never_closed_protects_nothing() -> None:
    assert texts("roof (black, rails, [gray) trim, end") == ["roof (black, rails, [gray) trim", "end"]
    assert texts("roof (black, rails") == ["roof (black", "rails"]
    assert texts("roof) black, rails") == ["roof) black", "rails"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- **Compact SUV**\n- __upright__\n* `tall`", ["Compact SUV", "upright", "tall"]),
        (
            "1. LED lamps\n2) wide grille\n(3) roof\n④ rails\n• hood",
            ["LED lamps", "wide grille", "roof", "rails", "hood"],
        ),
        ("### Exterior\nred", ["Exterior", "red"]),
        ("**Lighting:**\n- slim LED\n조명：\n- 얇은", ["slim LED", "얇은"]),
        ("Body type: SUV", ["SUV"]),
        ("**Main color:** red, matte", ["red", "matte"]),
        ("색상: 빨간색", ["빨간색"]),
        ("“Coupe”, 'fastback', \"it\"", ["Coupe", "fastback", "it"]),
        ("\x1b[1;31mred\x1b[0m roof\x1b]0;title\x07, \x9b31mblue", ["red roof", "blue"]),
        ("\x1b[3m*red*\x1b[0m, \x1b]0;roof", ["red", "0", "roof"]),
        ("r\u200be\u00add\ufeff, \u202eroof\x00rail", ["red", "roof rail"]),
        ("a,, ;. , .\n\n, …", ["a"]),
        ("...", []),
        ("", []),
        ("🚗, !", ["🚗"]),
    ],
)
def test_markup_and_what_cannot_be_seen_is_no_part_of_a_phrase(text: str, expected: list[str]) -> None:
    assert texts(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "👨\u200d👩\u200d👧 van",
        "기아 🏳\ufe0f\u200d🌈 카니발",
        "👩🏽\u200d🔧 at work",
        "❤\ufe0f\u200d🔥",
        "🙂\u200d↔\ufe0f",
        "🏎\ufe0f",
    ],
)
def test_emoji_of_several_stay_joined(text: str) -> None:
    assert texts(text) == [plain_phrase(text)] == [text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r\u200ded", "red"),
        ("기\u200d아 니로\u200d", "기아 니로"),
        ("🚗\u200d van", "🚗 van"),
        ("van \u200d🚗", "van 🚗"),
        ("👨\u200d\u200d👩", "👨👩"),
        ("👨\u202e\u200d👩", "👨👩"),
        ("<|im_\u200dend|>red", "red"),
        ("🇰\u200d🇷", "🇰🇷"),
    ],
)
def test_a_joiner_goes_that_joins_no_emoji(text: str, expected: str) -> None:
    assert plain_phrase(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("red<|endoftext|> roof", "red roof"),
        ("red <|ENDOFTEXT|>", "red"),
        ("＜|endoftext|＞red", "red"),
        ("red</s>", "red"),
        ("＜/s＞red", "red"),
        ("<pa<pad>d>red", "red"),
        ("<|end\u200boftext|>red", "red"),
        ("<|im_end|><image>red<IMG_CONTEXT>", "red"),
        ("0 < 1 > 0", "0 < 1 > 0"),
        ("<3 s", "<3 s"),
    ],
)
def test_models_special_tokens_are_removed(text: str, expected: str) -> None:
    assert plain_phrase(text) == expected


def test_emphasis_does_not_hide_a_special_token() -> None:
    assert texts("<|endof**text|**>red") == ["red"]


def test_special_tokens_nested_without_end_take_no_time() -> None:
    began = time.process_time()
    assert "<" not in plain_phrase("<pad" * 20_000 + ">" * 20_000)
    assert texts("(" * 50_000 + "]" * 50_000 + "a, b. C" * 5000)
    assert time.process_time() - began < 5


PROSE = (
    "The car is a sleek sedan with a long hood, a sloping roofline, and short overhangs. "
    "Its headlights, slim LED units (matrix, dynamic), give it a sharp look. The wheels are black!"
)


def test_sentences_of_prose_stay_whole_and_know_what_they_may_be_cut_down_to() -> None:
    first, second, third = split_phrases(PROSE)
    assert first.text == "The car is a sleek sedan with a long hood, a sloping roofline, and short overhangs."
    assert first.shorter == (
        "The car is a sleek sedan with a long hood, a sloping roofline",
        "The car is a sleek sedan with a long hood",
    )
    assert second.text == "Its headlights, slim LED units (matrix, dynamic), give it a sharp look."
    assert second.shorter == ("Its headlights, slim LED units (matrix, dynamic)",)
    assert third == Phrase(text="The wheels are black!")


@pytest.mark.parametrize(
    ("text", "phrases"),
    [
        ("The lamps are slim, sharp", 1),
        ("이 차는 낮은 스탠스, 긴 후드를 가지고 있습니다.", 1),
        ("This compact hatchback, red, turns heads.", 1),
        ("The split grille, slim lamps", 2),
        ("A sleek coupe, low roof.", 2),
        ("It, too.", 2),
    ],
)
def test_prose_is_told_from_a_list(text: str, phrases: int) -> None:
    assert len(split_phrases(text)) == phrases


@pytest.mark.parametrize(
    ("text", "whole", "broken"),
    [
        ("large wheels, dark gr", ["large wheels"], ["dark gr"]),
        ("large wheels, dark gray.", ["large wheels", "dark gray"], []),
        ("large wheels, dark gray, ", ["large wheels", "dark gray"], []),
        ("The roof is low, black,", ["The roof is low, black"], []),
        ("The wheels are large, black, and multi-sp", ["The wheels are large, black"], ["multi-sp"]),
        ("The roof is black. The wheels are la", ["The roof is black."], ["The wheels are la"]),
        ("dark gr", [], ["dark gr"]),
        ("", [], []),
    ],
)
def test_what_a_model_did_not_end_is_broken(text: str, whole: list[str], broken: list[str]) -> None:
    phrases = split_phrases(text, cut_off=True)
    assert [phrase.text for phrase in phrases if not phrase.broken] == whole
    assert [phrase.text for phrase in phrases if phrase.broken] == broken


def test_phrases_are_in_nfc() -> None:
    assert texts(unicodedata.normalize("NFD", "은색 세단, café")) == ["은색 세단", "café"]


def check_plain(phrase: str) -> None:
    assert phrase == phrase.strip() != ""
    assert unicodedata.is_normalized("NFC", phrase)
    shown = phrase.replace("\u200d", "")  # which stays between emoji
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert model_mark_in(phrase) is None
    for tokenizer in (clip_tokenizer(), t5_tokenizer()):
        special = set(tokenizer.get_added_tokens_decoder()) - {2}  # T5's <unk> is what it makes of most pictures
        assert special.isdisjoint(tokenizer.encode(phrase, add_special_tokens=False).ids)


def test_no_generated_description_leaves_more_than_plain_phrases(generate: Callable[..., list[str]]) -> None:
    for text in generate(1000, seed=3):
        for phrase in split_phrases(text):
            check_plain(phrase.text)


PIECES = [*"a.,;:!?()[]<|>/*_-\"'` \n1é은\u0301＜", "<|endoftext|>", "</s>", "<pad>", "\x1b[", "and ", "the car is "]


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_no_text_leaves_more_than_plain_phrases(text: str) -> None:
    for phrase in split_phrases(text):
        check_plain(phrase.text)
        assert all(phrase.text.startswith(run) for run in phrase.shorter)


@given(
    st.lists(st.sampled_from(["red", "compact SUV", "은색", "2.0-litre", "No. 3", "1,5", "the roof is"])),
    st.lists(st.sampled_from([", ", "; ", "\n", " ", ". ", " • "]), min_size=20),
)
def test_no_word_gets_lost_or_changes_its_place(words: list[str], marks: list[str]) -> None:
    text = "".join(word + mark for word, mark in zip(words, marks * len(words), strict=False))
    said = [part.strip(",.") for part in " ".join(texts(text)).split()]
    assert said == [part.strip(",.") for part in " ".join(words).split()]
