"""What Carscribe ships asks what its readers were promised, in both languages."""

import re

import pytest

from carscribe.recipes.loading import load_recipe, shipped_recipes
from carscribe.records import Question

DESIGNER = load_recipe("designer")
OPEN = [question for question in DESIGNER.questions if not question.choices]
CHOICES = {question.id: question for question in DESIGNER.questions if question.choices}


@pytest.mark.parametrize(
    ("name", "max_new_tokens", "english"),
    [
        (
            "brief",
            96,
            "Describe this car's design briefly and precisely: body type, proportions, surface, lighting, grill, "
            "wheels, color, unique or futuristic elements.",
        ),
        (
            "detailed",
            320,
            "As an automotive designer, describe this car's design in detail, incl. body type, proportions, surface "
            "treatments, lighting design, grill pattern, wheel design, color palette, and any unique or futuristic "
            "elements.",
        ),
    ],
)
def test_the_one_question_recipes_ask_exactly_this(name: str, max_new_tokens: int, english: str) -> None:
    (question,) = load_recipe(name).questions
    assert (question.id, question.max_new_tokens, question.choices) == (name, max_new_tokens, {})
    assert question.text["en"] == english


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_recipe_speaks_english_and_korean_and_names_no_metadata(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.id == name
    assert recipe.languages == ("en", "ko")
    for question in recipe.questions:
        assert "{" not in "".join(question.text.values()), (
            "a particle after a placeholder fits no name; see designer.toml"
        )
        assert re.search("[가-힣]", question.text["ko"])
        assert not re.search("[가-힣]", question.text["en"])


def test_the_designer_asks_eight_aspects_and_two_choices() -> None:
    aspects = {"body", "proportions", "surface", "lighting", "grille", "wheels", "colour", "unique"}
    assert {question.id for question in OPEN} == aspects
    assert set(CHOICES) == {"body_type", "main_colour"}
    assert {question.max_new_tokens for question in OPEN} == {40}


def test_what_shapes_the_picture_most_comes_first() -> None:
    priorities = [question.priority for question in DESIGNER.questions]
    assert priorities == sorted(set(priorities)), "the file reads in the order of a description, without ties"
    ids = [question.id for question in DESIGNER.questions]
    assert ids[:5] == ["body_type", "main_colour", "body", "colour", "unique"]


@pytest.mark.parametrize("question", OPEN, ids=lambda question: question.id)
def test_an_open_question_asks_for_short_phrases_in_at_most_two_sentences(question: Question) -> None:
    assert re.search(r"at most 1[02] words, only short phrases separated by commas", question.text["en"])
    assert "짧은 명사구만 쉼표로 구분해 8단어 이내로" in question.text["ko"]
    for text in question.text.values():
        assert 1 <= len(re.findall(r"[.?](?:\s|$)", text)) <= 2


@pytest.mark.parametrize("question", CHOICES.values(), ids=lambda question: question.id)
def test_a_choice_question_lists_its_choices_in_order(question: Question) -> None:
    for language, choices in question.choices.items():
        listed = question.text[language].rpartition(": ")[2].rstrip(".")
        assert tuple(listed.split(", ")) == choices
        assert 10 <= len(choices) <= 14


def test_the_choices_hold_the_words_that_photos_are_labelled_with() -> None:
    bodies = {choice.lower() for choice in CHOICES["body_type"].choices["en"]}
    assert bodies >= {"sedan", "hatchback", "suv", "van", "wagon", "coupe", "convertible"}
    colours = set(CHOICES["main_colour"].choices["en"])
    assert colours >= {"white", "black", "gray", "silver", "red", "blue", "green", "yellow", "orange", "brown", "gold"}
