"""One run as a person sees it: the plan before, a bar during, a table and the sums after.

Where standard error is no terminal (a log file, a job's output), the bar is a line now and then.
"""

import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from carscribe.catalog.work import Work
from carscribe.check.faults import TITLES
from carscribe.engines.demo_model import DISCLAIMER
from carscribe.engines.hub import Transfer
from carscribe.memory import BatchPlan
from carscribe.photos.metadata import MetadataMatch
from carscribe.pipeline import RunPlan
from carscribe.plaintext import counted, plain_line
from carscribe.records import Description, EngineCard, FlagCounts, PhotoResult
from carscribe.tally import Tally
from carscribe.terminal.flagged import MARK, flagged_text
from carscribe.terminal.screen import Screen, duration, gib, histogram
from carscribe.terminal.table import results_table

ROWS_SHOWN = 30
NAMES_SHOWN = 5
NARROW_CELLS = 60
"""Below this width the bar itself is left out, so that the figures stay on one line."""

LOG_EVERY_S = 30.0
"""How often a log file gets a line of progress."""


class RunView:
    """Shows one run on a screen, and remembers what the table and the exit code need."""

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self.tally = Tally()
        self._shown: list[PhotoResult] = []
        self._reasons: list[tuple[str, str]] = []
        self._tiles: Counter[int] = Counter()

    def show_plan(self, plan: RunPlan) -> None:
        """What was found, how metadata met it, what will be asked."""
        row = self.screen.row
        count = sum(len(recipe.questions) for recipe in plan.recipes) * len(plan.languages)
        row("Photos", f"{len(plan.files):,} found{_ignored(plan.ignored)}")
        if plan.skipped is not None:
            row("Skipped", skipped_text(plan.skipped))
        if plan.metadata_match:
            for line in _metadata_lines(plan.metadata_match):
                row("Metadata", line)
        if plan.duplicates:
            row("Same bytes", _some([" = ".join(group) for group in plan.duplicates], "groups"))
        names = ", ".join(f"{recipe.id} (version {recipe.version})" for recipe in plan.recipes)
        row("Asking", f"{count} questions a photo: {names}, in {' and '.join(plan.languages)}")

    def show_work(self, work: Work) -> None:
        """What of it the workspace has already."""
        moved = f"; {work.moved:,} were found at a new place" if work.moved else ""
        self.screen.row("Workspace", f"{counted(work.kept, 'photo')} complete, {len(work.asks):,} to ask{moved}")
        if work.failed:
            key, reason = next(iter(work.failed.items()))
            text = f"{len(work.failed):,} photos failed before, such as {key}: {reason}. --retry-failed tries again"
            self.screen.row("Failed", text)

    @contextmanager
    def download(self, model: str) -> Iterator[Callable[[Transfer], None]]:
        """A bar of a download, and a function to call with how far it is; nothing is drawn before the first call."""
        columns = (TextColumn(f"Fetching {plain_line(model)}"), DownloadColumn())
        bar = self._bar(columns, TransferSpeedColumn(), TimeRemainingColumn(compact=True))
        log = Log(self.screen)
        task = bar.add_task("", total=None)

        def seen(transfer: Transfer) -> None:
            bar.start()
            bar.update(task, completed=transfer.done_bytes, total=transfer.total_bytes)
            done, total, rate = (n / 1e9 for n in (transfer.done_bytes, transfer.total_bytes, transfer.bytes_per_s))
            log.line(lambda: f"Fetching {model}: {done:.1f} of {total:.1f} GB, {1000 * rate:.0f} MB/s")

        try:
            yield seen
        except KeyboardInterrupt:
            bar.stop()
            if bar.tasks[task].completed:
                self.screen.warn("Stopped. The same command goes on with the download where it is now.")
            raise
        finally:
            bar.stop()

    def show_engine(self, card: EngineCard) -> None:
        """What answers."""
        revision = f" at {card.revision[:12]}" if card.revision else ""
        hardware = f" ({card.hardware})" if card.hardware else ""
        self.screen.row("Model", f"{card.model}{revision}, {card.dtype} on {card.device}{hardware}")
        if card.adapter_folder:
            self.screen.row("Adapter", card.adapter_folder)

    def show_batch(self, tiles: Mapping[int, int], batch: BatchPlan) -> None:
        """What a sample of the photos looks like, by tiles, and what a batch of the commonest is expected to take."""
        spread = ", ".join(f"{photos} × {count}" for count, photos in sorted(tiles.items()))
        self.screen.row("Tiles", f"{spread} (photos × tiles, of {sum(tiles.values())} looked at)")
        self.screen.row(
            "Batch",
            f"up to {counted(batch.photos, 'photo')} of {counted(batch.tiles, 'tile')}; expecting "
            f"{gib(batch.weight_bytes)} of weights and {gib(batch.batch_bytes)} of {gib(batch.free_bytes)} free; "
            "halved should it not fit",
        )

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[Iterable[PhotoResult]], None]]:
        """A bar, and a function to call with results as they come."""
        self.tally = Tally()
        narrow = (TextColumn("{task.fields[rate]:.1f} photos/s"), TimeRemainingColumn(compact=True))
        bar = self._bar((MofNCompleteColumn(),), *narrow)
        log = Log(self.screen)
        with bar:
            task = bar.add_task("", total=total, rate=0.0)

            def seen(results: Iterable[PhotoResult]) -> None:
                self._note(results)
                done, seconds = self.tally.photos, max(self.tally.seconds, 1e-9)
                rate = done / seconds
                bar.update(task, completed=done, rate=rate)
                left = duration((total - done) / rate) if done else "unknown"
                log.line(lambda: f"{done:,} of {total:,} photos, {rate:.1f} photos/s, {left} left")

            yield seen

    def show_results(
        self,
        plan: RunPlan,
        card: EngineCard,
        kept: Callable[[Sequence[int]], Iterable[PhotoResult]] | None = None,
    ) -> None:
        """The table, and what was set aside and why. `kept` gives what a workspace has of photos, by their indexes."""
        for key, reason in self._reasons[:ROWS_SHOWN]:
            self.screen.note("Set aside", f"{key}: {reason}")
        if len(self._reasons) > ROWS_SHOWN:
            self.screen.note("Set aside", f"… and {len(self._reasons) - ROWS_SHOWN:,} more, each with its reason kept")
        if self._shown:
            self._shown.sort(key=lambda result: result.index)
            shown = list(kept([result.index for result in self._shown])) if kept else self._shown
            self.screen.show()
            self.screen.show(results_table(plan, shown, self.screen.out.width))
            if any(flag.language == plan.languages[0] for result in shown for flag in result.flags):
                self.screen.show(f"{MARK} is flagged: against the crawled kind, or unsure.")
        if self.tally.answered > len(self._shown):
            self.screen.show(f"… and {self.tally.answered - len(self._shown):,} more photos.")
        if card.knows_renders_alone:
            self.screen.show(Text(DISCLAIMER, style="bold yellow"))
        if self._shown:
            self.screen.show()

    def show_sums(self, peak_bytes: int | None) -> None:
        """How much was done, how fast, in what memory, and why photos failed."""
        tally, row = self.tally, self.screen.row
        seconds = max(tally.seconds, 1e-9)
        row("Done", f"{tally.answered:,} answered, {tally.failed:,} set aside in {duration(seconds)}")
        row(
            "Speed",
            f"{tally.answered / seconds:.2f} photos/s; {tally.answers:,} answers; {tally.new_tokens:,} new tokens, "
            f"{tally.new_tokens / seconds:.0f} tokens/s",
        )
        if tally.asked_again or tally.marks:
            row("Again", f"{counted(tally.asked_again, 'answer')} asked again{_marked(tally.marks)}")
        if self._tiles:
            tiles = ", ".join(f"{photos:,} × {tiles}" for tiles, photos in sorted(self._tiles.items()))
            row("Tiles", f"{tiles} (photos × tiles)")
        if peak_bytes:
            row("Memory", f"{gib(peak_bytes)} at most")

    def show_flagged(self, flagged: FlagCounts, see: str) -> None:
        """How many photos a person should look at, if any, and where to see why."""
        if flagged.photos:
            self.screen.row("Flagged", f"{flagged_text(flagged)}; {see}")

    def show_lengths(self, descriptions: Sequence[Description], budget: str, limit: int | None) -> None:
        """How long the descriptions are, and how many had to leave something out."""
        tokens = [description.tokens for description in descriptions if description.tokens is not None]
        if not tokens:
            return
        shortened = sum(bool(description.dropped) for description in descriptions)
        at_most = "" if limit is None else f", at most {limit}"
        self.screen.row("Lengths", f"{histogram(tokens)} tokens a description; budget {budget}{at_most}")
        self.screen.row("Shortened", f"{shortened:,} of {len(descriptions):,} descriptions left phrases out to fit")

    def show_stopped(self, left: int, *, goes_on: bool) -> None:
        """That a run was stopped, and how to go on."""
        done = self.tally.photos
        if goes_on:
            self.screen.warn(
                f"Stopped: {done:,} photos are done and kept, {left:,} are left. Go on with the same command:"
            )
            again = ["--overwrite"] if {"-o", "--output"} & set(sys.argv) and "--overwrite" not in sys.argv else []
            self.screen.warn(f"  {shlex.join(['carscribe', *sys.argv[1:], *again])}")
        else:
            self.screen.warn(
                f"Stopped: {done:,} photos are done and written, {left:,} are left. With -w WORKSPACE a run can go on "
                "where it stopped."
            )

    def _note(self, results: Iterable[PhotoResult]) -> None:
        results = list(results)
        self.tally.add(results)
        for result in results:
            if result.error is not None:
                self._reasons.append((result.file.key, result.error))
            else:
                self._tiles[result.tiles or 0] += 1
                if len(self._shown) < ROWS_SHOWN:
                    self._shown.append(result)

    def _bar(self, first: Sequence[ProgressColumn], *last: ProgressColumn) -> Progress:
        wide = self.screen.err.width >= NARROW_CELLS
        return Progress(
            *(first if not wide else (*first, BarColumn(bar_width=None))),
            *last,
            console=self.screen.err,
            transient=True,
            disable=self.screen.quiet or not self.screen.err.is_terminal,
        )


class Log:
    """Lines of progress for a file, not more often than is useful."""

    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._next = time.monotonic() + LOG_EVERY_S

    def line(self, text: Callable[[], str]) -> None:
        """Write `text()` when it is time and nobody watches a bar."""
        if not self._screen.err.is_terminal and time.monotonic() >= self._next:
            self._screen.say(text())
            self._next = time.monotonic() + LOG_EVERY_S


def _marked(marks: Counter[str]) -> str:
    """How many answers are none for all that, and why.

    >>> _marked(Counter({"empty": 1})), _marked(Counter({"a refusal": 1, "empty": 2}))
    (', 1 marked: empty', ', 3 marked: empty (2), a refusal (1)')
    """
    if not marks:
        return ", and all are fine now"
    reasons = [f"{why} ({count:,})" if len(marks) > 1 else why for why, count in marks.most_common()]
    return f", {marks.total():,} marked: {', '.join(reasons)}"


def skipped_text(skipped: Mapping[str, int]) -> str:
    """How many photos a check's report kept out of a run, and why.

    >>> skipped_text({"blurry": 3, "near_duplicate": 1})
    '4 photos that the check flagged: blurry 3, near-duplicates 1'
    """
    if not skipped:
        return "none: no photo here is one that the check flagged"
    why = ", ".join(f"{TITLES.get(kind, kind).lower()} {count:,}" for kind, count in skipped.items())  # type: ignore[call-overload]
    return f"{counted(sum(skipped.values()), 'photo')} that the check flagged: {why}"


def _ignored(ignored: Mapping[str, int]) -> str:
    if not ignored:
        return ""
    named = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(ignored.items()))
    return f"; {counted(sum(ignored.values()), 'other file')} ignored ({named})"


def _metadata_lines(report: MetadataMatch) -> Iterator[str]:
    yield f"{report.rows_matched} of {report.rows_total} rows matched a photo"
    if report.photos_without_row:
        yield f"photos without a row: {_some(report.photos_without_row, 'photos')}"
    if report.rows_without_photo:
        yield f"rows without a photo: {_some(report.rows_without_photo, 'rows')}"
    yield from report.conflicts[:NAMES_SHOWN]
    if len(report.conflicts) > NAMES_SHOWN:
        yield f"… and {len(report.conflicts) - NAMES_SHOWN} more conflicts"


def _some(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:NAMES_SHOWN])
    return shown if len(names) <= NAMES_SHOWN else f"{shown} … ({len(names)} {what}; all with --report FILE)"
