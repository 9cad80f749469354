"""Flags at the terminal: how many photos have one, which they are, and why."""

import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from carscribe.flags import FlaggedPhoto
from carscribe.output import flag_json
from carscribe.plaintext import counted, plain_line
from carscribe.question_names import question_name
from carscribe.records import Flag, FlagCounts
from carscribe.terminal.screen import Screen

MARK = "!"
"""Stands before an answer that is flagged."""

FLAGGED_SHOWN = 30
"""Flagged photos that are listed where no number is asked for."""


def flagged_text(counts: FlagCounts) -> str:
    """How many photos are flagged, and why.

    >>> flagged_text(FlagCounts(photos=7, kind=5, unsure=3)), flagged_text(FlagCounts(photos=1, kind=0, unsure=1))
    ('7 photos (5 against the crawled kind, 3 unsure)', '1 photo (1 unsure)')
    >>> flagged_text(FlagCounts(photos=0, kind=0, unsure=0))
    'no photos'
    """
    if not counts.photos:
        return "no photos"
    kind = f"{counts.kind:,} against the crawled kind" if counts.kind else ""
    unsure = f"{counts.unsure:,} unsure" if counts.unsure else ""
    return f"{counted(counts.photos, 'photo')} ({', '.join(part for part in (kind, unsure) if part)})"


def why_flagged(flag: Flag) -> str:
    """Why an answer is flagged, in a few words.

    >>> asked = {"recipe_id": "designer", "question_id": "body_type", "language": "en", "answered": "SUV"}
    >>> why_flagged(Flag(**asked, why="kind", kind="세단"))
    'the crawled kind is 세단'
    >>> why_flagged(Flag(**asked, why="unsure", confidence=0.41, mass=0.2))
    'unsure: confidence 0.41, mass 0.20'
    """
    if flag.why == "kind":
        return f"the crawled kind is {plain_line(flag.kind or '')}"
    figures = (("score", flag.score), ("confidence", flag.confidence), ("mass", flag.mass))
    return f"unsure: {', '.join(f'{name} {figure:.2f}' for name, figure in figures if figure is not None)}"


def show_flagged(screen: Screen, folder: Path, photos: Iterable[FlaggedPhoto], total: int) -> None:
    """Flagged photos of the workspace in `folder`, and what is flagged of each. `total` counts those not shown too.

    A question is named with its recipe where another recipe has one of that id among them.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("photo", "question", "answer", "flagged"):
        table.add_column(head, overflow="fold")
    shown = list(photos)
    asked = {(flag.recipe_id, flag.question_id) for photo in shown for flag in photo.flags}
    for photo in shown:
        for place, flag in enumerate(photo.flags):
            question = question_name(flag.recipe_id, flag.question_id, asked)
            table.add_row(
                Text("" if place else plain_line(photo.file.key)),
                Text(f"{plain_line(question)} ({flag.language})"),
                Text(plain_line(flag.answered)),
                Text(why_flagged(flag)),
            )
    if not shown:
        screen.result("Flagged", "no photos")
        return
    screen.show(table)
    if total > len(shown):
        screen.show(f"… and {total - len(shown):,} more photos: --limit {total}, or --json.")
    screen.show()
    screen.result("Next", f"verdicts on them: carscribe correct {shlex.quote(str(folder))} FILE")


def flagged_json(photo: FlaggedPhoto) -> dict[str, Any]:
    """A flagged photo for machines."""
    return {
        "photo": photo.file.key,
        "path": photo.file.location,
        "name": photo.file.metadata.name,
        "kind": photo.file.metadata.kind,
        "sha256": photo.sha256,
        "flags": [flag_json(flag) for flag in photo.flags],
    }
