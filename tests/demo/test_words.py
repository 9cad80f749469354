"""What is said of a rendered car is true, in both languages, and can be read back from the words alone."""

import doctest
import random
import re
from collections import Counter
from collections.abc import Mapping
from types import ModuleType
from typing import get_args

import pytest

from carscribe.budgets.composing import compose
from carscribe.budgets.counting import BUDGETS
from carscribe.budgets.phrases import split_phrases
from carscribe.recipes.glossary import load_glossary
from carscribe.recipes.loading import load_recipe
from carscribe.records import Description, JudgedAnswer
from rendered import reading, words
from rendered.attributes import ASPECTS, ATTRIBUTES, HELD_BACK, CarRecord, draw_record
from rendered.reading import judge, read_attributes, values_stated
from rendered.words import ATTRIBUTES_ASKED, Language, answers, choice_word, head_of, vocabulary, word_limit

LANGUAGES: tuple[Language, ...] = get_args(Language)
BRIEF_WORDS, DETAILED_WORDS = 65, 130
DETAILED_SENTENCES = range(3, 6)
LEAST_SHARE_WITH_EVERY_ASPECT, LEAST_SHARE_WHOLE = 0.9, 0.6

VALUES = [(name, value) for name, attribute in ATTRIBUTES.items() for value in attribute.values]
RECORDS = [draw_record(seed, held_back={} if seed % 3 == 0 else HELD_BACK) for seed in range(700)]


def worded(record: CarRecord, language: Language, *, varied: bool) -> Mapping[tuple[str, str], str]:
    return answers(record, language, chance=random.Random(record.seed + 10_000) if varied else None)


@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_answer_is_read_back_as_exactly_what_is_visible(language: Language, varied: bool) -> None:
    for record in RECORDS:
        texts = worded(record, language, varied=varied)
        judged = judge(record, language, texts)
        expected = {(*key, name) for key, asked in ATTRIBUTES_ASKED.items() for name in asked if name in record.visible}
        assert set(judged) == expected
        assert {key: said for key, said in judged.items() if said != "right"} == {}, texts
        for key in (("brief", "brief"), ("detailed", "detailed")):
            read = read_attributes(texts[key], ATTRIBUTES, language)
            assert {name: value for name, value in read.items() if value is not None} == record.visible, texts[key]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("name", "value"), VALUES)
def test_every_value_has_several_names_and_each_is_read_as_it_alone(name: str, value: str, language: Language) -> None:
    names = vocabulary().names[name, value, language]
    assert len(names) == len(set(names)) >= 3
    for said in names:
        read = {other: values_stated(said, other, language) for other in ATTRIBUTES}
        assert {other: values for other, values in read.items() if values} == {name: {value}}, said


def test_nothing_is_named_that_is_no_value() -> None:
    assert {(name, value) for name, value, _ in vocabulary().names} == set(VALUES)


@pytest.mark.parametrize("name", ["body_type", "main_colour"])
@pytest.mark.parametrize("language", LANGUAGES)
def test_choices_are_the_recipes_own_words_for_that_value(name: str, language: Language) -> None:
    glossary, aspect = load_glossary(), "body" if name == "body_type" else "colour"
    for value in ATTRIBUTES[name].values:
        word = choice_word(name, value, language)
        term = glossary.find(word, aspect=aspect)
        assert term is not None
        assert term.id == value
        assert word in vocabulary().names[name, value, language][0]
        assert read_attributes(word, [name], language) == {name: value}


@pytest.mark.parametrize("language", LANGUAGES)
def test_open_answers_keep_the_recipes_limit_of_words(language: Language) -> None:
    asked = {question.id: question.text[language] for question in load_recipe("designer").questions}
    for aspect in ASPECTS:
        stated = re.search(r"at most (\d+) words|(\d+)단어 이내", asked[aspect])
        assert stated is not None
        assert word_limit(language) == int(stated[1] or stated[2])
    for record in RECORDS:
        for varied in (False, True):
            for (_, question), text in worded(record, language, varied=varied).items():
                if question in ASPECTS:
                    assert 1 <= len(text.split()) <= word_limit(language), text
                    assert not text.endswith("."), text


@pytest.mark.parametrize("language", LANGUAGES)
def test_brief_and_detailed_keep_their_length(language: Language) -> None:
    for record in RECORDS:
        for varied in (False, True):
            texts = worded(record, language, varied=varied)
            assert len(texts["brief", "brief"].split()) <= BRIEF_WORDS
            detailed = texts["detailed", "detailed"]
            assert len(detailed.split()) <= DETAILED_WORDS
            assert detailed.endswith(".")
            assert detailed.count(".") in DETAILED_SENTENCES
            assert not set("{}:+") & set(texts["brief", "brief"]), texts["brief", "brief"]
            assert "  " not in detailed


def test_from_the_side_lamps_and_grille_are_said_to_be_out_of_sight() -> None:
    record = next(record for record in RECORDS if record.view == "side")
    english, korean = (worded(record, language, varied=False) for language in LANGUAGES)
    assert english["designer", "lighting"] == "lamps not visible from the side"
    assert korean["designer", "grille"] == "측면에서 보이지 않는 그릴"
    assert not re.search("lamp|grille", english["detailed", "detailed"] + english["brief", "brief"])
    assert not re.search("램프|그릴", korean["detailed", "detailed"] + korean["brief", "brief"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_chance_says_the_same_and_another_says_it_otherwise(language: Language) -> None:
    record = RECORDS[0]
    first, again, other = (answers(record, language, chance=random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert answers(record, language) == answers(record, language)


def test_the_wording_varies() -> None:
    ways = Counter(answers(RECORDS[0], "ko", chance=random.Random(seed))["brief", "brief"] for seed in range(100))
    assert len(ways) > 95


@pytest.mark.parametrize("varied", [False, True])
def test_what_is_said_in_english_fits_into_clip(varied: bool) -> None:
    with_every_aspect = whole = 0
    for record in RECORDS[:300]:
        texts = worded(record, "en", varied=varied)
        made = composed(texts)
        kept = {phrase.text for phrase in split_phrases(made.text)} | {*made.repeated}
        told = [{phrase.text for phrase in split_phrases(texts["designer", aspect])} for aspect in ASPECTS]
        with_every_aspect += all(phrases & kept for phrases in told)
        whole += not made.dropped
    assert with_every_aspect >= LEAST_SHARE_WITH_EVERY_ASPECT * 300
    assert whole >= LEAST_SHARE_WHOLE * 300


def composed(texts: Mapping[tuple[str, str], str]) -> Description:
    said = [
        JudgedAnswer(
            recipe_id="designer",
            question_id=question.id,
            language="en",
            priority=question.priority,
            text=texts["designer", question.id],
            answer=None,
        )
        for question in load_recipe("designer").questions
    ]
    return compose(said, BUDGETS["clip"], language="en")


@pytest.mark.parametrize(
    ("text", "name", "language", "value"),
    [
        ("Low stance, SUV", "body_type", "en", "suv"),
        ("two SUVs", "body_type", "en", "suv"),
        ("a minivan", "body_type", "en", "minivan"),
        ("미니밴입니다", "body_type", "ko", "minivan"),
        ("쿠페형 SUV", "body_type", "ko", "suv"),
        ("four-door  sedan", "body_type", "en", "sedan"),
        ("five spoke wheels", "wheel", "en", "five_spoke"),
        ("diamond cut large mesh wheels", "wheel_size", "en", "large"),
        ("large dirty mesh wheels", "wheel_size", "en", None),
        ("fine-mesh grille, Y-spoke wheels", "wheel", "en", "y_spoke"),
        ("red brake calipers", "main_colour", "en", None),
        ("Red", "main_colour", "en", "red"),
        ("red, black roof", "main_colour", "en", "red"),
        ("black roof, black wheels", "main_colour", "en", None),
        ("red paint, later blue paint", "main_colour", "en", None),
        ("red paint and a metallic red finish", "main_colour", "en", "red"),
        ("no roof rails", "element", "en", None),
        ("no cladding, without a sunroof", "cladding", "en", "none"),
        ("루프 레일이 없습니다", "element", "ko", None),
        ("블랙루프와", "roof", "ko", "black"),
        ("클래딩", "cladding", "ko", None),
        ("클래딩 없는 하단부를", "cladding", "ko", "none"),
        ("\u1109\u1166\u1103\u1161\u11ab", "body_type", "ko", "sedan"),
        ("", "body_type", "en", None),
    ],
)
def test_reading_takes_whole_words_and_what_is_stated_once(
    text: str, name: str, language: Language, value: str | None
) -> None:
    assert read_attributes(text, [name], language) == {name: value}


def test_judging_tells_wrong_from_unsaid_and_two_values_are_wrong() -> None:
    record = draw_record(1, fixed={"wheel": "snowflake", "wheel_finish": "black", "wheel_size": "large"})
    told = {("designer", "wheels"): "mesh wheels, black wheels"}
    assert judge(record, "en", told) == {
        ("designer", "wheels", "wheel"): "wrong",
        ("designer", "wheels", "wheel_finish"): "right",
        ("designer", "wheels", "wheel_size"): "unsaid",
    }
    hedged = {("designer", "wheels"): "snowflake wheels, mesh wheels"}
    assert judge(record, "en", hedged)["designer", "wheels", "wheel"] == "wrong"


def test_the_held_back_wheel_has_words_too() -> None:
    record = draw_record(5, fixed={"wheel": "snowflake"})
    assert "snowflake wheels" in answers(record, "en")["designer", "wheels"]
    assert "눈꽃 휠" in answers(record, "ko")["designer", "wheels"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_said_together_has_for_every_pair_of_values_names_that_join(language: Language) -> None:
    for *before, last in words.SAID_TOGETHER[language]:
        for name in before:
            for value in ATTRIBUTES[name].values:
                heads = {head_of(said) for said in vocabulary().names[name, value, language]}
                ends = [{head_of(n) for n in vocabulary().names[last, v, language]} for v in ATTRIBUTES[last].values]
                assert all(heads & end for end in ends), (name, value)


@pytest.mark.parametrize("module", [words, reading])
def test_the_examples_in_the_docstrings_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
