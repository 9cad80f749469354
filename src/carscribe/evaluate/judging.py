"""Answers held against labels: what is right, what was left unsaid, what is contradicted. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from carscribe.evaluate.answers import Answered, AnsweredPhoto, Asked, Said
from carscribe.evaluate.intervals import Share, share_of
from carscribe.evaluate.labels import LabelSet, Source
from carscribe.evaluate.scoring import Scored, ScoreMeasure, measure_scores
from carscribe.evaluate.vocabulary import Attribute, Vocabulary

Judgement = Literal["right", "unsaid", "contradicted", "rightly unsaid", "invented"]

UNSAID, SEVERAL = "(nothing said)", "(several)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One answer held against one label. `said` and `right` are values; with none right, saying any is inventing."""

    photo: AnsweredPhoto
    said_by: Said
    attribute: str
    said: tuple[str, ...]
    right: tuple[str, ...]
    judgement: Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """How many photos of one right value were said to be this."""

    right: str
    said: str
    photos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttributeMeasure:
    """How well one question in one language states one attribute.

    `right`, `unsaid` and `contradicted` are shares of the `judged` answers, and add up; `right_of_said` leaves out
    those that said nothing. `invented` is a share of the photos whose label says there is none. `scores` is a choice's.
    """

    source: Source
    attribute: str
    recipe: str
    question: str
    language: str
    choice: bool
    several: bool
    judged: int
    right: Share
    unsaid: Share
    contradicted: Share
    right_of_said: Share
    invented: Share
    confusion: tuple[Cell, ...]
    scores: ScoreMeasure | None


def judge_all(answered: Answered, labels: LabelSet, vocabulary: Vocabulary) -> tuple[Judged, ...]:
    """Every answer of a labelled photo, for each labelled attribute that its question states."""
    known = labels.by_photo()
    judged: list[Judged] = []
    for photo, said in answered.each():
        for attribute in vocabulary.stated_by(said.asked.recipe, said.asked.question):
            if (label := known.get((photo.sha256, attribute.name))) is None:
                continue
            stated = values_of(said, attribute)
            judged.append(
                Judged(
                    photo=photo,
                    said_by=said,
                    attribute=attribute.name,
                    said=tuple(sorted(stated)),
                    right=label.right,
                    judgement=judgement_of(stated, label.right),
                )
            )
    return tuple(judged)


def values_of(said: Said, attribute: Attribute) -> frozenset[str]:
    """What an answer states: a choice the value of its own words, an open one whatever is read in it."""
    if said.asked.choice:
        value = attribute.value_of(said.answer.text)
        return frozenset() if value is None else frozenset({value})
    return attribute.stated(said.answer.text, said.asked.language)


def judgement_of(said: Iterable[str], right: Iterable[str]) -> Judgement:
    """Whether what is said is right. Everything said must be: a right value beside a wrong one is a contradiction.

    >>> [judgement_of(said, {"red"}) for said in ({"red"}, set(), {"blue"}, {"red", "blue"})]
    ['right', 'unsaid', 'contradicted', 'contradicted']
    >>> judgement_of({"red"}, {"red", "orange"}), judgement_of({"red"}, ()), judgement_of((), ())
    ('right', 'invented', 'rightly unsaid')
    """
    stated, true = frozenset(said), frozenset(right)
    if not true:
        return "invented" if stated else "rightly unsaid"
    if not stated:
        return "unsaid"
    return "right" if stated <= true else "contradicted"


def measure(judged: Sequence[Judged], source: Source, vocabulary: Vocabulary) -> tuple[AttributeMeasure, ...]:
    """A measure for each attribute, question and language: choices first, in the order of the questions."""
    groups: dict[tuple[str, Asked], list[Judged]] = defaultdict(list)
    for each in judged:
        groups[each.attribute, each.said_by.asked].append(each)
    order = {name: place for place, name in enumerate(vocabulary.attributes)}
    ranked = sorted(groups, key=lambda key: (order[key[0]], not key[1].choice, key[1]))
    return tuple(
        _measure(source, vocabulary.attributes[attribute], asked, groups[attribute, asked])
        for attribute, asked in ranked
    )


def _measure(source: Source, attribute: Attribute, asked: Asked, judged: Sequence[Judged]) -> AttributeMeasure:
    counts: Counter[str] = Counter(each.judgement for each in judged)
    told = counts["right"] + counts["contradicted"]
    total = told + counts["unsaid"]
    return AttributeMeasure(
        source=source,
        attribute=attribute.name,
        recipe=asked.recipe,
        question=asked.question,
        language=asked.language,
        choice=asked.choice,
        several=attribute.several,
        judged=total,
        right=share_of(counts["right"], total),
        unsaid=share_of(counts["unsaid"], total),
        contradicted=share_of(counts["contradicted"], total),
        right_of_said=share_of(counts["right"], told),
        invented=share_of(counts["invented"], counts["invented"] + counts["rightly unsaid"]),
        confusion=() if attribute.several else _confusion(attribute, judged),
        scores=measure_scores(scored_of(judged, attribute)) if asked.choice else None,
    )


def scored_of(judged: Iterable[Judged], attribute: Attribute) -> list[Scored]:
    """The choices among them, of which some choice is right, with the places of the right choices."""
    found: list[Scored] = []
    for each in judged:
        scores = each.said_by.answer.scores
        if scores is None:
            continue
        right = tuple(place for place, choice in enumerate(scores) if attribute.value_of(choice) in each.right)
        if right:
            found.append(
                Scored(
                    scores=tuple(scores.values()),
                    right=right,
                    mass=each.said_by.answer.mass,
                    answer_id=each.said_by.answer_id,
                    condition_id=each.said_by.condition_id,
                )
            )
    return found


def _confusion(attribute: Attribute, judged: Iterable[Judged]) -> tuple[Cell, ...]:
    """Where several values are right, the one that was said counts, else the first."""
    cells: Counter[tuple[str, str]] = Counter()
    for each in judged:
        if each.right:
            said = UNSAID if not each.said else each.said[0] if len(each.said) == 1 else SEVERAL
            ranked = sorted(each.right, key=attribute.values.index)
            cells[said if said in each.right else ranked[0], said] += 1
    return tuple(
        Cell(right=right, said=said, photos=count)
        for (right, said), count in sorted(cells.items(), key=lambda cell: (attribute.values.index(cell[0][0]), cell))
    )
