"""One page, read by rules or by what it says of itself, in whatever encoding, whatever shape its pictures have."""

import pytest

pytest.importorskip("scrapy")

from carscribe.collect.reading import FoundCar, PageRead, read_page
from carscribe.collect.refusals import refusal_in_headers
from carscribe.collect.site import Car, Follow, SiteTable

URL = "https://example.com/cars/1?x=1"


def site(**tables: object) -> SiteTable:
    return SiteTable.model_validate({"start": "https://example.com/", **tables})


def read(html: str, described: SiteTable | None = None, **options: object) -> PageRead:
    described = described or site()
    return read_page(described, URL, html.encode(), role="car", **options)  # type: ignore[arg-type]


def only_car(page: PageRead) -> FoundCar:
    (car,) = page.cars
    return car


def pictures(html: str) -> list[tuple[str, ...]]:
    described = site(car={"image": ".g img, .g picture, .g .bg"})
    shown = [car.pictures for car in read(f'<div class="g">{html}</div>', described).cars]
    return [addresses for group in shown for addresses in group]


# --- encodings ---

HEADS = {"none": "", "meta": '<meta charset="euc-kr">', "wrong meta": '<meta charset="utf-8">'}


@pytest.mark.parametrize("content_type", [None, "text/html", "text/html; charset=utf-8", "text/html; charset=euc-kr"])
@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
@pytest.mark.parametrize("encoding", ["utf-8", "euc-kr", "cp949"])
def test_korean_comes_out_right_whatever_is_said_of_it(encoding: str, head: str, content_type: str | None) -> None:
    name = "현대 그랜저 쏘나타" + (" 뷁" if encoding == "cp949" else "")  # the last one is in CP949 alone
    body = f"<html>{head}<h1>{name}</h1><img src=a.jpg></html>".encode(encoding)
    page = read_page(site(car={"image": "img"}), URL, body, role="car", content_type=content_type)
    assert only_car(page).name == name


def test_an_encoding_that_is_given_wins() -> None:
    body = "<h1>Citroën</h1><img src=a.jpg>".encode("latin-1")
    page = read_page(site(encoding="latin-1", car={"image": "img"}), URL, body, role="car")
    assert only_car(page).name == "Citroën"


def test_queries_of_links_are_written_in_the_pages_encoding() -> None:
    described = site(follow={"lists": "a"})
    body = '<meta charset="euc-kr"><a href="/차?이름=현대">x</a>'.encode("euc-kr")
    page = read_page(described, URL, body, role="list")
    assert page.links == (("https://example.com/%EC%B0%A8?%C0%CC%B8%A7=%C7%F6%B4%EB", "list"),)


def test_decomposed_hangul_is_composed() -> None:
    assert only_car(read("<h1>니로</h1><img src=a.jpg>", site(car={"image": "img"}))).name == "니로"


# --- pictures ---


@pytest.mark.parametrize(
    ("html", "best"),
    [
        ('<img src="s.jpg">', "s.jpg"),
        ('<img src="s.jpg" srcset="m.jpg 640w, l.jpg 1280w, s.jpg 320w">', "l.jpg"),
        ('<img src="s.jpg" srcset="s.jpg 1x, l.jpg 2x">', "l.jpg"),
        ('<img src="s.jpg" srcset="l.jpg 1600w, raw.jpg 12000w">', "l.jpg"),
        ('<img src="data:image/gif;base64,R0" data-src="l.jpg">', "l.jpg"),
        ('<img src="blank.gif" data-original="l.jpg" data-src="m.jpg">', "l.jpg"),
        ('<img src="blank.gif" data-srcset="m.jpg 400w, l.jpg 800w">', "l.jpg"),
        ('<picture><source srcset="l.webp 1600w"><img src="s.jpg"></picture>', "l.webp"),
        ('<a href="full.jpg"><img src="s.jpg"></a>', "full.jpg"),
        ('<a href="/next"><img src="s.jpg"></a>', "s.jpg"),
        ('<div class="bg" style="background-image: url(\'l.jpg\')"></div>', "l.jpg"),
        ('<img src="//cdn.example.com/l.jpg?w=1#top">', "//cdn.example.com/l.jpg?w=1"),
        ('<img data-src="l.jpg" loading="lazy">', "l.jpg"),
        ('<picture><source data-srcset="l.webp 1600w, m.webp 80w"><img data-src="s.jpg"></picture>', "l.webp"),
        ('<picture><source data-srcset="l.webp 1600w"></picture>', "l.webp"),
        ('<picture><source data-srcset="l.webp 1600w"><noscript><img src="s.jpg"></noscript></picture>', "l.webp"),
        ('<img src="data:image/gif;base64,R0"><noscript><img src="l.jpg"></noscript>', "l.jpg"),
        ('<img src="blank.gif"> <!-- lazy --> <noscript><img src="l.jpg"></noscript>', "l.jpg"),
        ('<img src="blank.gif" data-src="l.jpg"><noscript><img src="m.jpg"></noscript>', "l.jpg"),
        ('<noscript><img src="m.jpg"></noscript><img data-src="l.jpg">', "l.jpg"),
        (
            '<picture><source data-srcset="l.jpg 1600w"><img data-src="m.jpg"></picture>'
            '<noscript><picture><source srcset="xl.jpg 1800w"><img src="m.jpg"></picture></noscript>',
            "xl.jpg",
        ),
        ('<a href="full.jpg"><img data-src="m.jpg"><noscript><img src="s.jpg"></noscript></a>', "full.jpg"),
        ('<noscript><img src="l.jpg"></noscript>', "l.jpg"),
    ],
)  # fmt: skip
def test_the_largest_within_reason_comes_first(html: str, best: str) -> None:
    whole = f"https:{best}" if best.startswith("//") else f"https://example.com/cars/{best}"
    found = pictures(html)
    assert len(found) == 1
    assert found[0][0] == whole


@pytest.mark.parametrize(
    "html",
    [
        '<img src="blank.gif" data-src="{}.jpg">',
        '<img src="blank.gif"><noscript><img src="{}.jpg"></noscript>',
        '<noscript><img src="s-{}.jpg"></noscript><img src="blank.gif" data-src="{}.jpg">',
        '<img data-src="{}.jpg"><noscript><img src="s-{}.jpg"></noscript>',
        '<noscript><img src="{}.jpg"></noscript><img src="blank.gif" data-src="{}.jpg">',
    ],
)
def test_pictures_that_share_a_stand_in_are_several(html: str) -> None:
    row = "".join(html.replace("{}", letter) for letter in "abc")
    expected = [f"https://example.com/cars/{letter}.jpg" for letter in "abc"]
    assert [group[0] for group in pictures(row)] == expected
    # The same behind something else that is hidden from scripts, and behind another picture.
    assert [group[0] for group in pictures(f"<noscript><p>Scripts, please</p></noscript>{row}")] == expected
    assert [group[0] for group in pictures(f'<img data-src="logo.png"> {row}')][-3:] == expected


def test_a_picture_beside_a_noscript_of_something_else_is_one_of_its_own() -> None:
    apart = '<img src="a.jpg"><p>Kia</p><noscript><img src="pixel.gif"></noscript>'
    two = '<img src="a.jpg"><noscript><img src="b.jpg"><img src="c.jpg"></noscript>'
    assert [len(pictures(html)) for html in (apart, two)] == [2, 3]


def test_what_is_no_address_is_no_picture() -> None:
    assert pictures('<img src=""><img><img src="data:image/gif;base64,R0"><img src="javascript:x">') == []


def test_the_other_addresses_stay_in_case_the_first_fails() -> None:
    assert pictures('<img src="s.jpg" srcset="l.jpg 900w, m.jpg 500w">') == [
        tuple(f"https://example.com/cars/{name}.jpg" for name in ("l", "m", "s"))
    ]


# --- what a page says of itself ---

JSON_LD = """<script type="application/ld+json">{"@context": "https://schema.org", "@graph": [{"@type": "WebPage",
 "name": "no"}, {"@type": ["Car", "Product"], "name": "Kia Niro", "bodyType": "SUV", "image": %s}]}</script>"""
SOCIAL = '<meta property="og:title" content="K5"><meta property="og:image" content="/og.jpg">'


@pytest.mark.parametrize(
    ("html", "name", "kind", "images"),
    [
        (JSON_LD % '"/a.jpg"', "Kia Niro", "SUV", [("a",)]),
        (JSON_LD % '["/a.jpg", "/b.jpg"]' + SOCIAL, "Kia Niro", "SUV", [("a",), ("b",)]),
        (JSON_LD % '{"url": "/a.jpg", "width": 600}' + SOCIAL, "Kia Niro", "SUV", [("og", "a")]),
        (SOCIAL, "K5", None, [("og",)]),
        (SOCIAL + '<script type="application/ld+json">{"@type": "Car", </script>', "K5", None, [("og",)]),
        ('<title>T</title><h1>레이</h1><meta property="og:image" content="/og.jpg">', "레이", None, [("og",)]),
    ],
)  # fmt: skip
def test_json_ld_and_open_graph_stand_in_for_rules(html: str, name: str, kind: str | None, images: object) -> None:
    car = only_car(read(html))
    assert (car.name, car.kind) == (name, kind)
    assert [tuple(url.removeprefix("https://example.com/")[:-4] for url in each) for each in car.pictures] == images


def test_a_licence_comes_from_the_page_else_from_the_description() -> None:
    image = '{"url": "/a.jpg", "license": "https://creativecommons.org/licenses/by/4.0/"}'
    assert only_car(read(JSON_LD % image)).licence == "https://creativecommons.org/licenses/by/4.0/"
    assert only_car(read('<a rel="license" href="/terms">x</a>' + SOCIAL)).licence == "/terms"
    assert only_car(read(SOCIAL, site(licence="press use"))).licence == "press use"


def test_rules_are_tried_in_order_and_told_when_they_find_nothing() -> None:
    car = Car(name=["h1.model", "h1"], kind=["td.kind"], image=["img"], extra={"year": ["td.year"]})
    page = read("<h1>Kia\n Niro</h1><td class=year>2020<td class=year>2021<img src=a.jpg>", site(car=car.model_dump()))
    found = only_car(page)
    assert (found.name, found.kind, dict(found.extra)) == ("Kia Niro", None, {"year": "2020, 2021"})
    assert page.matched == {"car.name": True, "car.kind": False, "car.image": True, "car.extra.year": True}


def test_several_cars_of_one_page_keep_their_own() -> None:
    html = "<ul><li><b>K3</b><img src=3.jpg></li><li><b>K5</b><img src=5.jpg></li><li><b>no picture</b></li></ul>"
    page = read(html, site(car={"each": "li", "name": "//b", "image": "img"}))
    assert [(car.name, car.pictures) for car in page.cars] == [
        ("K3", (("https://example.com/cars/3.jpg",),)),
        ("K5", (("https://example.com/cars/5.jpg",),)),
    ]


def test_links_lead_to_pages_and_not_to_pictures() -> None:
    described = site(follow=Follow(lists=["a"], cars=[".car a"]).model_dump())
    html = (
        '<base href="/b/"><div class=car><a href="1">1</a><a href="x.jpg">x</a></div><a href="1#top">1</a>'
        '<a href="?page=2">2</a><a href="mailto:x">m</a><a href="http://[bad">b</a>'
    )
    assert read(html, described).links == (
        ("https://example.com/b/1", "car"),
        ("https://example.com/b/?page=2", "list"),
    )


@pytest.mark.parametrize(
    ("tag", "target"),
    [
        ('<meta http-equiv="refresh" content="0; url=/new">', "https://example.com/new"),
        ("<META HTTP-EQUIV=Refresh CONTENT=\"3;URL='new?a=1&amp;b=2#top'\">", "https://example.com/cars/new?a=1&b=2"),
        ('<base href="/b/"><meta http-equiv="refresh" content="0;url=new">', "https://example.com/b/new"),
        ('<meta http-equiv="refresh" content="0;url=/차">', "https://example.com/%EC%B0%A8"),
        ('<meta http-equiv="refresh" content="300; url=/new">', None),
        ('<meta http-equiv="refresh" content="5">', None),
        ('<meta http-equiv="refresh" content="5; url=/cars/1?x=1#a">', None),
        ('<meta http-equiv="refresh" content="0; url=javascript:x">', None),
        ('<meta http-equiv="refresh" content="0; url=http://[bad">', None),
        ('<!-- <meta http-equiv="refresh" content="0; url=/new"> -->', None),
        ('<noscript><meta http-equiv="refresh" content="0; url=/no-scripts"></noscript>', None),
    ],
    ids=["plain", "quoted", "base", "hangul", "late", "no address", "itself", "script", "bad", "comment", "noscript"],
)  # fmt: skip
def test_a_page_that_sends_on_says_where(tag: str, target: str | None) -> None:
    assert read(f"<html><head>{tag}</head>{SOCIAL}").sends_on == target


@pytest.mark.parametrize(
    "body", [b"", b"\0\0", b"\xff\xfe\xff", b"<" * 50_000, b"<a href='\xff'>", "<h1>\ud7ff".encode()]
)
def test_whatever_a_page_is_made_of_it_is_read(body: bytes) -> None:
    described = site(follow={"lists": "a"}, car={"name": "h1", "image": "img"})
    assert read_page(described, URL, body, role="car").cars == ()


# --- refusals ---


@pytest.mark.parametrize(
    ("header", "word"),
    [
        ("noai", "noai"),
        ("noindex, NOIMAGEAI", "noimageai"),
        ("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", "noai"),
        ("carscribe: noai", "noai"),
        ("googlebot: noai", None),
        ("googlebot: noindex, noai", None),
        ("noindex, nofollow, max-image-preview:large", None),
        ("", None),
    ],
)
def test_the_header_of_a_refusal_is_read(header: str, word: str | None) -> None:
    assert refusal_in_headers([header]) == word


@pytest.mark.parametrize(
    ("tag", "word"),
    [
        ('<meta name="robots" content="noindex,noai">', "noai"),
        ('<META NAME="Robots" CONTENT="NoImageAI">', "noimageai"),
        ('<meta name="carscribe" content="noai">', "noai"),
        ('<meta name="googlebot" content="noai">', None),
        ('<meta name="description" content="noai">', None),
    ],
)
def test_the_tag_of_a_refusal_is_read(tag: str, word: str | None) -> None:
    assert read(tag + SOCIAL).refused == word
