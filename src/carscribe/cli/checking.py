"""`carscribe check`."""

from pathlib import Path
from typing import Annotated

import typer

from carscribe.cli.app import INTERRUPTED, AsJson, MetadataFile, MetadataKeys, Photos, app, column_map, print_json
from carscribe.records import PIXEL_LIMIT


@app.command()
def check(
    photos: Photos,
    metadata: MetadataFile = None,
    metadata_keys: MetadataKeys = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Also write all that was found, as JSON: for describe --skip-flagged and finetune."),
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write a sheet with the pictures, as one HTML file.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the report and the HTML file when they are there.")
    ] = False,
    threshold: Annotated[
        list[str] | None,
        typer.Option(help="Where a fault begins, e.g. blurry=2.5: docs/check.md. Several times.", metavar="NAME=VALUE"),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(help="A fault for which describe is not to skip a photo. Several times.", metavar="FAULT"),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Check only the first N photos.")] = None,
    pixel_limit: Annotated[int, typer.Option(min=1, help="Do not read photos with more pixels than this.")] = (
        PIXEL_LIMIT
    ),
    as_json: AsJson = False,
) -> None:
    """Find photos that spoil a set: unreadable, small, blurry, dark, blown out, no photos, twice there, misnamed."""
    from carscribe.check.checking import CheckRequest
    from carscribe.check.checking import check as run
    from carscribe.check.faults import faults_named, limits_with
    from carscribe.check.report import report_json, write_report
    from carscribe.interrupts import finish_first
    from carscribe.terminal.checked import CheckView
    from carscribe.terminal.screen import Screen
    from carscribe.whole_files import check_free, write_whole

    request = CheckRequest(
        sources=tuple(photos),
        metadata=metadata,
        metadata_keys=column_map(metadata_keys),
        limits=limits_with(threshold or ()),
        kept=faults_named(keep or ()),
        limit=limit,
        pixel_limit=pixel_limit,
    )
    for path, option in ((report, "--report"), (html, "--html")):
        if path:
            check_free(path, overwrite=overwrite, option=option)
    view = CheckView(Screen(quiet=as_json))
    with finish_first() as stopped, view.progress() as progress:
        found = run(request, found=progress.found, read=progress.read, compared=progress.compared, stopped=stopped)
    if report:
        write_report(report, found)
    if html:
        from carscribe.check.page import render_page

        write_whole(html, render_page(found))
    if as_json:
        print_json(report_json(found))
    else:
        given = (("--metadata", metadata), ("--metadata-keys", metadata_keys))
        options = [each for option, value in given if value for each in (option, str(value))]
        view.show(found, photos=photos, options=options, report_file=report, html=html)
    if found.stopped:
        raise typer.Exit(INTERRUPTED)
