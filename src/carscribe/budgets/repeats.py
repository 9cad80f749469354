"""Whether one phrase says again what another has said. Pure; compares words, not meanings.

Case, width, Unicode form, articles and punctuation make no difference. A phrase inside another one says nothing new
where it is what the other is about: "SUV" in "compact SUV with a black roof", and "black roof" too. It is not where it
only describes something else: "black" in "black roof", or "red" in "red brake calipers".
"""

import re
import unicodedata
from dataclasses import dataclass

_TOKEN = re.compile(r"\w+(?:[-'’./]\w+)*|[,;:.()\[\]]")
_PUNCTUATION = frozenset(",;:.()[]")
_ARTICLES = frozenset({"a", "an", "the"})
_TURNS = _PUNCTUATION | {
    "with", "without", "in", "on", "at", "for", "over", "under", "along", "around", "across", "from", "by", "featuring",
    "is", "are", "has", "have",
}  # fmt: skip
"""What a phrase is about stands before the first of these."""

_THE_CAR_ITSELF = frozenset(
    {"body", "bodywork", "car", "color", "colour", "exterior", "finish", "paint", "paintwork", "vehicle"}
    | {"도장", "색상", "자동차", "차량", "차체", "컬러", "페인트"}
)
"""What a body type or a color may be followed by and still be that of the whole car: "red paint"."""

_DENIALS = frozenset({"no", "not", "non", "without", "lacks", "lacking"})
_MOST_WORDS_BEFORE = 2
"""Of "deep metallic red" the whole is red; of a long phrase that ends in a color, perhaps something else is."""

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wording:
    """A phrase made comparable: its `words` alone, and `parts`, the words with the marks between them."""

    words: Words
    parts: Words


def wording_of(phrase: str) -> Wording:
    """What is compared of a phrase; all of it where it has no words.

    >>> wording_of("A Compact ＳＵＶ (2.0-litre)")
    Wording(words=('compact', 'suv', '2.0-litre'), parts=('compact', 'suv', '(', '2.0-litre', ')'))
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", phrase).casefold())
    parts = tuple(part for part in _TOKEN.findall(folded) if part not in _ARTICLES)
    words = tuple(part for part in parts if part not in _PUNCTUATION)
    return Wording(words=words, parts=parts) if words else Wording(words=(folded,), parts=(folded,))


def is_said(new: Wording, said: Wording) -> bool:
    """Whether `new` says nothing that `said` has not said.

    >>> is_said(wording_of("SUV"), wording_of("compact SUV with a black roof"))
    True
    >>> is_said(wording_of("black roof"), wording_of("compact SUV with a black roof"))
    True
    >>> said = [wording_of(phrase) for phrase in ("black roof", "roof in black", "The roof is black.")]
    >>> any(is_said(wording_of("black"), phrase) for phrase in said)
    False
    >>> is_said(wording_of("visible grille"), wording_of("no visible grille"))
    False
    """
    if new.words[0] not in said.parts:
        return False
    if new.words == said.words:
        return True
    place = _place(new.words, said.parts)
    return place is not None and (len(new.words) > 1 or _is_of_the_whole(place, said.parts))


def says_more(new: Wording, said: Wording) -> bool:
    """Whether `new` says what `said` has said of the whole car, and more, so that it can take its place.

    >>> says_more(wording_of("metallic red paint"), wording_of("red"))
    True
    >>> says_more(wording_of("red brake calipers"), wording_of("red"))
    False
    """
    if said.words[0] not in new.parts:
        return False
    place = _place(said.words, new.parts)
    return place is not None and _is_of_the_whole(place, new.parts)


def _place(inner: Words, outer: Words) -> int | None:
    """Where `outer` is about `inner`: the words stand there in a row, end a part of it, and are not denied."""
    for start in range(len(outer) - len(inner) + 1):
        end = start + len(inner)
        if outer[start:end] == inner and _ends_a_part(outer[end:]) and _DENIALS.isdisjoint(outer[:start]):
            return start
    return None


def _is_of_the_whole(place: int, parts: Words) -> bool:
    """Whether what stands at `place` is what the whole phrase is about."""
    return place <= _MOST_WORDS_BEFORE and _TURNS.isdisjoint(parts[:place])


def _ends_a_part(rest: Words) -> bool:
    """Whether nothing follows that the words before would only describe."""
    following = next((part for part in rest if part not in _THE_CAR_ITSELF), None)
    return following is None or following in _TURNS
