"""What is true of a rendered car, in words: an answer to every question of the shipped recipes, in English and Korean.

The names of values and the sentences are in `vocabulary.toml`. Knows nothing of pictures, nor of how an answer is read
back (`reading.py`).
"""

import random
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from carscribe.recipes.loading import load_recipe
from rendered.attributes import ASPECTS, ATTRIBUTES, CarRecord

Language = Literal["en", "ko"]

QuestionKey = tuple[str, str]
"""The ids of a recipe and of one of its questions."""

ATTRIBUTES_ASKED: Mapping[QuestionKey, tuple[str, ...]] = MappingProxyType(
    {
        ("designer", "body_type"): ("body_type",),
        ("designer", "main_colour"): ("main_colour",),
        **{("designer", aspect): tuple(n for n, a in ATTRIBUTES.items() if a.aspect == aspect) for aspect in ASPECTS},
        ("brief", "brief"): tuple(ATTRIBUTES),
        ("detailed", "detailed"): tuple(ATTRIBUTES),
    }
)
"""What an answer to each question ought to name, as far as it is visible."""

SAID_TOGETHER: Mapping[Language, tuple[tuple[str, ...], ...]] = MappingProxyType(
    {
        "en": (
            ("finish", "main_colour"),
            ("grille_shape", "grille_pattern"),
            ("wheel_size", "wheel_finish", "wheel"),
        ),
        "ko": (
            ("main_colour", "finish"),
            ("grille_shape", "grille_pattern"),
            ("wheel_size", "wheel_finish", "wheel"),
        ),
    }
)
"""Attributes whose names become one phrase where they end in the same word: "metallic red paint". In this order."""

CHOICES = ("body_type", "main_colour")
"""Attributes that `designer` asks for as a choice: questions of the same id, the values in the order of the choices."""

_MOST_WORDS: Mapping[Language, int] = MappingProxyType({"en": 12, "ko": 8})
_TRIES = 8
_SLOT = re.compile(r"\{(?P<names>[\w+]+)(?::(?P<form>[^}]+))?\}")
_NO_ARTICLE = frozenset({"paint", "paintwork", "cladding", "trim"})
_LETTERS_READ_WITH_A_VOWEL = "AEFHILMNORSX"
_RIEUL = 8
"""The number of ㄹ among the final consonants of Unicode's Hangul syllables: after it 로 stands, not 으로."""

_FINAL_OF_LETTER = MappingProxyType({"L": _RIEUL, "M": 16, "N": 4, "R": _RIEUL})
"""The final consonant of a Latin letter's Korean name, 엘 or 엠; the others end in a vowel."""


def word_limit(language: Language) -> int:
    """How many words the recipe `designer` allows an answer to an open question.

    >>> word_limit("en"), word_limit("ko")
    (12, 8)
    """
    return _MOST_WORDS[language]


def answers(record: CarRecord, language: Language, *, chance: random.Random | None = None) -> Mapping[QuestionKey, str]:
    """What is true of the car, as the answer to each question of `ATTRIBUTES_ASKED`.

    Without `chance` the canonical wording: first names, fixed order, first sentences. With it synonyms, another order
    and other sentences, the same for a generator in the same state.
    """
    speaker = _Speaker(record, language, chance)
    told = {("designer", name): choice_word(name, record.attributes[name], language) for name in CHOICES}
    told |= {("designer", aspect): speaker.phrases_within_limit(aspect) for aspect in ASPECTS}
    told["brief", "brief"] = speaker.sentence(speaker.choose(vocabulary().brief[language]))
    told["detailed", "detailed"] = speaker.description()
    return MappingProxyType(told)


def choice_word(name: str, value: str, language: Language) -> str:
    """How the recipe's choice question has a body type or a main colour.

    >>> choice_word("body_type", "suv", "ko"), choice_word("main_colour", "red", "ko")
    ('SUV', '빨간색')
    """
    return _choices(name, language)[ATTRIBUTES[name].values.index(value)]


@cache
def _choices(name: str, language: Language) -> tuple[str, ...]:
    (question,) = (question for question in load_recipe("designer").questions if question.id == name)
    return question.choices[language]


@dataclass(frozen=True, slots=True, kw_only=True)
class Vocabulary:
    """`vocabulary.toml`. `names` are of an attribute's value in a language, the canonical one first."""

    names: Mapping[tuple[str, str, Language], tuple[str, ...]]
    unseen: Mapping[tuple[str, Language], tuple[str, ...]]
    brief: Mapping[Language, tuple[str, ...]]
    detailed: Mapping[tuple[str, Language], tuple[str, ...]]


@cache
def vocabulary() -> Vocabulary:
    """Read the file that lies beside this one."""
    tables: Mapping[str, Any] = tomllib.loads((Path(__file__).parent / "vocabulary.toml").read_text(encoding="utf-8"))
    return Vocabulary(
        names={
            (name, value, language): tuple(words)
            for name in ATTRIBUTES
            for value, languages in tables[name].items()
            for language, words in languages.items()
        },
        unseen={
            (aspect, lang): tuple(words) for aspect, said in tables["unseen"].items() for lang, words in said.items()
        },
        brief={language: tuple(patterns) for language, patterns in tables["brief"].items()},
        detailed={(kind, lang): tuple(said) for kind, of in tables["detailed"].items() for lang, said in of.items()},
    )


class _Speaker:
    """Says one car's visible attributes in one language."""

    def __init__(self, record: CarRecord, language: Language, chance: random.Random | None) -> None:
        self._record = record
        self._language = language
        self._chance = chance

    def choose(self, among: Sequence[str]) -> str:
        return among[0] if self._chance is None else self._chance.choice(among)

    def phrases_within_limit(self, aspect: str) -> str:
        """The answer to an open question of `designer`. Where synonyms take too many words, the canonical one."""
        limit = word_limit(self._language)
        for _ in range(_TRIES):
            text = ", ".join(self.phrases(aspect)) or self.choose(vocabulary().unseen[aspect, self._language])
            if len(text.split()) <= limit:
                return text
        return ", ".join(_Speaker(self._record, self._language, None).phrases(aspect))

    def phrases(self, names: str) -> list[str]:
        """What attributes and whole aspects, joined by "+", are called: as many phrases as can be told apart.

        In another order at chance, but within an aspect, and what body it is comes first.
        """
        wanted = names.split("+")
        by_aspect: dict[str, list[str]] = {}
        for name in wanted:
            of_name = [n for n, a in ATTRIBUTES.items() if name in (n, a.aspect) and n in self._record.visible]
            by_aspect.setdefault(ATTRIBUTES[name].aspect if name in ATTRIBUTES else name, []).extend(of_name)
        phrases: list[str] = []
        for aspect, of_aspect in by_aspect.items():
            said = self._names_of(of_aspect)
            if self._chance is not None and aspect != "body":
                self._chance.shuffle(said)
            phrases += said
        return phrases

    def sentence(self, pattern: str) -> str:
        """A pattern with its slots filled."""
        text = _SLOT.sub(lambda slot: self._filled(slot["names"], slot["form"]), pattern)
        return text[0].upper() + text[1:] if text.endswith(".") else text

    def description(self) -> str:
        """Three to five sentences; at chance, those between the first and the last in another order."""
        seen = {"front": ["front"], "rear": ["rear"], "side": []}[self._record.view]
        middle = ["surface", *seen, "wheels"]
        if self._chance is not None:
            self._chance.shuffle(middle)
        last = "plain" if self._record.attributes["element"] == "none" else "unique"
        kinds = ("body", *middle, last)
        return " ".join(self.sentence(self.choose(vocabulary().detailed[k, self._language])) for k in kinds)

    def _filled(self, names: str, form: str | None) -> str:
        phrases = self.phrases(names)
        if form == "list":
            return ", ".join(phrases)
        if self._language == "ko":
            listed = _listed_ko(phrases)
            return listed + (particle_after(listed, form) if form else "")
        return _listed_en(phrases if form == "bare" else [with_article(phrase) for phrase in phrases])

    def _names_of(self, wanted: Sequence[str]) -> list[str]:
        """A name of each attribute, those that can be said together as one phrase."""
        phrases: list[str] = []
        done: set[str] = set()
        for name in wanted:
            if name in done:
                continue
            group = next((g for g in SAID_TOGETHER[self._language] if name in g), (name,))
            together = [n for n in group if n in wanted]
            done.update(together)
            phrases += _joined(self._names_alike(together))
        return phrases

    def _names_alike(self, together: Sequence[str]) -> list[str]:
        """A name of each, in their order; ending in the same word as the last's, where there is such a name."""
        chosen: list[str] = []
        for name in reversed(together):
            names = vocabulary().names[name, self._record.attributes[name], self._language]
            alike = [n for n in names if chosen and head_of(n) == head_of(chosen[-1])]
            chosen.append(self.choose(alike or names))
        return chosen[::-1]


def head_of(name: str) -> str:
    """A name's last word, which is what it is about."""
    return name.rsplit(" ", 1)[-1]


def _joined(names: Sequence[str]) -> list[str]:
    """Neighbours that end in the same word as one phrase.

    >>> _joined(["large wheels", "black wheels", "mesh wheels"]), _joined(["wide grille", "vertical bars"])
    (['large black mesh wheels'], ['wide grille', 'vertical bars'])
    """
    phrases: list[str] = []
    for name in names:
        if phrases and head_of(phrases[-1]) == head_of(name):
            phrases[-1] = f"{phrases[-1].rsplit(' ', 1)[0]} {name}"
        else:
            phrases.append(name)
    return phrases


def with_article(phrase: str) -> str:
    """An English phrase as it stands in a sentence; what is plural or not counted has no article.

    >>> [with_article(phrase) for phrase in ("SUV", "red paint", "black roof", "slim headlamps", "MPV", "L-shaped bar")]
    ['an SUV', 'red paint', 'a black roof', 'slim headlamps', 'an MPV', 'an L-shaped bar']
    """
    if phrase.startswith("no ") or head_of(phrase) in _NO_ARTICLE or phrase.endswith("s"):
        return phrase
    spelled = re.match(r"[A-Z]+(?![a-z])", phrase)
    vowel = phrase[0] in _LETTERS_READ_WITH_A_VOWEL if spelled else phrase[0].lower() in "aeiou"
    vowel = vowel and not phrase.startswith("one-")  # "a one-box van": as it is said, not as it is written
    return f"{'an' if vowel else 'a'} {phrase}"


def _listed_en(phrases: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b, and c`."""
    return " and ".join(phrases) if len(phrases) < 3 else f"{', '.join(phrases[:-1])}, and {phrases[-1]}"


def _listed_ko(phrases: Sequence[str]) -> str:
    """Two or three are tied with 과 or 와, more stand side by side.

    >>> _listed_ko(["긴 휠베이스", "짧은 오버행", "중앙 배치 캐빈"]), _listed_ko(["a", "b", "c", "d"])
    ('긴 휠베이스와 짧은 오버행, 중앙 배치 캐빈', 'a, b, c, d')
    """
    if len(phrases) not in (2, 3):
        return ", ".join(phrases)
    return f"{phrases[0]}{particle_after(phrases[0], '과/와')} {', '.join(phrases[1:])}"


def particle_after(text: str, forms: str) -> str:
    """The Korean particle in its form after this text: `forms` are after a consonant and after a vowel.

    >>> [particle_after(text, "을/를") for text in ("휠", "루프", "SUV", "L자형 DRL")]
    ['을', '를', '를', '을']
    >>> [particle_after(text, "으로/로") for text in ("휠", "세단", "왜건형 SUV", "루프")]
    ['로', '으로', '로', '로']
    """
    after_consonant, _, after_vowel = forms.partition("/")
    if not after_vowel:
        return after_consonant
    last = text[-1]
    final = (ord(last) - ord("가")) % 28 if "가" <= last <= "힣" else _FINAL_OF_LETTER.get(last.upper(), 0)
    return after_vowel if final == 0 or (final == _RIEUL and after_vowel == "로") else after_consonant
