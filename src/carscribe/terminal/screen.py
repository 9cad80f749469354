"""Two consoles, rows with a head, numbers as people read them."""

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from carscribe.plaintext import plain_line

HEAD_CELLS = 11
GIB = 2**30


class Screen:
    """Standard output and standard error. `quiet` keeps both for machines: rows and news are not shown."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.out = Console(highlight=False, markup=False)
        self.err = Console(stderr=True, highlight=False, markup=False)

    def say(self, text: str) -> None:
        """One line of news."""
        if not self.quiet:
            self.err.print(Text(plain_line(text)), soft_wrap=True)

    def warn(self, text: str) -> None:
        """One line that is told even to machines' keepers, on standard error."""
        self.err.print(Text(plain_line(text)), soft_wrap=True)

    def row(self, head: str, text: str) -> None:
        """A line with a head, on standard error."""
        if not self.quiet:
            self.err.print(_row(head, text), soft_wrap=True)

    def note(self, head: str, text: str) -> None:
        """A line with a head that is shown even when quiet, on standard error: what went wrong."""
        self.err.print(_row(head, text), soft_wrap=True)

    def result(self, head: str, text: str) -> None:
        """A line with a head, on standard output: what was asked for."""
        self.out.print(_row(head, text), soft_wrap=True)

    def show(self, renderable: RenderableType = "") -> None:
        """A table, or an empty line, on standard output."""
        if not self.quiet:
            self.out.print(renderable)


def _row(head: str, text: str) -> Text:
    """A head and what it is of, in a column of their own; a longer head takes the room that it needs.

    >>> _row("Photos", "7 found").plain, _row("tokenizer.json:1024", "4 of 1024 tokens").plain
    ('Photos     7 found', 'tokenizer.json:1024 4 of 1024 tokens')
    """
    return Text.assemble((f"{plain_line(head):<{HEAD_CELLS - 1}} ", "bold"), plain_line(text))


def gib(size_bytes: float) -> str:
    """A size as GiB.

    >>> gib(15.9e9)
    '14.8 GiB'
    """
    return f"{size_bytes / GIB:.1f} GiB"


def duration(seconds: float) -> str:
    """A span of time in its two largest units.

    >>> duration(8.24), duration(75), duration(7500), duration(180_000)
    ('8.2 s', '1 min 15 s', '2 h 5 min', '2 d 2 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{days} d {hours % 24} h"


def histogram(values: Sequence[int], *, bins: int = 8) -> str:
    """How values are spread, on one line: the smallest, a bar for each of the bins, the largest.

    >>> histogram([10, 20, 20, 30]), histogram([7, 7]), histogram([])
    ('10 ▄  █  ▄ 30', '7 █ 7', 'none')
    """
    if not values:
        return "none"
    low, high = min(values), max(values)
    width = max(1, -(-(high - low + 1) // bins))
    counts = [0] * (-(-(high - low + 1) // width))
    for value in values:
        counts[(value - low) // width] += 1
    most = max(counts)
    return f"{low} {''.join(' ▁▂▃▄▅▆▇█'[-(-8 * count // most)] for count in counts)} {high}"
