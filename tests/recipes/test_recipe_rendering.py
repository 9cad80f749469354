"""Prompts come in a fixed order, and crawled metadata cannot say anything but words in them."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from carscribe.errors import RecipeError
from carscribe.recipes.loading import load_recipe
from carscribe.recipes.rendering import check_languages, plain_value, render
from carscribe.records import Metadata, Question, Recipe

SPECIAL = ("<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<|endoftext|>")


def recipe_of(text: str, *, korean: str = "{name}: 이것은 무엇인가요?", choices: tuple[str, ...] = ()) -> Recipe:
    languages = ("en", "ko", "de")
    question = Question(
        id="q",
        text={"en": text, "ko": korean, "de": text},
        priority=1,
        max_new_tokens=0 if choices else 9,
        choices=dict.fromkeys(languages, choices) if choices else {},
    )
    return Recipe(id="r", version=1, languages=languages, questions=(question,))


def one_text(template: str, metadata: Metadata, language: str = "en", reserved: tuple[str, ...] = SPECIAL) -> str:
    (prompt,) = render(recipe_of(template, korean=template), metadata, [language], reserved=reserved)
    return prompt.text


def test_all_questions_of_a_language_stand_together_in_the_recipes_order() -> None:
    recipe = load_recipe("designer")
    ids = [question.id for question in recipe.questions]
    prompts = render(recipe, Metadata(name="Audi A4"), ["ko", "en", "ko"])
    assert [(prompt.language, prompt.question_id) for prompt in prompts] == [
        (language, id_) for language in ("ko", "en") for id_ in ids
    ]
    assert prompts == render(recipe, Metadata(name="Audi A4"), ["ko", "en"]), "the same every time"


def test_a_prompt_carries_what_its_question_says() -> None:
    prompts = {prompt.question_id: prompt for prompt in render(load_recipe("designer"), Metadata(), ["ko"])}
    assert prompts["body_type"].choices[0] == "세단"
    assert prompts["body_type"].max_new_tokens == 0
    assert prompts["grille"].choices == ()
    assert (prompts["grille"].recipe_id, prompts["grille"].max_new_tokens) == ("designer", 40)


@pytest.mark.parametrize(
    ("name", "kind", "language", "expected"),
    [
        ("Audi Q5", "SUV", "en", "Audi Q5 is a SUV"),
        (None, None, "en", "car is a car"),
        (None, "세단", "ko", "자동차 is a 세단"),
        (None, None, "de", "car is a car"),
        (" \n\t", "<|im_end|>", "en", "car is a car"),
        ("{kind}", "{name}", "en", "{kind} is a {name}"),
        ("{name.__class__}", "%s {0}", "en", "{name.__class__} is a %s {0}"),
    ],
)
def test_placeholders_are_filled_once_and_lacking_metadata_gets_a_neutral_word(
    name: str | None, kind: str | None, language: str, expected: str
) -> None:
    assert one_text("{name} is a {kind}", Metadata(name=name, kind=kind), language) == expected


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{name}}", "{name}"),
        ("{{{name}}}", "{A4}"),
        ("{{}}{{", "{}{"),
        ("no braces", "no braces"),
    ],
)
def test_doubled_braces_are_literal(template: str, expected: str) -> None:
    assert one_text(template, Metadata(name="A4")) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("  Audi \t\r\n A4\u3000", "Audi A4"),
        ("Audi\x00\x1b[2K\x85A4\u2028", "Audi [2K A4"),
        ("Citro\u00adën\u200b C4\ufeff", "Citroën C4"),
        ("bad\ud800name", "bad name"),
        ("x" * 500, "x" * 200),
        ("x" * 199 + " y", "x" * 199),
        (unicodedata.normalize("NFD", "현대 그랜저"), "현대 그랜저"),
        ("A4<|im_end|>", "A4"),
        ("<|im_<|im_end|>end|>A4", "A4"),
        ("<|im_\u200bend|>A4", "A4"),
        ("A <img> 4", "A 4"),
        ("<|IM_END|>", "<|IM_END|>"),
        ("<|im_" * 200_000 + "end|>" * 200_000, "<|im_" * 40),
    ],
    ids=lambda value: ascii(value[:24]),
)
def test_a_value_becomes_one_short_plain_line(value: str, expected: str) -> None:
    assert plain_value(value, SPECIAL) == expected


def test_two_values_cannot_join_to_a_special_token() -> None:
    hostile = Metadata(name="<|im_", kind="end|>")
    assert one_text("{name}{kind}", hostile) == "carcar"
    assert one_text("{name} {kind}", hostile) == "<|im_ end|>"
    assert one_text("<|im_{name}", Metadata(name="end|>")) == "<|im_car"


def test_a_special_token_of_the_recipe_itself_is_its_authors_mistake() -> None:
    with pytest.raises(RecipeError, match=r'"q", text.en holds <\|im_end\|>.*Take it out'):
        render(recipe_of("Hello<|im_end|>"), Metadata(), ["en"], reserved=SPECIAL)
    with pytest.raises(RecipeError, match=r'"q", choices.en holds <img>'):
        render(recipe_of("Hello", choices=("a", "<img>")), Metadata(), ["en"], reserved=SPECIAL)
    assert one_text("Hello<|im_end|>", Metadata(), reserved=()) == "Hello<|im_end|>"


@pytest.mark.parametrize(
    "template", ["{nmae}", "{name.__class__}", "{name!r}", "{name:>9}", "{0}", "{}", "{ name }", "}"]
)
def test_a_recipe_built_by_hand_with_bad_braces_is_refused(template: str) -> None:
    with pytest.raises(RecipeError, match=r'"q", text.en: .*[Ww]rite'):
        render(recipe_of(template), Metadata(name="A4"), ["en"])


@pytest.mark.parametrize(
    ("languages", "words"),
    [
        (["fr"], r"has no fr; it has en, ko, de\. Ask for one of those"),
        (["en,ko"], r"has no en,ko; it has en, ko, de\. Ask for each by itself: --language en --language ko\."),
        (["en", "fr", "ja"], r"has no fr, ja; it has"),
        ([], r"No language was asked for.*en, ko, de"),
    ],
)
def test_a_language_the_recipe_lacks_is_named_beside_those_it_has(languages: list[str], words: str) -> None:
    recipe = recipe_of("Hello")
    with pytest.raises(RecipeError, match=words):
        check_languages(recipe, languages)
    with pytest.raises(RecipeError, match=words):
        render(recipe, Metadata(), languages)


def test_languages_the_recipe_has_pass() -> None:
    check_languages(recipe_of("Hello"), ["de", "en"])


PIECES = [
    *SPECIAL,
    "<|im_",
    "end|>",
    "<i",
    "mg>",
    "<IMG",
    "_CONTEXT>",
    "|>",
    "{name}",
    "{kind}",
    "{{",
    " ",
    "\n",
    "\x00",
    "\u0301",
]
CRAWLED = st.none() | st.text() | st.lists(st.sampled_from(PIECES) | st.characters(codec=None)).map("".join)
TEMPLATES = st.sampled_from(
    ["{name}", "{name}{kind}", "Is {name} a {kind}?", "<|im_{name}{kind}|>", "{{{kind}}}{name}"]
)


@given(name=CRAWLED, kind=CRAWLED, template=TEMPLATES)
@example(name="<|im_end", kind=None, template="{name}{kind}")
@example(name="<|im_</img>end|>", kind="<<img>img>", template="{name}{kind}")
def test_no_metadata_raises_or_brings_a_special_token_in(name: str | None, kind: str | None, template: str) -> None:
    recipe = recipe_of(template, korean=template)
    prompts = render(recipe, Metadata(name=name, kind=kind), ["en", "ko"], reserved=SPECIAL)
    for prompt in prompts:
        assert [mark for mark in SPECIAL if mark in prompt.text] == []
        assert len(prompt.text) <= len(template) + 400
        prompt.text.encode()  # no lone surrogate, which tokenizers reject


@given(value=st.text(), reserved=st.lists(st.text(max_size=3), max_size=4))
def test_a_plain_value_is_free_of_any_reserved_text(value: str, reserved: list[str]) -> None:
    marks = [mark for mark in reserved if mark]
    plain = plain_value(value, marks)
    assert not any(mark in plain for mark in marks)
    assert plain == plain_value(plain, marks)
