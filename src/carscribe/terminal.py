"""What a person sees: the plan before, a bar during, a table after. Standard error, save for the table.

Text that came from a crawl or a model is shown as plain text: no markup, no control characters.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from carscribe.photos.metadata import MetadataMatch
from carscribe.pipeline import RunPlan
from carscribe.plaintext import plain_line
from carscribe.records import Answer, EngineCard, PhotoResult

ROWS_SHOWN = 30
NAMES_SHOWN = 5
HEAD_CELLS, ANSWER_CELLS = 28, 18
"""The widest a photo or name column gets, and the narrowest an answer column, in terminal cells."""


class Terminal:
    """Shows one run. `quiet` keeps standard output for machines and says only what went wrong."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._out = Console(highlight=False, markup=False)
        self._err = Console(stderr=True, highlight=False, markup=False)
        self._shown: list[PhotoResult] = []
        self._reasons: list[tuple[str, str]] = []
        self._answered = 0
        self._answers = 0
        self._new_tokens = 0
        self._tiles: Counter[int] = Counter()
        self._seconds = 0.0
        self.set_aside = 0

    def say(self, text: str) -> None:
        """One line of news."""
        if not self._quiet:
            self._err.print(Text(plain_line(text)), soft_wrap=True)

    def show_plan(self, plan: RunPlan) -> None:
        """What was found, how metadata met it, what will be asked."""
        count = sum(len(recipe.questions) for recipe in plan.recipes) * len(plan.languages)
        self._row("Photos", f"{len(plan.files)} found{_ignored(plan.ignored)}")
        if plan.metadata_match:
            for line in _metadata_lines(plan.metadata_match):
                self._row("Metadata", line)
        if plan.duplicates:
            self._row("Same bytes", _some([" = ".join(group) for group in plan.duplicates], "groups"))
        names = ", ".join(f"{recipe.id} (version {recipe.version})" for recipe in plan.recipes)
        self._row("Asking", f"{count} questions a photo: {names}, in {' and '.join(plan.languages)}")

    @contextmanager
    def loading(self, model: str | None) -> Iterator[None]:
        """A sign of life while a model is fetched and loaded."""
        if self._quiet:
            yield
            return
        with self._err.status(Text(f"Loading {plain_line(model or 'a model')} …")):
            yield

    def show_engine(self, card: EngineCard) -> None:
        """What answers."""
        revision = f" at {card.revision[:12]}" if card.revision else ""
        self._row("Model", f"{card.model}{revision}, {card.dtype} on {card.device}")

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[PhotoResult], None]]:
        """A bar, and a function to call with every result."""
        bar = Progress(
            TextColumn("Describing"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:.1f}/s"),
            TimeRemainingColumn(compact=True),
            console=self._err,
            transient=True,
            disable=self._quiet or not self._err.is_terminal,
        )
        started = time.monotonic()
        with bar:
            task = bar.add_task("", total=total, rate=0.0)

            def seen(result: PhotoResult) -> None:
                self._note(result)
                done = self._answered + self.set_aside
                self._seconds = time.monotonic() - started
                bar.update(task, completed=done, rate=done / max(self._seconds, 1e-9))

            try:
                yield seen
            except KeyboardInterrupt:
                self._err.print(
                    f"Interrupted: {self._answered + self.set_aside} of {total} photos are done and kept.",
                    soft_wrap=True,
                )
                raise

    def show_results(self, plan: RunPlan, card: EngineCard, path: Path | None) -> None:
        """The table, what was set aside and why, and the sums."""
        for key, reason in self._reasons[:ROWS_SHOWN]:
            self._err.print(Text(f"Set aside  {plain_line(key)}: {plain_line(reason)}"), soft_wrap=True)
        if len(self._reasons) > ROWS_SHOWN:
            self._err.print(
                f"Set aside  … and {len(self._reasons) - ROWS_SHOWN} more, each with its reason in the output"
            )
        if self._quiet:
            return
        if self._shown:
            self._out.print()
            self._out.print(self._table(plan))
        if self._answered > len(self._shown):
            self._out.print(f"… and {self._answered - len(self._shown)} more photos.", soft_wrap=True)
        if card.words_mean_nothing:
            self._out.print("The demo model has random weights: its words mean nothing.", style="bold yellow")
        if self._shown:
            self._out.print()
        rate = self._answered / self._seconds if self._seconds else 0.0
        self._row("Done", f"{self._answered} answered, {self.set_aside} set aside in {self._seconds:.1f} s")
        self._row("Speed", f"{rate:.2f} photos/s; {self._answers} answers, {self._new_tokens} new tokens")
        tiles = ", ".join(f"{photos} × {tiles}" for tiles, photos in sorted(self._tiles.items()))
        self._row("Tiles", f"{tiles or 'none'} (photos × tiles)")
        if path:
            self._row("Written", str(path))

    def _note(self, result: PhotoResult) -> None:
        if result.error is not None:
            self.set_aside += 1
            self._reasons.append((result.file.key, result.error))
            return
        self._answered += 1
        self._answers += len(result.answers)
        self._new_tokens += sum(answer.tokens for answer in result.answers if answer.finish != "choice")
        self._tiles[result.tiles or 0] += 1
        if len(self._shown) < ROWS_SHOWN:
            self._shown.append(result)

    def _row(self, head: str, text: str) -> None:
        if not self._quiet:
            self._err.print(Text.assemble((f"{head:<11}", "bold"), plain_line(text)), soft_wrap=True)

    def _table(self, plan: RunPlan) -> Table:
        """Photo and name as wide as they need, then as many answers of the first language as fit.

        Choices come first, then open questions by priority; one column always, however narrow the terminal.
        """
        questions = [(recipe, question) for recipe in plan.recipes for question in recipe.questions]
        columns = sorted(questions, key=lambda asked: (not asked[1].choices, asked[1].priority))
        ids = Counter(question.id for _, question in questions)
        heads = {"photo": [plain_line(result.file.key) for result in self._shown]}
        if any(result.file.metadata.name for result in self._shown):
            heads["name (kind)"] = [_name(result) for result in self._shown]
        table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        room = self._out.width
        for head, cells in heads.items():
            width = min(HEAD_CELLS, max(cell_len(text) for text in (head, *cells)), max(6, self._out.width // 4))
            table.add_column(head, overflow="ellipsis", no_wrap=True, width=width)
            room -= width + 1
        columns = columns[: max(1, room // (ANSWER_CELLS + 1))]
        for recipe, question in columns:
            head = question.id if ids[question.id] == 1 else f"{recipe.id}.{question.id}"
            table.add_column(head, overflow="ellipsis", no_wrap=True, ratio=1)
        for result, *texts in zip(self._shown, *heads.values(), strict=True):
            cells = [_cell(result.answers, (r.id, q.id, plan.languages[0])) for r, q in columns]
            table.add_row(*map(Text, (*texts, *cells)))
        return table


def _cell(answers: Sequence[Answer], asked: tuple[str, str, str]) -> str:
    """The answer to (recipe, question, language), a choice with its score."""
    answer = next((a for a in answers if (a.recipe_id, a.question_id, a.language) == asked), None)
    if answer is None:
        return ""
    if answer.scores:
        return f"{plain_line(answer.text)} {max(answer.scores.values()):.2f}"
    return plain_line(answer.text)


def _name(result: PhotoResult) -> str:
    metadata = result.file.metadata
    return plain_line((metadata.name or "") + (f" ({metadata.kind})" if metadata.kind else ""))


def _ignored(ignored: Mapping[str, int]) -> str:
    if not ignored:
        return ""
    named = ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in sorted(ignored.items()))
    return f"; {sum(ignored.values())} other files ignored ({named})"


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
