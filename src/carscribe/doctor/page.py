"""The report as one page to post: no scripts, nothing loaded from elsewhere, no folders of this machine."""

import base64
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from carscribe.doctor.comparing import TokenComparison
from carscribe.doctor.fidelity import FidelityReport, SeenPhoto
from carscribe.doctor.findings import Finding
from carscribe.doctor.judging import choice_agrees, is_tie, tie_limit
from carscribe.engines.demo_model import DISCLAIMER
from carscribe.pages.pieces import facts, page, without_folders
from carscribe.pages.pieces import text as escaped

if TYPE_CHECKING:
    from PIL import Image

JPEG_QUALITY = 78


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row of a table, and whether it is to stand out."""

    cells: tuple[str, ...]
    stands_out: bool = False


def render_page(report: FidelityReport, findings: Sequence[Finding]) -> str:
    """The page as HTML. All text that is not the page's own is escaped."""
    agreeing = sum(fact.agrees is True for fact in (*report.facts, *report.processing))
    return page(
        "carscribe.doctor",
        title=without_folders(f"{report.model} in Carscribe"),
        disclaimer=_text(DISCLAIMER if report.model == "demo" else ""),
        about=_about(report),
        findings="".join(map(_finding, findings)),
        photos="".join(map(_photo, report.photos)) or "<p>No photo was answered.</p>",
        limit=f"{tie_limit(report):.2g} logits",
        agreement=_agreement(report),
        differences=_differences(report.tokens),
        facts_summary=f"{agreeing} of {len(report.facts) + len(report.processing)} as expected of an InternVL3",
        facts=_table(
            ("", "expected", "here"),
            [
                _Row(cells=(fact.what, fact.expected, fact.found), stands_out=fact.agrees is False)
                for fact in (*report.facts, *report.processing)
            ],
        ),
    )


def _text(text: str) -> str:
    """Text from anywhere, safe to stand in the page."""
    return escaped(without_folders(text))


def _about(report: FidelityReport) -> str:
    questions = {token.question_id for token in report.tokens} | {choice.question_id for choice in report.choices}
    rows = {
        "Model": report.model,
        "Commit": report.revision or "a folder, no commit known",
        "Sizes of": report.member or "no InternVL3",
        "Ran on": f"{report.hardware}, in {report.dtype}",
        "With": ", ".join(f"{name} {version}" for name, version in report.versions.items()),
        "Asked": f"{len(report.photos)} photos, {len(questions)} questions each, in {report.language}",
    }
    return facts({head: without_folders(told) for head, told in rows.items()})


def _finding(finding: Finding) -> str:
    advice = f'<span class="advice">{_text(finding.advice)}</span>' if finding.advice else ""
    return (
        f'<li><span class="status {finding.status}">{finding.status}</span>'
        f"<span><b>{_text(finding.topic)}</b> {_text(finding.what)}</span>{advice}</li>"
    )


def _photo(seen: SeenPhoto) -> str:
    description = seen.description
    tokens = "" if description.tokens is None else f", {description.tokens} tokens"
    dropped = (
        f'<p class="small soft">No room for: {_text("; ".join(description.dropped))}</p>' if description.dropped else ""
    )
    return (
        f'<article><div><img src="{_data_uri(seen.picture)}" alt="">'
        f'<p class="small soft">{_text(seen.name)}, {seen.tiles} {"tile" if seen.tiles == 1 else "tiles"}</p></div>'
        f"<div><h3>brief: one question</h3><p>{_text(seen.brief) or '(nothing)'}</p></div>"
        f"<div><h3>designer, composed for {_text(description.budget)}{tokens}</h3>"
        f"<p>{_text(description.text) or '(nothing)'}</p>{dropped}</div></article>"
    )


def _data_uri(picture: "Image.Image") -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _agreement(report: FidelityReport) -> str:
    """A row a question: how many photos agree, where the first differs, the largest gap."""
    rows = [*_token_rows(report), *_choice_rows(report)]
    heads = ("question", "equal", "first difference at token", "largest gap")
    return _table(heads, rows) if rows else "<p>Nothing was compared.</p>"


def _token_rows(report: FidelityReport) -> Iterator[_Row]:
    limit = tie_limit(report)
    for question in dict.fromkeys(compared.question_id for compared in report.tokens):
        asked = [compared for compared in report.tokens if compared.question_id == question]
        differing = [compared for compared in asked if compared.first_difference is not None]
        gaps = [compared.gap for compared in differing if compared.gap is not None]
        first = min((compared.first_difference or 0 for compared in differing), default=None)
        equal = f"{len(asked) - len(differing)} of {len(asked)}"
        yield _Row(
            cells=(question, equal, "–" if first is None else str(first), f"{max(gaps):.2g}" if gaps else "–"),
            stands_out=not all(is_tie(compared, limit) for compared in differing),
        )


def _choice_rows(report: FidelityReport) -> Iterator[_Row]:
    limit = tie_limit(report)
    for question in dict.fromkeys(choice.question_id for choice in report.choices):
        scored = [choice for choice in report.choices if choice.question_id == question]
        same = sum(choice.plain_choice == choice.packed_choice for choice in scored)
        largest = max(choice.largest_score_difference for choice in scored)
        yield _Row(
            cells=(f"{question} (choice)", f"{same} of {len(scored)}", "–", f"scores {largest:.2g}"),
            stands_out=not all(choice_agrees(choice, limit) for choice in scored),
        )


def _differences(tokens: Sequence[TokenComparison]) -> str:
    """Every answer that differs."""
    rows = [
        _Row(
            cells=(
                compared.photo,
                compared.question_id,
                f"{compared.first_difference} of {compared.tokens}",
                repr(compared.plain_word),
                repr(compared.packed_word),
                "length" if compared.gap is None else f"{compared.gap:.2g}",
            )
        )
        for compared in tokens
        if compared.first_difference is not None
    ]
    if not rows:
        return ""
    table = _table(("photo", "question", "token", "alone", "packed", "gap"), rows)
    return f'<details><summary>Every difference ({len(rows)})</summary><div class="wide">{table}</div></details>'


def _table(heads: Sequence[str], rows: Iterable[_Row]) -> str:
    head = "".join(f"<th>{_text(cell)}</th>" for cell in heads)
    body = "".join(map(_row, rows))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _row(row: _Row) -> str:
    cells = "".join(f"<td>{_text(cell)}</td>" for cell in row.cells)
    return f'<tr class="differs">{cells}</tr>' if row.stands_out else f"<tr>{cells}</tr>"
