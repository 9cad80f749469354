"""The report as one page to post: no scripts, nothing loaded from elsewhere, no folders of this machine."""

from collections.abc import Iterator
from pathlib import Path

from carscribe.evaluate.comparing import ComparedAttribute, ComparedWhole, Comparison
from carscribe.evaluate.judging import AttributeMeasure, Judged
from carscribe.evaluate.page_probes import probe_section
from carscribe.evaluate.page_shares import gap, percent, percents
from carscribe.evaluate.page_texts import agreement_section, texts_section
from carscribe.evaluate.plots import difference_bar, points, ranked, reliability_plot, shade, share_bar
from carscribe.evaluate.report import Report, WorstPhoto
from carscribe.evaluate.vocabulary import shipped_vocabulary
from carscribe.pages.pieces import facts, number, page, table, text, without_folders
from carscribe.thumbnails import thumbnail

_SOURCES = {"labels": "labels", "kind": "the crawled kind"}


def render_page(report: Report) -> str:
    """The page as HTML. All text that is not the page's own is escaped."""
    model = " and ".join(report.models)
    notes = "".join(f"<li>{text(without_folders(note))}</li>" for note in report.notes)
    return page(
        "carscribe.evaluate",
        title=f"How good are the answers of {model}?",
        disclaimer=f'<p class="banner">{text(report.disclaimer)}</p>' if report.disclaimer else "",
        about=_about(report),
        notes=f'<ul class="notes">{notes}</ul>' if notes else "",
        sections="".join(_sections(report)),
    )


def _sections(report: Report) -> Iterator[str]:
    yield from _right(report)
    yield _scores(report)
    yield probe_section(report)
    yield _comparison(report)
    yield _worst(report)
    yield _confusions(report)
    yield agreement_section(report)
    yield texts_section(report)


def _about(report: Report) -> str:
    judged = "; ".join(f"{_SOURCES[each.source]} of {each.photos:,} photos" for each in report.labels)
    rows = {
        "Workspace": Path(report.workspace).name,
        "Model": ", ".join(report.models),
        "Asked": f"{', '.join(report.recipes)} in {', '.join(report.languages)}",
        "Photos": f"{report.photos:,} with {report.answers:,} answers",
        "Judged by": judged or "nothing: there are no labels",
    }
    return facts(rows)


def _right(report: Report) -> Iterator[str]:
    """A table of shares for each source of labels."""
    for source in dict.fromkeys(each.source for each in report.attributes):
        rows = [
            (
                text(each.attribute),
                text(_question(report, each)),
                text(each.language),
                number(each.judged),
                share_bar(each.right, each.unsaid, each.contradicted),
                percents(each.right),
                percent(each.unsaid.share),
                percent(each.contradicted.share),
                percent(each.right_of_said.share),
                percents(each.invented),
            )
            for each in report.attributes
            if each.source == source
        ]
        heads = ("attribute", "question", "", "n", "", "right, %", "unsaid", "wrong", "right of said", "invented")
        yield (
            f"<h2>Right by {_SOURCES[source]}</h2>"
            '<p class="key soft small"><span class="k-right"></span>right<span class="k-unsaid"></span>nothing said'
            '<span class="k-wrong"></span>something else said; the line is the interval of right</p>'
            f"{table(heads, rows)}"
        )


def _scores(report: Report) -> str:
    plots = []
    calibrated = {(c.attribute, c.recipe, c.question, c.language): c for c in report.calibrated}
    first = next((each.source for each in report.attributes), None)
    for each in report.attributes:
        if each.scores and each.source == first:
            fitted = calibrated.get((each.attribute, each.recipe, each.question, each.language))
            title = f"{report.name_of(each.recipe, each.question)} ({each.language})"
            plots.append(reliability_plot(title, each.scores, fitted.fitted.after if fitted else None))
    if not plots:
        return ""
    rows = [
        (
            text(_question(report, each)),
            text(each.language),
            number(each.scores.answers),
            f"{each.scores.mean_score:.2f}",
            percents(each.scores.right),
            f"{each.scores.ece:.3f}",
            f"{each.scores.ece_by_chance:.3f}",
            f"{each.scores.brier:.3f}",
            "–" if each.scores.mean_mass is None else f"{each.scores.mean_mass:.2f}",
            number(each.scores.little_mass),
        )
        for each in report.attributes
        if each.scores and each.source == first
    ]
    heads = ("question", "", "n", "mean score", "right, %", "ECE", "by chance", "Brier", "mean mass", "mass below 0.5")
    return (
        "<h2>Can the scores of choices be believed?</h2>"
        "<p>Each point is a tenth of the answers, from the lowest scores to the highest. On the dashed line answers "
        "are right as often as their score says, below it the score is too bold. Empty circles: after calibration, "
        "each photo measured by a temperature that was fitted without it. “By chance” is the error that so few photos "
        "have even with perfect scores.</p>"
        f'<div class="plots">{"".join(plots)}</div>{table(heads, rows)}{_calibrated(report)}'
    )


def _calibrated(report: Report) -> str:
    if not report.calibrated:
        return ""
    rows = [
        (
            text(report.name_of(each.recipe, each.question)),
            text(each.language),
            number(each.photos),
            f"{each.temperature:.2f}{' (undecided: not kept)' if each.undecided else ''}",
            *(
                f"{v:.3f}"
                for v in (each.ece_before, each.ece_after, each.ece_by_chance, each.brier_before, each.brier_after)
            ),
        )
        for each in report.calibrated
    ]
    heads = ("question", "", "n", "temperature", "ECE before", "after", "by chance", "Brier before", "after")
    return f"<h3>Calibrated</h3>{table(heads, rows)}"


def _comparison(report: Report) -> str:
    if (comparison := report.comparison) is None:
        return ""
    rows: list[tuple[str, ...]] = [
        (
            text(each.attribute),
            text(_question(report, each)),
            text(each.language),
            number(each.accuracy.pairs),
            percent(each.accuracy.mine),
            percent(each.accuracy.other),
            points(each.accuracy),
            gap(each.accuracy.difference, each.accuracy.low, each.accuracy.high),
            f"{each.accuracy.p_value:.3f}",
            "" if each.source == "labels" else "by kind",
        )
        for each in comparison.attributes
    ]
    rows += map(_whole, comparison.whole)
    heads = ("attribute", "question", "", "n", "this", "other", "", "difference, points", "p", "")
    mine, other = (without_folders(name) for name in (comparison.mine, comparison.other))
    return (
        f"<h2>{text(mine)} against {text(other)}</h2>"
        f"<p>Right in % of the same photos: “this” is {text(mine)}. To the right of the middle line it is the better "
        "one. p is McNemar's, exact; of twenty such rows one falls below 0.05 by chance alone.</p>"
        f"{table(heads, rows)}{_changes(comparison)}"
    )


def _whole(whole: ComparedWhole) -> tuple[str, ...]:
    return (
        "<b>all</b>",
        f"{whole.photos:,} photos",
        text(whole.language),
        number(whole.answers),
        percent(whole.mine),
        percent(whole.other),
        difference_bar(whole.difference, whole.low, whole.high),
        gap(whole.difference, whole.low, whole.high),
        "",
        "" if whole.source == "labels" else "by kind",
    )


def _changes(comparison: Comparison) -> str:
    rows = [
        (
            text(change.photo),
            text(change.asked),
            text(" or ".join(change.right) or "nothing"),
            f'<span class="{"better" if change.better else "worse"}">{text(change.mine)}</span>',
            f'<span class="{"worse" if change.better else "better"}">{text(change.other)}</span>',
        )
        for change in comparison.changes
    ]
    if not rows:
        return ""
    shown = table(("photo", "question", "right", "this", "other"), rows, numbers=False)
    return f"<details><summary>Answers that are right in one of the two ({len(rows)})</summary>{shown}</details>"


def _worst(report: Report) -> str:
    if not report.worst:
        return ""
    photos = "".join(_photo(report, worst) for worst in report.worst)
    return f'<h2>Photos with most that is wrong</h2><div class="photos">{photos}</div>'


def _photo(report: Report, worst: WorstPhoto) -> str:
    wrong = "".join(f"<li>{_wrong(report, each)}</li>" for each in worst.wrong)
    return f"<article>{thumbnail(worst.location)}<h3>{text(worst.photo)}</h3><ul>{wrong}</ul></article>"


def _wrong(report: Report, each: Judged) -> str:
    asked, right = each.said_by.asked, " or ".join(each.right) or "nothing"
    stated = " and ".join(each.said) or "nothing"
    return (
        f"<b>{text(report.name_of(asked.recipe, asked.question))}</b> ({text(asked.language)}) "
        f'<span class="{each.judgement}">{each.judgement}</span>: “{text(each.said_by.answer.text)}” '
        f"states {text(stated)}; right is {text(right)}"
    )


def _confusions(report: Report) -> str:
    first = next((each.source for each in report.attributes), None)
    shown = [each for each in report.attributes if each.confusion and each.source == first]
    choices = "".join(_matrix(report, each) for each in shown if each.choice)
    others = "".join(_matrix(report, each) for each in shown if not each.choice)
    if not choices + others:
        return ""
    opened = (
        f"<details><summary>Open questions</summary><div class='matrices'>{others}</div></details>" if others else ""
    )
    return (
        "<h2>What is taken for what</h2><p>A row is what is right, a column what was said.</p>"
        f'<div class="matrices">{choices}</div>{opened}'
    )


def _matrix(report: Report, each: AttributeMeasure) -> str:
    cells = {(cell.right, cell.said): cell.photos for cell in each.confusion}
    known = shipped_vocabulary().attributes.get(each.attribute)
    order = known.values if known else ()
    rights, saids = (ranked({cell[side] for cell in cells}, order) for side in (0, 1))
    head = "".join(f"<th>{text(said)}</th>" for said in saids)
    body = ""
    for right in rights:
        total = sum(count for (of, _), count in cells.items() if of == right)
        row = "".join(
            f'<td class="{shade(cells.get((right, said), 0), total)}{" same" if right == said else ""}">'
            f"{cells.get((right, said), 0)}</td>"
            for said in saids
        )
        body += f"<tr><th>{text(right)}</th>{row}</tr>"
    return (
        f'<div class="matrix"><h3>{text(each.attribute)}: {text(_question(report, each))}, {text(each.language)}</h3>'
        f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div></div>'
    )


def _question(report: Report, each: AttributeMeasure | ComparedAttribute) -> str:
    """What a question is called, and whether it is a choice."""
    return f"{report.name_of(each.recipe, each.question)}{' (choice)' if each.choice else ''}"
