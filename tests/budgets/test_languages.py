"""An encoder that hardly knows a language gets the English answers, and whoever asked is told."""

import pytest

from carscribe.budgets.composing import compose
from carscribe.budgets.counting import BUDGETS
from carscribe.budgets.languages import answers_for, language_warning, text_warning
from carscribe.errors import InputError
from carscribe.records import JudgedAnswer, Verdict


def answer(question: str, language: str, text: str | None, *, priority: int = 10, recipe: str = "r") -> JudgedAnswer:
    return JudgedAnswer(
        recipe_id=recipe, question_id=question, language=language, priority=priority, text=text, answer=None
    )


BOTH = [answer("body", "ko", "세단"), answer("body", "en", "sedan"), answer("roof", "ko", "검은 루프")]


@pytest.mark.parametrize(
    ("budget", "language", "force", "text", "fallbacks"),
    [
        ("none", "ko", False, "세단, 검은 루프", ()),
        ("none", "en", False, "sedan", ()),
        ("clip", "en", False, "sedan", ()),
        ("clip", "ko", False, "sedan", ("body",)),
        ("clip-225", "ko", False, "sedan", ("body",)),
        ("t5-512", "ko", False, "sedan", ("body",)),
        ("clip", "ko", True, "세단, 검은 루프", ()),
        ("t5-512", "ko", True, "세단, 검은 루프", ()),
    ],
)
def test_the_answer_is_taken_in_a_language_that_the_encoder_knows(
    budget: str, language: str, force: bool, text: str, fallbacks: tuple[str, ...]
) -> None:
    made = compose(BOTH, BUDGETS[budget], language=language, force_language=force)
    assert (made.text, made.fallbacks) == (text, fallbacks)


def test_questions_without_a_usable_answer_are_named() -> None:
    assert answers_for(BOTH, BUDGETS["clip"], language="ko").missing == ("roof",)
    assert answers_for(BOTH, BUDGETS["clip"], language="en").missing == ("roof",)
    assert answers_for(BOTH, BUDGETS["none"], language="ko").missing == ()


def test_the_same_question_of_another_recipe_does_not_stand_in() -> None:
    mixed = [answer("body", "ko", "세단", recipe="a"), answer("body", "en", "sedan", recipe="b")]
    chosen = answers_for(mixed, BUDGETS["clip"], language="ko")
    assert ([a.recipe_id for a in chosen.answers], chosen.missing) == (["b"], ("body",))


def test_a_rejected_english_answer_is_no_fallback_and_says_nothing() -> None:
    rejected = JudgedAnswer(
        recipe_id="r",
        question_id="body",
        language="en",
        priority=10,
        text=None,
        answer=None,
        verdict=Verdict(decision="rejected", text=None),
    )
    made = compose([answer("body", "ko", "세단"), rejected], BUDGETS["clip"], language="ko")
    assert (made.text, made.fallbacks) == ("", ())


@pytest.mark.parametrize(
    ("budget", "language", "has", "says"),
    [
        ("clip", "ko", "ko", "clip hardly knows Korean, .* --language en too, .* --force-language"),
        ("t5-256", "ko", "ko", "t5-256 hardly knows Korean"),
        ("clip", "en", "ko", "No answer is in English, only in Korean. Describe with --language en too"),
        ("none", "ko", "en", "No answer is in Korean, only in English. Describe with --language ko too"),
    ],
)
def test_no_usable_answer_at_all_is_an_error_that_says_what_to_type(
    budget: str, language: str, has: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        compose([answer("body", has, "세단")], BUDGETS[budget], language=language)


def test_a_photo_without_answers_is_no_error() -> None:
    assert compose([], BUDGETS["clip"], language="ko", trigger="mycar").text == "mycar"
    assert compose([answer("body", "ko", None)], BUDGETS["clip"], language="ko").text == ""


@pytest.mark.parametrize(("budget", "language"), [("clip", "en"), ("t5-256", "en"), ("none", "ko"), ("none", "xx")])
def test_no_warning_where_the_encoder_knows_the_language(budget: str, language: str) -> None:
    assert language_warning(BUDGETS[budget], language) is None


def test_the_warning_gives_figures_and_both_ways_out() -> None:
    warning = language_warning(BUDGETS["clip"], "ko")
    assert warning == (
        "clip hardly knows Korean (2.0 tokens a character; English takes 0.3): the English answers are taken. "
        "--force-language keeps the Korean ones."
    )
    assert "11 of 11 words are unknown" in str(language_warning(BUDGETS["t5-512"], "ko"))
    assert "kept, as --force-language asks" in str(language_warning(BUDGETS["clip"], "ko", force_language=True))
    assert str(language_warning(BUDGETS["clip"], "xx")).startswith("clip hardly knows xx: the English")


@pytest.mark.parametrize(
    ("budget", "text", "says"),
    [
        ("clip", "은색 세단", "2.0 tokens a character"),
        ("t5-256", "silver 세단", "1 of 1 words are unknown"),
        ("t5-256", "\u1109\u1166\u1103\u1161\u11ab", "1 of 1 words are unknown"),
        ("clip", "silver sedan, café", None),
        ("none", "은색 세단", None),
    ],
)
def test_a_korean_text_is_warned_of_by_its_letters(budget: str, text: str, says: str | None) -> None:
    warning = text_warning(BUDGETS[budget], text)
    assert (says in str(warning)) if says else warning is None
