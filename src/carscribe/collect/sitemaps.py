"""The pages that a sitemap names, or the sitemaps that an index or a robots.txt does. Fetches nothing.

Source: https://www.sitemaps.org/protocol.html
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from lxml import etree
from scrapy.utils.gz import gunzip
from scrapy.utils.sitemap import Sitemap, sitemap_urls_from_robots

from carscribe.collect.reading import Place, Role
from carscribe.collect.site import SiteTable
from carscribe.photos.rows import looks_like_photo

_MAX_TAGS = 3_000_000
"""A file of 50 MB with the shortest addresses has fewer; 3,000,000 empty elements take 400 MB and some seconds."""

_GZIP = b"\x1f\x8b\x08"
_CDATA_OR_BARE_AMPERSAND = re.compile(
    rb"<!\[CDATA\[(?:.*?\]\]>|.*)|&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);)", re.DOTALL
)
"""In CDATA an ampersand is written bare, and stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SitemapRead:
    """What a sitemap names: pages, or further sitemaps. `matched` says of each pattern whether it was in an address.

    `fault` is what is wrong with the file; what could be read of it is there all the same.
    """

    pages: tuple[tuple[str, Role], ...] = ()
    sitemaps: tuple[str, ...] = ()
    fault: str | None = None
    matched: Mapping[str, bool] = field(default_factory=dict)


def read_sitemap(site: SiteTable, url: str, body: bytes) -> SitemapRead:
    """Read a robots.txt, an index or a sitemap, packed by gzip or not. Whatever bytes it is, this does not fail.

    Entities are not expanded and nothing is loaded; libxml2's limits on depth, texts and attributes hold.
    """
    if urlsplit(url).path == "/robots.txt":
        named = list(sitemap_urls_from_robots(body, url))
        return _read(site, url, "robots.txt", named, None if named else "it names no sitemap")
    limit = site.sitemap.max_megabytes
    if body.startswith(_GZIP):
        try:
            body = gunzip(body, max_size=limit * 1_000_000)
        except ValueError:
            return SitemapRead(fault=f"larger than {limit} MB unpacked (sitemap.max_megabytes)")
        except (OSError, EOFError):
            return SitemapRead(fault="it is damaged: gzip cannot unpack it")
    if body.count(b"<") > _MAX_TAGS:
        return SitemapRead(fault=f"more than {_MAX_TAGS:,} tags")
    try:
        sitemap = Sitemap(_escaped(body.lstrip()))
        kind, addresses = sitemap.type, [each["loc"] for each in sitemap]
    except (etree.XMLSyntaxError, StopIteration):
        return SitemapRead(fault="it is no sitemap: no XML")
    if kind not in {"urlset", "sitemapindex"}:
        return SitemapRead(fault=f"it is no sitemap but <{kind[:40]}>")
    fault = _damage(sitemap)
    if fault and not body.rstrip().endswith(b">"):
        addresses = addresses[:-1]  # cut off, and perhaps in the middle of it
    return _read(site, url, kind, addresses, fault)


def _read(site: SiteTable, url: str, kind: str, addresses: Iterable[str], fault: str | None) -> SitemapRead:
    """Sort addresses by the site's patterns."""
    place = Place(base=url, encoding="utf-8")
    whole = list(dict.fromkeys(each for address in addresses if address and (each := place.whole(address))))
    rules = site.sitemap
    if kind == "robots.txt":
        return SitemapRead(sitemaps=tuple(whole), fault=fault)
    if kind == "sitemapindex":
        matched = {"sitemap.files": False} if rules.files and whole else {}
        taken = [each for each in whole if _is_taken(each, rules.files, "sitemap.files", matched)]
        return SitemapRead(sitemaps=tuple(taken), fault=fault, matched=matched)
    matched = {f"sitemap.{key}": False for key in ("cars", "lists") if getattr(rules, key) and whole}
    return SitemapRead(pages=tuple(_pages(site, whole, matched)), fault=fault, matched=matched)


def _pages(site: SiteTable, addresses: Iterable[str], matched: dict[str, bool]) -> Iterator[tuple[str, Role]]:
    """Those of cars, then of the others those of lists. Where neither has a pattern, all are of cars.

    Without `follow.cars` there is one role, for every page is read for cars.
    """
    cars, lists = site.sitemap.cars, site.sitemap.lists
    car: Role = "car" if site.follow.cars else "list"
    for url in addresses:
        if looks_like_photo(urlsplit(url).path):
            continue
        if (cars or not lists) and _is_taken(url, cars, "sitemap.cars", matched):
            yield url, car
        elif lists and _is_taken(url, lists, "sitemap.lists", matched):
            yield url, "list"


def _is_taken(url: str, patterns: list[str], key: str, matched: dict[str, bool]) -> bool:
    """Whether an address has one of the patterns, as it is asked for or as a person writes it."""
    if not patterns:
        return True
    found = any(re.search(pattern, written) for pattern in patterns for written in (url, unquote(url)))
    matched[key] = matched[key] or found
    return found


def _escaped(body: bytes) -> bytes:
    """XML in which an ampersand that stands for itself is written as one: many addresses have it bare.

    >>> _escaped(b"<loc>/?a=1&b=2&amp;c=3</loc><loc><![CDATA[/?a=1&b=2]]></loc>")
    b'<loc>/?a=1&amp;b=2&amp;c=3</loc><loc><![CDATA[/?a=1&b=2]]></loc>'
    """
    if b"\0" in body[:100]:  # UTF-16
        return body
    return _CDATA_OR_BARE_AMPERSAND.sub(lambda found: b"&amp;" if found[0] == b"&" else found[0], body)


def _damage(sitemap: Sitemap) -> str | None:
    """What stopped the reading, or left something out."""
    for error in sitemap.xmliter.error_log:
        if error.level == etree.ErrorLevels.FATAL:
            return f"it is damaged, line {error.line}: {' '.join(error.message.split())[:100]}"
    return None
