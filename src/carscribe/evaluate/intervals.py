"""Shares and their uncertainty. Pure arithmetic; every interval is of 95 %.

Sources: Wilson, JASA 22 (1927) 209; Newcombe, Statistics in Medicine 17 (1998) 2635, method 10, for the difference of
two shares of the same photos; McNemar, Psychometrika 12 (1947) 153, in its exact form.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """`count` of `total`, and the interval in which the share of all such photos lies; None of nothing."""

    count: int
    total: int
    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two shares of the same `pairs`: `mine` less `other`. `only_mine` pairs were right in mine alone.

    `p_value` is McNemar's, exact: how often chance alone parts two equals so far.
    """

    pairs: int
    mine: float
    other: float
    difference: float
    low: float
    high: float
    only_mine: int
    only_other: int
    p_value: float


def share_of(count: int, total: int) -> Share:
    """A share with Wilson's interval.

    >>> found = share_of(8, 10)
    >>> found.share, round(found.low, 4), round(found.high, 4)
    (0.8, 0.4902, 0.9433)
    """
    if not total:
        return Share(count=count, total=total, share=None, low=None, high=None)
    low, high = _wilson(count, total)
    return Share(count=count, total=total, share=count / total, low=low, high=high)


def difference_of(mine: Sequence[bool], other: Sequence[bool]) -> Difference:
    """How two runs differ on the same photos, in one order. `mine` must not be empty.

    >>> found = difference_of([True] * 32 + [False] * 18, [True] * 20 + [False] * 12 + [True] * 2 + [False] * 16)
    >>> round(found.difference, 2), found.only_mine, found.only_other, round(found.p_value, 4)
    (0.2, 12, 2, 0.0129)
    """
    pairs = list(zip(mine, other, strict=True))
    both, only_mine = pairs.count((True, True)), pairs.count((True, False))
    only_other, neither = pairs.count((False, True)), pairs.count((False, False))
    low, high = _newcombe(both, only_mine, only_other, neither)
    total = len(pairs)
    return Difference(
        pairs=total,
        mine=(both + only_mine) / total,
        other=(both + only_other) / total,
        difference=(only_mine - only_other) / total,
        low=low,
        high=high,
        only_mine=only_mine,
        only_other=only_other,
        p_value=mcnemar(only_mine, only_other),
    )


def mcnemar(only_mine: int, only_other: int) -> float:
    """The exact two-sided p-value of so uneven a split, were each side as likely as the other.

    >>> round(mcnemar(9, 1), 5), mcnemar(0, 0), mcnemar(3, 3)
    (0.02148, 1.0, 1.0)
    """
    total, fewer = only_mine + only_other, min(only_mine, only_other)
    logs = [math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1) for k in range(fewer + 1)]
    return min(1.0, 2 * sum(math.exp(log - total * math.log(2)) for log in logs))


def bootstrap_difference(sums: Sequence[tuple[int, int, int]], *, seed: int = 0) -> tuple[float, float]:
    """The interval of a difference of shares when photos, and not answers, are drawn: a photo has several answers.

    `sums` has, of each photo, (right in mine, right in the other, answers of both).
    """
    table = np.asarray(sums, dtype=np.float64)
    chance = np.random.default_rng(seed)
    drawn: list[float] = []
    for _ in range(RESAMPLES):
        totals = table[chance.integers(0, len(table), len(table))].sum(axis=0)
        drawn.append(float((totals[0] - totals[1]) / totals[2]))
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


def _wilson(count: int, total: int) -> tuple[float, float]:
    share, weight = count / total, Z * Z / total
    middle = share + weight / 2
    spread = math.sqrt(weight * (share * (1 - share) + weight / 4))
    low, high = (middle - spread) / (1 + weight), (middle + spread) / (1 + weight)
    return (0.0 if count == 0 else low), (1.0 if count == total else high)


def _newcombe(both: int, only_mine: int, only_other: int, neither: int) -> tuple[float, float]:
    """The two Wilson intervals put together, less what the pairing explains."""
    total = both + only_mine + only_other + neither
    mine, other = (both + only_mine) / total, (both + only_other) / total
    low_mine, high_mine = _wilson(both + only_mine, total)
    low_other, high_other = _wilson(both + only_other, total)
    margins = (both + only_mine) * (only_other + neither) * (both + only_other) * (only_mine + neither)
    excess = float(both * neither - only_mine * only_other)
    if excess > 0:
        excess = max(excess - total / 2, 0)
    phi = excess / math.sqrt(margins) if margins else 0.0
    down, other_up = mine - low_mine, high_other - other
    up, other_down = high_mine - mine, other - low_other
    below = math.sqrt(max(0.0, down**2 - 2 * phi * down * other_up + other_up**2))
    above = math.sqrt(max(0.0, up**2 - 2 * phi * up * other_down + other_down**2))
    return mine - other - below, mine - other + above
