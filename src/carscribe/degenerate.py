"""Answers that are none: loops, refusals, leftovers of a model's own markup. Pure, and for one text at a time."""

import re
import unicodedata
from collections import Counter
from typing import Literal

from carscribe.plaintext import model_mark_in, plain_line
from carscribe.records import Language

_CHARACTER_RUN = re.compile(r"([^\W\d_])\1{4,}|([^\w\s])\2{7,}|(\d)\3{9,}")
_LOOP_WITHOUT_SPACES = re.compile(r"([^\s\d]{2,12}?)\1{3,}")
_MARKUP = re.compile(
    r"\*\*|```|^\s*#{1,6}\s|</?[a-z][a-z0-9]*(?:\s[^<>]*)?/?>|\[/?INST\]|\[\[\s*\d|\ufffd|^\s*(?:user|assistant|system)\s*:"
    r"|\\(?:n|text|begin)\b|^\s*[{\[]\s*\"",
    re.IGNORECASE | re.MULTILINE,
)
_REFUSALS_EN = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b|\bi(?:'m| am) (?:sorry|unable|not able)\b"
    r"|\bi (?:cannot|can't|can not|don't|do not) (?:see|help|assist|provide|determine|identify)\b"
    r"|\bi (?:cannot|can't|can not) (?:describe|answer|tell|view)\b"
    r"|\b(?:sorry|apologi[sz]e),? (?:but )?i\b|\bno image (?:was|is|has been)\b"
    r"|\bunable to (?:determine|identify|provide)\b"
    r"|\bplease (?:provide|upload|share) (?:an?|the|more)\b",
    re.IGNORECASE,
)
_REFUSALS_KO = re.compile(
    r"죄송|(?:AI|인공지능)\s*(?:언어)?\s*모델|(?:답변|대답|도움|설명|정보)(?:을|를)?\s*(?:해|드리|제공|드릴|해드릴|할)\S*\s*수\s*(?:가\s*)?없"
    r"|도와\s*드릴\s*수\s*없|(?:이미지|사진)(?:를|을|이|가)?\s*(?:볼|확인할|인식할|분석할)\s*수\s*(?:가\s*)?없"
    r"|(?:이미지|사진)(?:가|이)\s*(?:제공|첨부|업로드)\S*\s*(?:않|없)|(?:이미지|사진)(?:를|을)\s*(?:제공|첨부|업로드)해"
)
CUT_OFF = "cut off in the middle"
"""Why an answer is none that its limit ended: the only flaw that another try hardly ever mends."""

_TOKEN = re.compile(r"\w+(?:[-'’]\w+)*")
_LEAST_TOKEN_RUN, _LEAST_LOOPS, _LONGEST_LOOP, _LEAST_PHRASES = 4, 3, 12, 3
_ENDS = re.compile(r"[.!?。…)\]\"'”’,]$")


def degeneracy(text: str, language: Language, *, finish: Literal["stop", "length", "choice"] = "stop") -> str | None:
    """Why a text is no answer, None when it may be one. Which car it tells of is not looked at.

    >>> [degeneracy(text, "en") for text in ("low stance, wide", "the the the the", "…", "I'm sorry, but I can't.")]
    [None, 'one word over and over', 'only punctuation', 'a refusal']
    >>> degeneracy("그릴 패턴, 그릴 패턴, 그릴 패턴", "ko"), degeneracy("lamps below the", "en", finish="length")
    ('the same words over and over', 'cut off in the middle')
    """
    line = unicodedata.normalize("NFC", text)
    if not plain_line(line):
        return "empty"
    if model_mark_in(line):
        return "a special token left over"
    if _MARKUP.search(line):
        return "markup left over"
    if not any(unicodedata.category(character)[0] in "LN" for character in line):
        return "only punctuation"
    if _CHARACTER_RUN.search(line):
        return "one character over and over"
    return _loop(line) or _refusal(line, language) or _cut(line, finish)


def _loop(line: str) -> str | None:
    """One word four times in a row, a run of words three times in a row, or a phrase three times in one list."""
    words = [word.casefold() for word in _TOKEN.findall(line)]
    if any(len({*words[start : start + _LEAST_TOKEN_RUN]}) == 1 for start in range(len(words) - _LEAST_TOKEN_RUN + 1)):
        return "one word over and over"
    for size in range(2, min(_LONGEST_LOOP, len(words) // _LEAST_LOOPS) + 1):
        same = 0  # how many words in a row equal the one `size` before
        for place in range(size, len(words)):
            same = same + 1 if words[place] == words[place - size] else 0
            if same >= size * (_LEAST_LOOPS - 1):
                return "the same words over and over"
    phrases = Counter(" ".join(part.casefold().split()) for part in re.split(r"[,;.\n、，]", line) if part.strip())
    if phrases and max(phrases.values()) >= _LEAST_PHRASES:
        return "the same words over and over"
    return "the same words over and over" if _LOOP_WITHOUT_SPACES.search(line) else None


def _refusal(line: str, language: Language) -> str | None:
    """A refusal in the answer's language, or in English, which models fall back to."""
    refused = _REFUSALS_EN.search(line.replace("’", "'")) or (language == "ko" and _REFUSALS_KO.search(line))
    return "a refusal" if refused else None


def _cut(line: str, finish: str) -> str | None:
    return CUT_OFF if finish == "length" and not _ENDS.search(line.rstrip()) else None
