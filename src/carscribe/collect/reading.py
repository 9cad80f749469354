"""One page, read by a site's rules: its cars with their pictures, and the links to go on with. Fetches nothing."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urljoin, urlsplit

from parsel import Selector
from w3lib.html import get_base_url, get_meta_refresh
from w3lib.url import canonicalize_url, safe_url_string

from carscribe.collect.charset import charset_of
from carscribe.collect.pictures import STAND_IN_PX, candidates_of, ordered
from carscribe.collect.refusals import refusal_in_headers, refusal_in_page
from carscribe.collect.selecting import addresses, all_texts, first_text, select
from carscribe.collect.site import SiteTable
from carscribe.collect.structured import Structured, structured
from carscribe.photos.rows import looks_like_photo
from carscribe.plaintext import plain_line

Role = Literal["list", "car"]

_HEAD_CHARACTERS = 4_096
"""Where `<base>` and a refresh are looked for, as Scrapy has it."""

_LONGEST_REFRESH_S = 30.0
"""A page that sends on later than this is there to be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundCar:
    """A car as a page has it. Each picture is its addresses, the best first, the others should that one fail."""

    name: str | None
    kind: str | None
    licence: str | None
    extra: Mapping[str, str]
    pictures: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRead:
    """What a page gave. `matched` says of each rule that was tried here whether it found anything.

    `refused` is the word with which the page keeps its pictures from machines, if it does; `sends_on` the address to
    which a `<meta http-equiv="refresh">` leads.
    """

    encoding: str
    cars: tuple[FoundCar, ...]
    links: tuple[tuple[str, Role], ...]
    refused: str | None
    sends_on: str | None = None
    matched: Mapping[str, bool] = field(default_factory=dict)


def read_page(
    site: SiteTable, url: str, body: bytes, *, role: Role, content_type: str | None = None, robots: Sequence[str] = ()
) -> PageRead:
    """Read one page. `robots` are its `X-Robots-Tag` headers. Whatever bytes a page is, this does not fail."""
    encoding = site.encoding or charset_of(body, content_type)
    text = body.decode(encoding, "replace").replace("\0", "")
    page = Selector(text=text if text.strip() else "<html/>", type="html")
    place = Place(base=get_base_url(text[:_HEAD_CHARACTERS], url), encoding=encoding)
    matched: dict[str, bool] = {}
    cars = tuple(_cars(site, page, place, matched)) if role == "car" or not site.follow.cars else ()
    return PageRead(
        encoding=encoding,
        cars=cars,
        links=tuple(_links(site, page, place, matched)),
        refused=refusal_in_headers(robots) or refusal_in_page(page),
        sends_on=_sends_on(text, url, place),
        matched=matched,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the addresses of a page start from, and in which encoding their queries are written."""

    base: str
    encoding: str

    def whole(self, address: str) -> str | None:
        """An address as one that can be asked for; None for what is no address of the web."""
        try:
            joined = urljoin(self.base, address.strip())
            parts = urlsplit(joined)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                return None
            return str(safe_url_string(parts._replace(fragment="").geturl(), encoding=self.encoding))
        except (ValueError, UnicodeError):
            return None


def _sends_on(text: str, url: str, place: Place) -> str | None:
    """Where a page sends on to; not one that only loads itself anew, nor for browsers without scripts alone."""
    try:
        wait_s, address = get_meta_refresh(text[:_HEAD_CHARACTERS], place.base, place.encoding, ("noscript",))
    except ValueError:
        return None
    target = place.whole(address) if address else None
    if target is None or wait_s is None or wait_s > _LONGEST_REFRESH_S:
        return None
    return target if canonicalize_url(target) != canonicalize_url(url) else None


def _links(site: SiteTable, page: Selector, place: Place, matched: dict[str, bool]) -> Iterator[tuple[str, Role]]:
    """Pages to go on with, those of cars first, for a page may be linked to as both."""
    seen: set[str] = set()
    ways: tuple[tuple[str, list[str], Role], ...] = (
        ("follow.cars", site.follow.cars, "car"),
        ("follow.lists", site.follow.lists, "list"),
    )
    for key, rules, role in ways:
        for rule in rules:
            for address in addresses(page, rule):
                url = place.whole(address)
                if url is None or looks_like_photo(urlsplit(url).path):
                    continue
                matched[key] = True
                if url not in seen:
                    seen.add(url)
                    yield url, role
        if rules:
            matched.setdefault(key, False)


def _cars(site: SiteTable, page: Selector, place: Place, matched: dict[str, bool]) -> Iterator[FoundCar]:
    """The car of a page, or each of several. Where no rule leads to pages of cars, a car is what has a picture."""
    scopes = [page]
    if site.car.each:
        scopes = select(page, site.car.each)
        matched["car.each"] = bool(scopes)
    known = Structured() if site.car.each else structured(page)
    for scope in scopes:
        # A part of a page is cut out, so that an XPath that begins with // looks at that part alone.
        part = Selector(text=scope.get(), type="html") if site.car.each else page
        car = _car(site, part, known, place, matched)
        if car.pictures or site.follow.cars:
            yield car


def _car(site: SiteTable, scope: Selector, known: Structured, place: Place, matched: dict[str, bool]) -> FoundCar:
    def text(key: str, rules: list[str], default: str | None) -> str | None:
        if not rules:
            return _clean(default)
        found = first_text(scope, tuple(rules))
        matched[f"car.{key}"] = matched.get(f"car.{key}", False) or found is not None
        return _clean(found)

    extra = {}
    for key, rules in site.car.extra.items():
        said = ", ".join(filter(None, map(_clean, all_texts(scope, tuple(rules)))))
        matched[f"car.extra.{key}"] = matched.get(f"car.extra.{key}", False) or bool(said)
        if said:
            extra[key] = said
    return FoundCar(
        name=text("name", site.car.name, known.name),
        kind=text("kind", site.car.kind, known.kind),
        licence=text("licence", site.car.licence, known.licence) or site.licence,
        extra=extra,
        pictures=tuple(_pictures(site, scope, known, place, matched))[: site.pictures.per_car],
    )


def _pictures(
    site: SiteTable, scope: Selector, known: Structured, place: Place, matched: dict[str, bool]
) -> Iterator[tuple[str, ...]]:
    """Each picture's addresses, each picture once."""
    groups = [list(group) for group in known.pictures]
    if site.car.image:
        groups = [group for rule in site.car.image for found in select(scope, rule) for group in candidates_of(found)]
        matched["car.image"] = matched.get("car.image", False) or any(groups)
    seen: set[str] = set()
    for group in groups:
        written = ordered(group, max_width_px=site.pictures.max_width_px)
        urls = tuple(dict.fromkeys(url for address in written if (url := place.whole(address))))
        # A grey stand-in is in all pictures of many a page, and says nothing of which picture this is.
        own = {place.whole(each.address) for each in group if each.width_px > STAND_IN_PX}
        if urls and not seen & own:
            yield urls
        seen.update(urls)


def _clean(text: str | None) -> str | None:
    """Text in one line and in one Unicode form."""
    return plain_line(unicodedata.normalize("NFC", text)) or None if text else None


def is_html(body: bytes, content_type: str | None) -> bool:
    """Whether an answer is a page: by what the server says, else by how it begins."""
    said = (content_type or "").partition(";")[0].strip().lower()
    if said:
        return said in {"text/html", "application/xhtml+xml", "application/xml", "text/xml", "text/plain"}
    return body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")
