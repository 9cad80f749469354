"""A language model held against InternVL3's, at the terminal."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from carscribe.backbone.findings import Check, Packing, Status
from carscribe.plaintext import plain_line
from carscribe.terminal.screen import Screen

WORDS: Mapping[Status, str] = {"fine": "fine", "work": "needs work", "impossible": "impossible"}
LANGUAGE_NAMES = {"ko": "Korean", "en": "English"}

GAP_CELLS = 2
NARROWEST_CELLS = 8
"""What stands between two columns, and the narrowest that BASE's and LLM's get, in terminal cells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One thing that was compared, and below it what follows."""

    topic: str
    base: str
    llm: str
    word: str = ""
    says: str = ""


def show_check(screen: Screen, check: Check) -> None:
    """A line for each finding, how each tokenizer packs both languages, and the verdict.

    What a finding says stands below it, from BASE's column to the edge, so that all of it can be read in 80 cells.
    """
    screen.result("BASE", check.base)
    screen.result("LLM", check.llm)
    screen.show()
    head, lines = _Line(topic="", base="BASE", llm="LLM"), list(_lines(check))
    widths = _widths([head, *lines], screen.out.width)
    screen.show(_row(head, widths, style="bold"))
    for line in lines:
        screen.show(_row(line, widths))
        if line.says:
            screen.show(Padding(Text(line.says), (0, 0, 0, widths[0] + GAP_CELLS), expand=False))
    screen.show()
    screen.result("Verdict", check.line)


def _lines(check: Check) -> Iterator[_Line]:
    for finding in check.findings:
        yield _Line(
            topic=plain_line(finding.topic),
            base=plain_line(finding.base),
            llm=plain_line(finding.llm),
            word=WORDS[finding.status],
            says=plain_line(finding.says),
        )
    for packing in check.packing:
        yield _Line(
            topic=plain_line(LANGUAGE_NAMES.get(packing.language, packing.language)),
            base=_tokens(packing.base),
            llm=_tokens(packing.llm),
            says=_compared(packing),
        )


def _widths(lines: Sequence[_Line], width: int) -> tuple[int, int, int, int]:
    """How wide the columns are: topic and verdict as they need; what is left is BASE's and LLM's, in equal parts where
    both need more.
    """
    topic, base, llm, word = (
        max(map(cell_len, column)) for column in zip(*((x.topic, x.base, x.llm, x.word) for x in lines), strict=True)
    )
    room = max(2 * NARROWEST_CELLS, width - topic - word - 3 * GAP_CELLS)
    if base + llm > room:
        base = min(base, max(room - llm, room - room // 2))
        llm = min(llm, room - base)
    return topic, base, llm, word


def _row(line: _Line, widths: Sequence[int], style: str = "") -> Table:
    grid = Table.grid(padding=(0, GAP_CELLS, 0, 0), pad_edge=False)
    for width in widths:
        grid.add_column(width=width, overflow="fold")
    word = Text(line.word, style="" if line.word == WORDS["fine"] else "bold")
    grid.add_row(Text(line.topic), Text(line.base), Text(line.llm), word, style=style)
    return grid


def _tokens(count: float | None) -> str:
    return "unknown" if count is None else f"{count:.0f} tokens"


def _compared(packing: Packing) -> str:
    of = "for 100 characters of design prose"
    if packing.base is None or packing.llm is None:
        return of
    share = packing.llm / packing.base
    return f"{of}: {share:.0%} of BASE's"
