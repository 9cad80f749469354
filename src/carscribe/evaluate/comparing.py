"""Two runs over the same photos: what was right in one and not in the other, and whether chance explains it. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carscribe.evaluate.answers import Asked
from carscribe.evaluate.intervals import Difference, bootstrap_difference, difference_of
from carscribe.evaluate.judging import Judged, Judgement
from carscribe.evaluate.labels import Source

JUDGED_RIGHT: frozenset[Judgement] = frozenset({"right", "rightly unsaid"})
CHANGES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedAttribute:
    """One attribute of one question in one language, by both runs on the photos that both have answered."""

    source: Source
    attribute: str
    recipe: str
    question: str
    language: str
    choice: bool
    accuracy: Difference


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedWhole:
    """All judged answers in one language. The interval is a bootstrap over `photos`, for each has several answers."""

    source: Source
    language: str
    photos: int
    answers: int
    mine: float
    other: float
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An answer that is right in one run alone."""

    photo: str
    asked: str
    right: tuple[str, ...]
    mine: str
    other: str
    better: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """This run against another. A difference above zero speaks for this one."""

    mine: str
    other: str
    attributes: tuple[ComparedAttribute, ...]
    whole: tuple[ComparedWhole, ...]
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both runs' judgements of one thing."""

    mine: Judged
    other: Judged

    @property
    def right(self) -> tuple[bool, bool]:
        return self.mine.judgement in JUDGED_RIGHT, self.other.judgement in JUDGED_RIGHT


def compare(mine: str, other: str, judged: Mapping[Source, tuple[Sequence[Judged], Sequence[Judged]]]) -> Comparison:
    """Hold two runs against each other. `judged` has, by source of the labels, both runs' judgements."""
    attributes: list[ComparedAttribute] = []
    whole: list[ComparedWhole] = []
    changes: list[Change] = []
    for source, (own, others) in judged.items():
        pairs = _pairs(own, others)
        groups: dict[tuple[str, Asked], list[_Pair]] = defaultdict(list)
        for pair in pairs:
            groups[pair.mine.attribute, pair.mine.said_by.asked].append(pair)
        attributes += [_attribute(source, *key, group) for key, group in groups.items()]
        whole += _whole(source, pairs)
        changes += [_change(pair) for pair in pairs if pair.right[0] != pair.right[1]]
    return Comparison(
        mine=mine, other=other, attributes=tuple(attributes), whole=tuple(whole), changes=tuple(changes[:CHANGES])
    )


def _pairs(mine: Sequence[Judged], other: Sequence[Judged]) -> list[_Pair]:
    """What both have judged of the same photo, question and attribute."""
    known = {(each.photo.sha256, each.said_by.asked, each.attribute): each for each in other}
    keyed = (((each.photo.sha256, each.said_by.asked, each.attribute), each) for each in mine)
    return [_Pair(each, known[key]) for key, each in keyed if key in known]


def _attribute(source: Source, attribute: str, asked: Asked, pairs: Sequence[_Pair]) -> ComparedAttribute:
    return ComparedAttribute(
        source=source,
        attribute=attribute,
        recipe=asked.recipe,
        question=asked.question,
        language=asked.language,
        choice=asked.choice,
        accuracy=difference_of([pair.right[0] for pair in pairs], [pair.right[1] for pair in pairs]),
    )


def _whole(source: Source, pairs: Sequence[_Pair]) -> list[ComparedWhole]:
    found: list[ComparedWhole] = []
    for language in sorted({pair.mine.said_by.asked.language for pair in pairs}):
        own = [pair for pair in pairs if pair.mine.said_by.asked.language == language]
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for pair in own:
            row = sums[pair.mine.photo.sha256]
            row[0] += pair.right[0]
            row[1] += pair.right[1]
            row[2] += 1
        mine, other = sum(row[0] for row in sums.values()), sum(row[1] for row in sums.values())
        low, high = bootstrap_difference([(row[0], row[1], row[2]) for row in sums.values()])
        found.append(
            ComparedWhole(
                source=source,
                language=language,
                photos=len(sums),
                answers=len(own),
                mine=mine / len(own),
                other=other / len(own),
                difference=(mine - other) / len(own),
                low=low,
                high=high,
            )
        )
    return found


def _change(pair: _Pair) -> Change:
    asked = pair.mine.said_by.asked
    return Change(
        photo=pair.mine.photo.key,
        asked=f"{asked.recipe}.{asked.question} ({asked.language}): {pair.mine.attribute}",
        right=pair.mine.right,
        mine=pair.mine.said_by.answer.text,
        other=pair.other.said_by.answer.text,
        better=pair.right[0],
    )
