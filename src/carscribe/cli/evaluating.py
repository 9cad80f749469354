"""`carscribe evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from carscribe.cli.app import AsJson, app, print_json


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
    html: Annotated[Path | None, typer.Option(help="Also write a report as one HTML file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the HTML file when it is there.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say how good the answers are: right or not by labels, in agreement, and as texts."""
    from carscribe.evaluate.report import EvaluationRequest, report_json
    from carscribe.evaluate.report import evaluate as run
    from carscribe.terminal.evaluated import show_evaluation
    from carscribe.terminal.screen import Screen

    screen = Screen(quiet=as_json)
    if html:
        from carscribe.evaluate.page import check_free

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
        )
    )
    if html:
        from carscribe.evaluate.page import render_page, write_page

        write_page(html, render_page(report))
        screen.row("Page", str(html))
    if as_json:
        print_json(report_json(report))
    else:
        show_evaluation(screen, report)
