"""What the process that crawls says to its starter: one JSON object a line."""

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TextIO

from carscribe.collect.journal import Address, AddressRole
from carscribe.collect.reading import PageRead
from carscribe.collect.sitemaps import SitemapRead


class Reports:
    """Lines of JSON to whoever started the crawl."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, kind: str, what: object) -> None:
        """One line. Nothing happens when nobody listens any more: the end of standard input says so too."""
        line = json.dumps({kind: what}, ensure_ascii=False)
        with self._lock:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                pass


def page_report(address: Address, page: PageRead, links: list[tuple[str, AddressRole]]) -> dict[str, Any]:
    """A page as a look at a site shows it."""
    return _report(address, page, _by_role(links))


def sitemap_report(
    address: Address, read: SitemapRead, pages: list[tuple[str, AddressRole]], sitemaps: list[str]
) -> dict[str, Any]:
    """A sitemap as a look at a site shows it: a page without cars."""
    page = PageRead(encoding="utf-8", refused=None, cars=(), links=(), matched=read.matched)
    return _report(address, page, _by_role(pages) | {"sitemap": sitemaps})


def _report(address: Address, page: PageRead, links: Mapping[str, list[str]]) -> dict[str, Any]:
    return {
        "url": address.url,
        "role": address.role,
        "encoding": page.encoding,
        "refused": page.refused,
        "cars": [asdict(car) for car in page.cars],
        "links": dict(links),
        "matched": dict(page.matched),
    }


def _by_role(links: list[tuple[str, AddressRole]]) -> dict[str, list[str]]:
    return {role: [url for url, its in links if its == role] for role in ("car", "list")}
