"""How far a choice's scores can be believed, and the temperature that makes them believable. Pure arithmetic.

A score is calibrated when, of all answers with a score near 0.8, four of five are right. One temperature for a question
can only make all scores bolder or more timid together; it never changes which choice is best.

Sources: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017 (temperature scaling); Nguyen and O'Connor,
EMNLP 2015 (bins of equal mass).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carscribe.catalog.calibration import LEAST_SCORE
from carscribe.evaluate.intervals import Share, share_of

BINS, FOLDS, DRAWS = 10, 5, 200
COLDEST, HOTTEST = 0.05, 20.0
"""Temperatures between which the best is looked for."""

LITTLE_MASS = 0.5
_GOLDEN = (math.sqrt(5) - 1) / 2
_NEAR_ENOUGH = 1e-5

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A labelled choice: its scores, and the places of those choices that are right, at least one."""

    scores: tuple[float, ...]
    right: tuple[int, ...]
    mass: float | None = None
    answer_id: int = 0
    condition_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers of nearly one score: the mean score of the best choice, and how often it was right."""

    mean_score: float
    lowest: float
    highest: float
    right: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreMeasure:
    """Scores of the best choice against what is right. `ece` is the mean gap of the bins, weighted by their answers.

    So few answers have an error even with perfect scores: `ece_by_chance`, on average. Hold `ece` against it.
    `brier` is the mean square of score less right (0 or 1). `little_mass` counts answers of which the model gave all
    choices together less than half of its probability.
    """

    answers: int
    right: Share
    mean_score: float
    ece: float
    ece_by_chance: float
    brier: float
    bins: tuple[Bin, ...]
    mean_mass: float | None
    lowest_mass: float | None
    little_mass: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A temperature fitted on all answers, and what one is worth: fitted on four fifths, measured on the other fifth.

    `before` is the measure without any. `right` stays what it was.
    """

    temperature: float
    before: ScoreMeasure
    after: ScoreMeasure


def measure_scores(scored: Sequence[Scored]) -> ScoreMeasure | None:
    """Calibration of some answers; None of none."""
    if not scored:
        return None
    best = np.array([max(each.scores) for each in scored])
    right = np.array([_best_is_right(each) for each in scored])
    return _measure(scored, best, right)


def expected_calibration_error(best: Sequence[float], right: Sequence[bool], *, bins: int = BINS) -> float:
    """The mean of |share right - mean score| over bins of equally many answers, weighted by their answers.

    >>> round(expected_calibration_error([0.9, 0.9, 0.6, 0.6], [True, True, True, False], bins=2), 3)
    0.1
    """
    found = _bins(np.asarray(best, dtype=np.float64), np.asarray(right, dtype=np.bool_), bins)
    return sum(abs((each.right.share or 0.0) - each.mean_score) * each.right.total for each in found) / len(best)


def fit_temperature(scored: Sequence[Scored]) -> float:
    """The temperature at which the right choices are likeliest: least mean negative log likelihood, golden section.

    Where several choices are right, the likelihood is that of any of them.
    """
    logs, right = _logs(scored), _right_mask(scored)

    def loss(log_temperature: float) -> float:
        scaled = logs / math.exp(log_temperature)
        return float(np.mean(_log_sum(scaled) - _log_sum(np.where(right, scaled, -np.inf))))

    return math.exp(_lowest(loss, math.log(COLDEST), math.log(HOTTEST)))


def fit_held_out(scored: Sequence[Scored], *, seed: int = 0) -> Fitted:
    """Fit on all, and measure by cross-validation in five parts: no answer is measured by what was fitted on it."""
    right = np.array([_best_is_right(each) for each in scored])
    order = np.random.default_rng(seed).permutation(len(scored))
    best = np.empty(len(scored))
    for fold in range(FOLDS):
        held = order[fold::FOLDS]
        learned = [scored[place] for place in np.setdiff1d(order, held)]
        temperature = fit_temperature(learned)
        best[held] = _best_at([scored[place] for place in held], temperature)
    before = _measure(scored, np.array([max(each.scores) for each in scored]), right)
    return Fitted(temperature=fit_temperature(scored), before=before, after=_measure(scored, best, right))


def _best_is_right(each: Scored) -> bool:
    return max(range(len(each.scores)), key=each.scores.__getitem__) in each.right


def _measure(scored: Sequence[Scored], best: Floats, right: NDArray[np.bool_]) -> ScoreMeasure:
    masses = [each.mass for each in scored if each.mass is not None]
    return ScoreMeasure(
        answers=len(scored),
        right=share_of(int(right.sum()), len(scored)),
        mean_score=float(best.mean()),
        ece=expected_calibration_error(best.tolist(), right.tolist()),
        ece_by_chance=_error_by_chance(best),
        brier=float(np.mean((best - right) ** 2)),
        bins=_bins(best, right, BINS),
        mean_mass=float(np.mean(masses)) if masses else None,
        lowest_mass=min(masses, default=None),
        little_mass=sum(mass < LITTLE_MASS for mass in masses),
    )


def _error_by_chance(best: Floats) -> float:
    """The mean error of calibration of such scores were each right as often as it says, by drawing."""
    chance = np.random.default_rng(0)
    drawn = chance.random((DRAWS, len(best))) < best
    parts = _parts(best, BINS)
    gaps = [np.abs(drawn[:, part].mean(axis=1) - best[part].mean()) * len(part) for part in parts]
    return float(np.sum(gaps, axis=0).mean() / len(best))


def _bins(best: Floats, right: NDArray[np.bool_], bins: int) -> tuple[Bin, ...]:
    return tuple(
        Bin(
            mean_score=float(best[part].mean()),
            lowest=float(best[part].min()),
            highest=float(best[part].max()),
            right=share_of(int(right[part].sum()), len(part)),
        )
        for part in _parts(best, bins)
    )


def _parts(best: Floats, bins: int) -> list[NDArray[np.intp]]:
    """Places of equally many answers, the lowest scores first; of fewer answers as many bins as answers.

    Equal scores stay together, or the order of the photos would decide: then there are fewer and fuller bins.
    """
    order = np.argsort(best, kind="stable")
    ranked = best[order]
    ends = [len(order) * part // bins for part in range(1, bins)]
    cuts = sorted({int(np.searchsorted(ranked, ranked[end - 1], side="right")) for end in ends if end} - {len(order)})
    return np.split(order, cuts)


def _logs(scored: Sequence[Scored]) -> Floats:
    """Log scores, [answers, most choices]; -inf where an answer has fewer choices."""
    logs = np.full((len(scored), max(len(each.scores) for each in scored)), -np.inf)
    for row, each in enumerate(scored):
        logs[row, : len(each.scores)] = np.log(np.maximum(each.scores, LEAST_SCORE))
    return logs


def _right_mask(scored: Sequence[Scored]) -> NDArray[np.bool_]:
    mask = np.zeros((len(scored), max(len(each.scores) for each in scored)), dtype=np.bool_)
    for row, each in enumerate(scored):
        mask[row, list(each.right)] = True
    return mask


def _best_at(scored: Sequence[Scored], temperature: float) -> Floats:
    """The confidence of each best choice at a temperature."""
    scaled = _logs(scored) / temperature
    best: Floats = np.exp(scaled.max(axis=1) - _log_sum(scaled))
    return best


def _log_sum(logs: Floats) -> Floats:
    """log of the sum of exp over choices; a row of -inf has no meaning here and does not occur."""
    highest = logs.max(axis=1)
    total: Floats = highest + np.log(np.exp(logs - highest[:, None]).sum(axis=1))
    return total


def _lowest(loss: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is lowest: golden section search.

    >>> round(_lowest(lambda x: (x - 0.3) ** 2, -3, 3), 4)
    0.3
    """
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = loss(left), loss(right)
    while high - low > _NEAR_ENOUGH:
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = loss(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = loss(right)
    return (low + high) / 2
