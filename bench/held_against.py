"""What the demo model says of renders in one setting, held against what it says of them in another."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import measure
import paired
from carscribe.records import Answer, PhotoResult
from demo_precision import figures
from render_set import LANGUAGES
from rendered.attributes import draw_record

ASPECTS_ASKED_BY = "designer"
"""The recipe by whose open questions aspects are judged."""


def right(found: Sequence[PhotoResult]) -> dict[str, dict[str, float]]:
    """The share right, by language and aspect."""
    told = measure.figures(measure.judged(found))
    return {language: told[language]["aspects"] for language in LANGUAGES}


def agreement(reference: Sequence[PhotoResult], found: Sequence[PhotoResult]) -> dict[str, Any]:
    """How many answers and attributes are as in the reference."""
    first, second = _texts(reference), _texts(found)
    return figures((key, first[key], second[key]) for key in first)


def differences(reference: Sequence[PhotoResult], found: Sequence[PhotoResult]) -> dict[str, Any]:
    """By language and aspect: by how much more is right than in the reference, with the interval of 95 %, by photos."""
    records = {result.file.key: draw_record(int(Path(result.file.key).stem)) for result in found}
    sides = [_of_designer(side) for side in (reference, found)]
    return {
        language: paired.compared(*(paired.judged(side, records, language) for side in sides), list(records))
        for language in LANGUAGES
    }


def _of_designer(results: Sequence[PhotoResult]) -> list[PhotoResult]:
    """With the answers to the recipe by which aspects are judged."""
    return [
        replace(result, answers=tuple(answer for answer in result.answers if answer.recipe_id == ASPECTS_ASKED_BY))
        for result in results
    ]


def _texts(results: Sequence[PhotoResult]) -> dict[tuple[str, str, str, str], str]:
    return {_key(result, answer): answer.text for result in results for answer in result.answers}


def _key(result: PhotoResult, answer: Answer) -> tuple[str, str, str, str]:
    return result.file.key, answer.recipe_id, answer.question_id, answer.language
