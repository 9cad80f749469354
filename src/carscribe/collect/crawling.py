"""The process that crawls: Scrapy, with the journal for its queue. `python -m carscribe.collect.crawling`.

Its standard input brings one line, the job as JSON; when it ends, the crawl stops after what is under way. So a crawl
whose starter was killed stops too. Its standard output is one JSON object a line: progress, pages, how it ended.
"""

import json
import logging
import os
import sqlite3
import string
import sys
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, assert_never
from urllib.parse import quote, urljoin, urlsplit

from scrapy import Request, Spider
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
)
from scrapy.http import Response
from twisted.python.failure import Failure

from carscribe.collect.fetching import PutOff, Queue, is_robots_txt
from carscribe.collect.journal import Address, AddressRole, Journal, State
from carscribe.collect.reading import is_html, read_page
from carscribe.collect.refusals import ROBOT, refusal_in_headers
from carscribe.collect.reports import Reports, page_report, sitemap_report
from carscribe.collect.site import Site, SiteTable, load_site
from carscribe.collect.sitemaps import read_sitemap
from carscribe.collect.storing import NotKept, remove_leftovers, sha256_of, store
from carscribe.errors import CarscribeError, CollectError

TICK_S = 0.5
MAX_PAGE_BYTES = 10_000_000
_ACCEPTED = {"picture": "image/*,*/*;q=0.5", "sitemap": "application/xml,text/xml,application/gzip,*/*;q=0.5"}
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to crawl. Without a folder nothing is kept and pictures are not asked for: a look at the first pages."""

    site: str
    folder: str | None
    log: str
    limit: int | None = None
    again: bool = False
    retry_failed: bool = False
    look_at: Mapping[str, int] | None = None


class CarSpider(Spider):
    """Reads pages, keeps pictures, and notes what came of each."""

    name = "carscribe"

    def __init__(self, *args: Any, site: SiteTable, queue: Queue, images: Path | None, reports: Reports, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.site = site
        self.queue = queue
        self.journal = queue.journal
        self._images = images
        self._reports = reports
        self._hosts = {host.removeprefix("www.") for host in site.hosts}

    async def start(self) -> AsyncIterator[Any]:
        """Nothing: the scheduler has the start pages."""
        return
        yield

    def request_for(self, address: Address) -> Request:
        """An address as Scrapy asks for it."""
        headers = {"Accept": _ACCEPTED.get(address.role, "text/html,application/xhtml+xml,*/*;q=0.5")}
        if address.found_on:
            headers["Referer"] = address.found_on
        limit = self._max_megabytes(address.role) * 1_000_000
        meta = {"address": address, "handle_httpstatus_all": True, "dont_redirect": True, "download_maxsize": limit}
        if is_robots_txt(address):
            meta["dont_obey_robotstxt"] = True
        return Request(
            address.url, callback=self.answered, errback=self.broken, headers=headers, meta=meta, dont_filter=True
        )

    def answered(self, response: Response) -> None:
        """Whatever a site answered."""
        address: Address = response.meta["address"]
        try:
            self._take(address, response)
        except (OSError, sqlite3.Error) as error:
            self._cannot_write(error)
        # Whatever a page is made of, one that our reading fails on is set aside, and the log has the reason.
        except Exception as error:  # noqa: BLE001
            _LOG.exception("Reading %s failed", address.url)
            self.journal.failed(address, f"reading it failed ({type(error).__name__}): see collect.log")
        finally:
            self.queue.settled(address)

    def broken(self, failure: Failure) -> None:
        """No answer came, or none was asked for."""
        address: Address = failure.request.meta["address"]  # type: ignore[attr-defined]
        error = failure.value
        try:
            if isinstance(error, PutOff):
                return
            if isinstance(error, IgnoreRequest) and error.__cause__ is None:
                self._forbidden(address)
            else:
                self.journal.failed(address, self._why(error, address))
        except sqlite3.Error as failed:
            self._cannot_write(failed)
        finally:
            self.queue.settled(address, put_off=isinstance(error, PutOff) or self.queue.stopping)

    # --- one answer ---

    def _take(self, address: Address, response: Response) -> None:
        if response.status in {301, 302, 303, 307, 308} and response.headers.get("Location"):
            self._follow(address, response)
        elif not 200 <= response.status < 300:
            self.journal.failed(address, _status(response.status))
        elif address.role == "picture":
            self._keep(address, response)
        elif address.role == "sitemap":
            self._read_sitemap(address, response)
        else:
            self._read(address, response, "car" if self.journal.role_of(address) == "car" else "list")

    def _follow(self, address: Address, response: Response) -> None:
        location = response.headers.get("Location") or b""
        # As bytes: a path in EUC-KR is asked for as it was given.
        self._send_on(address, urljoin(response.url, quote(location.strip(), safe=string.punctuation)))

    def _send_on(self, address: Address, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not (address.role == "picture" or self._is_ours(url)):
            self.journal.refused(address, f"it sends on to another site, {parts.netloc or url}: see follow.within")
        else:
            self.journal.moved(address, parts._replace(fragment="").geturl())
            self.queue.give_back(address.role)

    def _read(self, address: Address, response: Response, role: Any) -> None:
        content_type = (response.headers.get("Content-Type") or b"").decode("latin-1")
        if not is_html(response.body, content_type):
            self.journal.refused(address, f"it is no page but {content_type or 'something else'}")
            return
        page = read_page(
            self.site,
            response.url,
            response.body,
            role=role,
            content_type=content_type or None,
            robots=_robots_headers(response),
        )
        if page.sends_on:
            self._send_on(address, page.sends_on)
            return
        links: list[tuple[str, AddressRole]] = [
            (url, role) for url, role in page.links if self._is_ours(url) and address.depth < self.site.follow.max_depth
        ]
        self.journal.page_read(address, page.cars, links, page.matched, page.refused)
        if self._images is None:
            self._reports.say("page", page_report(address, page, links))

    def _read_sitemap(self, address: Address, response: Response) -> None:
        # A robots.txt is one wherever it was sent on to for its rules.
        url = address.url if is_robots_txt(address) else response.url
        read = read_sitemap(self.site, url, response.body)
        pages: list[tuple[str, AddressRole]] = [(url, role) for url, role in read.pages if self._is_ours(url)]
        # A robots.txt vouches for sitemaps anywhere, an index for those of its own host.
        sitemaps = [
            url
            for url in read.sitemaps
            if is_robots_txt(address) or self._is_ours(url) or urlsplit(url).netloc.lower() == address.host
        ]
        state: State = "done"
        reason = None
        if read.fault:
            state, reason = "failed", read.fault
        elif sitemaps and address.depth >= self.site.sitemap.max_depth:
            state, reason = "refused", f"an index {address.depth} files deep: see sitemap.max_depth"
            sitemaps = []
        elif not (pages or sitemaps) and (others := [*read.sitemaps, *(url for url, _ in read.pages)]):
            elsewhere = urlsplit(others[0]).netloc
            state, reason = "refused", f"all it names is on another site, {elsewhere}: see follow.within"
        self.journal.sitemap_read(address, pages, sitemaps, read.matched, state, reason)
        if self._images is None:
            self._reports.say("page", sitemap_report(address, read, pages, sitemaps))

    def _keep(self, address: Address, response: Response) -> None:
        if refused := refusal_in_headers(_robots_headers(response)):
            self.journal.refused(address, f"its X-Robots-Tag says {refused}")
            return
        known = self.journal.photo_of(sha256_of(response.body))
        if known:
            self.journal.photo_kept(address, known)
            return
        assert self._images is not None
        name = self.journal.name_for(address)
        stored = store(self._images, response.body, name=name, min_side_px=self.site.pictures.min_side_px)
        if not isinstance(stored, NotKept):
            self.queue.kept += 1
            self.journal.photo_kept(address, stored)
        elif stored.state == "small":
            self.journal.too_small(address, stored.reason)
        else:
            self.journal.failed(address, stored.reason)

    def _forbidden(self, address: Address) -> None:
        why = self.queue.robots_failed.get(address.host)
        if why:
            self.journal.failed(
                address, f"robots.txt of {address.host} cannot be read ({why}), so nothing is asked for"
            )
        else:
            self.journal.refused(address, "robots.txt forbids it")

    def _cannot_write(self, error: Exception) -> None:
        """The address waits: there is nowhere to keep what came of it."""
        self.queue.stop(f"what is fetched cannot be written: {getattr(error, 'strerror', None) or error}")

    def _why(self, error: BaseException | None, address: Address) -> str:
        match error:
            case DownloadCancelledError() | IgnoreRequest():  # as it comes, or unpacked
                key = {"picture": " (max_megabytes)", "sitemap": " (sitemap.max_megabytes)"}.get(address.role, "")
                return f"larger than {self._max_megabytes(address.role)} MB{key}"
            case DownloadTimeoutError():
                return f"no answer in {self.site.pace.timeout_s:g} s"
            case CannotResolveHostError():
                return f"there is no host {address.host}"
            case DownloadConnectionRefusedError():
                return f"{address.host} takes no connections"
            case ResponseDataLossError():
                return "the connection broke off in the middle"
            case _:
                return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"

    def _max_megabytes(self, role: AddressRole) -> int:
        match role:
            case "picture":
                return self.site.pictures.max_megabytes
            case "sitemap":
                return self.site.sitemap.max_megabytes
            case "car" | "list":
                return MAX_PAGE_BYTES // 1_000_000
            case _:
                assert_never(role)

    def _is_ours(self, url: str) -> bool:
        return urlsplit(url).netloc.lower().removeprefix("www.") in self._hosts


def _status(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"


def _robots_headers(response: Response) -> list[str]:
    return [value.decode("latin-1") for value in response.headers.getlist("X-Robots-Tag")]


def crawl(job: Job, reports: Reports) -> None:
    """Crawl until nothing waits, the limit is reached, or standard input ends. Raises: SiteError, CollectError."""
    site = load_site(Path(job.site))
    folder = Path(job.folder) if job.folder else None
    images = folder / "images" if folder else None
    journal = Journal(folder)
    try:
        _prepare(journal, site, job)
        if images:
            _make_ready(images)
        limits: dict[AddressRole, int] = {"list": site.table.follow.max_pages, "car": site.table.follow.max_pages}
        limits["sitemap"] = site.table.sitemap.max_files
        if job.look_at is not None:
            limits = {"picture": 0, **job.look_at}  # type: ignore[dict-item]
        look = job.look_at is not None
        queue = Queue(journal, site.table, photo_limit=job.limit, limits=limits, look=look)
        process = AsyncCrawlerProcess(_settings(site.table))
        process.crawl(CarSpider, site=site.table, queue=queue, images=images, reports=reports)
        _listen(queue)
        done = _tick(queue, reports)
        process.start(install_signal_handlers=False)
        done.set()
        left_out = [] if images else [dict(row) for row in journal.left_out()]
        reports.say("end", {"stopped": queue.stop_reason, "left_out": left_out})
    finally:
        journal.close()


def _make_ready(images: Path) -> None:
    """Make the folder of pictures. Raises: CollectError when it cannot be written."""
    try:
        images.mkdir(exist_ok=True)
        remove_leftovers(images)
    except OSError as error:
        raise CollectError(
            f"{images} cannot be written: {error.strerror or error}. Check it, or give another --to."
        ) from error


def _prepare(journal: Journal, site: Site, job: Job) -> None:
    """Let the addresses wait that this run is about."""
    if job.again:
        journal.read_again()
    if job.retry_failed:
        journal.retry_failed()
    journal.note("reading", site.reading)
    journal.note("taking", site.taking)
    journal.begin(site.table.start, "list")
    journal.begin(site.table.sitemap_addresses, "sitemap")


def _settings(site: SiteTable) -> dict[str, Any]:
    contact = f" (+{site.contact})" if site.contact else ""
    return {
        "USER_AGENT": f"{ROBOT}/{version('carscribe')}{contact}",
        "ROBOTSTXT_OBEY": True,
        "ROBOTSTXT_USER_AGENT": ROBOT,
        "SCHEDULER": "carscribe.collect.fetching.JournalScheduler",
        "DOWNLOADER_MIDDLEWARES": {"carscribe.collect.fetching.Patience": 550},
        "RETRY_ENABLED": False,
        "METAREFRESH_ENABLED": False,
        "COOKIES_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "DOWNLOAD_DELAY": site.pace.delay_s,
        "DOWNLOAD_DELAY_JITTER": 0.25,
        "DOWNLOAD_TIMEOUT": site.pace.timeout_s,
        "DOWNLOAD_MAXSIZE": MAX_PAGE_BYTES,
        "DOWNLOAD_WARNSIZE": 0,
        "CONCURRENT_REQUESTS": 64,
        "CONCURRENT_REQUESTS_PER_DOMAIN": site.pace.at_once,
        "LOG_LEVEL": "INFO",
        "LOG_ENABLED": False,
        "LOG_INSTALL_ROOT_HANDLER": False,
        "WARN_ON_GENERATOR_RETURN_VALUE": False,
    }


def _listen(queue: Queue) -> None:
    """Stop when standard input ends."""
    from twisted.internet import reactor

    def wait() -> None:
        sys.stdin.read()
        reactor.callFromThread(queue.stop, "asked to stop")

    threading.Thread(target=wait, daemon=True).start()


def _tick(queue: Queue, reports: Reports) -> threading.Event:
    """Say twice a second how far the crawl is, from the reactor's thread, where the journal may be asked."""
    from twisted.internet import reactor

    done = threading.Event()

    def tick() -> None:
        counts = queue.journal.counts()
        reports.say("progress", {f"{role} {state}": count for (role, state), count in counts.items()})

    def beat() -> None:
        while not done.wait(TICK_S):
            reactor.callFromThread(tick)

    threading.Thread(target=beat, daemon=True).start()
    return done


def main() -> None:
    """Read the job, crawl, report. Whatever goes wrong is told as the last line."""
    reports = Reports(os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8"))
    job = Job(**json.loads(sys.stdin.readline()))
    logging.basicConfig(
        filename=job.log, level=logging.INFO, encoding="utf-8", format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    sys.stdout = sys.stderr
    try:
        crawl(job, reports)
    except CarscribeError as error:
        reports.say("end", {"error": str(error)})
    except Exception as error:  # noqa: BLE001 - the starter has to be told
        _LOG.exception("The crawl ended by a defect")
        reports.say("end", {"error": f"The crawl ended by a defect ({type(error).__name__}: {error}): see {job.log}."})


if __name__ == "__main__":
    main()
