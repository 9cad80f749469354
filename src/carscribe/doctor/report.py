"""What `carscribe doctor` shows and returns: findings at the terminal or as JSON, the page, the exit code."""

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from carscribe.doctor.expected import compare_files, family_member
from carscribe.doctor.fidelity import Compose, FidelityReport, examine
from carscribe.doctor.findings import Finding, broken_check, count_problems, findings_of
from carscribe.doctor.host import HOST_CHECKS
from carscribe.doctor.judging import checkpoint_findings, fidelity_findings, tie_limit
from carscribe.doctor.machine import Machine, ThisMachine
from carscribe.doctor.page import render_page
from carscribe.engines.hub import Progress, unseen
from carscribe.errors import CarscribeError, InputError
from carscribe.plaintext import plain_line
from carscribe.whole_files import check_free, write_whole

DEFAULT_PAGE = Path("carscribe-doctor.html")
WORD = {"ok": "ok", "note": "note", "warning": "warning", "problem": "PROBLEM"}
NARROW, TOPIC_CELLS = 60, 14
"""Below so many cells topics get no column of their own; how wide it is else, "Models on disk" being the longest."""
STYLE = {"ok": "green", "note": "blue", "warning": "yellow", "problem": "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A checkpoint to be tried: its files alone without `photos`, with them what it says too, and a page about it.

    `compose_description` makes of a photo's `designer` answers what the page shows. `limit` is the most photos asked.
    """

    model: str | None
    photos: tuple[Path, ...]
    compose_description: Compose
    device: str | None = None
    dtype: str = "auto"
    revision: str | None = None
    language: str = "en"
    max_tiles: int | None = None
    limit: int = 10
    html: Path = DEFAULT_PAGE
    overwrite: bool = False


def run_doctor(
    trial: Trial | None = None,
    *,
    as_json: bool = False,
    machine: Machine | None = None,
    say: Callable[[str], None] | None = None,
    progress: Progress = unseen,
) -> int:
    """Look at the machine, and at a checkpoint when there is one to try; the exit code: 1 when a problem was found.

    Findings go to standard output as they are made, or as one JSON object in the end. `say` is told each step of a
    trial, standard error by default.

    Raises: InputError, OutputError for what can be said before anything is looked at.
    """
    if trial is not None:
        _check(trial)
    show = _Shown(as_json=as_json)
    findings = []
    for finding in findings_of(HOST_CHECKS, machine or ThisMachine()):
        findings.append(finding)
        show.finding(finding)
    report = None
    if trial is not None:
        report, found = _try(trial, say or show.step, progress)
        for finding in found:
            show.finding(finding)
        findings += found
    show.end(findings, report)
    return 1 if count_problems(findings) else 0


def as_dict(findings: Iterable[Finding], report: FidelityReport | None) -> dict[str, Any]:
    """All of it for machines. The photos' small pictures are left out."""
    found = list(findings)
    return {
        "problems": count_problems(found),
        "findings": [dataclasses.asdict(finding) for finding in found],
        "fidelity": None if report is None else _report_dict(report),
    }


def _check(trial: Trial) -> None:
    """Raise what can be said of a trial before anything is looked at."""
    if trial.model is None:
        raise InputError("--photos are for trying a model. Say which with --model, e.g. --model demo.")
    if trial.limit < 1:
        raise InputError(f"--limit must be at least 1, not {trial.limit}.")
    if trial.photos:
        check_free(trial.html, overwrite=trial.overwrite)


def _try(trial: Trial, say: Callable[[str], None], progress: Progress) -> tuple[FidelityReport | None, list[Finding]]:
    """The report on a checkpoint and its findings; only a finding when it cannot even be loaded."""
    try:
        if not trial.photos:
            return None, _files_alone(trial, say)
        report = examine(
            trial.model or "",
            trial.photos,
            compose_description=trial.compose_description,
            device=trial.device,
            dtype=trial.dtype,
            revision=trial.revision,
            language=trial.language,
            max_tiles=trial.max_tiles,
            limit=trial.limit,
            say=say,
            progress=progress,
        )
        findings = fidelity_findings(report)
        write_whole(trial.html, render_page(report, findings))
    except CarscribeError as error:
        return None, [Finding(topic="Trial", status="problem", what=str(error))]
    except Exception as error:  # noqa: BLE001 - as for the checks of the machine: the others' findings are worth more
        return None, [replace(broken_check("Trial", error), status="problem")]
    written = Finding(topic="Page", status="ok", what=f"Written to {trial.html}, fit to be posted")
    return report, [*findings, written]


def _files_alone(trial: Trial, say: Callable[[str], None]) -> list[Finding]:
    """What the checkpoint's small files come to: its weights are not fetched for that."""
    from carscribe.engines.choosing import choose_model

    choice = choose_model(trial.model, revision=trial.revision, say=say)
    more = Finding(
        topic="Trial",
        status="note",
        what="Only its small files were looked at.",
        advice=f"carscribe doctor --model {trial.model} --photos FOLDER, to see whether it says here what it should",
    )
    return [*checkpoint_findings(family_member(choice.checkpoint), compare_files(choice.checkpoint)), more]


def _report_dict(report: FidelityReport) -> dict[str, Any]:
    told = {field.name: getattr(report, field.name) for field in dataclasses.fields(report)}
    photos = [
        {
            "name": seen.name,
            "tiles": seen.tiles,
            "brief": seen.brief,
            "description": dataclasses.asdict(seen.description),
        }
        for seen in report.photos
    ]
    plain = {name: _plain(value) for name, value in told.items() if name != "photos"}
    return {**plain, "noise": report.noise, "tie_limit": tie_limit(report), "photos": photos}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return dict(value) if isinstance(value, dict) else value


class _Shown:
    """Findings at the terminal, each with a word for its status: colour alone tells nothing."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._out = Console(highlight=False, markup=False)
        self._err = Console(stderr=True, highlight=False, markup=False)

    def step(self, text: str) -> None:
        """What is being done now."""
        if not self._json:
            self._err.print(Text(f"…       {plain_line(text)}", "dim"), soft_wrap=True)

    def finding(self, finding: Finding) -> None:
        """One finding, and under it what to type, which is never broken into lines."""
        if self._json:
            return
        row = Table.grid(padding=(0, 1))
        row.add_column(width=7, no_wrap=True)
        status, topic = Text(WORD[finding.status], STYLE[finding.status]), Text(plain_line(finding.topic), "bold")
        if self._out.width < NARROW:
            row.add_column(overflow="fold")
            row.add_row(status, Text.assemble(topic, "  ", plain_line(finding.what)))
        else:
            row.add_column(width=TOPIC_CELLS)
            row.add_column(overflow="fold")
            row.add_row(status, topic, Text(plain_line(finding.what)))
        self._out.print(row)
        if finding.advice:
            self._out.print(Text(f"        → {plain_line(finding.advice)}"), soft_wrap=True)

    def end(self, findings: Sequence[Finding], report: FidelityReport | None) -> None:
        """The sum; or everything, as JSON."""
        if self._json:
            text = json.dumps(as_dict(findings, report), ensure_ascii=False, indent=1)
            sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace") + b"\n")
            sys.stdout.buffer.flush()
            return
        problems = count_problems(findings)
        warnings = sum(finding.status == "warning" for finding in findings)
        said = "no problem" if not problems else "1 problem" if problems == 1 else f"{problems} problems"
        self._out.print()
        self._out.print(f"{said[0].upper()}{said[1:]}, {warnings} warning{'' if warnings == 1 else 's'}.", style="bold")
