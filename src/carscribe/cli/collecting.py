"""`carscribe collect`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from carscribe.cli.app import INTERRUPTED, SOME_SET_ASIDE, AsJson, app, print_json

if TYPE_CHECKING:
    from carscribe.collect.results import Collected, Look

_TOLD = b"\nStopping after what is under way. Ctrl-C once more stops at once.\n"


@app.command()
def collect(
    site: Annotated[Path, typer.Argument(help="TOML that describes the site: docs/collect.md.")],
    to: Annotated[Path | None, typer.Option(help="Folder for images/, cars.json and report.json.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Stop after N new photos.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the first pages give; fetch no picture, write nothing.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Read all pages anew, for new cars or changed rules; no picture twice.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    as_json: AsJson = False,
) -> None:
    """Collect photographs with names and kinds from a website; the same command goes on where it stopped."""
    from carscribe.collect import collect as crawl
    from carscribe.collect import try_site
    from carscribe.errors import InputError
    from carscribe.interrupts import finish_first
    from carscribe.terminal.collected import crawl_progress, show_collected, show_look, show_stopped
    from carscribe.terminal.screen import Screen

    screen = Screen(quiet=as_json)
    if dry_run:
        if limit or again or retry_failed:
            raise InputError("--limit, --again and --retry-failed are for a crawl: leave them out with --dry-run.")
        with finish_first(_TOLD) as stopped:
            look = try_site(site, stop=stopped)
        if as_json:
            print_json(_look_json(look))
        else:
            show_look(screen, look)
        raise typer.Exit(0 if any(car.pictures for page in look.pages for car in page.cars) else 1)
    if to is None:
        raise InputError("--to is missing: name the folder that photos go into. --dry-run needs none.")
    with finish_first(_TOLD) as stopped, crawl_progress(screen) as seen:
        collected = crawl(site, to, limit=limit, again=again, retry_failed=retry_failed, seen=seen, stop=stopped)
    if as_json:
        print_json(_collected_json(collected))
    else:
        show_collected(screen, collected)
    if collected.stopped:
        show_stopped(screen, collected)
        raise typer.Exit(INTERRUPTED)
    if not collected.photos:
        reason = collected.advice or "Why is told above, and address by address in report.json."
        screen.warn(f"Error: {site} gave no photo. {reason}")
        raise typer.Exit(1)
    if collected.failed:
        raise typer.Exit(SOME_SET_ASIDE)


def _collected_json(collected: "Collected") -> dict[str, object]:
    from dataclasses import asdict

    return {**asdict(collected), "folder": str(collected.folder), "failed": collected.failed}


def _look_json(look: "Look") -> dict[str, object]:
    from dataclasses import asdict

    return asdict(look)
