"""Small drawings for the report, as SVG that takes its colours from the page. Pure: numbers in, text out."""

from collections.abc import Iterable, Sequence
from html import escape

from carscribe.evaluate.intervals import Difference, Share
from carscribe.evaluate.scoring import Bin, ScoreMeasure

BAR_WIDTH, BAR_HEIGHT = 260, 18
PLOT, MARGIN = 190, 40
_LEAST_SHOWN = 0.001


def share_bar(right: Share, unsaid: Share, contradicted: Share) -> str:
    """Right, unsaid and contradicted side by side, and the interval of right as a whisker."""
    parts: list[str] = []
    start = 0.0
    for kind, share in (("right", right), ("unsaid", unsaid), ("wrong", contradicted)):
        width = (share.share or 0.0) * BAR_WIDTH
        if width > _LEAST_SHOWN:
            parts.append(f'<rect class="{kind}" x="{start:.1f}" y="3" width="{width:.1f}" height="{BAR_HEIGHT - 6}"/>')
        start += width
    if right.low is not None and right.high is not None:
        low, high, middle = right.low * BAR_WIDTH, right.high * BAR_WIDTH, BAR_HEIGHT / 2
        ends = f"M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"
        parts.append(f'<path class="whisker" d="M{low:.1f} {middle}H{high:.1f}{ends}"/>')
    told = f"right {_percent(right.share)}, unsaid {_percent(unsaid.share)}, wrong {_percent(contradicted.share)}"
    return _svg(BAR_WIDTH, BAR_HEIGHT, "".join(parts), told)


def difference_bar(difference: float, low: float, high: float) -> str:
    """A difference between -1 and 1 with its interval; the line in the middle is none at all."""
    width, height = BAR_WIDTH, BAR_HEIGHT

    def place(value: float) -> float:
        return (value + 1) / 2 * width

    kind = "right" if low > 0 else "wrong" if high < 0 else "open"
    middle = height / 2
    drawn = (
        f'<path class="zero" d="M{place(0):.1f} 0V{height}"/>'
        f'<path class="whisker {kind}" d="M{place(low):.1f} {middle}H{place(high):.1f}"/>'
        f'<circle class="{kind}" cx="{place(difference):.1f}" cy="{middle}" r="4"/>'
    )
    return _svg(width, height, drawn, f"{100 * difference:+.0f} points, {100 * low:+.0f} to {100 * high:+.0f}")


def reliability_plot(title: str, scores: ScoreMeasure, calibrated: ScoreMeasure | None = None) -> str:
    """How often answers of a score are right: on the dashed line they are as often right as the score says.

    Full circles are scores, empty ones confidence after calibration, of photos held out.
    """
    drawn = [_axes(), *(_point(each, scores.answers, "score") for each in scores.bins)]
    if calibrated:
        drawn += [_point(each, calibrated.answers, "calibrated") for each in calibrated.bins]
    after = f" → {calibrated.ece:.3f}" if calibrated else ""
    told = f"ECE {scores.ece:.3f}{after}, n = {scores.answers}"
    drawn.append(f'<text x="{MARGIN}" y="12" class="name">{escape(title)}</text>')
    drawn.append(f'<text x="{MARGIN}" y="26">{told}</text>')
    return _svg(PLOT + MARGIN + 10, PLOT + 2 * MARGIN, "".join(drawn), f"{title}: {told}")


def points(difference: Difference) -> str:
    """A paired difference as a bar."""
    return difference_bar(difference.difference, difference.low, difference.high)


def _axes() -> str:
    left, top, bottom, right = MARGIN, MARGIN, MARGIN + PLOT, MARGIN + PLOT
    ticks = "".join(
        f'<text x="{left + PLOT * tick:.0f}" y="{bottom + 14}" class="tick middle">{tick:g}</text>'
        f'<text x="{left - 6}" y="{bottom - PLOT * tick + 4:.0f}" class="tick end">{tick:g}</text>'
        for tick in (0, 0.5, 1)
    )
    return (
        f'<path class="frame" d="M{left} {top}V{bottom}H{right}"/>'
        f'<path class="diagonal" d="M{left} {bottom}L{right} {top}"/>{ticks}'
        f'<text x="{left + PLOT / 2:.0f}" y="{bottom + 28}" class="tick middle">mean score</text>'
        f'<text x="10" y="{top + PLOT / 2:.0f}" class="tick middle" transform="rotate(-90 10 {top + PLOT / 2:.0f})">'
        "share right</text>"
    )


def _point(each: Bin, answers: int, kind: str) -> str:
    """A bin with its interval; the more answers, the larger."""
    across = MARGIN + PLOT * each.mean_score
    radius = 2.5 + 5 * (each.right.total / answers) ** 0.5
    up, low, high = (MARGIN + PLOT * (1 - (v or 0.0)) for v in (each.right.share, each.right.low, each.right.high))
    return (
        f'<path class="{kind} interval" d="M{across:.1f} {low:.1f}V{high:.1f}"/>'
        f'<circle class="{kind}" cx="{across:.1f}" cy="{up:.1f}" r="{radius:.1f}"/>'
    )


def _svg(width: float, height: float, drawn: str, told: str) -> str:
    return (
        f'<svg width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}" role="img" '
        f'aria-label="{escape(told)}">{drawn}</svg>'
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f} %"


def shade(count: int, row_total: int) -> str:
    """How dark a cell of a confusion matrix is: its share of the row, in eighths.

    >>> shade(0, 10), shade(1, 100), shade(10, 10)
    ('s0', 's1', 's8')
    """
    return f"s{-(-8 * count // row_total)}" if row_total else "s0"


def ranked(names: Iterable[str], order: Sequence[str]) -> list[str]:
    """Names in the order of the vocabulary, others last.

    >>> ranked({"(several)", "van", "suv"}, ("suv", "van"))
    ['suv', 'van', '(several)']
    """
    places = {name: place for place, name in enumerate(order)}
    return sorted(names, key=lambda name: (places.get(name, len(places)), name))
