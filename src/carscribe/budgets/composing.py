"""Makes one description of a photo's answers, or of any text, that fits a budget. Pure.

    trigger word, prefix, the most important phrase, …, suffix

What is given stands whole, and so does every phrase; one for which there is no room is left out, and a later, shorter
one may still come. Phrases are parted by commas, and after a full stop by a space.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from carscribe.budgets.counting import BUDGETS, Budget
from carscribe.budgets.languages import answers_for
from carscribe.budgets.phrases import COMMAS, Phrase, plain_phrase, split_phrases
from carscribe.budgets.repeats import Wording, is_said, says_more, wording_of
from carscribe.budgets.unnaming import Unnaming
from carscribe.errors import InputError
from carscribe.plaintext import model_mark_in, plain_line
from carscribe.records import Description, JudgedAnswer, Language

_STOPS = (".", "!", "?", "…", "。", "！", "？", ":", ";")
"""After these a space parts two phrases well enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shuffle:
    """A random order of phrases, the same for the same `seed` (any text: it names the photo too).

    The first `keep_parts` parts between commas, as kohya's `keep_tokens` counts them, stay where they are, and with
    them the rest of the phrase in which the last of them stands.
    """

    seed: str
    keep_parts: int = 0

    def drawn(self, phrase: str) -> bytes:
        """By this phrases are sorted, each by its own, so that none moves because another is left out."""
        return hashlib.sha256(f"{self.seed}\0{phrase}".encode("utf-8", "surrogatepass")).digest()


def compose(
    answers: Sequence[JudgedAnswer],
    budget: Budget,
    *,
    language: Language,
    prefix: str = "",
    suffix: str = "",
    trigger: str = "",
    force_language: bool = False,
    opening: str = "",
    unnaming: Unnaming | None = None,
    shuffle: Shuffle | None = None,
) -> Description:
    """Compose a photo's answers, the lowest priority number first, into a text of at most `budget.limit` tokens.

    `answers` may hold every language of one recipe; which are taken, `languages.answers_for` says. An answer without
    text says nothing. Where a model was stopped in the middle of an answer, the phrase it did not end is left out and
    stands with "…" among the dropped, unless it is all there is.

    A phrase that was said already is left out. Where a later phrase says more than an earlier one of the same thing
    ("metallic red paint" after "red"), it takes its place if there is room.

    `opening` is said before all answers, as a phrase like them; `unnaming` takes a car's name out of what they say;
    `shuffle` mixes phrases, but not an opening that stands.

    Raises:
        InputError: trigger, prefix and suffix alone are over the limit, or hold a model's special token; or there is
            no answer in a language that can be used.
    """
    frame = _frame(budget, trigger=trigger, prefix=prefix, suffix=suffix)
    chosen = answers_for(answers, budget, language=language, force_language=force_language)
    ranked = sorted(chosen.answers, key=lambda answer: answer.priority)
    phrases = [phrase for answer in ranked for phrase in _answer_phrases(answer, unnaming)]
    if first := plain_phrase(opening).strip(f" {COMMAS}"):
        phrases.insert(0, Phrase(text=first))
    return _fill(phrases, budget, frame, fallbacks=chosen.fallbacks, shuffle=shuffle, opened=bool(first))


def parts_given(*, trigger: str = "", prefix: str = "", opening: str = "") -> int:
    """How many parts between commas stand before all phrases.

    >>> parts_given(trigger="mycar", prefix="photo of a car, studio light")
    3
    """
    plain = [part for text in (trigger, prefix, opening) if (part := plain_phrase(text).strip(f" {COMMAS}"))]
    return _Frame(before=tuple(plain), after=()).parts(())


def fit(text: str, budget: Budget, *, prefix: str = "", suffix: str = "", trigger: str = "") -> Description:
    """Make any text fit: as `compose` does, its phrases in their own order.

    The result is empty where not one phrase fits; `dropped` has them all.

    >>> made = fit("- **compact SUV**\\n- red\\n- Compact SUV.", BUDGETS["clip"], trigger="mycar")
    >>> made.text, made.tokens, made.dropped, made.repeated
    ('mycar, compact SUV, red', 9, (), ('Compact SUV',))

    Raises:
        InputError: trigger, prefix and suffix alone are over the limit, or hold a model's special token.
    """
    frame = _frame(budget, trigger=trigger, prefix=prefix, suffix=suffix)
    return _fill(split_phrases(text), budget, frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What stands whole before and after the phrases."""

    before: tuple[str, ...]
    after: tuple[str, ...]

    def around(self, phrases: Iterable[str]) -> str:
        """One line of everything."""
        line = ""
        for part in (*self.before, *phrases, *self.after):
            line += (" " if line.endswith(_STOPS) else ", ") + part if line else part
        return line

    def parts(self, phrases: Iterable[str]) -> int:
        """How many parts between commas there are to the end of these phrases."""
        line = replace(self, after=()).around(phrases)
        return line.count(",") + 1 if line else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A phrase that stands, with its rank: the lower, the more important."""

    rank: int
    text: str
    wording: Wording


class _Draft:
    """Takes phrases, the most important first, while there is room."""

    def __init__(self, budget: Budget, frame: _Frame, shuffle: Shuffle | None, *, opened: bool) -> None:
        self._budget = budget
        self._frame = frame
        self._shuffle = shuffle
        self._opened = opened
        self._framed = [wording_of(part) for part in (*frame.before, *frame.after)]
        self._kept: list[_Said] = []
        self._dropped: list[tuple[int, str]] = []
        self._repeated: list[str] = []

    def offer(self, rank: int, phrase: Phrase) -> None:
        """Keep a phrase, or note why not."""
        if phrase.broken:
            self._dropped.append((rank, f"{phrase.text}…"))
            return
        new = _Said(rank=rank, text=phrase.text, wording=wording_of(phrase.text))
        if self._is_said(new.wording):
            self._repeated.append(phrase.text)
            return
        outdone = [said for said in self._kept if says_more(new.wording, said.wording)]
        kept = [said for said in self._kept if said not in outdone]
        kept.insert(self._kept.index(outdone[0]) if outdone else len(kept), new)
        if self._fits(kept):
            self._kept = kept
            self._repeated += [said.text for said in outdone]
        elif phrase.shorter and not self._fits([new]):
            self._shorten(rank, phrase)
        else:
            self._dropped.append((rank, phrase.text))

    def finish(self, *, fallbacks: tuple[str, ...]) -> Description:
        """The description, counted whole by the encoder itself; should it be over after all, the last phrases go."""
        text = self._text(self._kept)
        while (tokens := self._budget.count(text)) is not None and self._kept and self._over(tokens):
            last = max(self._kept, key=lambda said: said.rank)
            self._kept.remove(last)
            self._dropped.append((last.rank, last.text))
            text = self._text(self._kept)
        self._dropped.sort(key=lambda dropped: dropped[0])
        return Description(
            text=text,
            budget=self._budget.name,
            tokens=tokens,
            dropped=tuple(text for _, text in self._dropped),
            repeated=tuple(self._repeated),
            fallbacks=fallbacks,
        )

    def _shorten(self, rank: int, sentence: Phrase) -> None:
        """Keep the most leading clauses that there is room for, of a sentence for which there never will be."""
        for run in sentence.shorter:
            new = _Said(rank=rank, text=run, wording=wording_of(run))
            if self._fits([*self._kept, new]):
                self._kept.append(new)
                self._dropped.append((rank, sentence.text[len(run) :].strip(f" {COMMAS}")))
                return
        self._dropped.append((rank, sentence.text))

    def _is_said(self, new: Wording) -> bool:
        return any(is_said(new, said) for said in self._framed) or any(is_said(new, s.wording) for s in self._kept)

    def _fits(self, kept: Sequence[_Said]) -> bool:
        encoder = self._budget.encoder
        return encoder is None or not self._over(encoder.count_words(self._text(kept)) + self._budget.specials)

    def _over(self, tokens: int) -> bool:
        return self._budget.limit is not None and tokens > self._budget.limit

    def _text(self, kept: Iterable[_Said]) -> str:
        phrases = [said.text for said in kept]
        if self._shuffle is not None:
            stay = 1 if self._opened and phrases else 0
            while stay < len(phrases) and self._frame.parts(phrases[:stay]) < self._shuffle.keep_parts:
                stay += 1
            phrases[stay:] = sorted(phrases[stay:], key=self._shuffle.drawn)
        return self._frame.around(phrases)


def _fill(
    phrases: Iterable[Phrase],
    budget: Budget,
    frame: _Frame,
    *,
    fallbacks: tuple[str, ...] = (),
    shuffle: Shuffle | None = None,
    opened: bool = False,
) -> Description:
    draft = _Draft(budget, frame, shuffle, opened=opened)
    for rank, phrase in enumerate(phrases):
        draft.offer(rank, phrase)
    return draft.finish(fallbacks=fallbacks)


def _answer_phrases(answer: JudgedAnswer, unnaming: Unnaming | None) -> tuple[Phrase, ...]:
    """An answer's phrases, none of a rejected one. What a person let stand is whole, wherever the model stopped."""
    stopped = answer.verdict is None and answer.answer is not None and answer.answer.finish == "length"
    phrases = split_phrases(answer.text or "", cut_off=stopped)
    if unnaming is not None:
        unnamed = (unnaming.phrase(phrase, language=answer.language) for phrase in phrases)
        phrases = tuple(phrase for phrase in unnamed if phrase is not None)
    return phrases if len(phrases) > 1 else tuple(replace(phrase, broken=False) for phrase in phrases)


@lru_cache(maxsize=64)  # the same for every photo of an export
def _frame(budget: Budget, *, trigger: str, prefix: str, suffix: str) -> _Frame:
    """What the user gave, made plain.

    Raises:
        InputError: it is over the limit, or holds a model's special token.
    """
    given = {"trigger word": trigger, "prefix": prefix, "suffix": suffix}
    for name, text in given.items():
        if mark := model_mark_in(plain_line(text)):
            raise InputError(f"The {name} holds {mark}, a special token: an encoder may stop there. Take it out.")
    plain = {name: part for name, text in given.items() if (part := plain_phrase(text).strip(f" {COMMAS}"))}
    frame = _Frame(
        before=tuple(plain[name] for name in ("trigger word", "prefix") if name in plain),
        after=tuple(plain[name] for name in ("suffix",) if name in plain),
    )
    tokens = budget.count(frame.around(()))
    if tokens is not None and budget.limit is not None and tokens > budget.limit:
        raise InputError(_too_long(" and ".join(plain), tokens, budget))
    return frame


def _too_long(given: str, tokens: int, budget: Budget) -> str:
    larger = [b.name for b in BUDGETS.values() if b.encoder is budget.encoder and (b.limit or 0) > (budget.limit or 0)]
    choice = f", or take a larger budget: {', '.join(larger)}" if larger else ""
    return (
        f"What you gave as {given} takes {tokens} tokens; {budget.name} holds {budget.limit}, {budget.counts}. "
        f"Shorten it{choice}."
    )
