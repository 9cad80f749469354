"""`carscribe evaluate`."""

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carscribe.cli.app import INTERRUPTED, AsJson, app, print_json

if TYPE_CHECKING:
    from carscribe.evaluate.answers import Answered
    from carscribe.evaluate.probes import Probed
    from carscribe.terminal.screen import Screen


@app.command()
def evaluate(
    workspace: Annotated[Path, typer.Argument(metavar="WORKSPACE", help="The folder given to describe with -w.")],
    labels: Annotated[
        Path | None, typer.Option(help="What is true: JSON keyed by photo, or rows (photo, attribute, value).")
    ] = None,
    vocabulary: Annotated[
        Path | None, typer.Option(help="TOML with your own attributes and names: docs/evaluate.md.")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Only this recipe's answers. Left out: every recipe asked.")
    ] = None,
    language: Annotated[list[str] | None, typer.Option(help="Only en or ko. Several times.")] = None,
    model: Annotated[str | None, typer.Option(help="Which model's answers. Left out: those of the last run.")] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare with another workspace, or another model of this one.")
    ] = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Fit a temperature to each choice on the labels, and keep it.")
    ] = False,
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Load the model and ask choices again: in reverse order, and of a grey picture."),
    ] = False,
    probe_photos: Annotated[
        int | None, typer.Option(min=1, help="With --probe: of how many photos. [default: 100]")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="With --probe: cpu, cuda or cuda:N. Left out: a GPU when there is one.")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a report as one HTML file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the HTML file when it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how good the answers are: right or not by labels, in agreement, and as texts."""
    from carscribe.errors import InputError
    from carscribe.evaluate.report import EvaluationRequest, report_json
    from carscribe.evaluate.report import evaluate as run
    from carscribe.terminal.evaluated import show_evaluation
    from carscribe.terminal.screen import Screen

    screen = Screen(quiet=as_json)
    if not probe and (probe_photos is not None or device is not None):
        raise InputError("--probe-photos and --device are about asking the model again: add --probe.")
    if html:
        from carscribe.whole_files import check_free

        check_free(html, overwrite=overwrite)
    report = run(
        EvaluationRequest(
            workspace=workspace,
            labels=labels,
            vocabulary=vocabulary,
            recipe=recipe,
            languages=tuple(language or ()),
            model=model,
            against=against,
            calibrate=calibrate,
        ),
        partial(_ask_again, screen, workspace, probe_photos, device) if probe else None,
    )
    if html:
        from carscribe.evaluate.page import render_page
        from carscribe.whole_files import write_whole

        write_whole(html, render_page(report))
        screen.row("Page", str(html))
    if as_json:
        print_json(report_json(report))
    else:
        show_evaluation(screen, report)


def _ask_again(
    screen: "Screen",
    folder: Path,
    photos: int | None,
    device: str | None,
    answered: "Answered",
    labelled: Collection[str],
) -> "Probed":
    """Load what answered in the workspace, and ask its choices again; stop the command when a person wants it."""
    from carscribe.catalog.workspace import read_workspace
    from carscribe.interrupts import finish_first
    from carscribe.probing import PROBED_PHOTOS, as_answered, plan_probe, probe
    from carscribe.terminal.run import RunView

    view = RunView(screen)
    with read_workspace(folder) as workspace:
        plan = plan_probe(workspace, answered, photos=photos or PROBED_PHOTOS, first=labelled)
    chosen = as_answered(plan, device=device, say=screen.say)
    screen.say(f"Loading {chosen.name} …")
    with view.download(chosen.name) as fetched:
        engine = chosen.load(say=screen.say, progress=fetched)
    view.show_engine(engine.card)
    with finish_first() as stopped, view.progress(len(plan.photos)) as seen:
        probed = probe(plan, engine, say=screen.say, stopped=stopped, seen=seen)
    if probed is None:
        screen.warn("Stopped. Of answers that are asked again nothing is kept: the same command begins anew.")
        raise typer.Exit(INTERRUPTED)
    return probed
