"""Pieces of the page: text made safe, shares as people read them, tables."""

from collections.abc import Iterable, Sequence
from html import escape

from carscribe.evaluate.intervals import Share
from carscribe.plaintext import plain_line


def text(said: str) -> str:
    """Text from anywhere, safe to stand in the page.

    >>> text("<b>\\x1b red & blue</b>")
    '&lt;b&gt; red &amp; blue&lt;/b&gt;'
    """
    return escape(plain_line(said))


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


def number(count: int) -> str:
    """A count."""
    return f"{count:,}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """A table of cells that are HTML already. With `numbers`, columns from the fourth on stand at the right."""
    kinds = [' class="n"' if numbers and place > 2 else "" for place in range(len(heads))]
    head = "".join(f"<th{kind}>{text(cell)}</th>" for kind, cell in zip(kinds, heads, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
