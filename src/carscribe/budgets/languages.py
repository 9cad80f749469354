"""Which answers an encoder can read. Pure; knows nothing of phrases or limits.

CLIP and T5 learned from English text. CLIP takes Korean apart into bytes, more than one token a character; T5's
vocabulary has no Hangul at all, so that every Korean word becomes the same unknown token. For them, and for any encoder
that its makers do not say knows the language, the English answer to the same question stands in.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carscribe.budgets.counting import Budget
from carscribe.budgets.encoders import SAMPLES, Encoder, tokens_per_character
from carscribe.errors import InputError
from carscribe.records import JudgedAnswer, Language

STAND_IN: Language = "en"
"""The language whose answers are taken where the encoder knows no other."""

_NAMES: dict[Language, str] = {"en": "English", "ko": "Korean", "ja": "Japanese", "zh": "Chinese", "de": "German"}

_HANGUL = re.compile(r"[\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The answers a description is made of, in the order they came.

    `fallbacks` are the ids of questions whose answer was taken in English instead; `missing` those that have an answer,
    but in no language that can be used.
    """

    answers: tuple[JudgedAnswer, ...]
    fallbacks: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def answers_for(
    answers: Sequence[JudgedAnswer], budget: Budget, *, language: Language, force_language: bool = False
) -> Chosen:
    """Take each question's answer in `language`, or in English where the budget's encoder does not know `language`.

    `answers` are a photo's, in all its languages. A rejected answer is taken too, and says nothing.

    Raises:
        InputError: there are answers, and none in a language that can be used.
    """
    wanted = language if force_language or budget.knows(language) else STAND_IN
    chosen = tuple(answer for answer in answers if answer.language == wanted)
    found = {(answer.recipe_id, answer.question_id) for answer in chosen}
    others = [answer for answer in answers if answer.text and (answer.recipe_id, answer.question_id) not in found]
    if others and not chosen:
        raise InputError(_nothing_to_say(others, budget, language, wanted))
    return Chosen(
        answers=chosen,
        fallbacks=_question_ids(chosen) if wanted != language else (),
        missing=_question_ids(others),
    )


def language_warning(budget: Budget, language: Language, *, force_language: bool = False) -> str | None:
    """One line for whoever asks for a language that the budget's encoder hardly knows, with figures; None if it does.

    >>> from carscribe.budgets.counting import BUDGETS
    >>> print(language_warning(BUDGETS["t5-256"], "ko"))
    t5-256 hardly knows Korean (11 of 11 words are unknown to it): the English answers are taken. \
--force-language keeps the Korean ones.
    """
    if budget.encoder is None or budget.knows(language):
        return None
    name = language_name(language)
    figures = f" ({_figures(budget.encoder, SAMPLES[language])})" if language in SAMPLES else ""
    trouble = f"{budget.name} hardly knows {name}{figures}"
    if force_language:
        return f"{trouble}; the {name} answers are kept, as --force-language asks."
    return f"{trouble}: the English answers are taken. --force-language keeps the {name} ones."


def text_warning(budget: Budget, text: str) -> str | None:
    """One line for whoever gives a text of which the budget's encoder reads hardly anything; None if it reads it.

    Only Hangul is looked for.

    >>> from carscribe.budgets.counting import BUDGETS
    >>> print(text_warning(BUDGETS["clip"], "은색 세단"))
    clip hardly knows Korean (2.0 tokens a character; English takes 0.3): give it the text in English.
    """
    if budget.encoder is None or budget.knows("ko") or not _HANGUL.search(text):
        return None
    figures = _figures(budget.encoder, " ".join(_HANGUL.findall(unicodedata.normalize("NFC", text))))
    return f"{budget.name} hardly knows Korean ({figures}): give it the text in English."


def language_name(language: Language) -> str:
    """What people call it, the code where that is not known.

    >>> language_name("ko"), language_name("xx")
    ('Korean', 'xx')
    """
    return _NAMES.get(language, language)


def _question_ids(answers: Iterable[JudgedAnswer]) -> tuple[str, ...]:
    """Of the questions whose answer says something, each once."""
    return tuple(dict.fromkeys(answer.question_id for answer in answers if answer.text))


def _figures(encoder: Encoder, sample: str) -> str:
    """What a sample costs, counted now: unknown words where there are some, else tokens a character without spaces."""
    words = sample.split()
    unknown = sum(encoder.count_unknown(word) > 0 for word in words)
    if unknown:
        return f"{unknown} of {len(words)} words are unknown to it"
    costs, english = (tokens_per_character(encoder, text) for text in (sample, SAMPLES[STAND_IN]))
    return f"{costs:.1f} tokens a character; English takes {english:.1f}"


def _nothing_to_say(others: Iterable[JudgedAnswer], budget: Budget, language: Language, wanted: Language) -> str:
    has = " and ".join(dict.fromkeys(language_name(answer.language) for answer in others))
    if wanted == language:
        return f"No answer is in {language_name(language)}, only in {has}. Describe with --language {language} too."
    return (
        f"{budget.name} hardly knows {language_name(language)}, and no question has an English answer to take instead. "
        f"Describe with --language en too, or keep the {language_name(language)} with --force-language."
    )
