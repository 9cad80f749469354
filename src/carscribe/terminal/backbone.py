"""A language model held against InternVL3's, at the terminal."""

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text

from carscribe.backbone.findings import Check, Packing, Status
from carscribe.plaintext import plain_line
from carscribe.terminal.screen import Screen

WORDS: Mapping[Status, str] = {"fine": "fine", "work": "needs work", "impossible": "impossible"}
LANGUAGE_NAMES = {"ko": "Korean", "en": "English"}


def show_check(screen: Screen, check: Check) -> None:
    """A line for each finding, how each tokenizer packs both languages, and the verdict."""
    screen.result("BASE", check.base)
    screen.result("LLM", check.llm)
    screen.show()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("", "BASE", "LLM", "", ""):
        table.add_column(head, overflow="fold")
    for finding in check.findings:
        style = "" if finding.status == "fine" else "bold"
        cells = (finding.topic, finding.base, finding.llm, WORDS[finding.status], finding.says)
        table.add_row(*(Text(plain_line(cell), style=style if i == 3 else "") for i, cell in enumerate(cells)))
    for packing in check.packing:
        name = LANGUAGE_NAMES.get(packing.language, packing.language)
        table.add_row(name, _tokens(packing.base), _tokens(packing.llm), "", _compared(packing))
    screen.show(table)
    screen.show()
    screen.result("Verdict", check.line)


def _tokens(count: float | None) -> str:
    return "unknown" if count is None else f"{count:.0f} tokens"


def _compared(packing: Packing) -> str:
    of = "for 100 characters of design prose"
    if packing.base is None or packing.llm is None:
        return of
    share = packing.llm / packing.base
    return f"{of}: {share:.0%} of BASE's"
