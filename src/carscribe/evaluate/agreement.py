"""Answers held against each other, which needs no labels: languages, an open answer and a choice, orders of choices."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from carscribe.evaluate.answers import Answered, AnsweredPhoto, Asked, Said
from carscribe.evaluate.intervals import Difference, Share, difference_of, share_of
from carscribe.evaluate.judging import judgement_of, values_of
from carscribe.evaluate.labels import LabelSet, right_by_photo
from carscribe.evaluate.vocabulary import Attribute, Vocabulary

EXAMPLES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """A photo of which two answers do not go together."""

    photo: str
    first: str
    second: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageAgreement:
    """One question asked in two languages of one photo. `attribute` None: the choice itself, by its place.

    `agreeing` is a share of the photos of which both answers state something; of sets of terms, one in common is
    enough. `only_first` and `only_second` count photos of which one of the two says nothing.
    """

    recipe: str
    question: str
    attribute: str | None
    languages: tuple[str, str]
    agreeing: Share
    only_first: int
    only_second: int
    examples: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAgainstChoice:
    """An open and a choice question that state one attribute. `contradicting` is a share of photos where both do."""

    recipe: str
    attribute: str
    open: str
    choice: str
    language: str
    contradicting: Share
    examples: tuple[Disagreement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversedOrder:
    """A choice that was asked with its choices in both orders. `same` is the share of photos with the same answer.

    `accuracy` holds the two against the labels, None where no photo with both has one.
    """

    attribute: str | None
    language: str
    question: str
    reversed: str
    same: Share
    accuracy: Difference | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Two:
    """Two answers about one photo."""

    photo: AnsweredPhoto
    first: Said
    second: Said

    def as_example(self) -> Disagreement:
        return Disagreement(photo=self.photo.key, first=self.first.answer.text, second=self.second.answer.text)


def languages_agree(answered: Answered, vocabulary: Vocabulary) -> tuple[LanguageAgreement, ...]:
    """Every question that was asked in two languages, for each attribute it states."""
    pairs: dict[tuple[Asked, Asked], list[_Two]] = defaultdict(list)
    for photo in answered.photos:
        by_question: dict[tuple[str, str, bool], list[Said]] = defaultdict(list)
        for said in photo.answers:
            by_question[said.asked.recipe, said.asked.question, said.asked.choice].append(said)
        for answers in by_question.values():
            for two in combinations(sorted(answers, key=lambda said: said.asked.language), 2):
                pairs[two[0].asked, two[1].asked].append(_Two(photo=photo, first=two[0], second=two[1]))
    found: list[LanguageAgreement] = []
    for (first, second), twos in pairs.items():
        if first.choice:
            found.append(_agreement(first, second, None, twos))
        else:
            found += [_agreement(first, second, a, twos) for a in vocabulary.stated_by(first.recipe, first.question)]
    return tuple(found)


def open_against_choice(answered: Answered, vocabulary: Vocabulary) -> tuple[OpenAgainstChoice, ...]:
    """Every open question of a recipe against every choice of it that states the same attribute, by language."""
    pairs: dict[tuple[str, Asked, Asked], list[_Two]] = defaultdict(list)
    for photo in answered.photos:
        stated = [(said, vocabulary.stated_by(said.asked.recipe, said.asked.question)) for said in photo.answers]
        for choice, of_choice in ((said, of) for said, of in stated if said.asked.choice):
            for open_, of_open in ((said, of) for said, of in stated if not said.asked.choice):
                if (open_.asked.recipe, open_.asked.language) != (choice.asked.recipe, choice.asked.language):
                    continue
                for attribute in (each for each in of_choice if each in of_open):
                    pairs[attribute.name, open_.asked, choice.asked].append(
                        _Two(photo=photo, first=open_, second=choice)
                    )
    return tuple(
        _against(vocabulary.attributes[name], open_, choice, twos) for (name, open_, choice), twos in pairs.items()
    )


def orders_agree(answered: Answered, labels: Sequence[LabelSet], vocabulary: Vocabulary) -> tuple[ReversedOrder, ...]:
    """Choices that the workspace holds in both orders; none where it does not."""
    pairs: dict[tuple[Asked, Asked], list[_Two]] = defaultdict(list)
    for photo in answered.photos:
        for first, second in combinations([said for said in photo.answers if said.asked.choice], 2):
            if first.asked.language == second.asked.language and _reversed(first, second):
                known = vocabulary.stated_by(second.asked.recipe, second.asked.question)
                if known and not vocabulary.stated_by(first.asked.recipe, first.asked.question):
                    first, second = second, first  # the one whose attribute is known stands first
                pairs[first.asked, second.asked].append(_Two(photo=photo, first=first, second=second))
    right = right_by_photo(labels)
    return tuple(_orders(first, second, twos, vocabulary, right) for (first, second), twos in pairs.items())


def _agreement(first: Asked, second: Asked, attribute: Attribute | None, twos: Sequence[_Two]) -> LanguageAgreement:
    agreeing = both = only_first = only_second = 0
    examples: list[Disagreement] = []
    for two in twos:
        one, other = (_stated(said, attribute) for said in (two.first, two.second))
        only_first += bool(one and not other)
        only_second += bool(other and not one)
        if one and other:
            both += 1
            agree = bool(one & other) if attribute is not None and attribute.several else one == other
            agreeing += agree
            if not agree:
                examples.append(two.as_example())
    return LanguageAgreement(
        recipe=first.recipe,
        question=first.question,
        attribute=None if attribute is None else attribute.name,
        languages=(first.language, second.language),
        agreeing=share_of(agreeing, both),
        only_first=only_first,
        only_second=only_second,
        examples=tuple(examples[:EXAMPLES]),
    )


def _stated(said: Said, attribute: Attribute | None) -> frozenset[str]:
    """The values of an attribute, or the place of the choice that was taken."""
    if attribute is not None:
        return values_of(said, attribute)
    choices = list(said.answer.scores or ())
    return frozenset({str(choices.index(said.answer.text))} if said.answer.text in choices else ())


def _against(attribute: Attribute, open_: Asked, choice: Asked, twos: Sequence[_Two]) -> OpenAgainstChoice:
    stated = [(two, values_of(two.first, attribute), values_of(two.second, attribute)) for two in twos]
    both = [(two, said, chosen) for two, said, chosen in stated if said and chosen]
    contradicting = [two for two, said, chosen in both if not chosen <= said]
    return OpenAgainstChoice(
        recipe=open_.recipe,
        attribute=attribute.name,
        open=open_.question,
        choice=choice.question,
        language=open_.language,
        contradicting=share_of(len(contradicting), len(both)),
        examples=tuple(two.as_example() for two in contradicting[:EXAMPLES]),
    )


def _reversed(first: Said, second: Said) -> bool:
    one, other = list(first.answer.scores or ()), list(second.answer.scores or ())
    return len(one) > 1 and one == other[::-1]


def _orders(
    first: Asked,
    second: Asked,
    twos: Sequence[_Two],
    vocabulary: Vocabulary,
    right: Mapping[tuple[str, str], tuple[str, ...]],
) -> ReversedOrder:
    attribute = next(iter(vocabulary.stated_by(first.recipe, first.question)), None)
    judged = list(_judged(twos, attribute, right)) if attribute else []
    same = sum(two.first.answer.text == two.second.answer.text for two in twos)
    return ReversedOrder(
        attribute=attribute.name if attribute else None,
        language=first.language,
        question=f"{first.recipe}.{first.question}",
        reversed=f"{second.recipe}.{second.question}",
        same=share_of(same, len(twos)),
        accuracy=difference_of([one for one, _ in judged], [other for _, other in judged]) if judged else None,
    )


def _judged(
    twos: Sequence[_Two], attribute: Attribute, right: Mapping[tuple[str, str], tuple[str, ...]]
) -> Iterator[tuple[bool, bool]]:
    for two in twos:
        if labelled := right.get((two.photo.sha256, attribute.name)):
            one, other = (
                judgement_of(values_of(said, attribute), labelled) == "right" for said in (two.first, two.second)
            )
            yield one, other
