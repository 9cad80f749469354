"""How addresses are asked for: which next, how many of a host at a time, how long to wait when a site says so."""

import asyncio
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from scrapy import Request, Spider, signals
from scrapy.core.scheduler import BaseScheduler
from scrapy.downloadermiddlewares.retry import get_retry_request
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response, TextResponse
from scrapy.utils.misc import load_object

from carscribe.collect.journal import Address, AddressRole, Journal
from carscribe.collect.refusals import ROBOT
from carscribe.collect.site import SiteTable

if TYPE_CHECKING:
    from scrapy.crawler import Crawler

_BUSY = frozenset({408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524})
_ROLES: tuple[AddressRole, ...] = ("picture", "car", "list", "sitemap")
"""In the order they are asked for: what is nearest to a photo first, so that a stopped crawl has whole cars."""

_ROLES_OF_A_LOOK: tuple[AddressRole, ...] = ("sitemap", "picture", "car", "list")

_NOTHING_ALLOWED = b"User-agent: *\nDisallow: /\n"
_AHEAD = 100
_KNOWN = "known"
"""The flag of an answer that was not asked for again."""


class PutOff(IgnoreRequest):
    """The crawl is to end; the address waits for the next one."""


class Queue:
    """What of the journal is asked for next. Lives in one process, on the reactor's thread.

    `limits` are how many addresses of a role may be taken in all, `photo_limit` how many photos may be kept. `look`
    asks for sitemaps first, since a few addresses of each role are all.
    """

    def __init__(
        self,
        journal: Journal,
        site: SiteTable,
        *,
        photo_limit: int | None,
        limits: Mapping[AddressRole, int],
        look: bool = False,
    ) -> None:
        self.journal = journal
        self.site = site
        self.kept = 0
        self.robots_failed: dict[str, str] = {}
        self.robots_answers: dict[str, Response] = {}
        self.stop_reason: str | None = None
        self._photo_limit = photo_limit
        self._limits = limits
        self._look = look
        self._taken: Counter[AddressRole] = Counter()
        self._open: dict[int, Address] = {}
        self._lanes: Counter[str] = Counter()
        self._held: dict[str, float] = {}
        self._buffers: defaultdict[tuple[str, AddressRole], deque[Address]] = defaultdict(deque)
        self._handed: set[int] = set()  # ids that are in a buffer, under way, or put off
        self._dry: set[tuple[str, AddressRole]] = set()
        self._stopping = asyncio.Event()

    # --- addresses ---

    def take(self) -> Address | None:
        """The next address that may be asked for now."""
        for host, role in self._ways():
            if self._lanes[host] < self.site.pace.at_once and self._held.get(host, 0) <= time.monotonic():
                address = self._buffers[host, role].popleft()
                self._taken[role] += 1
                self._open[address.id] = address
                self._lanes[host] += 1
                return address
        return None

    def has_more(self) -> bool:
        """Whether an address waits that this run would ask for, now or later."""
        return next(self._ways(), None) is not None

    def settled(self, address: Address, *, put_off: bool = False) -> None:
        """What came of an address is in the journal, unless it was put off to another run."""
        if not put_off:
            self._handed.discard(address.id)
        if self._open.pop(address.id, None):
            self._lanes[address.host] -= 1
        self._dry.clear()

    def give_back(self, role: AddressRole) -> None:
        """An address only led to another: it does not count as taken."""
        self._taken[role] -= 1

    def _ways(self) -> Iterator[tuple[str, AddressRole]]:
        """Hosts and roles of which an address waits and may be taken."""
        if self.stopping or (self._photo_limit is not None and self.kept >= self._photo_limit):
            return
        for role in _ROLES_OF_A_LOOK if self._look else _ROLES:
            if not self._may_take(role):
                continue
            for host in sorted(self.journal.hosts):
                if self._waits(host, role):
                    yield host, role

    def _may_take(self, role: AddressRole) -> bool:
        if role == "picture" and self._photo_limit is not None:
            under_way = sum(address.role == "picture" for address in self._open.values())
            if self.kept + under_way >= self._photo_limit:
                return False
        if role == "sitemap" and not self._look and not (self._may_take("car") and self._may_take("list")):
            return False  # pages that this run will not read can be found by the next
        return self._taken[role] < self._limits.get(role, self._taken[role] + 1)

    def _waits(self, host: str, role: AddressRole) -> bool:
        way = (host, role)
        if not self._buffers[way] and way not in self._dry:
            found = self.journal.waiting(host, role, _AHEAD + len(self._handed))
            new = [address for address in found if address.id not in self._handed]
            self._buffers[way].extend(new)
            self._handed.update(address.id for address in new)
            if not new:
                self._dry.add(way)
        return bool(self._buffers[way])

    # --- waiting ---

    @property
    def stopping(self) -> bool:
        """Whether the crawl is to end after what is under way."""
        return self._stopping.is_set()

    def stop(self, reason: str) -> None:
        """Ask for nothing more; what is under way ends."""
        self.stop_reason = self.stop_reason or reason
        self._stopping.set()

    def hold(self, host: str, seconds: float) -> None:
        """Ask a host for nothing new before so much time has gone by."""
        self._held[host] = max(self._held.get(host, 0), time.monotonic() + seconds)

    async def rest(self, seconds: float) -> None:
        """Wait. Raises: PutOff when the crawl is to end meanwhile."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return
        raise PutOff("the crawl is to end")


class JournalScheduler(BaseScheduler):
    """Scrapy's scheduler, with the journal for its queue. Requests to be repeated wait in memory: their address waits
    in the journal all the while.
    """

    def __init__(self, queue: Queue, make_request: Callable[[Address], Request]) -> None:
        self._queue = queue
        self._make_request = make_request
        self._again: deque[Request] = deque()

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> Self:
        """The queue is the spider's."""
        spider = crawler.spider
        return cls(spider.queue, spider.request_for)  # type: ignore[union-attr]

    def has_pending_requests(self) -> bool:
        """Whether the crawl goes on when nothing is under way."""
        return bool(self._again) or self._queue.has_more()

    def enqueue_request(self, request: Request) -> bool:
        """A request to be repeated; nothing else comes this way."""
        self._again.append(request)
        return True

    def next_request(self) -> Request | None:
        """What to ask for now."""
        if self._again:
            return self._again.popleft()
        address = self._queue.take()
        return None if address is None else self._make_request(address)


class Patience:
    """Downloader middleware: asks again, later, what a busy site could not answer; waits as long as `Retry-After` says.

    Scrapy's own asks again at once and does not read Retry-After. It also takes a robots.txt that cannot be read for
    one that allows everything; here it forbids everything, and a missing one allows it.

    Source: https://www.rfc-editor.org/rfc/rfc9309#section-2.3.1
    """

    def __init__(self, crawler: "Crawler") -> None:
        self._crawler = crawler
        self._spider: Spider = crawler.spider  # type: ignore[assignment]
        self._queue: Queue = crawler.spider.queue  # type: ignore[union-attr]
        self._retried: tuple[type[BaseException], ...] = tuple(
            load_object(each) if isinstance(each, str) else each
            for each in crawler.settings.getlist("RETRY_EXCEPTIONS")
        )

    @classmethod
    def from_crawler(cls, crawler: "Crawler") -> Self:
        """Also listens for the Crawl-delay of every robots.txt."""
        patience = cls(crawler)
        crawler.signals.connect(patience.robots_parsed, signal=signals.robots_parsed)
        return patience

    async def process_request(self, request: Request) -> Response | None:
        """A robots.txt that names sitemaps is the one that was fetched for its rules, so it is asked for once."""
        if not is_robots_txt(request.meta.get("address")):
            return None
        robots = self._crawler.get_downloader_middleware(RobotsTxtMiddleware)
        assert robots is not None
        await robots.robot_parser(request)
        if self._queue.stopping:
            raise PutOff("the crawl is to end")
        answer = self._queue.robots_answers.get(_host(request))
        if answer is None:
            self._queue.robots_failed.setdefault(_host(request), "no answer")
            raise IgnoreRequest("robots.txt cannot be read")
        return answer.replace(flags=[_KNOWN], request=request)

    async def process_response(self, request: Request, response: Response) -> Request | Response:
        """A busy answer becomes a request to be repeated, until the retries are used up."""
        if _KNOWN in response.flags:
            return response
        if response.status in _BUSY:
            asked = retry_after_s(response)
            if repeated := await self._repeat(request, f"HTTP {response.status}", asked):
                return repeated
        return _as_robots(request, response, self._queue) if _is_robots(request) else response

    async def process_exception(self, request: Request, exception: Exception) -> Request | Response | None:
        """So does a broken connection."""
        if isinstance(exception, self._retried) and (
            repeated := await self._repeat(request, type(exception).__name__, None)
        ):
            return repeated
        if _is_robots(request) and not isinstance(exception, IgnoreRequest):
            self._queue.robots_failed[_robots_host(request)] = type(exception).__name__
            return TextResponse(request.url, body=_NOTHING_ALLOWED)
        return None

    async def _repeat(self, request: Request, reason: str, asked_s: float | None) -> Request | None:
        """The request again after a wait. Raises: PutOff when the wait is too long, or the crawl is to end."""
        pace = self._queue.site.pace
        repeated = get_retry_request(request, spider=self._spider, reason=reason, max_retry_times=pace.retries)
        if repeated is None:
            return None
        tries = repeated.meta["retry_times"]
        wait_s = min(pace.retry_after_s * 2 ** (tries - 1), pace.longest_wait_s) if asked_s is None else asked_s
        if wait_s > pace.longest_wait_s:
            host = _host(request)
            self._queue.stop(f"{host} asks to be left alone for {wait_s:.0f} s ({reason}): go on after that time")
            raise PutOff(reason)
        if asked_s is not None:
            self._queue.hold(_host(request), wait_s)
        await self._queue.rest(wait_s)
        return repeated

    def robots_parsed(self, robotparser: object, request: Request) -> None:
        """Take a Crawl-delay that is longer than the site's description has it."""
        said: float | None = robotparser.crawl_delay(ROBOT)  # type: ignore[attr-defined]
        engine = self._crawler.engine
        if not said or engine is None or said <= self._queue.site.pace.delay_s:
            return
        host = urlsplit(request.url).hostname or ""
        engine.downloader.per_slot_settings[host] = {"delay": float(said), "concurrency": 1, "jitter": 0}
        if slot := engine.downloader.slots.get(host):
            slot.delay = float(said)


def retry_after_s(response: Response) -> float | None:
    """The wait that an answer asks for, in seconds, written as a number or as a date."""
    said = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    if said.isdecimal():
        return float(said)
    try:
        moment = parsedate_to_datetime(said)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def is_robots_txt(address: Address | None) -> bool:
    """Whether an address is a robots.txt, for the sitemaps that it names. Every robots.txt may be read."""
    return address is not None and address.role == "sitemap" and urlsplit(address.url).path == "/robots.txt"


def _is_robots(request: Request) -> bool:
    return bool(request.meta.get("dont_obey_robotstxt")) and "address" not in request.meta


def _robots_host(request: Request) -> str:
    """The host whose rules are asked for: those of one that sends on to another are that one's."""
    first: str = request.meta.get("redirect_urls", [request.url])[0]
    return urlsplit(first).netloc.lower()


def _host(request: Request) -> str:
    return urlsplit(request.url).netloc.lower()


def _as_robots(request: Request, response: Response, queue: Queue) -> Response:
    """An answer for robots.txt as the rules it stands for."""
    queue.robots_answers[_robots_host(request)] = response
    if response.status < 300:
        return response
    if 400 <= response.status < 500 and response.status != 429:
        return response.replace(body=b"")
    queue.robots_failed[_robots_host(request)] = f"HTTP {response.status}"
    return response.replace(body=_NOTHING_ALLOWED)
