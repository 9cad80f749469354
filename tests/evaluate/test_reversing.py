"""A question whose choices are reversed says the same in the other order, or is not reversed at all."""

import pytest

from carscribe.evaluate.reversing import reversed_text
from carscribe.recipes.loading import load_recipe

CHOICES = [
    (question.text[language], question.choices[language])
    for question in load_recipe("designer").questions
    for language in question.choices
]


@pytest.mark.parametrize(("text", "choices"), CHOICES)
def test_the_shipped_choices_are_listed_the_other_way_round_and_back(text: str, choices: tuple[str, ...]) -> None:
    turned = reversed_text(text, choices)
    assert turned is not None
    assert turned == text.replace(", ".join(choices), ", ".join(choices[::-1]))
    assert turned != text
    assert reversed_text(turned, choices[::-1]) == text


@pytest.mark.parametrize(
    ("text", "choices", "turned"),
    [
        ("Red or blue?", ("red", "blue"), "blue or Red?"),
        ("Is it (a) a sedan, (b) a van?", ("sedan", "van"), "Is it (a) a van, (b) a sedan?"),
        ("A van, say. Which: van, minivan?", ("van", "minivan"), "A van, say. Which: minivan, van?"),
        ("light red, red or dark red", ("light red", "red", "dark red"), "dark red, red or light red"),
        ("SUV와 밴 가운데", ("SUV", "밴"), "밴와 SUV 가운데"),
    ],
)
def test_only_the_choices_change_places(text: str, choices: tuple[str, ...], turned: str) -> None:
    assert reversed_text(text, choices) == turned


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("What color?", ("red", "blue")),
        ("One of: red, blue.", ("blue", "red")),
        ("One of: red, green, blue.", ("red", "blue")),
        ("One of: red, blue.", ("red", "green", "blue")),
        ("sedan (with a boot), van (without)", ("sedan", "van")),
        ("A: sedan, B: van", ("A", "B")),
        ("minivan, hatchback-like", ("van", "hatchback")),
    ],
)
def test_what_is_no_list_of_the_choices_in_their_order_is_left_alone(text: str, choices: tuple[str, ...]) -> None:
    assert reversed_text(text, choices) is None
