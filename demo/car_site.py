"""A site of cars to try `carscribe collect` on, on this machine alone: `python demo/car_site.py`.

With `--photos demo/photos` the pictures are the renders that the demo model knows, and kinds are theirs.

Pages and pictures are made as they are asked for. Besides some hundred cars, in lists of twenty and in EUC-KR, it has
what real sites have: sitemaps, lazy images, srcset, redirects and refreshes, missing pages, 429, 500, slow answers,
pages that go on for ever, things that are no pictures, pictures far too large, and pages that keep their pictures from
machines.
"""

import argparse
import gzip
import io
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw

MAKERS = ("현대", "기아", "제네시스", "르노코리아", "쉐보레")
MODELS = ("그랜저", "쏘나타", "니로", "카니발", "레이", "모하비", "스팅어", "투싼")
KINDS = ("세단", "SUV", "해치백", "왜건", "미니밴", "쿠페", "픽업")
PER_LIST = 20
HUGE_BYTES = 60_000_000
INDEXED = ("/sitemap.xml", "/sitemap/cars-1.xml", "/sitemap/cars-2.xml.gz", "/sitemap/news.xml")  # itself as well
SITEMAP_NAMESPACE = "http://www.sitemaps.org/schemas/sitemap/0.9"

SITE_TOML = """\
# What carscribe collect is to find on the site of demo/car_site.py.
start = ["{base}/cars?page=1"]
licence = "© Demo Motors, for trying out"

[follow]
lists = "a.next"
cars = "ul.cars a"

[car]
name = "h1"
kind = "td.kind"
image = ".gallery img"
licence = ".credit"

[car.extra]
year = "//th[.='연식']/following-sibling::td"

[pictures]
min_side_px = 200
max_megabytes = 10

[pace]
delay_s = {delay_s}
at_once = 4
timeout_s = 10
retry_after_s = 0.1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/html; charset=euc-kr"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Site:
    """The pages of `cars` cars, with pictures of their own or, in turn, those of `photos`.

    `requests` counts how often each address was asked for; `slow_s` is a slow answer, `busy_s` what a busy one asks to
    wait, `base` where it is served.
    """

    cars: int = 200
    photos: tuple[Path, ...] = ()
    kinds: tuple[str, ...] = KINDS
    slow_s: float = 2.0
    busy_s: int = 1
    base: str = ""
    requests: Counter[str] = field(default_factory=Counter)
    sent_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, address: str) -> Reply:
        """What the site says to an address, path and query."""
        with self._lock:
            self.requests[address] += 1
            times = self.requests[address]
        parts = urlsplit(address)
        first, *rest = parts.path.strip("/").split("/")
        pages: dict[str, Callable[[], Reply]] = {
            "robots.txt": lambda: _text(f"User-agent: *\nDisallow: /private/\nSitemap: {self.base}/sitemap.xml\n"),
            "sitemap.xml": lambda: _xml("sitemapindex", "sitemap", [f"{self.base}{path}" for path in INDEXED]),
            "sitemap": lambda: self._sitemap(rest[0]),
            "cars": lambda: self._list(int(parse_qs(parts.query).get("page", ["1"])[0])),
            "car": lambda: self._car(int(rest[0])),
            "old": lambda: _moved(f"/car/{rest[0]}"),
            "circle": lambda: _moved("/circle/b" if rest[0] == "a" else "/circle/a"),
            "refresh": lambda: _refresh(f"/car/{rest[0]}"),
            "around": lambda: _refresh("/around/b" if rest[0] == "a" else "/around/a"),
            "busy": lambda: self._car(int(rest[0])) if times > 1 else self._busy(),
            "flaky": lambda: self._car(int(rest[0])) if times > 2 else Reply(status=500),
            "broken": lambda: Reply(status=500),
            "slow": lambda: self._slow(int(rest[0])),
            "private": lambda: self._car(int(rest[0])),
            "noai": lambda: self._car(int(rest[0]), robots="noai"),
            "loop": lambda: _page(
                f'<ul class="cars"></ul><a class="next" href="/loop/{int(rest[0]) % 7 + 1}">다음</a>'
            ),
            "img": lambda: self._picture(rest),
        }
        make = pages.get(first)
        return make() if make else Reply(status=404, body=b"<html><h1>404</h1></html>")

    def _list(self, page: int) -> Reply:
        """Twenty cars, some under addresses that lead astray; the last page leads into a loop."""
        first = (page - 1) * PER_LIST + 1
        last = min(first + PER_LIST - 1, self.cars)
        ways = {3: "old", 5: "busy", 7: "flaky", 9: "slow", 11: "private", 13: "noai", 17: "refresh"}
        items = []
        for number in range(first, last + 1):
            way = ways.get(number, "car")
            items.append(f'<li><a href="/{way}/{number}#top">{car_name(number)}</a></li>')
        if page == 1:
            items += [
                f'<li><a href="/{way}">{way}</a></li>' for way in ("missing/1", "broken/1", "circle/a", "around/a")
            ]
        after = f"/cars?page={page + 1}" if last < self.cars else "/loop/1"
        return _page(f'<ul class="cars">{"".join(items)}</ul><a class="next" href="{after}">다음</a>')

    def _car(self, number: int, robots: str = "") -> Reply:
        """One car's page. What its gallery holds changes with its number."""
        picture = f"/img/{number}/"
        gallery = {
            0: f'<img src="{picture}320.png" srcset="{picture}320.png 320w, {picture}640.png 640w">',
            1: f'<img class="lazy" src="/img/{number}/blank.gif" data-src="{picture}640.png">'
            f'<noscript><img src="{picture}640.png"></noscript>',
            2: f'<picture><source srcset="{picture}640.webp 2x"><img src="{picture}320.png"></picture>',
            3: f'<a href="{picture}640.png"><img src="{picture}320.png"></a>',
        }[number % 4]
        odd = {
            2: "/img/2/page.jpg",
            4: "/img/4/huge.jpg",
            6: "/img/6/100.png",
            8: "/img/1/640.png",
            10: "/img/12/copy.png",
            14: "/img/14/noai.png",
            15: "/img/15/gone.jpg",
            16: "/img/16/moved.png",
        }
        gallery += f'<img src="{odd[number]}">' if number in odd else ""
        meta = f'<meta name="robots" content="{robots}">' if robots else ""
        return _page(
            f"<h1>{car_name(number)}</h1>"
            f'<table><tr><th>차종</th><td class="kind">{self.kinds[number % len(self.kinds)]}</td></tr>'
            f"<tr><th>연식</th><td>{1990 + number % 35}</td></tr></table>"
            f'<div class="gallery">{gallery}</div><p class="credit">사진: 데모 모터스 {number}</p>',
            head=meta,
        )

    def _sitemap(self, name: str) -> Reply:
        """Cars in two files, the second one packed, with what is no car; or news, of which there are none."""
        half = self.cars // 2
        match name:
            case "cars-1.xml":
                paths = [*(f"/car/{n}" for n in range(1, half + 1)), "/private/11", "/about", "/img/1/640.png"]
                return _xml("urlset", "url", [*(self.base + path for path in paths), "http://example.com/car/1"])
            case "cars-2.xml.gz":
                plain = _xml("urlset", "url", [f"{self.base}/car/{n}" for n in range(half + 1, self.cars + 1)])
                return Reply(body=gzip.compress(plain.body), content_type="application/gzip")
            case "news.xml":
                return _xml("urlset", "url", [f"{self.base}/news/1"])
        return Reply(status=404)

    def _busy(self) -> Reply:
        return Reply(status=429, headers=(("Retry-After", str(self.busy_s)),))

    def _slow(self, number: int) -> Reply:
        time.sleep(self.slow_s)
        return self._car(number)

    def _picture(self, rest: list[str]) -> Reply:
        number, name = int(rest[0]), rest[1]
        stem, _, suffix = name.partition(".")
        match stem:
            case "page":
                return Reply(body=b"<!doctype html><html><h1>Log in</h1></html>", content_type="image/jpeg")
            case "huge":
                return Reply(body=b"", content_type="image/jpeg", headers=(("X-Huge", str(HUGE_BYTES)),))
            case "gone":
                return Reply(status=404)
            case "moved":
                return _moved(f"/img/{number}/640.png")
            case "copy":
                return self._image(number, 640, suffix)
            case "noai":
                return replace(self._image(number, 640, "png"), headers=(("X-Robots-Tag", "noimageai"),))
            case "blank":
                return self._image(number, 1, suffix)
        return self._image(number, int(stem), suffix)

    def _image(self, number: int, width_px: int, suffix: str) -> Reply:
        photo = self.photos[number % len(self.photos)] if self.photos and width_px > 1 else None
        body = draw(number, width_px, suffix) if photo is None else shown(photo, width_px, suffix)
        return Reply(body=body, content_type=f"image/{suffix}")


def car_name(number: int) -> str:
    """What a car is called, in Korean."""
    return f"{MAKERS[number % len(MAKERS)]} {MODELS[number % len(MODELS)]} {number}"


def draw(number: int, width_px: int, suffix: str) -> bytes:
    """A picture that no other car has."""
    image = Image.new("RGB", (width_px, max(1, width_px * 3 // 4)), (number * 37 % 256, number * 91 % 256, 120))
    if width_px > 1:
        ImageDraw.Draw(image).text((8, 8), str(number), fill="white")
    return _encoded(image, suffix)


def shown(photo: Path, width_px: int, suffix: str) -> bytes:
    """A photo of that width."""
    with Image.open(photo) as image:
        return _encoded(image.convert("RGB").resize((width_px, image.height * width_px // image.width)), suffix)


def _encoded(image: Image.Image, suffix: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, compress_level=1, format={"png": "PNG", "gif": "GIF", "webp": "WebP", "jpg": "JPEG"}[suffix])
    return stream.getvalue()


def _page(body: str, head: str = "") -> Reply:
    """A page in EUC-KR that does not say so but in its tag."""
    text = f'<html><head><meta http-equiv="Content-Type" content="text/html; charset=euc-kr">{head}</head>{body}</html>'
    return Reply(body=text.encode("euc-kr"), content_type="text/html")


def _text(text: str) -> Reply:
    return Reply(body=text.encode(), content_type="text/plain")


def _moved(to: str) -> Reply:
    return Reply(status=302, headers=(("Location", to),))


def _refresh(to: str) -> Reply:
    """A page that sends on by itself."""
    return _page("<p>이동합니다</p>", head=f'<meta http-equiv="Refresh" content="0; URL=\'{to}\'">')


def _xml(root: str, each: str, urls: list[str]) -> Reply:
    """A sitemap or an index of them."""
    rows = "".join(f"<{each}><loc>{escape(url)}</loc><lastmod>2026-11-01</lastmod></{each}>" for url in urls)
    text = f'<?xml version="1.0" encoding="UTF-8"?><{root} xmlns="{SITEMAP_NAMESPACE}">{rows}</{root}>'
    return Reply(body=text.encode(), content_type="application/xml")


def serve(site: Site, port: int = 0) -> ThreadingHTTPServer:
    """A server of the site on this machine's own address; `serve_forever` and `shutdown` are the caller's."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            reply = site.answer(self.path)
            headers = dict(reply.headers)
            size = int(headers.pop("X-Huge", len(reply.body)))
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            for name, value in headers.items():
                self.send_header(name, value)
            if size > len(reply.body):
                self._send_without_end(size)
                return
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.write(reply.body)

        def _send_without_end(self, size: int) -> None:
            """A body whose length nobody was told, until the other side has enough."""
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            block = b"\xff\xd8\xff" + bytes(65_533)
            try:
                for _ in range(size // len(block)):
                    self.wfile.write(block)
                    site.sent_bytes += len(block)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    site.base = f"http://127.0.0.1:{server.server_address[1]}"
    return server


def main() -> None:
    """Serve until Ctrl-C, and print what to crawl it with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--cars", type=int, default=200)
    parser.add_argument("--photos", type=Path, help="a folder with images/ and cars.json, such as demo/photos")
    parser.add_argument("--toml", default="demo-site.toml", help="where the description of the site goes")
    options = parser.parse_args()
    site = Site(cars=options.cars)
    if options.photos:
        rows = json.loads((options.photos / "cars.json").read_text("utf-8"))
        site.photos = tuple(options.photos / "images" / row["image"] for row in rows)
        site.kinds = tuple(row["kind"] for row in rows)
    server = serve(site, options.port)
    base = f"http://127.0.0.1:{server.server_address[1]}"
    with open(options.toml, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(SITE_TOML.format(base=base, delay_s=0.02))
    print(f"{base}/cars?page=1, described in {options.toml}. Ctrl-C ends it.", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        server.server_close()


if __name__ == "__main__":
    main()
