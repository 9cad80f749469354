"""A crawl as a person sees it: a line while it runs, what a look at the first pages gives, the sums at the end."""

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from carscribe.collect.results import Collected, LeftOut, Look, LookedAtCar, LookedAtPage, Progress, SilentRule
from carscribe.terminal.screen import Screen

LOG_EVERY_S = 30.0
REASONS_SHOWN = 12
PICTURES_SHOWN = 3


@contextmanager
def crawl_progress(screen: Screen) -> Iterator[Callable[[Progress], None]]:
    """A line that is kept up to date, or in a log file a line now and then; a function to call with how far it is."""
    shown = screen.err.is_terminal and not screen.quiet
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    bar = Bar(*columns, console=screen.err, transient=True, disable=not shown)
    due = time.monotonic() + LOG_EVERY_S
    with bar:
        task = bar.add_task("Asking for robots.txt and the first page")

        def seen(progress: Progress) -> None:
            nonlocal due
            text = progress_text(progress)
            bar.update(task, description=text)
            if not shown and time.monotonic() >= due:
                screen.say(text)
                due = time.monotonic() + LOG_EVERY_S

        yield seen


def progress_text(progress: Progress) -> str:
    """How far a crawl is, in one line.

    >>> progress_text(Progress(pages=12, pages_waiting=3, pictures=40, pictures_waiting=2, set_aside=1))
    '12 pages read (3 wait), 40 pictures fetched (2 wait), 1 set aside'
    """
    return (
        f"{progress.pages:,} pages read ({progress.pages_waiting:,} wait), {progress.pictures:,} pictures fetched "
        f"({progress.pictures_waiting:,} wait), {progress.set_aside:,} set aside"
    )


def show_collected(screen: Screen, collected: Collected) -> None:
    """What was kept, what was not and why, what to look at, what comes next."""
    row = screen.result
    new = f", {collected.new_photos:,} of them new" if collected.new_photos < collected.photos else ""
    row("Photos", f"{collected.photos:,} in {collected.folder / 'images'}{new}")
    missing = [f"{collected.nameless:,} without a name"] if collected.nameless else []
    missing += [f"{collected.pictureless:,} without a picture that was kept"] if collected.pictureless else []
    row("Cars", f"{collected.cars:,} on {collected.pages:,} pages{''.join(f', {each}' for each in missing)}")
    if collected.sitemaps:
        row("Sitemaps", f"{collected.sitemaps:,} read")
    if collected.same_bytes:
        row("Same bytes", f"{collected.same_bytes:,} × a picture under another address: kept once, with all its pages")
    _show_left_out(row, collected.left_out)
    _show_silent(screen, collected.silent)
    if collected.failed:
        row("Failed", f"{collected.failed:,} of these by a fault of the site's: --retry-failed tries them again")
    if collected.waiting and not collected.stopped:
        row("Waiting", f"{collected.waiting:,} addresses: the same command goes on, without --limit to the end")
    row("Written", f"{collected.folder / 'cars.json'}, {collected.folder / 'report.json'} (every address left out)")
    if collected.photos:
        folder = shlex.quote(str(collected.folder))
        row("Next", f"carscribe describe {folder}/images --metadata {folder}/cars.json -w cars.ws")


def show_stopped(screen: Screen, collected: Collected) -> None:
    """Why a crawl stopped before its end, and the command that goes on with it."""
    waiting = f"{collected.waiting:,} addresses wait" if collected.waiting else "nothing waits"
    screen.warn(f"Stopped ({collected.stopped}): {collected.photos:,} photos are kept, {waiting}. Go on with:")
    arguments = [each for each in sys.argv[1:] if each not in {"--again", "--retry-failed"}]
    screen.warn(f"  {shlex.join(['carscribe', *arguments])}")


def show_look(screen: Screen, look: Look) -> None:
    """What the first pages give, page by page, then what gave nothing."""
    for page in look.pages:
        _show_page(screen, page)
    _show_left_out(screen.result, look.left_out)
    _show_silent(screen, look.silent)
    if look.stopped:
        screen.warn(f"Stopped: {look.stopped}.")
    elif look.advice:
        screen.warn(f"Nothing to collect yet. {look.advice}")
    elif any(car.pictures for page in look.pages for car in page.cars if not page.refused):
        screen.result("Next", "the same with --to DIR --limit 20 instead of --dry-run fetches the first 20 photos")


def _show_page(screen: Screen, page: LookedAtPage) -> None:
    row = screen.result
    if page.role == "sitemap":
        row("Sitemap", page.url)
        cars, lists = len(page.links["car"]), len(page.links["list"])
        pages = f"{cars:,} to cars, {lists:,} to lists" if cars else f"{lists:,} to pages"
        row("links", f"{pages}, {len(page.links['sitemap']):,} to further sitemaps")
        screen.show()
        return
    row("Page", f"{page.url} ({page.encoding})")
    row("links", f"{len(page.links['car']):,} to cars, {len(page.links['list']):,} to lists")
    if page.refused:
        row("refused", f"the page says {page.refused}: nothing of it would be kept")
    for car in page.cars[:PICTURES_SHOWN]:
        _show_car(row, car)
    if len(page.cars) > PICTURES_SHOWN:
        row("", f"… and {len(page.cars) - PICTURES_SHOWN:,} more cars")
    screen.show()


def _show_car(row: Callable[[str, str], None], car: LookedAtCar) -> None:
    row("name", car.name or "none")
    row("kind", car.kind or "none")
    for key, value in car.extra.items():
        row(key, value)
    row("licence", car.licence or "none")
    for url in car.pictures[:PICTURES_SHOWN]:
        row("image", url)
    if not car.pictures:
        row("image", "none")
    elif len(car.pictures) > PICTURES_SHOWN:
        row("image", f"… and {len(car.pictures) - PICTURES_SHOWN:,} more")


def _show_left_out(row: Callable[[str, str], None], left_out: Iterable[LeftOut]) -> None:
    reasons = list(left_out)
    for each in reasons[:REASONS_SHOWN]:
        row(
            "Left out",
            f"{each.count:,} {each.what if each.count > 1 else each.what[:-1]}: {each.reason} ({each.example})",
        )
    if len(reasons) > REASONS_SHOWN:
        row("Left out", f"… and {len(reasons) - REASONS_SHOWN:,} more reasons, in report.json")


def _show_silent(screen: Screen, silent: Iterable[SilentRule]) -> None:
    """Rules that found nothing, by file and line."""
    rules = list(silent)
    untried = [rule for rule in rules if not rule.tried]
    for rule in rules:
        written = " or ".join(f'"{each}"' for each in rule.rules)
        found = f"found nothing on {rule.tried:,} pages" if rule.tried != 1 else "found nothing on 1 page"
        if rule.tried:
            screen.note("Check", f"{rule.place}: {rule.key} {found}: {written}")
    if untried:
        keys = ", ".join(rule.key for rule in untried)
        screen.note("Check", f"{untried[0].place}: no page was read that these are for: {keys}")
