"""Answers as texts: degenerate ones, foreign script, repeats, and what the composed descriptions cost. No labels."""

import tomllib
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np

from carscribe.budgets.composing import compose
from carscribe.budgets.counting import BUDGETS, Budget
from carscribe.degenerate import degeneracy
from carscribe.errors import InputError
from carscribe.evaluate.answers import Answered, AnsweredPhoto, Asked, as_answered
from carscribe.evaluate.intervals import Share, share_of
from carscribe.records import Language

OPENING_WORDS = 3
EXAMPLES = 5
COUNTED = ("clip", "t5-256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An answer that was found, and what is the matter with it."""

    photo: str
    text: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TextMeasure:
    """One open question in one language, over the whole set.

    `foreign` are answers with script that does not belong in the language. `opening` is the most common beginning of
    three words and `same_opening` its share; `repeated` are answers that another photo has word for word.
    """

    recipe: str
    question: str
    language: str
    answers: int
    degenerate: Share
    foreign: Share
    reasons: dict[str, int]
    opening: str
    same_opening: Share
    repeated: Share
    examples: tuple[Found, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """How many tokens descriptions take, and the share of them that a budget takes whole."""

    budget: str
    limit: int
    within: Share
    smallest: int
    median: float
    ninety_five_percent: float
    largest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DescriptionMeasure:
    """A recipe's answers in one language, composed without a limit: what they cost, and how often one says the same.

    `tokens` has the budgets whose encoder knows the language.
    """

    recipe: str
    language: str
    descriptions: int
    tokens: tuple[Tokens, ...]
    opening: str
    same_opening: Share
    repeated: Share


def measure_texts(answered: Answered) -> tuple[TextMeasure, ...]:
    """Every open question, in each language."""
    groups: dict[Asked, list[tuple[AnsweredPhoto, str, str | None, str | None]]] = defaultdict(list)
    names = _latin_names(answered)
    for photo, said in answered.each():
        answer = said.answer
        if not said.asked.choice:
            flaw = degeneracy(answer.text, answer.language, finish=answer.finish)
            strange = foreign_script(answer.text, answer.language, names)
            groups[said.asked].append((photo, answer.text, flaw, strange))
    found: list[TextMeasure] = []
    for asked, rows in sorted(groups.items()):
        texts = [text for _, text, _, _ in rows]
        opening, count = _opening(texts)
        matter = [(photo.key, text, why) for photo, text, *flaws in rows for why in flaws if why]
        found.append(
            TextMeasure(
                recipe=asked.recipe,
                question=asked.question,
                language=asked.language,
                answers=len(rows),
                degenerate=share_of(sum(flaw is not None for _, _, flaw, _ in rows), len(rows)),
                foreign=share_of(sum(strange is not None for *_, strange in rows), len(rows)),
                reasons=dict(Counter(why.partition(":")[0] for _, _, why in matter).most_common()),
                opening=opening,
                same_opening=share_of(count, len(rows)),
                repeated=share_of(_repeated(texts), len(rows)),
                examples=tuple(Found(photo=key, text=text, why=why) for key, text, why in matter[:EXAMPLES]),
            )
        )
    return tuple(found)


def measure_descriptions(answered: Answered) -> tuple[DescriptionMeasure, ...]:
    """Every recipe in each language."""
    found: list[DescriptionMeasure] = []
    for recipe in answered.recipes:
        for language in answered.languages:
            texts = list(_descriptions(answered, recipe, language))
            if not texts:
                continue
            opening, count = _opening(texts)
            budgets = (BUDGETS[name] for name in COUNTED)
            found.append(
                DescriptionMeasure(
                    recipe=recipe,
                    language=language,
                    descriptions=len(texts),
                    tokens=tuple(_tokens(texts, budget) for budget in budgets if budget.knows(language)),
                    opening=opening,
                    same_opening=share_of(count, len(texts)),
                    repeated=share_of(_repeated(texts), len(texts)),
                )
            )
    return tuple(found)


def foreign_script(text: str, language: Language, names: frozenset[str] = frozenset()) -> str | None:
    """What does not belong into an answer in English or Korean, None when all does; other languages are not looked at.

    >>> foreign_script("낮은 stance, LED 램프", "ko"), foreign_script("기아 EV6의 Y스포크 휠", "ko")
    ('Latin: stance', None)
    >>> foreign_script("강렬한 車体", "ko"), foreign_script("low 스탠스", "en")
    ('Han: 車体', 'Hangul: 스탠스')
    """
    if language not in ("en", "ko"):
        return None
    own = {"en": {"Latin"}, "ko": {"Hangul"}}[language]
    for script, run in _runs(unicodedata.normalize("NFC", text)):
        if script in own:
            continue
        if language == "ko" and script == "Latin" and (len(run) == 1 or run.casefold() in names | _allowed_latin()):
            continue
        return f"{script}: {run}"
    return None


@cache
def _allowed_latin() -> frozenset[str]:
    source = (resources.files("carscribe.evaluate") / "latin.toml").read_text(encoding="utf-8")
    return frozenset(word.casefold() for word in tomllib.loads(source)["words"])


def _latin_names(answered: Answered) -> frozenset[str]:
    """Latin words of the photos' names: makes and models."""
    names = dict.fromkeys(photo.name for photo in answered.photos if photo.name)
    return frozenset(run.casefold() for name in names for script, run in _runs(name) if script == "Latin")


def _runs(text: str) -> Iterator[tuple[str, str]]:
    """Runs of letters of one script: ("Latin", "stance")."""
    script, run = "", ""
    for character in f"{text} ":
        now = _script(character) if character.isalpha() else ""
        if now != script:
            if script:
                yield script, run
            script, run = now, ""
        run += character


@cache
def _script(letter: str) -> str:
    if letter.isascii():
        return "Latin"
    first = unicodedata.name(letter, "UNKNOWN").replace("-", " ").split()[0].capitalize()
    return {"Cjk": "Han", "Fullwidth": "Latin", "Halfwidth": "Hangul"}.get(first, first)


def _descriptions(answered: Answered, recipe: str, language: Language) -> Iterator[str]:
    for photo in answered.photos:
        answers = [
            as_answered(said)
            for said in photo.answers
            if (said.asked.recipe, said.asked.language) == (recipe, language)
        ]
        if not answers:
            continue
        try:
            text = compose(answers, BUDGETS["none"], language=language).text
        except InputError:  # nothing in it says anything
            continue
        if text:
            yield text


def _tokens(texts: Sequence[str], budget: Budget) -> Tokens:
    counts = np.array([budget.count(text) for text in texts])
    limit = budget.limit or 0
    return Tokens(
        budget=budget.name,
        limit=limit,
        within=share_of(int((counts <= limit).sum()), len(texts)),
        smallest=int(counts.min()),
        median=float(np.median(counts)),
        ninety_five_percent=float(np.quantile(counts, 0.95)),
        largest=int(counts.max()),
    )


def _opening(texts: Iterable[str]) -> tuple[str, int]:
    """The most common first three words, and how many texts begin with them."""
    openings = Counter(" ".join(text.casefold().replace(",", " ").split()[:OPENING_WORDS]) for text in texts)
    return openings.most_common(1)[0]


def _repeated(texts: Sequence[str]) -> int:
    counts = Counter(" ".join(text.casefold().split()) for text in texts)
    return sum(count for count in counts.values() if count > 1)
