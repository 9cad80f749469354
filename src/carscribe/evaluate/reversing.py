"""A question with its choices in reverse order: what the model reads turned round, not only what is scored. Pure.

A score is of one choice behind the question's words, so the order of choices is the one in which those words list them.
Where they list none, or in another way, there is no order to reverse, and that is said instead of guessed.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

_JOINING = frozenset({"or", "and", "또는", "혹은", "및", "그리고", "이나", "나", "와", "과"})
"""Words that may stand between two listed choices; so may single letters, which number them: `A) red B) blue`."""

_MOST_BETWEEN = 16
"""Characters between two listed choices: what takes more says something of one of them."""

_WORD = re.compile(r"[^\W\d_]+")


def reversed_text(text: str, choices: Sequence[str]) -> str | None:
    """`text` with the choices that it lists in reverse order; None where it does not list all of them in their order.

    Only the choices change places: numbers, commas and what joins the last two stay where they are.

    >>> reversed_text("What is it? One of: sedan, minivan, van or SUV.", ["sedan", "minivan", "van", "SUV"])
    'What is it? One of: SUV, van, minivan or sedan.'
    >>> reversed_text("1. 흰색\\n2. 검은색\\n3. 은색 중에서", ["흰색", "검은색", "은색"])
    '1. 은색\\n2. 검은색\\n3. 흰색 중에서'
    >>> reversed_text("Which color?", ["red", "blue"]), reversed_text("sedan (long) or van (tall)", ["sedan", "van"])
    (None, None)
    """
    listed = _listed(text, choices)
    if listed is None:
        return None
    parts: list[str] = []
    end = 0
    for slot, other in zip(listed, reversed(listed), strict=True):
        parts += [text[end : slot.start()], other[0]]
        end = slot.end()
    return "".join(parts) + text[end:]


def _listed(text: str, choices: Sequence[str]) -> list[re.Match[str]] | None:
    """Where `text` lists the choices, one behind the other; the last list where there are several."""
    wanted = [choice.casefold() for choice in choices]
    found = list(_names(choices).finditer(text))
    for start in range(len(found) - len(wanted), -1, -1):
        slots = found[start : start + len(wanted)]
        gaps = (text[one.end() : other.start()] for one, other in pairwise(slots))
        if [slot[0].casefold() for slot in slots] == wanted and all(map(_parts_two, gaps)):
            return slots
    return None


def _names(choices: Sequence[str]) -> re.Pattern[str]:
    """Any of the choices as a word of its own; a Korean particle may follow."""
    longest_first = sorted(choices, key=len, reverse=True)
    names = "|".join(re.escape(choice) for choice in longest_first)
    return re.compile(rf"(?<![\w-])(?:{names})(?![^\W가-힣]|-)", re.IGNORECASE)


def _parts_two(gap: str) -> bool:
    """Whether this parts two choices and says nothing of either.

    >>> [_parts_two(gap) for gap in (", ", " or ", "\\n2) ", " B. ", "과 ", " (tall), ", "")]
    [True, True, True, True, True, False, False]
    """
    words = _WORD.findall(gap)
    return 0 < len(gap) <= _MOST_BETWEEN and all(
        word.casefold() in _JOINING or (len(word) == 1 and word.isascii()) for word in words
    )
