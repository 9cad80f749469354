"""Shares as people read them on the page."""

from carscribe.evaluate.intervals import Share


def percent(share: float | None) -> str:
    """A share in per cent, without the sign."""
    return "–" if share is None else f"{100 * share:.0f}"


def percents(share: Share) -> str:
    """A share in per cent with its interval.

    >>> from carscribe.evaluate.intervals import share_of
    >>> percents(share_of(8, 10))
    '80 <span class="soft">(49–94)</span>'
    """
    if share.share is None:
        return "–"
    return f'{percent(share.share)} <span class="soft">({percent(share.low)}–{percent(share.high)})</span>'


def gap(difference: float, low: float, high: float) -> str:
    """A difference in points with its interval.

    >>> gap(0.2, 0.056, 0.329)
    '+20 <span class="soft">(+6 to +33)</span>'
    """
    return f'{100 * difference:+.0f} <span class="soft">({100 * low:+.0f} to {100 * high:+.0f})</span>'
