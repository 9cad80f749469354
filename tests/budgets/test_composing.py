"""Descriptions hold whole phrases, the most important first, never more than the budget, and say what they lack."""

import doctest
import random
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carscribe.budgets.composing import Shuffle, compose, fit
from carscribe.budgets.counting import BUDGETS, Budget
from carscribe.budgets.phrases import split_phrases
from carscribe.budgets.unnaming import unnaming
from carscribe.errors import InputError
from carscribe.plaintext import model_mark_in
from carscribe.records import Answer, Description, JudgedAnswer, Language, Verdict


@dataclass(frozen=True, kw_only=True)
class WordCounter:
    """One token a word, and `together` more where there are two or more: what words cost one by one is too little."""

    speaks: frozenset[Language] = frozenset({"en"})
    together: int = 0

    def count(self, text: str) -> int:
        words = len(text.split())
        return words + (self.together if words > 1 else 0)

    def count_words(self, line: str) -> int:
        return len(line.split())

    def count_unknown(self, text: str) -> int:
        return 0


def words(limit: int, *, together: int = 0) -> Budget:
    return Budget(name="words", counts="words", limit=limit, encoder=WordCounter(together=together))


def said(
    text: str | None, *, priority: int = 0, finish: Literal["stop", "length"] = "stop", **more: Any
) -> JudgedAnswer:
    model = Answer(recipe_id="r", question_id="q", language="en", text=text or "", tokens=1, finish=finish)
    fields: dict[str, Any] = {
        "recipe_id": "r",
        "question_id": f"q{priority}",
        "language": "en",
        "answer": model,
        **more,
    }
    return JudgedAnswer(priority=priority, text=text, **fields)


def composed(*texts: str | JudgedAnswer, budget: Budget = BUDGETS["none"], **frame: str) -> Description:
    answers = [said(text, priority=i) if isinstance(text, str) else text for i, text in enumerate(texts)]
    return compose(answers, budget, language="en", **frame)


def test_phrases_stand_in_the_order_of_priority_between_what_was_given() -> None:
    answers = [said("slim lamps", priority=70), said("SUV", priority=10), said("red", priority=20)]
    made = compose(answers, BUDGETS["clip"], language="en", trigger="sks", prefix="a photo of a car,", suffix="studio")
    assert made == Description(
        text="sks, a photo of a car, SUV, red, slim lamps, studio",
        budget="clip",
        tokens=BUDGETS["clip"].count("sks, a photo of a car, SUV, red, slim lamps, studio"),
    )


def test_answers_of_equal_priority_keep_their_order() -> None:
    assert compose([said("b"), said("a"), said("c")], BUDGETS["none"], language="en").text == "b, a, c"


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        ({"prefix": "A studio photo."}, "A studio photo. red"),
        ({"prefix": "Photo:"}, "Photo: red"),
        ({"prefix": " photo of a car , "}, "photo of a car, red"),
        ({"prefix": "\x1b[31mphoto\n\u200bof", "suffix": " "}, "photo of, red"),
        ({"suffix": ", 4k"}, "red, 4k"),
        ({"trigger": "사진"}, "사진, red"),
    ],
)
def test_what_was_given_is_joined_as_one_would_write(frame: dict[str, str], text: str) -> None:
    assert composed("red", **frame).text == text


def test_after_a_sentence_no_comma_follows() -> None:
    assert composed("The roof is black.", "red").text == "The roof is black. red"


def test_a_phrase_without_room_is_dropped_whole_and_a_later_shorter_one_may_still_come() -> None:
    made = composed("SUV, a very long hood, red", "short tail", "low", budget=words(4))
    assert made.text == "SUV, red, short tail"
    assert made.dropped == ("a very long hood", "low")
    assert made.tokens == 4


def test_exactly_the_limit_fits() -> None:
    assert composed("SUV, red", budget=words(2)).dropped == ()
    assert composed("SUV, red", budget=words(1)).dropped == ("red",)


def test_the_suffix_is_counted_before_the_phrases() -> None:
    made = composed("SUV, red", budget=words(3), suffix="in studio")
    assert (made.text, made.dropped) == ("SUV, in studio", ("red",))


def test_special_tokens_take_their_room_from_the_start() -> None:
    made = composed("SUV, long hood, red", budget=replace(words(4), specials=2))
    assert (made.text, made.tokens, made.dropped) == ("SUV, red", 4, ("long hood",))


def test_no_limit_drops_nothing() -> None:
    made = composed("x1, " * 500 + "y")
    assert (made.dropped, made.tokens) == ((), None)
    assert composed(", ".join(f"x{i}" for i in range(400))).text.count(",") == 399


def test_where_words_cost_more_together_the_least_important_go() -> None:
    made = composed("SUV, red, low", "wide", budget=words(4, together=2))
    assert (made.text, made.tokens, made.dropped) == ("SUV, red", 4, ("low", "wide"))


def test_the_dropped_are_in_the_order_of_priority_however_they_were_dropped() -> None:
    made = composed("SUV, red, far too long a phrase", "low", "wide", budget=words(4, together=2))
    assert made.dropped == ("far too long a phrase", "low", "wide")


def test_a_sentence_that_fits_is_kept_whole_and_one_that_does_not_is_left_for_a_later_one() -> None:
    first, second, third = (
        "The hood is long, very long.",
        "The tail is short, and the roof is black.",
        "The rim is red.",
    )
    made = composed(f"{first} {second} {third}", budget=words(11))
    assert made.text == f"{first} {third}"
    assert made.dropped == (second,)


def test_only_a_sentence_that_never_fits_is_cut_down_to_its_leading_clauses() -> None:
    made = composed("The car has a long hood, a short deck, and a roof of glass.", budget=words(9))
    assert made.text == "The car has a long hood, a short deck"
    assert made.dropped == ("and a roof of glass.",)
    made = composed("SUV", "The car has a long hood, a short deck, and a roof of glass.", budget=words(9))
    assert made.text == "SUV, The car has a long hood"
    made = composed("SUV", "The car has a very long hood, a short deck, and a roof of glass.", budget=words(7))
    assert (made.text, len(made.dropped)) == ("SUV", 1)


@pytest.mark.parametrize(
    ("texts", "text", "repeated"),
    [
        (("compact SUV", "SUV"), "compact SUV", ("SUV",)),
        (("SUV", "compact SUV, low"), "compact SUV, low", ("SUV",)),
        (("SUV", "red", "compact SUV", "metallic red paint"), "compact SUV, metallic red paint", ("SUV", "red")),
        (("red", "red brake calipers"), "red, red brake calipers", ()),
        (("Red", "red.", "RED", "ｒｅｄ"), "Red", ("red", "RED", "ｒｅｄ")),
        (("은색", unicodedata.normalize("NFD", "은색")), "은색", ("은색",)),
        (("red, red, low, red",), "red, low", ("red", "red")),
        (("SUV", "electric", "electric SUV"), "electric SUV, electric", ("SUV",)),
    ],
)
def test_what_was_said_is_not_said_again(texts: tuple[str, ...], text: str, repeated: tuple[str, ...]) -> None:
    made = composed(*texts)
    assert (made.text, made.repeated) == (text, repeated)


def test_one_phrase_can_take_the_place_of_several() -> None:
    made = composed("red SUV", "SUV", "low", "compact red SUV")
    assert (made.text, made.repeated) == ("compact red SUV, low", ("SUV", "red SUV"))


def test_what_was_given_counts_as_said() -> None:
    made = composed("SUV, low", "studio photo", prefix="red SUV in the city", suffix="studio photo")
    assert (made.text, made.repeated) == ("red SUV in the city, low, studio photo", ("SUV", "studio photo"))


def test_a_longer_phrase_takes_no_place_where_it_has_no_room() -> None:
    made = composed("SUV", "compact SUV", budget=words(1))
    assert (made.text, made.dropped, made.repeated) == ("SUV", ("compact SUV",), ())


def test_rejected_and_blank_answers_say_nothing() -> None:
    rejected = said(None, priority=1, verdict=Verdict(decision="rejected", text=None))
    assert composed("SUV", rejected, said(" \n", priority=2)).text == "SUV"


def test_a_persons_word_counts() -> None:
    edited = said("coupe", priority=0, verdict=Verdict(decision="edited", text="coupe"), answer=None)
    assert composed(edited, "red").text == "coupe, red"


def test_the_phrase_a_model_did_not_end_is_left_out_unless_it_is_all_there_is() -> None:
    made = composed(said("large wheels, dark gr", finish="length"), said("black ro", priority=1, finish="length"))
    assert (made.text, made.dropped) == ("large wheels, black ro", ("dark gr…",))


def test_what_a_person_approved_is_whole_wherever_the_model_stopped() -> None:
    approved = Verdict(decision="approved", text="large wheels, dark gray")
    made = composed(said("large wheels, dark gray", finish="length", verdict=approved))
    assert (made.text, made.dropped) == ("large wheels, dark gray", ())


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (
            {"trigger": "sks " * 50, "prefix": "a " * 40},
            "trigger word and prefix takes 93 tokens; clip holds 77, its 2 special",
        ),
        ({"suffix": "a " * 200}, "suffix takes 202 tokens; .* Shorten it, or take a larger budget: clip-150, clip-225"),
    ],
)
def test_what_was_given_must_fit_by_itself(frame: dict[str, str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        composed("red", budget=BUDGETS["clip"], **frame)


def test_the_largest_budget_offers_no_larger_one() -> None:
    with pytest.raises(InputError, match=r"t5-512 holds 512, its end token included\. Shorten it\.$"):
        fit("red", BUDGETS["t5-512"], prefix="a b " * 400)


@pytest.mark.parametrize("name", ["trigger", "prefix", "suffix"])
@pytest.mark.parametrize("mark", ["<|endoftext|>", "</s>", "＜pad＞", "</\u200bs>"])
def test_a_special_token_is_refused_in_what_was_given(name: str, mark: str) -> None:
    with pytest.raises(InputError, match=f"The {name}.* a special token"):
        composed("red", **{name: f"a {mark} b"})


def test_fit_keeps_the_texts_own_order_and_says_what_it_dropped() -> None:
    made = fit("red roof\nlow; a very long tail, wide", words(4), trigger="sks")
    assert (made.text, made.dropped) == ("sks, red roof, low", ("a very long tail", "wide"))


def test_where_not_one_phrase_fits_the_text_is_empty_and_dropped_has_it() -> None:
    made = fit("one phrase of far too many words", words(3))
    assert (made.text, made.tokens, made.dropped) == ("", 0, ("one phrase of far too many words",))


def answers_from(texts: list[str], chance: random.Random) -> list[JudgedAnswer]:
    finish: Any = chance.choice(("stop", "length"))
    return [said(text, priority=chance.randint(0, 9), finish=finish) for text in texts]


def check(made: Description, budget: Budget, answers: list[JudgedAnswer]) -> None:
    """What holds of every description, whatever it is made of."""
    assert made.tokens == budget.count(made.text)
    assert made.tokens is None or budget.limit is None or made.tokens <= budget.limit
    assert unicodedata.is_normalized("NFC", made.text)
    shown = made.text.replace("\u200d", "")  # which stays between emoji
    assert not [c for c in shown if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]
    assert model_mark_in(made.text) is None
    assert made.text == " ".join(made.text.split())
    for answer in answers:
        stopped = answer.answer is not None and answer.answer.finish == "length"
        for phrase in split_phrases(answer.text or "", cut_off=stopped):
            told = {phrase.text, f"{phrase.text}…"} & {*made.dropped, *made.repeated}
            assert told or any(run in made.text for run in (phrase.text, *phrase.shorter))


def test_none_of_ten_thousand_descriptions_is_over_its_budget(
    generate: Callable[..., list[str]], hugging_face: dict[str, Any]
) -> None:
    chance = random.Random(5)
    texts = generate(10_000, seed=4, most_words=10)
    tight = {name: replace(budget, limit=(budget.limit or 0) // 8) for name, budget in BUDGETS.items() if budget.limit}
    made: dict[str, list[Description]] = {name: [] for name in tight}
    for i in range(10_000):
        name = list(tight)[i % len(tight)]
        answers = answers_from([texts[i], texts[i - 1]], chance)
        made[name].append(compose(answers, tight[name], language="en", trigger="sks", suffix="studio"))
    for name, descriptions in made.items():
        tokenizer = hugging_face[name.split("-")[0]]
        specials = 2 if name.startswith("clip") else 1
        counts = [len(ids) for ids in tokenizer([description.text for description in descriptions]).input_ids]
        assert [d.tokens for d in descriptions] == [count - specials + tight[name].specials for count in counts]
        assert max(d.tokens or 0 for d in descriptions) <= (tight[name].limit or 0)
        assert sum(bool(d.dropped) for d in descriptions) > 100, name


@pytest.mark.parametrize("name", BUDGETS)
def test_at_its_full_limit_each_budget_keeps_its_promises(name: str, generate: Callable[..., list[str]]) -> None:
    chance = random.Random(6)
    texts = generate(300, seed=7, most_words=60)
    for start in range(0, len(texts), 12):
        answers = answers_from(texts[start : start + 12], chance)
        check(compose(answers, BUDGETS[name], language="en"), BUDGETS[name], answers)


PIECES = [
    *"a.,;:!?()<|>*\n1é은\u0301＜",
    "red ",
    "compact SUV",
    "은색 ",
    "🚗",
    "<|endoftext|>",
    "</s>",
    "\x1b[",
    "The car is ",
]
NASTY = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))


@given(
    st.lists(NASTY, max_size=5), st.integers(6, 40), st.sampled_from(["clip", "clip-150", "t5-256"]), st.integers(0, 99)
)
def test_no_text_makes_a_description_that_breaks_a_promise(texts: list[str], limit: int, name: str, seed: int) -> None:
    budget = replace(BUDGETS[name], limit=limit)
    answers = answers_from(texts, random.Random(seed))
    check(compose(answers, budget, language="en", trigger="sks"), budget, answers)


TYPED = NASTY.map(lambda text: re.sub("[\x1b\x9b]", "", text))  # terminal codes take letters away with them


@given(TYPED, TYPED, TYPED)
def test_what_was_given_stands_whole_or_is_refused(trigger: str, prefix: str, suffix: str) -> None:
    try:
        made = fit("red roof, low tail", BUDGETS["clip"], trigger=trigger, prefix=prefix, suffix=suffix)
    except InputError:
        return
    check(made, BUDGETS["clip"], [])
    for part in (trigger, prefix, suffix):
        letters = [c for c in unicodedata.normalize("NFC", part) if c.isalnum()]
        assert "".join(letters) in "".join(c for c in made.text if c.isalnum())


def test_the_examples_of_the_documentation_are_what_comes_out() -> None:
    page = Path(__file__).parents[2] / "docs" / "budgets.md"
    assert doctest.testfile(str(page), module_relative=False, encoding="utf-8").failed == 0


PHRASES = ("compact SUV", "red", "slim lamps", "five-spoke wheels", "floating roof", "short overhangs")


def shuffled(*texts: str, seed: str = "1", keep_parts: int = 0, **more: Any) -> Description:
    answers = [said(text, priority=i) for i, text in enumerate(texts)]
    shuffle = Shuffle(seed=seed, keep_parts=keep_parts)
    return compose(answers, more.pop("budget", BUDGETS["none"]), language="en", shuffle=shuffle, **more)


def test_shuffled_phrases_are_the_same_ones_in_an_order_drawn_by_the_seed() -> None:
    orders = {shuffled(*PHRASES, seed=str(seed)).text for seed in range(20)}
    assert len(orders) > 10
    assert {tuple(sorted(order.split(", "))) for order in orders} == {tuple(sorted(PHRASES))}
    assert shuffled(*PHRASES, seed="7") == shuffled(*PHRASES, seed="7")


@pytest.mark.parametrize(
    ("keep_parts", "frame", "start"),
    [
        (0, {"trigger": "sks", "prefix": "a car, studio"}, "sks, a car, studio, "),
        (3, {"trigger": "sks", "prefix": "a car, studio"}, "sks, a car, studio, "),
        (4, {"trigger": "sks", "prefix": "a car, studio"}, "sks, a car, studio, compact SUV, "),
        (2, {}, "compact SUV, red, "),
        (99, {}, ", ".join(PHRASES)),
    ],
)
def test_parts_that_are_kept_stay_in_front_as_kohya_counts_them(
    keep_parts: int, frame: dict[str, str], start: str
) -> None:
    for seed in range(8):
        assert shuffled(*PHRASES, seed=str(seed), keep_parts=keep_parts, **frame).text.startswith(start)


def test_a_kept_phrase_with_a_comma_inside_stays_whole() -> None:
    text = shuffled("wheels (black, 20 inch)", *PHRASES, keep_parts=1).text
    assert text.startswith("wheels (black, 20 inch), ")


def test_a_suffix_stays_last_when_phrases_are_shuffled() -> None:
    assert all(shuffled(*PHRASES, seed=str(seed), suffix="4k").text.endswith(", 4k") for seed in range(8))


@given(st.lists(st.text(alphabet="abc ,.-", min_size=1, max_size=20), min_size=1, max_size=12), st.integers(1, 40))
def test_shuffled_descriptions_hold_the_budget(texts: list[str], limit: int) -> None:
    made = shuffled(*texts, budget=words(limit, together=1))
    assert made.tokens is not None
    assert made.tokens <= limit


def test_an_opening_stands_before_all_phrases_and_is_not_said_again() -> None:
    answers = [said("Kia Niro", priority=0), said("compact SUV", priority=1)]
    made = compose(answers, BUDGETS["clip"], language="en", trigger="sks", opening="Kia\n Niro ")
    assert (made.text, made.repeated) == ("sks, Kia Niro, compact SUV", ("Kia Niro",))
    for seed in range(8):
        assert shuffled(*PHRASES, seed=str(seed), opening="Kia Niro").text.startswith("Kia Niro, ")


def test_an_opening_for_which_there_is_no_room_is_dropped_and_told() -> None:
    made = compose([said("red")], words(3), language="en", opening="a name of many words")
    assert (made.text, made.dropped) == ("red", ("a name of many words",))


def test_without_its_name_a_car_is_described_by_what_else_is_said() -> None:
    answers = [said("Kia Niro", priority=0), said("Kia's slim lamps, red Niro, red car", priority=1)]
    made = compose(answers, BUDGETS["clip"], language="en", unnaming=unnaming(("기아 니로",)))
    assert made.text == "slim lamps, red car"
