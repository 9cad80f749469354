"""Sitemaps as the beginning of a crawl: read whatever they are, each asked for once, as gently as pages."""

import gzip
import json
import sqlite3
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from local_site import LocalSite

from car_site import INDEXED, Reply, Site, car_name

pytest.importorskip("scrapy")

from carscribe.collect import collect, try_site
from carscribe.collect.journal import Journal
from carscribe.collect.site import SiteTable
from carscribe.collect.sitemaps import SitemapRead, read_sitemap
from carscribe.errors import InputError

ServeSite = Callable[..., LocalSite]
URL = "https://example.com/sitemap.xml"


def read(text: str | bytes, url: str = URL, **sitemap: object) -> SitemapRead:
    table = SiteTable.model_validate({"sitemaps": URL, "sitemap": sitemap})
    return read_sitemap(table, url, text.encode() if isinstance(text, str) else text)


def zipped(content: bytes) -> bytes:
    """The same bytes whenever it is done: a test is named after them, alike by every process that collects it."""
    return gzip.compress(content, mtime=0)


def urlset(*urls: str, root: str = "urlset", before: str = "") -> str:
    each = {"urlset": "url", "sitemapindex": "sitemap"}[root]
    rows = "".join(f"<{each}>\n <loc> {url} </loc></{each}>" for url in urls)
    return f'{before}<{root} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</{root}>'


def addresses(found: SitemapRead) -> list[str]:
    return [url.removeprefix("https://example.com") for url, _ in found.pages]


# --- one file ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (urlset("https://example.com/1", "https://example.com/2", "https://example.com/1"), ["/1", "/2"]),
        (zipped(urlset("https://example.com/1").encode()), ["/1"]),
        (urlset("https://example.com/1", before='\n\n<?xml version="1.0" encoding="UTF-8"?>'), ["/1"]),
        (urlset("https://example.com/?a=1&b=2", "https://example.com/?a=1&amp;b=3"), ["/?a=1&b=2", "/?a=1&b=3"]),
        (urlset("<![CDATA[https://example.com/?a=1&b=2]]>"), ["/?a=1&b=2"]),
        (urlset("<![CDATA[https://example.com/?a=1&b=2]]>", "/?a=1&c=2"), ["/?a=1&b=2", "/?a=1&c=2"]),
        (urlset("https://example.com/차#top", "/relative"), ["/%EC%B0%A8", "/relative"]),
        (urlset("/차", before='<?xml version="1.0" encoding="utf-16"?>').encode("utf-16"), ["/%EC%B0%A8"]),
        (urlset("mailto:x@y", "javascript:x", "http://[bad", "", "https://example.com/a.jpg"), []),
        ("<urlset><url><image><loc>https://example.com/1</loc></image></url></urlset>", []),
        ("<urlset/>", []),
    ],
    ids=[
        "plain", "gzip", "blank lines", "ampersands", "cdata", "cdata and not", "hangul", "utf-16", "no pages",
        "of an image", "empty",
    ],
)  # fmt: skip
def test_a_sitemap_names_pages(text: str | bytes, expected: list[str]) -> None:
    found = read(text)
    assert (addresses(found), found.sitemaps, found.fault) == (expected, (), None)


def test_an_index_and_robots_txt_name_sitemaps() -> None:
    index = read(urlset("https://example.com/a.xml", "https://cdn.example.com/b.xml.gz", root="sitemapindex"))
    assert index.sitemaps == ("https://example.com/a.xml", "https://cdn.example.com/b.xml.gz")
    lines = "User-agent: *\nDisallow: /x\nSITEMAP: https://cdn.example.com/a.xml\n  Sitemap: /b.xml\n"
    robots = read(lines, url="https://example.com/robots.txt")
    assert robots.sitemaps == ("https://cdn.example.com/a.xml", "https://example.com/b.xml")
    assert read("Disallow: /", url="https://example.com/robots.txt").fault == "it names no sitemap"


def test_patterns_tell_cars_from_lists_and_leave_the_rest() -> None:
    urls = [
        "https://example.com/car/1",
        "https://example.com/자동차/2",
        "https://example.com/brand/kia",
        "https://e.com/x",
    ]
    table = {"sitemaps": URL, "follow": {"cars": "a"}, "sitemap": {"cars": ["/car/", "/자동차/"], "lists": "/brand/"}}
    found = read_sitemap(SiteTable.model_validate(table), URL, urlset(*urls).encode())
    assert [role for _, role in found.pages] == ["car", "car", "list"]
    assert found.matched == {"sitemap.cars": True, "sitemap.lists": True}
    assert len(read(urlset(*urls)).pages) == 4
    assert [role for _, role in read(urlset(*urls), lists="/brand/").pages] == ["list"]
    nothing = read(urlset(*urls), cars="/auto/")
    assert (nothing.pages, nothing.matched, nothing.fault) == ((), {"sitemap.cars": False}, None)
    index = read(urlset("https://e.com/cars.xml", "https://e.com/news.xml", root="sitemapindex"), files="cars")
    assert (index.sitemaps, index.matched) == (("https://e.com/cars.xml",), {"sitemap.files": True})


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 11))
BOMB = f'<!DOCTYPE u [<!ENTITY l0 "lol">{LAUGHS}<!ENTITY file SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    "text",
    [
        f"{BOMB}<urlset><url><loc>https://example.com/&l10;</loc></url></urlset>",
        f"{BOMB}<urlset><url><loc><![CDATA[https://example.com/]]></loc><loc>&l10;</loc></url></urlset>",
        f"{BOMB}<urlset><url><loc><![CDATA[/1]]></loc><link href='&l10;'/></url></urlset>",
        f"{BOMB}<urlset><url><loc><![CDATA[/1]]></loc><loc>&file;</loc></url></urlset>",
        "<urlset>" + "<a>" * 300_000,
        "<urlset><url><loc>" + "x" * 20_000_000 + "</loc></url></urlset>",
        "<urlset>" + "<a/>" * 3_000_001 + "</urlset>",
        zipped(b" " * 3_000_000),
    ],
    ids=["laughs", "laughs in cdata", "laughs in attribute", "file", "deep", "long", "wide", "packed"],
)  # fmt: skip
def test_a_bomb_takes_no_memory_and_gives_nothing_away(text: str | bytes) -> None:
    body = text.encode() if isinstance(text, str) else text
    tracemalloc.start()
    found = read(body, max_megabytes=1 if body.startswith(b"\x1f") else 50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * len(body) + 5_000_000
    assert not any("root:" in url or "lollol" in url for url, _ in found.pages)


@pytest.mark.parametrize(
    ("text", "pages", "fault"),
    [
        (urlset("https://example.com/1", "https://example.com/2")[:-23], 1, "it is damaged, line 3: "),
        (zipped(urlset("https://example.com/1").encode())[:-30], 0, "it is damaged"),
        (zipped(b"x")[:8], 0, "it is damaged: gzip cannot unpack it"),
        (zipped(b" " * 2_000_000), 0, "larger than 1 MB unpacked (sitemap.max_megabytes)"),
        ("<!doctype html><html><p>Log in<br></html>", 0, "it is no sitemap"),
        ("<rss><channel/></rss>", 0, "it is no sitemap but <rss>"),
        ("https://example.com/1", 0, "it is no sitemap: no XML"),
        ("", 0, "it is no sitemap: no XML"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told_and_the_rest_is_taken(text: str | bytes, pages: int, fault: str) -> None:
    found = read(text, max_megabytes=1)
    assert str(found.fault).startswith(fault)
    assert len(found.pages) == pages


# --- crawls ---


@dataclass(slots=True)
class Answering(Site):
    """A site that answers some addresses as told, the last reply of several for ever."""

    replies: dict[str, list[Reply]] = field(default_factory=dict)

    def answer(self, address: str) -> Reply:
        usual = Site.answer(self, address)
        replies = self.replies.get(address, [usual])
        return replies[min(self.requests[address], len(replies)) - 1]


def by_sitemap(local: LocalSite, sitemaps: str = '"{base}/sitemap.xml"', taken: str = "", start: str = "") -> Path:
    """A description that begins with sitemaps; what a page says is read by rules, links are not followed."""
    given = sitemaps.replace("{base}", local.base)
    return local.described(
        start=f"{start}\nsitemaps = {given}",
        lists="",
        cars="",
        retry_after_s=f"retry_after_s = 0.02\n[sitemap]\ncars = '/car/\\d+$'\n{taken}",
    )


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "cars.json").read_text("utf-8"))


def names_of(folder: Path) -> set[str]:
    """All cars that are shown: two have a picture in common, and the row has the name of the one that came first."""
    return {each["name"] for row in rows_of(folder) for each in (row, *row.get("also_on", ()))}


def reasons(folder: Path, base: str) -> dict[str, str]:
    left_out = json.loads((folder / "report.json").read_text("utf-8"))["left_out"]
    return {each["url"].removeprefix(base): each["reason"] for each in left_out}


def pages_asked(local: LocalSite) -> dict[str, int]:
    return {path: times for path, times in local.site.requests.items() if not path.startswith("/img")}


def test_all_cars_that_sitemaps_name_are_collected(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=10)
    collected = collect(by_sitemap(local), tmp_path)
    assert names_of(tmp_path) == {car_name(n) for n in range(1, 11)}
    assert pages_asked(local) == dict.fromkeys(["/robots.txt", *INDEXED, *(f"/car/{n}" for n in range(1, 11))], 1)
    assert (collected.sitemaps, collected.pages, collected.waiting, collected.silent) == (4, 10, 0, ())
    collect(local.toml, tmp_path)
    assert sum(pages_asked(local).values()) == 15


def test_the_robots_txt_of_the_start_pages_names_sitemaps_and_is_asked_once(
    serve_site: ServeSite, tmp_path: Path
) -> None:
    local = serve_site(site=Answering(cars=6))
    robots = Site.answer(local.site, "/robots.txt")
    # Also where it forbids itself: a robots.txt may always be read.
    local.site.replies["/robots.txt"] = [Reply(body=b"User-agent: *\nDisallow: /*.txt$\n" + robots.body)]  # type: ignore[attr-defined]
    local.site.requests.clear()
    toml = by_sitemap(local, '"robots"', "files = 'cars'", start=f'start = "{local.base}/car/1"')
    collected = collect(toml, tmp_path)
    assert (collected.cars, collected.waiting, collected.left_out[0].what) == (6, 0, "pictures")
    assert pages_asked(local)["/robots.txt"] == 1
    assert "/sitemap/news.xml" not in pages_asked(local)
    assert "/sitemap/cars-1.xml" in pages_asked(local)


def test_a_stopped_crawl_asks_for_no_sitemap_twice(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=12)
    first = collect(by_sitemap(local), tmp_path, limit=2)
    assert first.waiting > 0
    done = collect(local.toml, tmp_path)
    assert (done.waiting, done.cars) == (0, 12)
    assert {path for path, times in pages_asked(local).items() if times > 1} <= {"/robots.txt"}
    again = collect(local.toml, tmp_path, again=True)
    assert (again.waiting, again.silent) == (0, ())
    assert [local.site.requests[path] for path in INDEXED] == [2] * 4
    assert all(times == 1 for path, times in local.site.requests.items() if path.startswith("/img"))


def test_rules_that_were_not_tried_yet_are_not_told_while_addresses_wait(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=12)
    collect(by_sitemap(local), tmp_path, limit=2)
    again = collect(local.toml, tmp_path, limit=2, again=True)  # sitemaps wait to be read anew, behind the pages
    assert (again.waiting > 0, again.silent) == (True, ())


def test_sitemaps_wait_until_the_pages_of_the_last_are_read(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=12)
    local.described(
        start=f'sitemaps = "{local.base}/sitemap.xml"',
        lists="max_pages = 2",
        cars="",
        at_once="at_once = 1",
        retry_after_s="retry_after_s = 0.02\n[sitemap]\nfiles = 'cars'\ncars = '/car/\\d+$'",
    )
    collected = collect(local.toml, tmp_path)
    assert (collected.pages, collected.sitemaps, collected.waiting) == (2, 2, 5)  # four cars and a sitemap
    assert "/sitemap/cars-2.xml.gz" not in pages_asked(local)


def test_a_busy_sitemap_is_asked_again_and_a_forbidden_one_is_not(serve_site: ServeSite, tmp_path: Path) -> None:
    busy = Reply(status=503, headers=(("Retry-After", "0"),))
    site = Answering(cars=4)
    local = serve_site(site=site)
    site.replies = {
        "/sitemap/cars-1.xml": [busy, busy, Site.answer(site, "/sitemap/cars-1.xml")],
        "/robots.txt": [Reply(body=b"User-agent: carscribe\nDisallow: /sitemap/cars-2")],
    }
    site.requests.clear()
    collected = collect(by_sitemap(local), tmp_path)
    assert (site.requests["/sitemap/cars-1.xml"], site.requests["/sitemap/cars-2.xml.gz"]) == (3, 0)
    assert reasons(tmp_path, local.base)["/sitemap/cars-2.xml.gz"] == "robots.txt forbids it"
    assert collected.cars == 2


def test_what_is_wrong_with_sitemaps_is_told(serve_site: ServeSite, tmp_path: Path) -> None:
    def xml(text: str | bytes, **headers: str) -> list[Reply]:
        body = text.encode() if isinstance(text, str) else text
        return [Reply(body=body, content_type="application/xml", headers=tuple(headers.items()))]

    site = Answering(cars=2)
    local = serve_site(site=site)
    base = local.base
    deep = {f"/deep/{n}.xml": xml(urlset(f"{base}/deep/{n + 1}.xml", root="sitemapindex")) for n in range(9)}
    site.replies = deep | {
        "/other.xml": xml(urlset("https://shop.example.com/car/1")),
        "/cut.xml": xml(urlset(f"{base}/car/1", f"{base}/car/2")[:-15]),
        "/big.xml": xml(zipped(b" " * 2_000_000)),
        "/big.html": xml(zipped(b" " * 2_000_000), **{"Content-Encoding": "gzip"}),
        "/moved.xml": [Reply(status=301, headers=(("Location", "/sitemap/cars-2.xml.gz"),))],
    }
    given = ", ".join(f'"{base}{path}"' for path in ("/gone.xml", "/deep/0.xml", *list(site.replies)[9:]))
    collected = collect(by_sitemap(local, f"[{given}]", "max_depth = 2\nmax_megabytes = 1"), tmp_path)
    found = reasons(tmp_path, base)
    assert found["/gone.xml"] == "HTTP 404 Not Found"
    assert found["/deep/2.xml"] == "an index 2 files deep: see sitemap.max_depth"
    assert found["/other.xml"] == "all it names is on another site, shop.example.com: see follow.within"
    assert found["/cut.xml"].startswith("it is damaged, line 3: Premature end of data")
    assert found["/big.xml"] == "larger than 1 MB unpacked (sitemap.max_megabytes)"
    assert found["/big.html"] == "larger than 1 MB (sitemap.max_megabytes)"
    assert (collected.cars, site.requests["/deep/3.xml"], site.requests["/sitemap/cars-2.xml.gz"]) == (2, 0, 1)


def test_a_robots_txt_that_sends_on_names_sitemaps(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(site=Answering(cars=2))
    local.site.replies["/ko/robots"] = [Site.answer(local.site, "/robots.txt")]  # type: ignore[attr-defined]
    local.site.replies["/robots.txt"] = [Reply(status=301, headers=(("Location", "/ko/robots"),))]  # type: ignore[attr-defined]
    collected = collect(by_sitemap(local, '"{base}/robots.txt"'), tmp_path)
    assert (collected.cars, collected.waiting) == (2, 0)


def test_a_robots_txt_without_sitemaps_is_told(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(
        site=Answering(cars=2, replies={"/robots.txt": [Reply(body=b"User-agent: *\nDisallow: /private")]})
    )
    collected = collect(by_sitemap(local, '"{base}/robots.txt"'), tmp_path / "none")
    assert reasons(tmp_path / "none", local.base) == {"/robots.txt": "it names no sitemap"}
    assert str(collected.advice).startswith(f"{local.toml}:3: no page that a sitemap names was read.")
    local = serve_site(site=Answering(replies={"/robots.txt": [Reply(status=404)]}))
    collect(by_sitemap(local, '"{base}/robots.txt"'), tmp_path / "missing")
    assert reasons(tmp_path / "missing", local.base) == {"/robots.txt": "HTTP 404 Not Found"}
    local = serve_site(site=Answering(replies={"/robots.txt": [Reply(status=500)]}))
    collect(by_sitemap(local, '"{base}/robots.txt"'), tmp_path / "broken")
    assert reasons(tmp_path / "broken", local.base) == {"/robots.txt": "HTTP 500 Internal Server Error"}
    assert local.site.requests == {"/robots.txt": 5}


def test_a_look_shows_what_sitemaps_name(serve_site: ServeSite) -> None:
    local = serve_site(cars=8)
    look = try_site(by_sitemap(local, taken="lists = '/list/'\nfiles = 'cars'"))
    shown = {page.url.removeprefix(local.base): page for page in look.pages}
    assert [len(shown["/sitemap.xml"].links[role]) for role in ("car", "list", "sitemap")] == [0, 0, 2]
    assert len(shown["/sitemap/cars-1.xml"].links["list"]) == 4
    assert [page.role for page in look.pages if page.cars] == ["list"] * 4
    assert [(rule.key, rule.rules) for rule in look.silent] == [("sitemap.lists", ("/list/",))]


def test_other_patterns_want_again(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=6)
    collect(by_sitemap(local, taken="files = 'cars-1'"), tmp_path)
    with pytest.raises(InputError, match=r"have changed .* and 2 sitemaps were read by the old ones\. Add --again"):
        collect(by_sitemap(local), tmp_path)
    assert collect(local.toml, tmp_path, again=True).cars == 6


def test_a_folder_of_the_version_without_sitemaps_goes_on_with_them(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=4)
    start = [f'start = "{local.base}/car/{n}"' for n in (1, 2)]
    local.described(start=start[0], cars="", lists="")
    collect(local.toml, tmp_path)
    with sqlite3.connect(tmp_path / "collect.sqlite") as db:
        script = (resources.files("carscribe.collect") / "journal.sql").read_text("utf-8").replace(", 'sitemap'", "")
        old = next(each for each in script.split(";\n") if "CREATE TABLE addresses" in each)
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_schema SET sql = ? WHERE name = 'addresses'", (old[old.index("CREATE") :],))
        db.execute("UPDATE facts SET value = '1' WHERE key = 'version'")
        db.execute("DELETE FROM facts WHERE key = 'taking'")
    db.close()
    with sqlite3.connect(tmp_path / "collect.sqlite") as db, pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        db.execute("INSERT INTO addresses VALUES (99, '', '', 'sitemap', '', 0, 0, 'waiting', 0, 0, 0, 0, 0)")
    db.close()
    collected = collect(by_sitemap(local, start=start[0]), tmp_path)
    assert (collected.cars, collected.photos, collected.waiting) == (4, 4, 0)
    assert local.site.requests["/car/1"] == local.site.requests["/img/1/640.png"] == 1
    journal = Journal(tmp_path)
    assert journal.counts()["sitemap", "done"] == 4
    journal.close()
