"""An evaluation at the terminal: tables of at most 80 columns, and what they do not show said in a line each."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size
from rich.table import Table
from rich.text import Text

from carscribe.evaluate.intervals import Share
from carscribe.evaluate.judging import AttributeMeasure
from carscribe.evaluate.report import Report
from carscribe.plaintext import counted, plain_line
from carscribe.terminal.screen import Screen

WORST_SHOWN = 5
OPENING, OPENING_CELLS = "commonest opening", 24
_SOURCES = {"labels": "labels", "kind": "the crawled kind"}


def show_evaluation(screen: Screen, report: Report) -> None:
    """All of a report that a person reads first."""
    row = screen.result
    row("Workspace", f"{report.workspace}: {counted(report.photos, 'photo')}, {counted(report.answers, 'answer')}")
    row("Model", ", ".join(report.models))
    if report.disclaimer:
        row("Worthless", report.disclaimer)
    for labels in report.labels:
        row("Judged by", f"{_SOURCES[labels.source]} of {counted(labels.photos, 'photo')}")
    for source in dict.fromkeys(each.source for each in report.attributes):
        _tables(screen, report, [each for each in report.attributes if each.source == source])
    _scores(screen, report)
    _calibrated(screen, report)
    _orders(screen, report)
    _probe(screen, report)
    _comparison(screen, report)
    _without_labels(screen, report)
    _texts(screen, report)
    if report.worst:
        _heading(screen, "Photos with most that is wrong")
        for worst in report.worst[:WORST_SHOWN]:
            first = worst.wrong[0]
            row("", f"{worst.photo}: {first.said_by.answer.text!r}, right is {' or '.join(first.right) or 'nothing'}")
    if report.notes:
        screen.show()
    for note in report.notes:
        row("Note", note)


def percent(share: float | None) -> str:
    """A share for people.

    >>> percent(0.875), percent(None)
    ('88', '–')
    """
    return "–" if share is None else f"{100 * share:.0f}"


def interval(share: Share) -> str:
    """A share with its interval, in per cent.

    >>> from carscribe.evaluate.intervals import share_of
    >>> interval(share_of(8, 10)), interval(share_of(0, 0))
    ('80 (49–94)', '–')
    """
    if share.share is None:
        return "–"
    return f"{percent(share.share)} ({percent(share.low)}–{percent(share.high)})"


def _tables(screen: Screen, report: Report, measures: Sequence[AttributeMeasure]) -> None:
    """What was right, of measures by labels of one source."""
    _heading(screen, f"Right by {_SOURCES[measures[0].source]}, in % (95 % interval)")
    table = _table(("attribute", "question", "", "n", "right", "unsaid", "wrong", "of said"), numbers=4)
    for each in measures:
        name = f"{report.name_of(each.recipe, each.question)}{' (choice)' if each.choice else ''}"
        table.add_row(
            *_cells(
                each.attribute,
                name,
                each.language,
                f"{each.judged}",
                interval(each.right),
                percent(each.unsaid.share),
                percent(each.contradicted.share),
                percent(each.right_of_said.share),
            )
        )
    screen.show(table)
    for each in measures:
        if each.invented.total:
            question = report.name_of(each.recipe, each.question)
            told = f"{question} ({each.language}): {interval(each.invented)} % of"
            photos = counted(each.invented.total, "photo")
            screen.result("Invented", f"{each.attribute}, {told} {photos} that have none")


def _scores(screen: Screen, report: Report) -> None:
    choices = [each for each in report.attributes if each.scores]
    if not choices:
        return
    _heading(screen, "Scores of choices against what is right")
    table = _table(("question", "", "by", "n", "mean score", "right %", "ECE (by chance)", "Brier", "mass"), numbers=3)
    for each in choices:
        if (scores := each.scores) is None:
            continue
        mass = "–" if scores.mean_mass is None else f"{scores.mean_mass:.2f}"
        table.add_row(
            *_cells(
                report.name_of(each.recipe, each.question),
                each.language,
                each.source,
                f"{scores.answers}",
                f"{scores.mean_score:.2f}",
                percent(scores.right.share),
                f"{scores.ece:.3f} ({scores.ece_by_chance:.3f})",
                f"{scores.brier:.3f}",
                mass,
            )
        )
    screen.show(table)


def _calibrated(screen: Screen, report: Report) -> None:
    if not report.calibrated:
        return
    _heading(screen, "Calibrated: carscribe show says confidence from now on")
    table = _table(("question", "", "n", "temperature", "ECE", "after", "by chance", "Brier", "after"), numbers=2)
    for each in report.calibrated:
        numbers = (each.ece_before, each.ece_after, each.ece_by_chance, each.brier_before, each.brier_after)
        edge = " (not kept)" if each.undecided else ""
        table.add_row(
            *_cells(
                report.name_of(each.recipe, each.question),
                each.language,
                f"{each.photos}",
                f"{each.temperature:.2f}{edge}",
                *(f"{number:.3f}" for number in numbers),
            )
        )
    screen.show(table)


def _orders(screen: Screen, report: Report) -> None:
    for each in report.orders:
        told = ""
        if found := each.accuracy:
            told = (
                f"; right {percent(found.mine)} % and {percent(found.other)} % of {found.pairs}, difference "
                f"{_points(found.difference, found.low, found.high)}"
            )
        screen.result(
            "Order", f"{each.question} and {each.reversed} ({each.language}): {interval(each.same)} % the same{told}"
        )


def _probe(screen: Screen, report: Report) -> None:
    if (probe := report.probe) is None:
        return
    _heading(screen, f"Choices of {probe.photos:,} photos asked again in reverse order, in %")
    table = _table(("question", "", "n", "the same", "to front", "moved", "right", "difference"), numbers=3)
    for each in probe.choices:
        if (order := each.order) is None:
            continue
        right = order.agreement.accuracy
        table.add_row(
            *_cells(
                report.name_of(each.recipe, each.question),
                each.language,
                f"{order.agreement.same.total}",
                interval(order.agreement.same),
                f"{order.to_front.count} of {order.to_front.total}" if order.to_front.total else "–",
                f"{100 * order.moved:.1f}",
                percent(right.mine) if right else "–",
                _points(right.difference, right.low, right.high) if right else "–",
            )
        )
    screen.show(table)
    _heading(screen, "What is said of a grey picture, and how often of photos, in %")
    table = _table(("question", "", "says", "score", "left open", "mass", "said", "less labelled"), numbers=4)
    for each in probe.choices:
        prior, lean = each.prior, each.prior.lean
        table.add_row(
            *_cells(
                report.name_of(each.recipe, each.question),
                each.language,
                prior.best,
                f"{prior.score:.2f}",
                f"{prior.left_open:.1f} of {each.choices}",
                "–" if prior.mass is None else f"{prior.mass:.2f}",
                percent(prior.said.share),
                _points(lean.difference, lean.low, lean.high) if lean else "–",
            )
        )
    screen.show(table)


def _comparison(screen: Screen, report: Report) -> None:
    if (comparison := report.comparison) is None:
        return
    _heading(screen, f"{comparison.mine} less {comparison.other}, in points (95 % interval)")
    table = _table(("attribute", "question", "", "n", "this", "other", "difference", "p"), numbers=3)
    first = comparison.attributes[0].source  # what people labelled, where they did: the kinds are in the JSON
    for each in (each for each in comparison.attributes if each.source == first):
        found = each.accuracy
        table.add_row(
            *_cells(
                each.attribute,
                f"{report.name_of(each.recipe, each.question)}{' (choice)' if each.choice else ''}",
                each.language,
                f"{found.pairs}",
                percent(found.mine),
                percent(found.other),
                _points(found.difference, found.low, found.high),
                f"{found.p_value:.3f}",
            )
        )
    for whole in (whole for whole in comparison.whole if whole.source == first):
        table.add_row(
            *_cells(
                "all",
                f"{whole.photos} photos",
                whole.language,
                f"{whole.answers}",
                percent(whole.mine),
                percent(whole.other),
                _points(whole.difference, whole.low, whole.high),
                "",
            )
        )
    screen.show(table)


def _without_labels(screen: Screen, report: Report) -> None:
    if report.agreement:
        _heading(screen, "One question in two languages: the same said, in % of where both say it")
        table = _table(("question", "states", "", "n", "agreeing", "only first", "only second"), numbers=3)
        for each in report.agreement:
            table.add_row(
                *_cells(
                    report.name_of(each.recipe, each.question),
                    each.attribute or "the choice",
                    "/".join(each.languages),
                    f"{each.agreeing.total}",
                    interval(each.agreeing),
                    f"{each.only_first}",
                    f"{each.only_second}",
                )
            )
        screen.show(table)
    if report.contradictions:
        _heading(screen, "An open answer against a choice: contradicting, in % of where both say it")
        table = _table(("open", "choice", "", "n", "contradicting"), numbers=3)
        for against in report.contradictions:
            table.add_row(
                *_cells(
                    report.name_of(against.recipe, against.open),
                    against.choice,
                    against.language,
                    f"{against.contradicting.total}",
                    interval(against.contradicting),
                )
            )
        screen.show(table)


def _texts(screen: Screen, report: Report) -> None:
    if report.texts:
        _heading(screen, "Open answers as texts, in %")
        table = _table(("question", "", "n", "degenerate", "foreign", "repeated", OPENING), numbers=3)
        for each in report.texts:
            table.add_row(
                *_cells(
                    report.name_of(each.recipe, each.question),
                    each.language,
                    f"{each.answers}",
                    percent(each.degenerate.share),
                    percent(each.foreign.share),
                    percent(each.repeated.share),
                    _short(f"{percent(each.same_opening.share)} {each.opening}"),
                )
            )
        screen.show(table)
    if report.descriptions:
        _heading(screen, "Composed descriptions, in %; tokens as the budget counts them")
        table = _table(("recipe", "", "n", "repeated", "budget", "fits whole", "median", "95 %", "most"), numbers=3)
        for described in report.descriptions:
            head = (described.recipe, described.language, f"{described.descriptions}")
            repeated = percent(described.repeated.share)
            for tokens in described.tokens:
                numbers = (tokens.median, tokens.ninety_five_percent, tokens.largest)
                fits = f"{tokens.budget} ({tokens.limit})", interval(tokens.within)
                table.add_row(*_cells(*head, repeated, *fits, *(f"{number:.0f}" for number in numbers)))
            if not described.tokens:
                table.add_row(*_cells(*head, repeated, "–"))
        screen.show(table)


def _points(difference: float, low: float, high: float) -> str:
    """A difference in percentage points.

    >>> _points(0.2, 0.056, 0.329)
    '+20 (+6 to +33)'
    """
    return f"{100 * difference:+.0f} ({100 * low:+.0f} to {100 * high:+.0f})"


def _heading(screen: Screen, text: str) -> None:
    screen.show()
    screen.show(Text(plain_line(text), style="bold"))


def _table(heads: Sequence[str], *, numbers: int) -> Table:
    """A table as wide as it needs. Where a terminal is narrower, the two first columns wrap.

    Columns from the `numbers`-th on stand at the right, save one of words at the end.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    for place, head in enumerate(heads):
        words = place < numbers - 1 or head == OPENING
        table.add_column(
            head, justify="left" if words else "right", no_wrap=place > 1, overflow="fold" if place < 2 else "ellipsis"
        )
    return table


def _short(text: str) -> str:
    return text if cell_len(text) <= OPENING_CELLS else f"{set_cell_size(text, OPENING_CELLS - 1).rstrip()}…"


def _cells(*texts: str) -> list[Text]:
    return [Text(plain_line(text)) for text in texts]
