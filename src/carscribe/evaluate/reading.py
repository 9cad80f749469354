"""The way back from an answer's words to the values of an attribute that they state. Pure.

Reads the names it is given and nothing else: what is said in other words is not said. A name that is denied ("no roof
rails", "세단이 아닌") is not read; denials that stand further away are not understood.
"""

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from carscribe.records import Language

_MOST_BETWEEN = 2
"""Names said as one phrase: between a name and the word it ends in stand at most so many others."""

_MOST_TO_PART = 3
"""A colour belongs to another part of the car when that is named at most so many words after it."""

_NEAR = 60
"""Characters before and after a name in which another part of the car is looked for."""

_START = (
    r"(?<![\w-])(?<!\bno )(?<!\bwithout )(?<!\bnot )(?<!\bnot a )(?<!\bnot an )(?<!\binstead of )(?<!\binstead of a )"
    r"(?<!\brather than )(?<!\brather than a )"
)
_ENGLISH_END = r"(?![\w-])"
_KOREAN_END = (
    r"(?:은|는|이|가|을|를|과|와|의|에|로|으로|도|만|인|이며|이고|이나|이다|입니다|에는|에서|에서는|까지|처럼"
    r"|으로는|로는|으로서|로서)?(?![\w-])(?!\s*(?:없|아니|아닌|아닙))"
)
_CLAUSE_END = re.compile(r"[,;.:()/\n…·、，]")
_WORD = re.compile(r"[\w'-]+")
_STOPS = re.compile(
    r"(?:with|and|over|on|body|bodywork|paint|painted|paintwork|finish|exterior|car|vehicle|sedan|suv|hatchback|wagon"
    r"|coupe|convertible|van|minivan|truck|차체.*|바디.*|보디.*|외장.*|외관.*|도장.*|페인트.*"
    r"|.*(?:에|와|과|로|은|는|을|를|고|며|입니다))$",
    re.IGNORECASE,
)
"""Words after which a colour is no longer meant: "white body with black roof", "흰색 차체에 블랙 루프"."""

_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
_LINKS = frozenset({"in", "is", "are", "painted", "finished"})
_LABEL = re.compile(r"((?:[\w'-]+[\s/]+){0,3}[\w'-]+)\s*[:：]\s*(?:[\w'-]+\s+){0,2}$")
"""What a colon stands behind: "Roof color: matte black"."""

_GOES_ON = frozenset({"", "의", "인"})
_TOPIC = re.compile(r".*[은는이가도]$")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wording:
    """What the values of one attribute are called in one language.

    `names` are read wherever they stand; `alone` only where nothing else stands between two commas. `between` holds,
    by a name's last word, what may stand before that word of attributes that are said together with this one ("large
    black mesh wheels"). `decoys` hold a name and do not mean it ("coupe roofline"). `other_parts` are words for what a
    value may be said of instead: "black roof" is no black car.
    """

    language: Language
    names: Mapping[str, tuple[str, ...]]
    alone: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    between: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    decoys: tuple[str, ...] = ()
    other_parts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """A pattern, and the value each of its groups stands for; a group without one is a decoy."""

    pattern: re.Pattern[str]
    values: Mapping[str, str]


def values_stated(text: str, wording: Wording) -> frozenset[str]:
    """Every value that `text` states; of names that begin at the same place the longest is read.

    >>> colour = Wording(language="en", names={"red": ("red",), "black": ("black",)}, other_parts=("roof",))
    >>> [sorted(values_stated(said, colour)) for said in ("Red, black roof", "red and black", "a roof in black")]
    [['red'], ['black', 'red'], []]
    """
    text = unicodedata.normalize("NFC", text)
    found: set[str] = set()
    for look in _looks(wording):
        for match in look.pattern.finditer(text):
            value = look.values.get(match.lastgroup or "")
            if value is not None and not (wording.other_parts and _of_another_part(text, match, wording)):
                found.add(value)
    return frozenset(found)


def joined_with(names: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    """`Wording.between` from the names of attributes that are said together with one: what precedes their last word.

    >>> joined_with({"large": ("large wheels", "big wheels"), "small": ("small wheels",)})
    {'wheels': ('large', 'big', 'small')}
    """
    words: dict[str, list[str]] = {}
    for said in (name for own in names.values() for name in own):
        before, _, head = said.rpartition(" ")
        words.setdefault(head, []).append(before)
    return {head: tuple(before) for head, before in words.items()}


@cache
def _looks(wording: Wording) -> tuple[_Look, ...]:
    names = _names(wording)
    return (names, _whole_phrases(wording)) if wording.alone else (names,)


def _names(wording: Wording) -> _Look:
    """What names look like in a text: group `_3_0` is the fourth value's first name, `_no` a decoy."""
    values: dict[str, str] = {}
    looks: list[tuple[int, str]] = []
    for place, (value, names) in enumerate(wording.names.items()):
        for which, said in enumerate(names):
            values[f"_{place}_{which}"] = value
            between = wording.between.get(said.rpartition(" ")[2], ())
            looks.append((len(said), f"(?P<_{place}_{which}>{_look(said, between, wording.language)})"))
    looks += [(len(said), _look(said, (), wording.language)) for said in wording.decoys]
    looks.sort(key=lambda look: look[0], reverse=True)
    end = _KOREAN_END if wording.language == "ko" else _ENGLISH_END
    pattern = re.compile(f"{_START}(?:{'|'.join(look for _, look in looks)}){end}", re.IGNORECASE)
    return _Look(pattern=pattern, values=values)


def _look(said: str, between: tuple[str, ...], language: Language) -> str:
    before, _, head = said.rpartition(" ")
    looks = _loose(head, language)
    if language != "ko":
        looks = f"{looks.removesuffix('s')}s?"
    if not before:
        return looks
    gap = r"\s*" if language == "ko" else r"\s+"
    others = "|".join(_loose(other, language) for other in sorted(between, key=len, reverse=True))
    more = rf"(?:{gap}(?:{others})){{0,{_MOST_BETWEEN}}}" if others else ""
    return f"{_loose(before, language)}{more}{gap}{looks}"


def _loose(words: str, language: Language) -> str:
    """Spaces as they come: in Korean between any two words or not, in English in place of a hyphen."""
    parts = [re.escape(word) for word in unicodedata.normalize("NFC", words).split(" ")]
    return r"\s*".join(parts) if language == "ko" else r"\s+".join(parts).replace(r"\-", r"[-\s]")


def _whole_phrases(wording: Wording) -> _Look:
    """Names that count where nothing else stands between two commas: "red", and not the red of "red calipers"."""
    said = [(value, name) for value, names in wording.alone.items() for name in names]
    values = {f"_{place}_alone": value for place, (value, _) in enumerate(said)}
    looks = "|".join(f"(?P<_{place}_alone>{re.escape(name)})" for place, (_, name) in enumerate(said))
    pattern = re.compile(rf"(?:^|,)\s*(?:{looks})\s*(?=$|[,.])", re.IGNORECASE)
    return _Look(pattern=pattern, values=values)


def _of_another_part(text: str, match: re.Match[str], wording: Wording) -> bool:
    """Whether a value is said of a part of the car and not of the car: before that part's name, or after it."""
    is_part = _parts(wording).match
    behind = text[max(0, match.start() - _NEAR) : match.start()]
    if _before_a_part(text, match, wording):
        return True
    if (label := _LABEL.search(behind)) and any(is_part(word) for word in _WORD.findall(label[1])):
        return True
    before = _WORD.findall(_CLAUSE_END.split(behind)[-1])
    if wording.language == "ko":
        return bool(before and is_part(before[-1]) and _TOPIC.match(before[-1]))
    parts = [place for place, word in enumerate(before) if is_part(word) and len(before) - place <= _MOST_TO_PART + 1]
    return bool(parts) and not _LINKS.isdisjoint(word.lower() for word in before[parts[-1] + 1 :])


def _before_a_part(text: str, match: re.Match[str], wording: Wording) -> bool:
    """Whether a part of the car follows of which a value is said, or the value that "and" joins to it."""
    if _ends_there(match):
        return False
    for word in _WORD.findall(_CLAUSE_END.split(text[match.end() : match.end() + _NEAR])[0])[:_MOST_TO_PART]:
        if _parts(wording).match(word):
            return True
        if _STOPS.match(word):
            break
    joined = _joined_value(text, match, wording)
    return joined is not None and _before_a_part(text, joined, wording)


def _joined_value(text: str, match: re.Match[str], wording: Wording) -> re.Match[str] | None:
    """The value right behind "and" where both are said of one thing: "black and silver wheels".

    None for "black paint and silver wheels", which names what is black, and for "it is black and silver wheels …".
    """
    if wording.language == "ko" or _STOPS.match(match[0].split()[-1]):
        return None
    before = _WORD.findall(_CLAUSE_END.split(text[max(0, match.start() - _NEAR) : match.start()])[-1])
    joint = _AND.match(text, match.end())
    if joint is None or not _LINKS.isdisjoint(word.lower() for word in before):
        return None
    look = _names(wording)
    joined = look.pattern.match(text, joint.end())
    return joined if joined and joined.lastgroup in look.values else None


def _ends_there(match: re.Match[str]) -> bool:
    """Whether a Korean particle ends what is said: "흰색이며 루프가 …", and not "검은색의 루프"."""
    name = match[match.lastgroup or 0]
    return match[0][len(name) :] not in _GOES_ON


@cache
def _parts(wording: Wording) -> re.Pattern[str]:
    """Words for other parts: in Korean as the beginning of a word, which particles follow."""
    words = "|".join(re.escape(part) for part in sorted(wording.other_parts, key=len, reverse=True))
    return re.compile(f"(?:{words})" if wording.language == "ko" else rf"(?:[\w'-]*-)?(?:{words})(?:s|es)?$", re.I)
