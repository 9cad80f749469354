"""A workspace as a person sees it: how far it is, and one photo with all that is known of it."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from carscribe.catalog.calibration import confidence
from carscribe.catalog.reading import KeptPhoto, Origin
from carscribe.catalog.status import RunEntry, Status
from carscribe.flags import flags_of_photo
from carscribe.output import flag_json
from carscribe.plaintext import plain_line
from carscribe.records import Description, FlagCounts, JudgedAnswer
from carscribe.terminal.flagged import MARK, flagged_text, why_flagged
from carscribe.terminal.screen import Screen, duration, gib

FAILED_SHOWN = 10
MIB = 2**20


def show_status(screen: Screen, folder: Path, status: Status, flagged: FlagCounts, writer: str | None) -> None:
    """How far a workspace is. `writer` says who writes to it at this moment."""
    row = screen.result
    row("Workspace", f"{folder} ({status.catalog_bytes / MIB:.1f} MiB, {status.answers:,} answers)")
    same = f", {status.photos:,} of them different" if status.photos + status.unread < status.files else ""
    unread = f"; {status.unread:,} not read yet" if status.unread else ""
    row("Photos", f"{status.files:,}{same}{unread}")
    for target in status.targets:
        row(
            target.recipe,
            f"version {target.version}, {target.language}, {target.model}: {target.complete:,} of {target.photos:,} "
            f"photos complete, {target.answered:,} of {target.wanted:,} answers",
        )
    for number, (key, reason) in enumerate(status.failed):
        if number == FAILED_SHOWN:
            row("Failed", f"… and {len(status.failed) - FAILED_SHOWN:,} more; all with --json")
            break
        row("Failed", f"{key}: {reason}")
    if status.verdicts:
        row("Verdicts", ", ".join(f"{count:,} {decision}" for decision, count in sorted(status.verdicts.items())))
    if flagged.photos:
        row("Flagged", f"{flagged_text(flagged)}; see: carscribe show {shlex.quote(str(folder))} --flagged")
    if status.last_run:
        row("Last run", _run(status.last_run, writer))
    row("Next", _next(folder, status, writer))


def show_photo(screen: Screen, photo: KeptPhoto, description: Description | None) -> None:
    """One photo, its answers, and the description composed of them."""
    row = screen.result
    metadata = photo.file.metadata
    row("Photo", photo.file.key)
    row("Path", photo.file.location)
    if metadata.name or metadata.kind:
        row("Metadata", (metadata.name or "") + (f" ({metadata.kind})" if metadata.kind else ""))
    if photo.sha256:
        tiles = f", {photo.tiles} tiles" if photo.tiles else ""
        row("Bytes", f"{photo.width_px} × {photo.height_px} px{tiles}; SHA-256 {photo.sha256}")
    for head, text in dict.fromkeys(_answered_by(origin) for origin in photo.origins if origin):
        row(head, text)
    if photo.failure:
        row("Failed", photo.failure)
    if photo.missing:
        row("Missing", ", ".join(f"{recipe}.{question} ({language})" for recipe, question, language in photo.missing))
    for flag in flags_of_photo(photo):
        row("Flagged", f"{flag.recipe_id}.{flag.question_id} ({flag.language}) is {flag.answered}; {why_flagged(flag)}")
    if photo.answers:
        screen.out.print()
        screen.out.print(_answers(photo))
    if description:
        screen.out.print()
        row(description.budget, f"{description.text}")
        counted = "" if description.tokens is None else f"{description.tokens} tokens; "
        row("", f"{counted}left out: {', '.join(description.dropped) or 'nothing'}")


def _answered_by(origin: Origin) -> tuple[str, str]:
    at = f"{origin.answered_at[:16]} UTC"
    if origin.is_imported:
        return "Imported", f"from {origin.model.partition(':')[2]}, {at}"
    return "Answered", f"by {origin.model} in {origin.dtype} on {origin.device}, {at}"


def status_json(status: Status, flagged: FlagCounts, writer: str | None) -> dict[str, Any]:
    """All of a status for machines."""
    from dataclasses import asdict

    return asdict(status) | {"complete": status.complete, "flagged": asdict(flagged), "writer": writer}


def photo_json(photo: KeptPhoto, description: Description | None) -> dict[str, Any]:
    """All of a photo for machines."""
    from dataclasses import asdict

    return {
        "photo": photo.file.key,
        "path": photo.file.location,
        "name": photo.file.metadata.name,
        "kind": photo.file.metadata.kind,
        "sha256": photo.sha256,
        "width_px": photo.width_px,
        "height_px": photo.height_px,
        "answers": [
            _answer_json(answer, origin) | {"origin": None if origin is None else asdict(origin)}
            for answer, origin in zip(photo.answers, photo.origins, strict=True)
        ],
        "flags": [flag_json(flag) for flag in flags_of_photo(photo)],
        "missing": [dict(zip(("recipe", "question", "language"), each, strict=True)) for each in photo.missing],
        "error": photo.failure,
        "description": None if description is None else asdict(description),
    }


def _answer_json(judged: JudgedAnswer, origin: Origin | None) -> dict[str, Any]:
    answer, verdict = judged.answer, judged.verdict
    return {
        "recipe": judged.recipe_id,
        "question": judged.question_id,
        "language": judged.language,
        "text": judged.text,
        "model_text": answer.text if answer else None,
        "tokens": answer.tokens if answer else None,
        "finish": answer.finish if answer else None,
        "scores": dict(answer.scores) if answer and answer.scores else None,
        "confidence": _confidence(judged, origin),
        "mass": answer.mass if answer else None,
        "remark": (answer.remark or None) if answer else None,
        "verdict": verdict
        and {
            "decision": verdict.decision,
            "text": verdict.text,
            "author": verdict.author,
            "note": verdict.note,
            "judged_at": verdict.judged_at,
        },
    }


def _confidence(judged: JudgedAnswer, origin: Origin | None) -> dict[str, float] | None:
    """A choice's scores, once they were calibrated; None until then."""
    if origin is None or origin.temperature is None or not judged.answer or not judged.answer.scores:
        return None
    return dict(confidence(judged.answer.scores, origin.temperature))


def _answers(photo: KeptPhoto) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head, ratio in (("question", 2), ("answer", 5), ("", 2)):
        table.add_column(head, overflow="fold", ratio=ratio)
    flagged = {(flag.recipe_id, flag.question_id, flag.language) for flag in flags_of_photo(photo)}
    for judged, origin in zip(photo.answers, photo.origins, strict=True):
        mark = f"{MARK} " if (judged.recipe_id, judged.question_id, judged.language) in flagged else ""
        said = judged.text if judged.text is not None else judged.answer.text if judged.answer else ""
        table.add_row(
            Text(f"{plain_line(judged.recipe_id)}.{plain_line(judged.question_id)} ({judged.language})"),
            Text(f"{mark}{plain_line(said)}"),
            Text(_remark(judged, origin)),
        )
    return table


def _remark(judged: JudgedAnswer, origin: Origin | None) -> str:
    """The verdict, else a choice's confidence or, if none was calibrated, score, else what is wrong with an answer."""
    if judged.verdict:
        by = f" by {plain_line(judged.verdict.author)}" if judged.verdict.author else ""
        return f"{judged.verdict.decision}{by}"
    if calibrated := _confidence(judged, origin):
        return f"confidence {max(calibrated.values()):.2f}"
    if judged.answer and judged.answer.scores:
        return f"score {max(judged.answer.scores.values()):.2f}"
    if judged.answer and judged.answer.remark:
        return judged.answer.remark
    return "cut off" if judged.answer and judged.answer.finish == "length" else ""


def _run(run: RunEntry, writer: str | None) -> str:
    state = run.state
    if state == "running":
        state = f"running ({writer})" if writer else "ended without a word: killed, or the machine went down"
    return f"{run.started_at[:16].replace('T', ' ')} UTC, {state}; {run.to_ask:,} photos to ask{_sums(run.figures)}"


def _sums(figures: Mapping[str, Any]) -> str:
    if not figures.get("seconds"):
        return ""
    seconds = float(figures["seconds"])
    peak = f", {gib(figures['peak_bytes'])} at most" if figures.get("peak_bytes") else ""
    return (
        f", {figures['answered']:,} answered and {figures['failed']:,} set aside in {duration(seconds)} "
        f"({figures['answered'] / seconds:.2f} photos/s){peak}"
    )


def _next(folder: Path, status: Status, writer: str | None) -> str:
    name = shlex.quote(str(folder))
    if writer:
        return "wait; Ctrl-C in its terminal stops it after a batch, and nothing is lost"
    if not status.targets:
        return f"carscribe describe PHOTOS -w {name}"
    if not status.complete and len(status.failed) < status.files:
        return f"the same carscribe describe command goes on; carscribe export {name} takes what is there"
    return f"carscribe export {name} --format kohya --budget clip --to captions"
