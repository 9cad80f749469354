"""Starts the process that crawls, listens to it, and makes cars.json and the report of what it leaves."""

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carscribe.collect.results import Collected, LeftOut, Look, LookedAtCar, LookedAtPage, Progress, SilentRule
from carscribe.errors import CollectError, InputError, MissingExtraError, OutputError

if TYPE_CHECKING:
    from carscribe.collect.journal import Journal
    from carscribe.collect.site import Site

LOG_FILE = "collect.log"
_ASKED = "asked to stop"
_OURS = {"collect.sqlite", "collect.sqlite-wal", LOG_FILE, "images"}
_END_S = 20.0
"""How long a crawl that has said its last word may take to end."""


def collect(
    site: Path,
    to: Path,
    *,
    limit: int | None = None,
    again: bool = False,
    retry_failed: bool = False,
    seen: Callable[[Progress], None] = lambda _: None,
    stop: Callable[[], bool] = lambda: False,
) -> Collected:
    """Crawl a site into a folder, or go on with it: `images/`, `cars.json`, `report.json`.

    `limit` ends the run after so many new photos. `again` reads all pages anew and asks for no picture twice.
    `retry_failed` tries what failed. `seen` is called about twice a second; `stop` is asked as often.

    Raises: SiteError, InputError, OutputError, CollectError, MissingExtraError.
    """
    described = _load(site)
    from carscribe.collect.journal import Journal

    _prepare_folder(to)
    before = _check_journal(described, to, again=again)
    job = {"site": str(site), "folder": str(to), "log": str(to / LOG_FILE), "limit": limit}
    end = _run(job | {"again": again, "retry_failed": retry_failed}, lambda line: _progress(line, seen), stop)
    journal = Journal(to)
    try:
        collected = _finish(journal, described, to, before, end.get("stopped"))
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{to} cannot be written: {reason}. Free some space and go on.") from error
    finally:
        journal.close()
    if error_text := end.get("error"):
        raise CollectError(error_text)
    return collected


def try_site(site: Path, *, stop: Callable[[], bool] = lambda: False) -> Look:
    """Read the first pages of a site, at most four sitemaps, two lists and three cars, and keep nothing.

    Raises: SiteError, CollectError, MissingExtraError.
    """
    described = _load(site)
    look_at = {"list": 2, "car": 3} if described.table.follow.cars else {"list": 4, "car": 0}
    pages: list[Mapping[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="carscribe-") as folder:
        log = Path(folder) / LOG_FILE
        job = {"site": str(site), "folder": None, "log": str(log), "look_at": look_at | {"sitemap": 4}}
        end = _run(job, lambda line: pages.append(line["page"]) if "page" in line else None, stop)
    if error_text := end.get("error"):
        raise CollectError(error_text)
    tried: Counter[str] = Counter()
    matched: Counter[str] = Counter()
    for page in pages:
        tried.update(page["matched"].keys())
        matched.update(key for key, found in page["matched"].items() if found)
    return Look(
        pages=tuple(map(_looked_at, pages)),
        left_out=_grouped(end.get("left_out", [])),
        silent=_silent(described, {key: (tried[key], matched[key]) for key in tried}),
        stopped=end.get("stopped"),
        advice=_advice(
            described,
            pages=sum(page["role"] != "sitemap" for page in pages),
            cars=sum(len(page["cars"]) for page in pages),
            pictures=sum(len(car["pictures"]) for page in pages for car in page["cars"]),
        ),
    )


def _load(site: Path) -> "Site":
    if any(find_spec(module) is None for module in ("scrapy", "parsel", "w3lib")):
        raise MissingExtraError("Collecting from a site", extra="collect")
    from carscribe.collect.site import load_site

    return load_site(site)


def _prepare_folder(to: Path) -> None:
    """Make the folder. Raises: OutputError when something else is in it."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        there = {path.name for path in to.iterdir()}
    except OSError as error:
        raise OutputError(
            f"{to} cannot be used as a folder: {error.strerror or error}. Give another with --to."
        ) from None
    others = there - _OURS
    if others and not there & (_OURS - {"images"}):  # `carscribe import` writes images too
        raise OutputError(
            f"{to} holds no crawl but other files, such as {min(others)}. Give an empty or a new folder with --to."
        )


def _check_journal(site: "Site", to: Path, *, again: bool) -> int:
    """How many photos there are before the run. Raises: InputError when pages were read by other rules."""
    from carscribe.collect.journal import Journal

    journal = Journal(to)
    try:
        counts = journal.counts()
        pages = counts.get(("list", "done"), 0) + counts.get(("car", "done"), 0)
        sitemaps = counts.get(("sitemap", "done"), 0)
        for known, now, what in (
            (journal.fact("reading"), site.reading, f"{pages:,} pages" if pages else None),
            (journal.fact("taking"), site.taking, f"{sitemaps:,} sitemaps" if sitemaps else None),
        ):
            if known not in {None, now} and what and not again:
                raise InputError(
                    f"The rules in {site.label} have changed since {to} was begun, and {what} were read by "
                    "the old ones. Add --again to read them anew (no picture is fetched twice), or give another folder."
                )
        return journal.count_photos()
    finally:
        journal.close()


def _run(job: Mapping[str, Any], heard: Callable[[dict[str, Any]], None], stop: Callable[[], bool]) -> dict[str, Any]:
    """Start the process, hand its lines on, close its standard input once `stop` says so; its last word."""
    command = [sys.executable, "-m", "carscribe.collect.crawling"]
    with Path(job["log"]).open("ab") as log:
        # A session of its own: Ctrl-C is for this process, which lets the other one end what is under way.
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    assert process.stdin is not None
    assert process.stdout is not None
    end: dict[str, Any] = {}
    try:
        process.stdin.write(json.dumps(dict(job)).encode() + b"\n")
        process.stdin.flush()
        for line in _lines(process.stdout):
            end = line.get("end", end)
            heard(line)
            if stop() and not process.stdin.closed:
                process.stdin.close()
    except KeyboardInterrupt:
        process.kill()
        end = {"stopped": _ASKED}
    except BrokenPipeError:
        pass  # it ended before it had read what to do
    finally:
        if not process.stdin.closed:
            with suppress(BrokenPipeError):
                process.stdin.close()
        process.stdout.close()
        try:
            code = process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
    if not end:
        return {
            "error": f"The crawl ended without a word (exit code {code}): see {job['log']}. The same command goes on."
        }
    return end


def _lines(stream: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in stream:
        try:
            yield json.loads(line)
        except ValueError:
            continue  # cut off by a kill


def _progress(line: Mapping[str, Any], seen: Callable[[Progress], None]) -> None:
    counts: Mapping[str, int] | None = line.get("progress")
    if counts is None:
        return

    def number(roles: str, states: str) -> int:
        return sum(counts.get(f"{role} {state}", 0) for role in roles.split() for state in states.split())

    seen(
        Progress(
            pages=number("list car", "done refused"),
            pages_waiting=number("list car", "waiting"),
            pictures=number("picture", "done"),
            pictures_waiting=number("picture", "waiting"),
            set_aside=number("list car picture sitemap", "failed refused small"),
        )
    )


def _finish(journal: "Journal", site: "Site", to: Path, before: int, stopped: str | None) -> Collected:
    """Write cars.json and the report of what the journal has; the sums."""
    from carscribe.collect.writing import write_cars, write_report

    for file in journal.withdraw_refused():
        (to / "images" / file).unlink(missing_ok=True)
    write_cars(journal, to)
    counts = journal.counts()
    cars, nameless, pictureless = journal.count_cars()
    photos = journal.count_photos()
    pages = sum(counts.get((role, "done"), 0) for role in ("list", "car"))
    pictures = sum(count for (role, _), count in counts.items() if role == "picture")
    waiting = sum(count for (_, state), count in counts.items() if state == "waiting")
    collected = Collected(
        folder=to,
        photos=photos,
        new_photos=max(0, photos - before),
        cars=cars,
        nameless=nameless,
        pictureless=pictureless,
        pages=pages,
        sitemaps=counts.get(("sitemap", "done"), 0),
        same_bytes=counts.get(("picture", "done"), 0) - photos,
        waiting=waiting,
        left_out=_grouped(map(dict, journal.left_out())),
        silent=tuple(rule for rule in _silent(site, journal.rules()) if rule.tried or not waiting),
        stopped=stopped,
        advice=_advice(site, pages=pages, cars=cars, pictures=pictures),
    )
    write_report(journal, to, collected, {"site": site.label})
    return collected


def _grouped(left_out: Iterable[Mapping[str, Any]]) -> tuple[LeftOut, ...]:
    """What gave nothing, by reason, the most frequent first."""
    counts: Counter[tuple[str, str, bool]] = Counter()
    examples: dict[tuple[str, str, bool], str] = {}
    for each in left_out:
        what = {"picture": "pictures", "sitemap": "sitemaps"}.get(each["role"], "pages")
        reason = "smaller than min_side_px" if each["state"] == "small" else each["reason"] or "no reason is known"
        key = (what, reason, each["state"] == "failed")
        counts[key] += 1
        examples.setdefault(key, each["url"])
    return tuple(
        LeftOut(what=key[0], reason=key[1], failed=key[2], count=count, example=examples[key])
        for key, count in counts.most_common()
    )


def _silent(site: "Site", tried: Mapping[str, tuple[int, int]]) -> tuple[SilentRule, ...]:
    """Rules that found nothing on any page, those that were never tried among them, in the order of the file."""
    counted = {key: tried.get(key, (0, 0)) for key in site.rules}
    return tuple(
        SilentRule(place=site.place(key), key=key, rules=site.rules[key], tried=pages)
        for key, (pages, found) in counted.items()
        if not found
    )


def _advice(site: "Site", *, pages: int, cars: int, pictures: int) -> str | None:
    """What to look at first when no picture was found, by file and line."""
    follow, car = site.table.follow, site.table.car
    if pictures:
        return None
    if not pages and site.table.sitemaps:
        return f"{site.place('sitemaps')}: no page that a sitemap names was read. See [sitemap] cars and follow.within."
    if not pages:
        return f"{site.place('start')}: no page to begin with could be read. Open it in a browser, and see robots.txt."
    if not cars and follow.cars:
        return (
            f"{site.place('follow.cars')}: no page of a car was read. Look at the links to them in the lists' source."
        )
    if car.each and not cars:
        return f"{site.place('car.each')}: nothing on these pages holds a car with a picture, by this rule and image."
    if car.image:
        return f"{site.place('car.image')}: no picture was found by this rule. Look for it in a page's source."
    without = "no page says in JSON-LD or Open Graph which its picture is"
    return f'{site.place("car")}: {without}. Write a rule, image = "…" under [car].'


def _looked_at(page: Mapping[str, Any]) -> LookedAtPage:
    cars = tuple(
        LookedAtCar(
            name=car["name"],
            kind=car["kind"],
            licence=car["licence"],
            extra=car["extra"],
            pictures=tuple(addresses[0] for addresses in car["pictures"]),
        )
        for car in page["cars"]
    )
    links = {role: tuple(urls) for role, urls in page["links"].items()}
    return LookedAtPage(
        url=page["url"],
        role=page["role"],
        encoding=page["encoding"],
        refused=page["refused"],
        cars=cars,
        links=links,
    )
