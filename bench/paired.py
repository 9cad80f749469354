"""What two models get right of the same renders, and by how much they differ, photo by photo."""

import sys
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from carscribe.records import PhotoResult
from rendered.attributes import ASPECTS, ATTRIBUTES, CarRecord
from rendered.reading import judge
from rendered.words import Language

Judged = dict[tuple[str, str], bool]
"""Whether an answer is right about (photo, attribute)."""

DRAWS = 2000
"""So often photos are drawn anew for an interval."""


def judged(results: Iterable[PhotoResult], records: Mapping[str, CarRecord], language: Language = "en") -> Judged:
    """What the open answers in one language get right."""
    found: Judged = {}
    for result in results:
        texts = {
            (answer.recipe_id, answer.question_id): answer.text
            for answer in result.answers
            if answer.scores is None and answer.language == language
        }
        for (_, _, attribute), said in judge(records[result.file.key], language, texts).items():
            found[result.file.key, attribute] = said == "right"
    return found


def shares(found: Judged) -> dict[str, float]:
    """The share right of each aspect."""
    return {
        aspect: round(
            float(np.mean([right for (_, name), right in found.items() if ATTRIBUTES[name].aspect == aspect])), 4
        )
        for aspect in ASPECTS
    }


def compared(before: Judged, after: Judged, photos: Collection[str]) -> dict[str, Any]:
    """By aspect, over these photos: shares right, and the difference with its paired 95 % interval."""
    picks = np.random.default_rng(0).integers(0, len(photos), (DRAWS, len(photos)))
    found: dict[str, Any] = {}
    for aspect in ASPECTS:
        names = [name for name, attribute in ATTRIBUTES.items() if attribute.aspect == aspect]
        sums = np.array(
            [
                [sum(side[photo, name] for name in names if (photo, name) in side) for side in (before, after)]
                + [sum((photo, name) in before for name in names)]
                for photo in photos
            ]
        )
        shares = sums[:, :2].sum(0) / sums[:, 2].sum()
        drawn = sums[picks].sum(1)
        low, high = np.quantile((drawn[:, 1] - drawn[:, 0]) / drawn[:, 2], (0.025, 0.975))
        found[aspect] = {
            "before": round(float(shares[0]), 4),
            "after": round(float(shares[1]), 4),
            "points": round(100 * float(shares[1] - shares[0]), 2),
            "interval_points": [round(100 * float(low), 2), round(100 * float(high), 2)],
        }
    return found
