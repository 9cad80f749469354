"""The way back from an answer's words to the attributes it states, and whether they are true of a rendered car.

Reads the names of `vocabulary.toml` as `carscribe.evaluate.reading` reads any; what is here is about renders alone.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Literal

from carscribe.evaluate import reading
from carscribe.evaluate.reading import Wording, joined_with
from rendered.attributes import ATTRIBUTES, CarRecord
from rendered.words import (
    ATTRIBUTES_ASKED,
    CHOICES,
    SAID_TOGETHER,
    Language,
    QuestionKey,
    choice_word,
    vocabulary,
)

Judgement = Literal["right", "wrong", "unsaid"]


def read_attributes(text: str, names: Iterable[str], language: Language) -> Mapping[str, str | None]:
    """The value that `text` states of each attribute in `names`; None where it states none, or two that differ.

    >>> said = "SUV, high-riding stance, metallic red paint, black roof"
    >>> dict(read_attributes(said, ("body_type", "main_colour", "roof", "wheel"), "en"))
    {'body_type': 'suv', 'main_colour': 'red', 'roof': 'black', 'wheel': None}
    >>> dict(read_attributes("빨간색 메탈릭 도장과 블랙 루프를 조합했습니다.", ("main_colour", "finish"), "ko"))
    {'main_colour': 'red', 'finish': 'metallic'}
    """
    stated = {name: values_stated(text, name, language) for name in names}
    return {name: next(iter(values)) if len(values) == 1 else None for name, values in stated.items()}


def judge(
    record: CarRecord, language: Language, texts: Mapping[QuestionKey, str]
) -> Mapping[tuple[str, str, str], Judgement]:
    """Whether each answer is right about each visible attribute it ought to name, by recipe, question and attribute.

    An answer that states two values of one attribute is wrong about it, even where one of them is true.
    """
    judged: dict[tuple[str, str, str], Judgement] = {}
    visible = record.visible
    for (recipe_id, question_id), text in texts.items():
        for name in ATTRIBUTES_ASKED[recipe_id, question_id]:
            if name in visible:
                values = values_stated(text, name, language)
                judged[recipe_id, question_id, name] = (
                    "unsaid" if not values else "right" if values == {visible[name]} else "wrong"
                )
    return judged


def values_stated(text: str, name: str, language: Language) -> frozenset[str]:
    """Every value of one attribute that `text` states; of names that begin at the same place the longest is read."""
    return reading.values_stated(text, _wording(name, language))


@cache
def _wording(name: str, language: Language) -> Wording:
    """The names of `vocabulary.toml`; a choice's own word counts where nothing else stands between two commas."""
    together = next((group for group in SAID_TOGETHER[language] if name in group), ())
    others = {
        f"{other}.{value}": vocabulary().names[other, value, language]
        for other in together
        if other != name
        for value in ATTRIBUTES[other].values
    }
    values = ATTRIBUTES[name].values
    return Wording(
        language=language,
        names={value: vocabulary().names[name, value, language] for value in values},
        alone={value: (choice_word(name, value, language),) for value in values} if name in CHOICES else {},
        between=joined_with(others),
    )
