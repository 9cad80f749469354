"""Temperatures of choices: kept with what decides a score besides the photo, and what makes a confidence of scores.

Knows nothing of labels, nor of how a temperature is found.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from carscribe.catalog.database import PAGE
from carscribe.catalog.planning import now
from carscribe.catalog.workspace import Workspace

LEAST_SCORE = 1e-30
"""A score that rounding has made zero counts as this much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A temperature, and what it is known from: `photos` labelled ones. The errors are of photos held out."""

    temperature: float
    photos: int
    ece_before: float
    ece_after: float


def confidence(scores: Mapping[str, float], temperature: float) -> Mapping[str, float]:
    """Scores at a temperature, summing to one again: above 1 they come closer to each other.

    >>> {choice: round(share, 2) for choice, share in confidence({"red": 0.9, "blue": 0.1}, 2.0).items()}
    {'red': 0.75, 'blue': 0.25}
    """
    logs = {choice: math.log(max(score, LEAST_SCORE)) / temperature for choice, score in scores.items()}
    highest = max(logs.values())
    weights = {choice: math.exp(log - highest) for choice, log in logs.items()}
    total = sum(weights.values())
    return {choice: weight / total for choice, weight in weights.items()}


def best_confidence(scores: Collection[float], temperature: float) -> float:
    """The highest confidence among scores at a temperature: that of the highest score.

    >>> round(best_confidence([0.9, 0.1], 2.0), 2)
    0.75
    """
    best = max(*scores, LEAST_SCORE)
    against_best: float = sum((max(score, LEAST_SCORE) / best) ** (1 / temperature) for score in scores)
    return 1 / against_best


def keep_calibration(workspace: Workspace, answer_ids: Sequence[int], calibration: Calibration) -> None:
    """Keep a temperature for the conditions and prompts of these answers, in place of an earlier one.

    Raises: WorkspaceError.
    """
    figures = (calibration.temperature, calibration.photos, calibration.ece_before, calibration.ece_after, now())
    with workspace.transaction():
        for start in range(0, len(answer_ids), PAGE):
            some = answer_ids[start : start + PAGE]
            workspace.connection.execute(
                "INSERT INTO calibrations SELECT DISTINCT condition_id, prompt_id, ?, ?, ?, ?, ? FROM answers"
                f" WHERE id IN ({','.join('?' * len(some))})"
                " ON CONFLICT DO UPDATE SET temperature = excluded.temperature, photos = excluded.photos,"
                " ece_before = excluded.ece_before, ece_after = excluded.ece_after,"
                " calibrated_at = excluded.calibrated_at",
                (*figures, *some),
            )


def temperatures_of(workspace: Workspace) -> Mapping[tuple[int, int], float]:
    """By (condition, prompt) what was kept."""
    if not has_calibrations(workspace):
        return {}
    rows = workspace.connection.execute("SELECT condition_id, prompt_id, temperature FROM calibrations")
    return {(row[0], row[1]): row[2] for row in rows}


def has_calibrations(workspace: Workspace) -> bool:
    """Whether there is a place for temperatures; not in a workspace of an older form, which a reader finds as it is."""
    found = workspace.connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'calibrations'")
    return found.fetchone() is not None
