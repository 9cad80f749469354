"""The part of the page about choices that were asked again: in reverse order, and of a grey picture."""

from carscribe.evaluate.page_shares import gap, percent, percents
from carscribe.evaluate.probes import OrderMeasure, PriorMeasure, ProbedChoice
from carscribe.evaluate.report import Report
from carscribe.pages.pieces import number, table, text


def probe_section(report: Report) -> str:
    """Both tables; nothing where nothing was asked again."""
    if (probe := report.probe) is None:
        return ""
    named = [(report.name_of(each.recipe, each.question), each) for each in probe.choices]
    orders = [_order(name, each, each.order) for name, each in named if each.order]
    return (
        "<h2>What do choices depend on besides the photo?</h2>"
        f"<p>The choices of {probe.photos:,} photos were asked again ({text(probe.dtype)} on {text(probe.device)}): as "
        "they stand, with what they list in reverse order, and of a plain grey picture.</p>"
        f"{_in_order(orders) if orders else ''}{_of_nothing([_prior(name, each, each.prior) for name, each in named])}"
    )


def _in_order(rows: list[tuple[str, ...]]) -> str:
    heads = (
        *("question", "", "n", "the same, %", "repeated", "to front", "moved"),
        *("right, %", "reversed", "difference, points", "ECE", "of both"),
    )
    return (
        "<h3>In reverse order</h3><p>“The same” are answers that do not depend on the order, “repeated” those that "
        "come out again when nothing is reversed: hold one against the other. Of answers that changed, “to front” "
        "followed what stands nearer to the front. “Moved” is how much of the scores, in %, goes elsewhere. “Of both” "
        "is the error (ECE) of the mean scores of both orders.</p>"
        f"{table(heads, rows)}"
    )


def _order(name: str, each: ProbedChoice, order: OrderMeasure) -> tuple[str, ...]:
    right = order.agreement.accuracy
    return (
        text(name),
        text(each.language),
        number(order.agreement.same.total),
        percents(order.agreement.same),
        percent(each.repeated.share),
        f"{order.to_front.count} of {order.to_front.total}" if order.to_front.total else "–",
        f"{100 * order.moved:.1f}",
        percent(right.mine) if right else "–",
        percent(right.other) if right else "–",
        gap(right.difference, right.low, right.high) if right else "–",
        f"{order.given.ece:.3f}" if order.given else "–",
        f"{order.averaged.ece:.3f}" if order.averaged else "–",
    )


def _of_nothing(rows: list[tuple[str, ...]]) -> str:
    heads = (
        *("question", "", "says", "score", "left open", "mass", "said of photos, %", "of labelled ones"),
        *("labelled", "difference, points"),
    )
    return (
        "<h3>Of a grey picture</h3><p>What is said where there is nothing to see comes of the words alone. A high "
        "score is certainty that no photo gave; “left open” is how many equally likely choices would be as uncertain. "
        "Where photos are said to be it more often than labels have it, the model leans on it.</p>"
        f"{table(heads, rows)}"
    )


def _prior(name: str, each: ProbedChoice, prior: PriorMeasure) -> tuple[str, ...]:
    lean = prior.lean
    return (
        text(name),
        text(each.language),
        text(prior.best),
        f"{prior.score:.2f}",
        f"{prior.left_open:.1f} of {each.choices}",
        "–" if prior.mass is None else f"{prior.mass:.2f}",
        percents(prior.said),
        percent(lean.mine) if lean else "–",
        percent(lean.other) if lean else "–",
        gap(lean.difference, lean.low, lean.high) if lean else "–",
    )
