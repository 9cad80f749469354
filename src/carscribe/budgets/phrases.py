"""Cuts what a model or a person wrote into whole phrases. Pure; knows nothing of budgets or of what was asked.

A caption is read best as short phrases side by side, so that is what most answers ask for and what a comma parts. Prose
is different: "The lamps are slim, giving it a sharp look." makes no sense from the comma on, so a sentence stays whole.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate

from carscribe.plaintext import MODEL_MARK, model_mark_in, plain_line

_TERMINAL_CODE = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)|\x1b[@-Z\\-_]")
_NESTED_MARKS = 8
"""How often a text is searched again: removing one special token may put the halves of another together."""

_EMPHASIS = re.compile(r"\*{2,}|_{2,}|`+|(?<!\w)\*+|\*+(?!\w)")
_LIST_MARK = re.compile(r"(?:(?:[-–—+>•·‣▪◦●○■□►▶]|#{1,6}|\(?\d{1,2}[.)])\s+|[•‣▪◦●■►▶①-⑳]\s*)+")
_EMPTY_LABEL = re.compile(
    r"(?:body type|(?:main |body )?colou?r|answer|caption|description|차체 형식|색상|컬러|답변?|설명)\s*[:：]\s*",
    re.IGNORECASE,
)
"""Labels that name only what was asked. "Headlamps: slim" keeps its label, which says what is slim."""

_SEPARATOR = re.compile(
    r"""(?P<clause> (?<!\d)[,，、،] | [,，、،](?!\d) )   # not the one of 1,5 l
      | (?P<part>   [;；] | (?:^|\s)[•·|](?=\s|$) )
      | (?P<end>    [.!?…]+["'”’]*(?=\s|$) | [。！？｡]+["”’」]* )""",
    re.VERBOSE,
)
_CLOSING = {")": "(", "]": "[", "}": "{", "）": "(", "］": "[", "」": "「", "』": "『", "】": "【", "》": "《"}
_OPENING = {"(": "(", "[": "[", "{": "{", "（": "(", "［": "[", "「": "「", "『": "『", "【": "【", "《": "《"}
_QUOTES = {'"': '"', "'": "'", "“": "”", "‘": "’", "「": "」"}
_ABBREVIATION = re.compile(
    r"nos?|nr|approx|ca|incl|excl|e\.g|i\.e|cf|vs?|fig|max|min|resp|mrs?|ms|dr|st|[js]r|vol",
    re.IGNORECASE,
)
_SENTENCE_START = re.compile(r"(?:the|this|these|that|those|it|its|there|their|overall|both)\b", re.IGNORECASE)
_FINITE_VERB = re.compile(
    r"\b(?:is|are|was|were|has|have|had|gives|adds|creates|boasts|exudes|showcases|includes|suggests|evokes|conveys"
    r"|appears|seems|sits)\b",
    re.IGNORECASE,
)
_KOREAN_SENTENCE = re.compile(r"(?:다|요|죠)[.!?。…]*$")
_LEAST_WORDS = 3
"""Of a sentence, and of what one is cut down to: "Overall" says nothing without the rest."""

_LEADING_AND = re.compile(r"(?:and|or|및|그리고)\s+", re.IGNORECASE)
COMMAS = ",，、،"
_GLUE = f" {COMMAS};；·•|"
_ENDS = ".。｡…!！"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrase:
    """What is said whole or not at all.

    `shorter` holds what a long sentence may be cut down to: its leading clauses, the longest first. A phrase is
    `broken` when whoever wrote it was stopped in its middle.
    """

    text: str
    shorter: tuple[str, ...] = ()
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sentence:
    """A part of a line; `commas` are the places in `text` where a clause ends; `ended` by a full stop or not."""

    text: str
    commas: tuple[int, ...]
    ended: bool


def split_phrases(text: str, *, cut_off: bool = False) -> tuple[Phrase, ...]:
    """Cut `text` into phrases in its order; each is one line, NFC, without markup, control or format characters.

    Phrases end at commas, semicolons, full stops, line ends and list items; nothing is cut inside brackets or numbers.
    A sentence of prose is one phrase. Literal special tokens of models, such as `<|endoftext|>`, are removed. With
    `cut_off` the text stops where it did because its writer was stopped: then the last phrase is broken, unless a comma
    or a full stop ends it.

    >>> [phrase.text for phrase in split_phrases("- **Compact SUV**, 2.0-litre (diesel, 4WD)\\n- upright, and tall.")]
    ['Compact SUV', '2.0-litre (diesel, 4WD)', 'upright', 'tall']
    >>> split_phrases("The lamps are slim, giving it a sharp look. The roof is black.")[0]
    Phrase(text='The lamps are slim, giving it a sharp look.', shorter=('The lamps are slim',), broken=False)
    """
    lines = [sentences for line in _TERMINAL_CODE.sub("", text).splitlines() if (sentences := _sentences(line))]
    phrases = [phrase for line in lines for s in line for phrase in _phrases(s, alone=len(line) == 1)]
    if cut_off and phrases and not lines[-1][-1].ended and not text.rstrip().endswith(tuple(COMMAS)):
        phrases[-1:] = _broken(phrases[-1])
    return tuple(phrases)


def plain_phrase(text: str) -> str:
    """`text` as one line, NFC, without control and format characters, terminal codes or models' special tokens.

    >>> plain_phrase("\\x1b[31mred\\x1b[0m\\n<|endof<|endoftext|>text|> roof")
    'red roof'
    """
    if text.isascii() and text.isprintable() and "<" not in text:
        return " ".join(text.split())  # nearly always, and in a tenth of the time
    line = unicodedata.normalize("NFC", plain_line(_TERMINAL_CODE.sub("", text)))
    if "<" not in line and "＜" not in line and "﹤" not in line:
        return line
    for _ in range(_NESTED_MARKS):
        if model_mark_in(line) is None:
            break
        if not MODEL_MARK.search(line):
            line = unicodedata.normalize("NFKC", line)  # written in full-width characters, which T5 reads as plain ones
        line = MODEL_MARK.sub("", line)
    else:
        line = unicodedata.normalize("NFKC", line).replace("<", "")  # nobody writes this in good faith
    return unicodedata.normalize("NFC", " ".join(line.split()))


def _sentences(line: str) -> list[_Sentence]:
    """The sentences of a line, without its list mark; none for a label with nothing after it."""
    line = plain_phrase(_EMPHASIS.sub("", line))
    line = _EMPTY_LABEL.sub("", line[match.end() :] if (match := _LIST_MARK.match(line)) else line, count=1)
    if line.endswith((":", "：")):
        return []
    found: list[_Sentence] = []
    commas: list[int] = []
    start = 0
    inside = _bracketed(line)
    for match in _SEPARATOR.finditer(line):
        if match.start() in inside:
            continue
        if match["clause"]:
            commas.append(match.start() - start)
        elif match["part"] or _is_full_stop(line, match):
            end = match.start() if match["part"] else match.end()
            found.append(_Sentence(text=line[start:end], commas=tuple(commas), ended=not match["part"]))
            start, commas = match.end(), []
    found.append(_Sentence(text=line[start:], commas=tuple(commas), ended=False))
    return [sentence for sentence in found if _says_something(sentence.text)]


def _phrases(sentence: _Sentence, *, alone: bool) -> Iterator[Phrase]:
    """A sentence as one phrase when it is prose, else each of its clauses. `alone`: it has its line to itself."""
    text = sentence.text
    if _is_prose(text, closed=sentence.ended or not alone):
        whole = text.strip(_GLUE)
        runs = (text[:comma].strip(_GLUE) for comma in reversed(sentence.commas))
        yield Phrase(
            text=whole, shorter=tuple(run for run in runs if run != whole and len(run.split()) >= _LEAST_WORDS)
        )
        return
    starts = [0, *(comma + 1 for comma in sentence.commas)]
    for start, end in zip(starts, [*sentence.commas, len(text)], strict=True):
        if _says_something(clause := _tidy(text[start:end])):
            yield Phrase(text=clause)


def _broken(last: Phrase) -> Iterator[Phrase]:
    """A phrase that was cut off: of a sentence, the clauses before its last comma are whole."""
    if last.shorter:
        kept, *shorter = last.shorter
        yield Phrase(text=kept, shorter=tuple(shorter))
        last = Phrase(text=_tidy(last.text[len(kept) :]))
    if last.text:
        yield replace(last, broken=True)


def _is_prose(text: str, *, closed: bool) -> bool:
    """Whether a sentence is one by its grammar, as far as a few words tell: English and Korean, else by its full stop.

    >>> _is_prose("The split grille sets it apart.", closed=True), _is_prose("split grille, slim lamps.", closed=True)
    (True, False)
    """
    if len(text.split()) < _LEAST_WORDS:
        return False
    if _KOREAN_SENTENCE.search(text.strip()) or _FINITE_VERB.search(text):
        return True
    return closed and _SENTENCE_START.match(text.strip()) is not None


def _is_full_stop(line: str, match: re.Match[str]) -> bool:
    """Whether the mark ends a sentence: not after an abbreviation or an initial, nor before a small letter."""
    following = line[match.end() : match.end() + 2].strip()
    if not following or match["end"][0] in "。！？｡":
        return True
    if following[0].islower():
        return False
    word = line[line.rfind(" ", 0, match.start()) + 1 : match.start()].lstrip("([\"'")
    initial = len(word) == 1 and word.isupper()
    return match["end"] != "." or not (initial or _ABBREVIATION.fullmatch(word))


def _bracketed(line: str) -> set[int]:
    """Places inside brackets that are closed in the line; one that is never closed protects nothing.

    >>> sorted(_bracketed("a (b [c) d"))
    [2, 3, 4, 5, 6]
    """
    if _OPENING.keys().isdisjoint(line):
        return set()
    open_at: list[tuple[str, int]] = []
    depth: Counter[str] = Counter()
    edges = [0] * len(line)
    for place, character in enumerate(line):
        if kind := _OPENING.get(character):
            open_at.append((kind, place))
            depth[kind] += 1
        elif (kind := _CLOSING.get(character)) and depth[kind]:
            opened, start = open_at.pop()
            while opened != kind:
                depth[opened] -= 1
                opened, start = open_at.pop()
            depth[kind] -= 1
            edges[start] += 1
            edges[place] -= 1
    return {place for place, brackets in enumerate(accumulate(edges)) if brackets}


def _tidy(clause: str) -> str:
    """A clause of a list without what only held the list together."""
    clause = clause.strip(_GLUE).rstrip(_ENDS + " ")
    clause = _LEADING_AND.sub("", clause, count=1) if _LEADING_AND.match(clause) else clause
    if len(clause) > 2 and _QUOTES.get(clause[0]) == clause[-1] and clause[0] not in clause[1:-1]:
        clause = clause[1:-1].strip(_GLUE).rstrip(_ENDS + " ")
    return clause


def _says_something(text: str) -> bool:
    """Whether there is a letter, a digit or a picture in it."""
    return any(kind[0] in "LN" or kind == "So" for kind in map(unicodedata.category, text))
