"""A check as a person sees it: a bar while photos are read, then what was found, fault by fault."""

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from carscribe.check.faults import FAULTS, METADATA_FAULTS, TITLES
from carscribe.check.report import CheckedPhoto, Report
from carscribe.plaintext import counted, plain_line
from carscribe.terminal.run import Log
from carscribe.terminal.screen import Screen, duration

NAMED = 3
"""Photos that are named beside a fault."""


class CheckProgress:
    """A bar of photos read, then one of photos compared."""

    def __init__(self, screen: Screen, bar: Progress) -> None:
        self._bar, self._log, self._total = bar, Log(screen), 0
        self._reading = bar.add_task("Reading", total=None, visible=False)
        self._comparing = bar.add_task("Comparing", total=None, visible=False)

    def found(self, photos: int) -> None:
        """So many photos are to be read."""
        self._total = photos
        self._bar.update(self._reading, total=photos, visible=True)

    def read(self, photos: int) -> None:
        """So many of them have been."""
        self._bar.update(self._reading, completed=photos)
        self._log.line(lambda: f"{photos:,} of {self._total:,} photos read")

    def compared(self, photos: int, total: int) -> None:
        """So many of so many have been looked up among the others."""
        self._bar.update(self._comparing, completed=photos, total=total, visible=True)
        self._log.line(lambda: f"{photos:,} of {total:,} photos compared")


class CheckView:
    """Shows a check on a screen."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen

    @contextmanager
    def progress(self) -> Iterator[CheckProgress]:
        """What is called while the check is under way."""
        columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn(bar_width=None))
        bar = Progress(
            *columns,
            TimeRemainingColumn(compact=True),
            console=self.screen.err,
            transient=True,
            disable=self.screen.quiet or not self.screen.err.is_terminal,
        )
        with bar:
            yield CheckProgress(self.screen, bar)

    def show(
        self,
        report: Report,
        *,
        photos: Sequence[Path],
        options: Sequence[str] = (),
        report_file: Path | None,
        html: Path | None,
    ) -> None:
        """What was found, and what to type next: with `options`, those about the metadata."""
        screen = self.screen
        rate = report.read / max(report.seconds, 1e-9)
        of = f" of {report.photos:,}: stopped" if report.stopped else ""
        screen.result(
            "Checked", f"{counted(report.read, 'photo')}{of} in {duration(report.seconds)}, {rate:.1f} photos/s"
        )
        if any(report.counts().values()):
            screen.show()
            screen.show(_table(report))
            screen.show()
        self._show_names(report)
        skipped = sum(photo.skip for photo in report.flagged)
        only = len(report.flagged) - skipped
        also = f"; {only:,} more for metadata alone, or for a fault that is kept" if only else ""
        screen.result(
            "Flagged", f"{counted(skipped, 'photo')} that describe can skip{also}" if report.flagged else "nothing"
        )
        for head, path in (("Report", report_file), ("Page", html)):
            if path:
                screen.row(head, str(path))
        if skipped:
            given = shlex.join([*map(str, photos), *options])
            file = shlex.quote(str(report_file)) if report_file else "FILE"
            if not report_file:
                screen.row("Next", f"carscribe check {given} --report FILE --html FILE")
            screen.row("" if not report_file else "Next", f"carscribe describe {given} --skip-flagged {file}")

    def _show_names(self, report: Report) -> None:
        for each in report.spellings[:NAMED]:
            told = ", ".join(f"{name} ({count:,})" for name, count in each.names)
            self.screen.result("Spelling", told)
        if len(report.spellings) > NAMED:
            self.screen.result("", f"… and {len(report.spellings) - NAMED:,} more names of several spellings")
        for kind, count in list(report.unknown_kinds.items())[:NAMED]:
            self.screen.result("Kind", f"{kind} ({count:,}) is no body type that is known")
        for conflict in report.conflicts[:NAMED]:
            self.screen.result("Rows", conflict)
        if len(report.conflicts) > NAMED:
            self.screen.result("", f"… and {len(report.conflicts) - NAMED:,} more rows that contradict each other")


def _table(report: Report) -> Table:
    """A line a fault: how many photos, and the first of them with what is said of them."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("fault", no_wrap=True)
    table.add_column("photos", justify="right", no_wrap=True)
    table.add_column("such as", overflow="fold")
    counts = report.counts()
    for kind in FAULTS:
        if counts[kind]:
            some = [photo for photo in report.flagged if any(fault.kind == kind for fault in photo.faults)][:NAMED]
            told = "\n".join(_told(photo, kind) for photo in some)
            more = f"\n… and {counts[kind] - NAMED:,} more" if counts[kind] > NAMED else ""
            style = "dim" if kind in METADATA_FAULTS else ""
            table.add_row(Text(TITLES[kind], style=style), Text(f"{counts[kind]:,}"), Text(told + more))
    return table


def _told(photo: CheckedPhoto, kind: str) -> str:
    says = next(fault.says for fault in photo.faults if fault.kind == kind)
    return plain_line(f"{photo.key}: {says}")
