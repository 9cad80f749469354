"""The glossary covers every aspect in both languages, and says choices in the designer recipe's own words."""

import re
from collections import Counter
from importlib import resources

import pytest

from carscribe.recipes.glossary import ASPECTS, Aspect, Term, load_glossary
from carscribe.recipes.loading import load_recipe

GLOSSARY = load_glossary()


def test_it_holds_at_least_ninety_terms_over_the_designers_eight_aspects() -> None:
    assert len(GLOSSARY.terms) >= 90
    open_questions = {question.id for question in load_recipe("designer").questions if not question.choices}
    assert set(ASPECTS) == open_questions
    assert min(Counter(term.aspect for term in GLOSSARY.terms).values()) >= 10


def test_the_file_holds_nothing_that_is_not_read() -> None:
    lines = (resources.files("carscribe.recipes") / "glossary.toml").read_text(encoding="utf-8").splitlines()
    keys = [line.partition(" = ")[0] for line in lines if line and line[0] not in "#["]
    assert {key.partition(".")[2] for key in keys} == {"name", "means", "also"}
    assert [line.strip("[]") for line in lines if line.startswith("[")] == list(ASPECTS)


@pytest.mark.parametrize("term", GLOSSARY.terms, ids=lambda term: term.id)
def test_a_term_is_complete_and_short(term: Term) -> None:
    assert re.fullmatch(r"[a-z0-9_]+", term.id)
    assert all(word and word == word.strip() for word in term.words)
    assert re.search("[가-힣]", term.definition_ko)
    assert not re.search("[가-힣]", term.en + term.definition_en + "".join(term.also_en))
    for definition in (term.definition_en, term.definition_ko):
        assert definition.endswith(".")
        assert len(definition) <= 120
    assert len({*term.also_en, term.en}) == len(term.also_en) + 1
    assert len({*term.also_ko, term.ko}) == len(term.also_ko) + 1


def test_an_id_means_one_term_and_within_an_aspect_so_does_a_word() -> None:
    assert [id_ for id_, count in Counter(term.id for term in GLOSSARY.terms).items() if count > 1] == []
    words = Counter((term.aspect, word) for term in GLOSSARY.terms for word in {word.casefold() for word in term.words})
    assert [word for word, count in words.items() if count > 1] == []


@pytest.mark.parametrize(("question_id", "aspect"), [("body_type", "body"), ("main_colour", "colour")])
def test_every_choice_of_the_designer_recipe_is_a_term_in_the_same_words(question_id: str, aspect: Aspect) -> None:
    (question,) = [question for question in load_recipe("designer").questions if question.id == question_id]
    terms = {(term.en, term.ko) for term in GLOSSARY.terms if term.aspect == aspect}
    assert set(zip(question.choices["en"], question.choices["ko"], strict=True)) <= terms


@pytest.mark.parametrize(
    ("crawled", "aspect", "expected"),
    [
        ("세단", "body", "sedan"),
        ("스포츠유틸리티", "body", "SUV"),
        ("RV", "body", "SUV"),
        ("suv", "body", "SUV"),
        ("웨건", "body", "wagon"),
        ("estate", "body", "wagon"),
        ("MPV", "body", "minivan"),
        ("픽업", "body", "pickup truck"),
        ("roadster", "body", "convertible"),
        ("liftback", "body", "fastback"),
        ("dark blue", "colour", "blue"),
        ("grey", "colour", "gray"),
        ("검정", "colour", "black"),
        (" 검정 ", "colour", "black"),
    ],
)
def test_a_crawled_word_finds_its_term(crawled: str, aspect: Aspect, expected: str) -> None:
    term = GLOSSARY.find(crawled, aspect=aspect)
    assert term is not None
    assert term.en == expected


def test_a_word_of_another_aspect_finds_nothing() -> None:
    assert GLOSSARY.find("wheelbase", aspect="body") is None
