"""Takes the name of a car out of what is said of it, so that its shape can be asked for without its badge. Pure.

What is left must read well. A name before a noun goes ("기아 니로의 전면 그릴" is "전면 그릴", "Kia's slim lamps" is
"slim lamps"); one that stands for the car itself becomes "car" or "차량" ("The Kia Niro has …" is "The car has …"); one
that a phrase ends in goes with its preposition ("front of the Kia Niro" is "front"); a phrase that says nothing else
goes.

Words compare without case, width, accents, blanks and hyphens, in both scripts where `spellings` knows both. Each word
of a name counts alone, the marque too, where it is no common word; a number or a letter only beside another of them.
Body types are never taken out. Knows English and Korean; of other languages the name is cut out and nothing else.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from carscribe.budgets.phrases import COMMAS, Phrase
from carscribe.budgets.spellings import HANGUL, TOKEN, folded, other_spellings, tokens_of
from carscribe.records import Language


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_BODIES = _words(
    "suv cuv mpv sedan saloon coupe wagon estate hatchback hatch pickup truck van minivan convertible cabriolet cabrio"
    " roadster spider spyder limousine crossover fastback liftback sportback shooting brake car"
    " 세단 쿠페 왜건 해치백 픽업 트럭 밴 미니밴 컨버터블 카브리올레 로드스터 리무진 크로스오버 자동차 차량 차"
)
_SMALL_WORDS = _words("an the this that its new all old of and with 더 올 뉴 신형")
_PLAIN = _words(
    "ev hev phev bev mhev hybrid electric diesel turbo sport sports plus pro max edition first series class model line"
    " long range door wheel drive concept custom limited premium signature standard black white red blue silver grey"
    " gray green gold night matte one two motor motors company 하이브리드 일렉트릭 전기차 전기 디젤 터보 스포츠 시리즈"
    " 클래스 모델 에디션 콘셉트 컨셉 롱레인지 프리미엄 시그니처 블랙 화이트 레드 블루 실버 그레이 그린 모터스 모터 자동"
)
"""Parts of names that say something by themselves: taken out beside another part of the name only."""

_COMMON = _words(
    "accord alpine arrow beat bolt bronco carnival casper charger city civic clipper colt compass continental cooper"
    " cruiser cube dart defender discovery dodge dolphin eclipse edge element escape esprit explorer express fit flex"
    " focus ford forester freed frontier fusion galaxy genesis ghost giant golf infiniti insight jaguar journey juke"
    " leaf legacy legend liberty lincoln lotus lucid matrix mini mirage morning mustang note oasis odyssey outback"
    " passport patriot phantom pilot polo porter prelude quest ranger ray renegade ridgeline rogue safari seal seat"
    " sentinel shadow sierra smart soul spark spirit stealth swift taurus titan trailblazer transit venue vision volt"
    " wave wind wraith"
)
"""Names that are common words too: alone they count where they begin with a capital inside a phrase."""

_PARTICLES = {
    "은": "은", "는": "은", "이": "이", "가": "이", "을": "을", "를": "을", "과": "과", "와": "과", "으로": "으로",
    "로": "으로", "도": "도", "만": "만", "에": "에", "에서": "에서", "에는": "에는", "보다": "보다", "처럼": "처럼",
    "이다": "이다", "다": "이다", "입니다": "입니다", "인": "인", "임": "임", "이며": "이며", "며": "이며",
    "이고": "이고", "고": "이고",
}  # fmt: skip
"""What may follow a name in Korean, and the form it takes after 차량."""

_OF = _words("의 다운 스러운")
"""What goes with a name: "of", "worthy of"."""

_CAR_SUFFIX = "차"
_BETWEEN = re.compile(r"[\s\-_./·‐‑–]*")
_COMPOUND = re.compile(r"[-‐‑][^\W\d_]+")
_POSSESSIVE = re.compile(r"['’](?:s\b|(?=\s))")
_PREPOSITION = re.compile(
    r"(?:^|\s+)(?:of|from|by|for|like|as|on|in|at|to|with|typical of|reminiscent of|similar to)\s+"
    r"(?:(?:the|a|an|this|that)\s+)?(?:new\s+)?$",
    re.IGNORECASE,
)
_DETERMINER = re.compile(r"(?:^|.*\s)(?:the|a|an|this|that|its)\s(?:.*\s)?$", re.IGNORECASE)
_SUBJECT = re.compile(
    r"\s+(?:is|are|was|has|have|had|can|will|may|features?|shows?|sits?|looks?|wears?|gets?|gives?|boasts?|combines?"
    r"|displays?|presents?|comes?|stands?|appears?|seems?|uses?|sports?|carries|conveys|exudes|offers?|adopts?)\b",
    re.IGNORECASE,
)
_NOUN_ENDS = re.compile(
    r"\s*(?:$|[,.;:!?)\]，。；]|(?:in|with|on|at|from|by|of|for|and|or|that|which|featuring|under|against|seen|parked"
    r"|painted|finished)\b)",
    re.IGNORECASE,
)
_ARTICLE_BEFORE = re.compile(r"\b(a|an)(\s+)([^\W\d_])", re.IGNORECASE)
_EMPTY_BRACKETS = re.compile(r"\s*[(\[（]\s*[)\]）]")
_SAYS_NOTHING = _words(
    "a an the this that is it its car vehicle of by from and"
    " 이 그 차는 차량 차량은 차량이 차량이다 차량입니다 이다 입니다 있다 및"
)
_YEAR = re.compile(r"(?:19|20)\d\d")
_YEAR_BEFORE = re.compile(r"(?<!\w)((?:19|20)\d\d)\s+$")
_LATIN_LETTERS, _HANGUL_LETTERS, _DIGITS = 3, 2, 3
"""From so many on a word or number of a name counts alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """A word of a phrase at [start, end). `particle` is what follows its stem, in Korean."""

    text: str
    start: int
    end: int
    particle: str = ""
    capital: bool = False


class Unnaming:
    """Takes one car's names out of phrases. `unnaming` makes one."""

    def __init__(self, names: Iterable[tuple[str, ...]]) -> None:
        self._parts: set[str] = set()
        self._alone: set[str] = set()
        self._pairs: set[tuple[str, str]] = set()
        for tokens in names:
            parts = [token for token in tokens if token not in _BODIES and token not in _SMALL_WORDS]
            self._parts.update(parts)
            self._alone.update(part for part in parts if _counts_alone(part))
            self._pairs.update(pairwise(tokens))
            hangul = [part for part in parts if HANGUL.match(part)]
            joined = ["".join(hangul[i:j]) for i in range(len(hangul)) for j in range(i + 2, len(hangul) + 1)]
            self._parts.update(joined)
            self._alone.update(joined)

    def phrase(self, phrase: Phrase, *, language: Language = "en") -> Phrase | None:
        """The phrase without names; None when nothing else is said."""
        text = self.text(phrase.text, language=language)
        if text is None:
            return None
        if text == phrase.text:
            return phrase
        shorter = (self.text(run, language=language) for run in phrase.shorter)
        return replace(phrase, text=text, shorter=tuple(run for run in shorter if run is not None and run != text))

    def text(self, text: str, *, language: Language = "en") -> str | None:
        """The same of a text.

        >>> take_out = unnaming(("기아 니로",))
        >>> texts = "기아 니로의 전면 그릴", "기아는 넓은 그릴을 쓴다.", "Kia Niro", "red Niro"
        >>> [take_out.text(text) for text in texts]
        ['전면 그릴', '차량은 넓은 그릴을 쓴다.', None, 'red car']
        """
        runs = self._runs(text)
        if not runs:
            return text
        korean = HANGUL.search(text) is not None
        for run in reversed(runs):
            if language in {"en", "ko"}:
                text = _without(text, run, korean=korean)
            else:
                text = text[: run[0].start] + text[run[-1].end :].lstrip()
        text = _tidied(text)
        words = [folded(word) for word in re.findall(r"\w+", text)]
        return None if all(word in _SAYS_NOTHING or word.isdigit() for word in words) else text

    def _runs(self, text: str) -> list[Sequence[_Token]]:
        """Where names stand: words of the name side by side, of which one counts alone or two follow one another."""
        runs: list[list[_Token]] = [[]]
        for token in self._tokens(text):
            last = runs[-1][-1] if runs[-1] else None
            beside = last is not None and not last.particle and _BETWEEN.fullmatch(text, last.end, token.start)
            part = token.text in self._parts or (beside and _YEAR.fullmatch(token.text))
            if part and beside and not _is_parted(text, last, token):
                runs[-1].append(token)
            elif part:
                runs.append([token])
            elif runs[-1]:
                runs.append([])
        return [_with_year(text, run) for run in runs if self._is_name(run)]

    def _tokens(self, text: str) -> Iterable[_Token]:
        for number, match in enumerate(TOKEN.finditer(text)):
            word = folded(match[0])
            stem, particle = self._stem(word)
            yield _Token(
                text=stem,
                start=match.start(),
                end=match.end() - len(particle),
                particle=particle,
                capital=number > 0 and match[0][0].isupper(),
            )

    def _stem(self, word: str) -> tuple[str, str]:
        """A Korean word as a part of the name and what follows it; else the word and ""."""
        if word in self._parts or not HANGUL.match(word):
            return word, ""
        for end in range(len(word) - 1, 0, -1):
            if word[:end] in self._parts and (_is_particle(word[end:])):
                return word[:end], word[end:]
        return word, ""

    def _is_name(self, run: Sequence[_Token]) -> bool:
        if any(token.text in self._alone and (token.text not in _COMMON or token.capital) for token in run):
            return True
        return any((a.text, b.text) in self._pairs for a, b in pairwise(run))


@lru_cache(maxsize=4096)  # the photos of a car often follow one another
def unnaming(names: tuple[str, ...]) -> Unnaming:
    """What takes these names of one car out, in all spellings that are known."""
    given = [tokens for name in names if (tokens := tokens_of(name))]
    return Unnaming([*given, *(other for name in names for other in other_spellings(name))])


def _with_year(text: str, run: Sequence[_Token]) -> Sequence[_Token]:
    """The name and the year in front of it."""
    year = _YEAR_BEFORE.search(text, 0, run[0].start)
    return [_Token(text=year[1], start=year.start(1), end=year.end(1)), *run] if year else run


def _counts_alone(part: str) -> bool:
    if part in _PLAIN or _YEAR.fullmatch(part):
        return False
    if part.isdigit():
        return len(part) >= _DIGITS
    return len(part) >= (_HANGUL_LETTERS if HANGUL.match(part) else _LATIN_LETTERS)


def _is_particle(rest: str) -> bool:
    rest = rest.removeprefix(_CAR_SUFFIX)
    return not rest or rest in _OF or rest in _PARTICLES


def _is_parted(text: str, last: _Token | None, token: _Token) -> bool:
    """Whether a letter and a number are two words: "a 4-door" is no A4."""
    return last is not None and last.text == "a" and text[last.end : token.start].isspace()


def _without(text: str, run: Sequence[_Token], *, korean: bool) -> str:
    """The text with one name taken out, or with the car itself in its place."""
    before, after, particle = text[: run[0].start], text[run[-1].end :], run[-1].particle
    if particle:
        after = after[len(particle) :]
    elif glued := re.match(r"[\uac00-\ud7a3]+", after):  # "K5의"
        if not _is_particle(glued[0]):
            return before + after
        particle, after = glued[0], after[glued.end() :]
    particle = particle.removeprefix(_CAR_SUFFIX)
    if particle in _OF:
        return before + after.lstrip()
    if particle:
        return f"{before}차량{_PARTICLES[particle]}{after}"
    if possessive := _POSSESSIVE.match(after):
        return before + after[possessive.end() :].lstrip()
    if compound := _COMPOUND.match(after):  # "Kia-like grille"
        return before + after[compound.end() :].lstrip()
    if korean:
        return before + after.lstrip() if after.strip(" .") else _noun_last(before, "차량", after)
    if _SUBJECT.match(after):
        return (
            f"{before}car{after}" if _DETERMINER.match(before) else f"{before}{'the' if before else 'The'} car{after}"
        )
    if _NOUN_ENDS.match(after):
        return _noun_last(before, "car", after)
    return before + after.lstrip()


def _noun_last(before: str, noun: str, after: str) -> str:
    """A name that is a noun of its own: gone with its preposition, or the car."""
    if preposition := _PREPOSITION.search(before):
        return before[: preposition.start()] + after
    words = before.split()
    if not words and not after.strip(" .,"):
        return ""
    if words and folded(words[-1]) in _BODIES:  # "compact SUV Kia Niro"
        return before.rstrip() + after
    return f"{before}{noun}{after}"


def _tidied(text: str) -> str:
    """The text with its blanks, brackets, articles and commas in order."""
    text = _EMPTY_BRACKETS.sub("", text)
    text = re.sub(rf"\s+(?=[{COMMAS};.!?])", "", " ".join(text.split()))
    text = re.sub(rf"([{COMMAS}])(?:\s*[{COMMAS}])+", r"\1", text).strip(f" {COMMAS};:-–")

    def agreed(match: re.Match[str]) -> str:
        article = "an" if match[3].lower() in "aeiou" else "a"
        return (article.capitalize() if match[1][0].isupper() else article) + match[2] + match[3]

    text = _ARTICLE_BEFORE.sub(agreed, text)
    return text[:1].upper() + text[1:] if text.endswith(".") else text
