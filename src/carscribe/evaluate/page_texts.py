"""The parts of the page that need no labels: how answers agree with each other, and what they are as texts."""

from collections.abc import Iterable, Sequence

from carscribe.evaluate.page_shares import percent, percents
from carscribe.evaluate.report import Report
from carscribe.evaluate.texts import DescriptionMeasure
from carscribe.pages.pieces import number, table, text


def agreement_section(report: Report) -> str:
    """Languages, open answers against choices, orders of choices."""
    parts = [_languages(report), _open_against_choice(report)]
    parts += [
        f"<p>Choices of {text(order.question)} in reverse order ({text(order.reversed)}, {text(order.language)}): "
        f"{percents(order.same)} % of {order.same.total} answers are the same.</p>"
        for order in report.orders
    ]
    return f"<h2>Do answers agree with each other?</h2>{''.join(parts)}" if any(parts) else ""


def texts_section(report: Report) -> str:
    """Open answers, and the descriptions composed of them."""
    rows = [
        (
            text(report.name_of(each.recipe, each.question)),
            text(each.language),
            f"{percent(each.same_opening.share)} % “{text(each.opening)}”",
            number(each.answers),
            percents(each.degenerate),
            percents(each.foreign),
            percents(each.repeated),
        )
        for each in report.texts
    ]
    heads = ("question", "", "commonest opening", "n", "degenerate, %", "foreign script, %", "another's words, %")
    examples = _examples(
        ("photo", "answer", "why"), ((e.photo, e.text, e.why) for each in report.texts for e in each.examples)
    )
    described = [_described(each) for each in report.descriptions]
    composed = table(("recipe", "", "commonest opening", "n", "another's words, %", "budgets"), described)
    return f"<h2>As texts</h2>{table(heads, rows)}{examples}<h3>Composed descriptions</h3>{composed}"


def _described(each: DescriptionMeasure) -> tuple[str, ...]:
    budgets = "<br>".join(
        f"{text(tokens.budget)}: {percents(tokens.within)} % fit whole; {tokens.smallest} to {tokens.largest} tokens, "
        f"median {tokens.median:.0f}, limit {tokens.limit}"
        for tokens in each.tokens
    )
    return (
        text(each.recipe),
        text(each.language),
        f"{percent(each.same_opening.share)} % “{text(each.opening)}”",
        number(each.descriptions),
        percents(each.repeated),
        budgets or "not counted: no encoder knows the language",
    )


def _languages(report: Report) -> str:
    if not report.agreement:
        return ""
    rows = [
        (
            text(report.name_of(each.recipe, each.question)),
            text(each.attribute or "the choice"),
            text(" / ".join(each.languages)),
            number(each.agreeing.total),
            percents(each.agreeing),
            number(each.only_first),
            number(each.only_second),
        )
        for each in report.agreement
    ]
    heads = ("question", "states", "", "n", "the same, %", "only first says it", "only second")
    examples = ((e.photo, e.first, e.second) for each in report.agreement for e in each.examples)
    return f"<h3>One question in two languages</h3>{table(heads, rows)}{_examples(_SIDES, examples)}"


def _open_against_choice(report: Report) -> str:
    if not report.contradictions:
        return ""
    rows = [
        (
            text(report.name_of(each.recipe, each.open)),
            text(each.choice),
            text(each.language),
            number(each.contradicting.total),
            percents(each.contradicting),
        )
        for each in report.contradictions
    ]
    heads = ("open question", "choice", "", "n", "contradicting, %")
    examples = ((e.photo, e.first, e.second) for each in report.contradictions for e in each.examples)
    return f"<h3>An open answer against a choice</h3>{table(heads, rows)}{_examples(_SIDES, examples)}"


_SIDES = ("photo", "one says", "the other")


def _examples(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    listed = [tuple(text(cell) for cell in row) for row in rows]
    if not listed:
        return ""
    return f"<details><summary>Examples ({len(listed)})</summary>{table(heads, listed, numbers=False)}</details>"
