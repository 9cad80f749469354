"""What choices depend on besides the photo: the order they stand in, and what is said where nothing is seen. Pure.

Who asks the model again, and how, is not known here: see `carscribe.probing`.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from carscribe.evaluate.agreement import ReversedOrder, orders_agree
from carscribe.evaluate.answers import Answered, Asked, Said
from carscribe.evaluate.intervals import Difference, Share, difference_of, share_of
from carscribe.evaluate.labels import LabelSet, right_by_photo
from carscribe.evaluate.reversing import reversed_text
from carscribe.evaluate.scoring import Scored, ScoreMeasure, measure_scores
from carscribe.evaluate.vocabulary import Attribute, Vocabulary
from carscribe.records import Answer

Scores = Mapping[str, float]

_Group = tuple[Asked, tuple[str, ...]]
"""A question, and its choices: photos that were described before a recipe was changed may have others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedAnswer:
    """A choice of one photo: as the workspace keeps it, and asked again in one batch, as it stands and reversed.

    `text` is the question as it was asked. `reversed` is None where it does not list its choices: then there is no
    order to reverse.
    """

    sha256: str
    asked: Asked
    text: str
    kept: Answer
    given: Answer
    reversed: Answer | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What the model said to one choice, in these words, of a grey picture."""

    asked: Asked
    text: str
    answer: Answer


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedOver:
    """A photo that was to be probed, and why it was not."""

    photo: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """What the model said when it was asked again. `of_others` counts choices that another condition answered."""

    device: str
    dtype: str
    grey_tiles: int
    photos: int
    passed_over: tuple[PassedOver, ...]
    of_others: int
    answers: tuple[ProbedAnswer, ...]
    priors: tuple[Prior, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderMeasure:
    """One choice in both orders, of photos asked both at once.

    `moved` is how much of the scores is elsewhere in the other order: the mean total variation distance, 0 to 1.
    `to_front` is a share of the photos whose answer is another one then: in both orders it stands nearer to the front
    than the same answer would. `given` and `averaged` are the scores of labelled photos: in the order of the recipe,
    and the mean of both orders.
    """

    agreement: ReversedOrder
    moved: float
    to_front: Share
    given: ScoreMeasure | None
    averaged: ScoreMeasure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorMeasure:
    """What is said of a grey picture, and how much of it there is in what is said of photos.

    `score` is that of the best choice. `left_open` is the number of equally likely choices that would be as uncertain
    (e to the entropy): 1 when the model is sure of what it cannot know, all of them when it has no opinion. Where the
    words differ from photo to photo (`wordings`), scores are means over them.

    `said` is a share of the photos. `lean` holds, of labelled photos, those that are said to be it against those that
    are; None without labels.
    """

    best: str
    score: float
    left_open: float
    mass: float | None
    wordings: int
    said: Share
    lean: Difference | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedChoice:
    """A choice in one language. `repeated` is the share of answers that come out as they are kept when simply asked
    again; less than all of them, and so much of what the other order changes is not the order's doing.

    `order` is None where no photo could be asked, or the question does not list its choices.
    """

    recipe: str
    question: str
    language: str
    attribute: str | None
    choices: int
    listed: bool
    photos: int
    repeated: Share
    order: OrderMeasure | None
    prior: PriorMeasure


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeMeasure:
    """All choices that were asked again, on which device and in which dtype, of how many photos and tiles of grey."""

    device: str
    dtype: str
    grey_tiles: int
    photos: int
    passed_over: tuple[PassedOver, ...]
    of_others: int
    choices: tuple[ProbedChoice, ...]


def measure_probe(
    probed: Probed, answered: Answered, labels: Sequence[LabelSet], vocabulary: Vocabulary
) -> ProbeMeasure:
    """Every choice that was asked again, in the order of the questions. `answered` has the photos of `probed`."""
    answers: dict[_Group, list[ProbedAnswer]] = defaultdict(list)
    for each in probed.answers:
        answers[each.asked, tuple(_scores(each.given))].append(each)
    priors: dict[_Group, list[Prior]] = defaultdict(list)
    for prior in probed.priors:
        priors[prior.asked, tuple(_scores(prior.answer))].append(prior)
    measure = _Measure(answered, labels, vocabulary)
    return ProbeMeasure(
        device=probed.device,
        dtype=probed.dtype,
        grey_tiles=probed.grey_tiles,
        photos=probed.photos,
        passed_over=probed.passed_over,
        of_others=probed.of_others,
        choices=tuple(measure.choice(group[0], answers[group], of_it) for group, of_it in priors.items()),
    )


class _Measure:
    """What is the same for all choices: the photos, and what is right of them."""

    def __init__(self, answered: Answered, labels: Sequence[LabelSet], vocabulary: Vocabulary) -> None:
        self._answered, self._labels, self._vocabulary = answered, labels, vocabulary
        self._photos = {photo.sha256: photo for photo in answered.photos}
        self._right = right_by_photo(labels)

    def choice(self, asked: Asked, answers: Sequence[ProbedAnswer], priors: Sequence[Prior]) -> ProbedChoice:
        attribute = next(iter(self._vocabulary.stated_by(asked.recipe, asked.question)), None)
        both = [each for each in answers if each.reversed is not None]
        return ProbedChoice(
            recipe=asked.recipe,
            question=asked.question,
            language=asked.language,
            attribute=attribute.name if attribute else None,
            choices=len(_scores(priors[0].answer)),
            listed=any(reversed_text(prior.text, list(_scores(prior.answer))) for prior in priors),
            photos=len(answers),
            repeated=share_of(sum(each.kept.text == each.given.text for each in answers), len(answers)),
            order=self._order(attribute, both) if both else None,
            prior=self._prior(attribute, answers, priors),
        )

    def _order(self, attribute: Attribute | None, both: Sequence[ProbedAnswer]) -> OrderMeasure:
        (agreement,) = orders_agree(self._in_both_orders(both), self._labels, self._vocabulary)
        pairs = [(_scores(each.given), _scores(each.reversed)) for each in both]
        front = [nearer_to_front(given, turned) for given, turned in pairs if _best(given) != _best(turned)]
        return OrderMeasure(
            agreement=agreement,
            moved=sum(variation(given, turned) for given, turned in pairs) / len(pairs),
            to_front=share_of(sum(front), len(front)),
            given=measure_scores(list(self._scored(attribute, both, averaged=False))),
            averaged=measure_scores(list(self._scored(attribute, both, averaged=True))),
        )

    def _in_both_orders(self, both: Sequence[ProbedAnswer]) -> Answered:
        """The photos with both answers to one choice, as if a workspace held them."""
        return replace(
            self._answered,
            photos=tuple(
                replace(self._photos[each.sha256], answers=tuple(_said(each.asked, found) for found in _two(each)))
                for each in both
            ),
        )

    def _scored(self, attribute: Attribute | None, both: Sequence[ProbedAnswer], *, averaged: bool) -> Iterator[Scored]:
        for each in both:
            right = self._places(attribute, each)
            if right:
                answers = _two(each) if averaged else (each.given,)
                scores = _mean([_scores(answer) for answer in answers])
                yield Scored(scores=tuple(scores.values()), right=right, mass=_mean_mass(answers))

    def _places(self, attribute: Attribute | None, each: ProbedAnswer) -> tuple[int, ...]:
        """Which of the choices are right, by their places; none without a label."""
        if attribute is None:
            return ()
        right = self._right.get((each.sha256, attribute.name), ())
        return tuple(at for at, choice in enumerate(_scores(each.given)) if attribute.value_of(choice) in right)

    def _prior(
        self, attribute: Attribute | None, answers: Sequence[ProbedAnswer], priors: Sequence[Prior]
    ) -> PriorMeasure:
        scores = _mean([_scores(prior.answer) for prior in priors])
        favourites = {prior.text: prior.answer.text for prior in priors}
        told = [each.given.text == favourites[each.text] for each in answers]
        return PriorMeasure(
            best=_best(scores),
            score=max(scores.values()),
            left_open=left_open(scores.values()),
            mass=_mean_mass([prior.answer for prior in priors]),
            wordings=len(priors),
            said=share_of(sum(told), len(told)),
            lean=self._lean(attribute, answers, favourites),
        )

    def _lean(
        self, attribute: Attribute | None, answers: Sequence[ProbedAnswer], favourites: Mapping[str, str]
    ) -> Difference | None:
        said: list[bool] = []
        is_so: list[bool] = []
        for each in answers:
            if right := self._places(attribute, each):
                choices, favourite = list(_scores(each.given)), favourites[each.text]
                said.append(each.given.text == favourite)
                is_so.append(choices.index(favourite) in right)
        return difference_of(said, is_so) if said else None


def variation(one: Scores, other: Scores) -> float:
    """The total variation distance: how much of the scores would have to move to make one the other.

    >>> round(variation({"red": 0.9, "blue": 0.1}, {"blue": 0.4, "red": 0.6}), 2)
    0.3
    """
    return sum(abs(score - other[choice]) for choice, score in one.items()) / 2


def left_open(scores: Collection[float]) -> float:
    """The number of equally likely choices that are as uncertain as these: e to the entropy.

    >>> round(left_open([0.25] * 4), 6), left_open([1.0, 0.0]), round(left_open([0.9, 0.1]), 2)
    (4.0, 1.0, 1.38)
    """
    return math.exp(-sum(score * math.log(score) for score in scores if score > 0))


def nearer_to_front(given: Scores, turned: Scores) -> bool:
    """Whether two different answers each stand nearer to the front of their order than one same answer would.

    One same answer stands at some place from the front in one order, and as far from the end in the other.

    >>> nearer_to_front({"a": 0.9, "b": 0.1, "c": 0.0}, {"c": 0.8, "b": 0.1, "a": 0.1})
    True
    >>> nearer_to_front({"a": 0.1, "b": 0.0, "c": 0.9}, {"c": 0.1, "b": 0.8, "a": 0.1})
    False
    """
    return list(given).index(_best(given)) + list(turned).index(_best(turned)) < len(given) - 1


def _scores(answer: Answer | None) -> Scores:
    return (answer.scores if answer else None) or {}


def _best(scores: Scores) -> str:
    return max(scores, key=scores.__getitem__)


def _mean(several: Sequence[Scores]) -> Scores:
    """Mean scores, in the order of the first."""
    return {choice: sum(scores[choice] for scores in several) / len(several) for choice in several[0]}


def _mean_mass(answers: Sequence[Answer]) -> float | None:
    masses = [answer.mass for answer in answers if answer.mass is not None]
    return sum(masses) / len(masses) if masses else None


def _two(each: ProbedAnswer) -> tuple[Answer, ...]:
    return (each.given, each.reversed) if each.reversed is not None else (each.given,)


def _said(asked: Asked, answer: Answer) -> Said:
    """An answer that no catalogue has."""
    return Said(answer=answer, asked=asked, priority=0, answer_id=0, condition_id=0)
