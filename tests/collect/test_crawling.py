"""A whole site of some hundred pages, with what goes wrong on real ones, crawled once; then gone on with."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from local_site import LocalSite

from car_site import HUGE_BYTES, KINDS, Reply, Site, car_name, draw
from carscribe.collect import collect, try_site
from carscribe.collect.results import Collected
from carscribe.collect.storing import file_stem, sha256_of
from carscribe.errors import CollectError, InputError, OutputError, SiteError
from carscribe.photos.metadata import match_metadata, read_rows
from carscribe.photos.sources import find_photos

pytest.importorskip("scrapy")

CARS = 160
ServeSite = Callable[..., LocalSite]


@dataclass(frozen=True, slots=True, kw_only=True)
class Crawled:
    local: LocalSite
    folder: Path
    collected: Collected
    rows: list[dict[str, Any]]

    def row(self, image_url: str) -> dict[str, Any]:
        (row,) = [row for row in self.rows if row["image_url"] == self.local.base + image_url]
        return row

    def reason(self, path: str) -> str:
        report = json.loads((self.folder / "report.json").read_text("utf-8"))
        (reason,) = [each["reason"] for each in report["left_out"] if each["url"] == self.local.base + path]
        return str(reason)

    def asked(self, path: str) -> int:
        return self.local.site.requests[path]


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "cars.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def crawled(serve_site: ServeSite, tmp_path_factory: pytest.TempPathFactory) -> Crawled:
    local = serve_site(cars=CARS, slow_s=1.0, busy_s=1)
    folder = tmp_path_factory.mktemp("crawl") / "cars"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONWARNINGS", "error")  # the process that crawls is not under pytest's filter
        collected = collect(local.toml, folder)
    return Crawled(local=local, folder=folder, collected=collected, rows=rows_of(folder))


def test_every_car_comes_with_its_name_and_kind_in_korean(crawled: Crawled) -> None:
    without_photo = {11, 13}  # robots.txt, noai
    expected = {(car_name(n), KINDS[n % len(KINDS)]) for n in range(1, CARS + 1) if n not in without_photo}
    named = {(row["name"], row["kind"]) for row in crawled.rows}
    named |= {(other["name"], other["kind"]) for row in crawled.rows for other in row.get("also_on", [])}
    assert named == expected
    assert crawled.collected.cars == CARS - 1  # the one behind robots.txt is not known
    assert (crawled.collected.stopped, crawled.collected.waiting, crawled.collected.silent) == (None, 0, ())


def test_describe_reads_cars_json_as_it_is(crawled: Crawled) -> None:
    found = find_photos(crawled.folder / "images")
    match = match_metadata(found.files, read_rows(crawled.folder / "cars.json"))
    assert match.rows_matched == match.rows_total == len(found.files) == crawled.collected.photos == len(crawled.rows)
    assert (match.photos_without_row, match.rows_without_photo, match.conflicts) == ((), (), ())
    assert {file.metadata.name for file in match.files} == {row["name"] for row in crawled.rows}
    as_list = find_photos(crawled.folder / "cars.json")
    assert all(file.path.is_file() for file in as_list.files)
    assert found.ignored == {}


def test_a_photo_keeps_where_and_when_it_was_found_and_its_licence(crawled: Crawled) -> None:
    row = crawled.row("/img/20/640.png")
    assert row["source"] == f"{crawled.local.base}/car/20"
    assert row["licence"] == "사진: 데모 모터스 20"
    assert row["year"] == "2010"
    assert row["retrieved_at"].endswith("+00:00")
    assert (row["width_px"], row["height_px"]) == (640, 480)
    assert row["image"].startswith("images/현대-레이-20-") or row["name"].split()[0] in row["image"]


@pytest.mark.parametrize(
    ("car", "picture"),
    [(20, "640.png"), (21, "640.png"), (22, "640.webp"), (23, "640.png")],
    ids=["srcset", "lazy", "picture", "link"],
)
def test_the_largest_of_a_pictures_addresses_is_taken_and_no_other(crawled: Crawled, car: int, picture: str) -> None:
    assert crawled.row(f"/img/{car}/{picture}")["width_px"] == 640
    asked = [path for path in crawled.local.site.requests if path.startswith(f"/img/{car}/")]
    assert asked == [f"/img/{car}/{picture}"]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/private/11", "robots.txt forbids it"),
        ("/noai/13", "the page says noai"),
        ("/img/13/640.png", "the page says noai"),
        ("/img/14/noai.png", "its X-Robots-Tag says noimageai"),
        ("/missing/1", "HTTP 404 Not Found"),
        ("/broken/1", "HTTP 500 Internal Server Error"),
        ("/circle/b", "it sends on in a circle"),
        ("/around/b", "it sends on in a circle"),
        ("/img/2/page.jpg", "it is an HTML page, not a photo"),
        ("/img/4/huge.jpg", "larger than 10 MB"),
        ("/img/6/100.png", "100 × 75 px, and min_side_px is 200"),
        ("/img/15/gone.jpg", "HTTP 404 Not Found"),
    ],
)
def test_what_gives_nothing_is_told_with_its_reason(crawled: Crawled, path: str, reason: str) -> None:
    assert reason in crawled.reason(path)


def test_what_must_not_be_asked_for_is_not(crawled: Crawled) -> None:
    assert crawled.asked("/private/11") == crawled.asked("/img/13/640.png") == 0
    assert crawled.asked("/robots.txt") == 1


def test_a_busy_site_is_asked_again_and_gives_its_car(crawled: Crawled) -> None:
    assert (crawled.asked("/busy/5"), crawled.asked("/flaky/7"), crawled.asked("/slow/9")) == (2, 3, 1)
    assert crawled.asked("/broken/1") == 5  # and four retries
    assert {crawled.row(f"/img/{n}/640.png")["source"] for n in (5, 7, 9)} == {
        f"{crawled.local.base}/{way}" for way in ("busy/5", "flaky/7", "slow/9")
    }


def test_no_address_is_asked_for_twice(crawled: Crawled) -> None:
    more_than_once = {path for path, times in crawled.local.site.requests.items() if times > 1}
    assert more_than_once == {"/busy/5", "/flaky/7", "/broken/1"}


def test_an_endless_body_is_refused_before_it_is_held(crawled: Crawled) -> None:
    assert 0 < crawled.local.site.sent_bytes < HUGE_BYTES / 2


def test_a_picture_on_two_pages_is_kept_once_with_both(crawled: Crawled) -> None:
    by_address = crawled.row("/img/1/640.png")
    assert {by_address["source"], *(other["source"] for other in by_address["also_on"])} == {
        f"{crawled.local.base}/car/1",
        f"{crawled.local.base}/car/8",
    }
    (same_bytes,) = [row for row in crawled.rows if "/img/12/" in row["image_url"]]
    assert {same_bytes["source"], *(other["source"] for other in same_bytes["also_on"])} == {
        f"{crawled.local.base}/car/10",
        f"{crawled.local.base}/car/12",
    }
    assert crawled.collected.same_bytes == 1


@pytest.mark.parametrize(("car", "way"), [(3, "old"), (17, "refresh")])
def test_a_redirected_page_is_known_by_where_it_leads(crawled: Crawled, car: int, way: str) -> None:
    assert crawled.asked(f"/{way}/{car}") == 1
    assert crawled.row(f"/img/{car}/640.png")["source"] == f"{crawled.local.base}/car/{car}"


def test_refreshes_end_in_a_circle_and_on_another_site(serve_site: ServeSite, tmp_path: Path) -> None:
    def refresh(to: str) -> Reply:
        return Reply(body=f'<meta http-equiv="refresh" content="0;url={to}"><h1>x</h1>'.encode())

    replies = {f"/chain/{n}": refresh(f"/chain/{n + 1}") for n in range(20)}
    replies |= {"/away": refresh("https://example.com/car/1"), "/self": refresh("/self#x"), "/a": refresh("/b")}
    replies |= {"/b": Reply(status=302, headers=(("Location", "/a"),))}
    local = serve_site(site=Answering(replies=replies))
    start = ", ".join(f'"{local.base}{path}"' for path in ("/chain/0", "/away", "/self", "/a"))
    collected = collect(local.described(start=f"start = [{start}]", cars="", lists=""), tmp_path / "cars")
    report = json.loads((tmp_path / "cars" / "report.json").read_text("utf-8"))["left_out"]
    assert {each["url"].removeprefix(local.base): each["reason"] for each in report} == {
        "/chain/10": "it sends on more than 10 times",
        "/away": "it sends on to another site, example.com: see follow.within",
        "/b": "it sends on in a circle",
    }
    assert (collected.pages, local.site.requests["/chain/11"], local.site.requests["/self"]) == (1, 0, 1)


def test_a_crawl_that_is_done_asks_for_nothing(crawled: Crawled) -> None:
    before = sum(crawled.local.site.requests.values())
    again = collect(crawled.local.toml, crawled.folder)
    assert sum(crawled.local.site.requests.values()) == before
    assert (again.photos, again.new_photos) == (crawled.collected.photos, 0)
    assert rows_of(crawled.folder) == crawled.rows


# --- smaller sites ---


def test_a_limit_is_kept_and_the_next_run_goes_on(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=24)
    folder = tmp_path / "cars"
    first = collect(local.toml, folder, limit=3)
    assert (first.photos, len(list((folder / "images").iterdir()))) == (3, 3)
    assert first.waiting > 0
    done = collect(local.toml, folder)
    assert done.waiting == 0
    assert done.new_photos == done.photos - 3
    repeated = {path for path, times in local.site.requests.items() if times > 1}
    assert repeated == {"/robots.txt", "/busy/5", "/flaky/7", "/broken/1"}


def test_a_look_shows_pages_and_keeps_nothing(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site()
    local.described(kind='kind = "td.none"')
    look = try_site(local.toml)
    assert [page.role for page in look.pages].count("car") == 3
    car = next(page for page in look.pages if page.url.endswith("/car/1"))
    assert car.encoding == "cp949"
    assert (car.cars[0].name, car.cars[0].pictures) == (car_name(1), (f"{local.base}/img/1/640.png",))
    (silent,) = look.silent
    assert silent.place == f"{local.toml}:11"
    assert (silent.key, silent.rules, silent.tried) == ("car.kind", ("td.none",), 3)
    assert not [path for path in local.site.requests if path.startswith("/img")]
    assert list(tmp_path.iterdir()) == []


def test_changed_rules_want_again_which_fetches_no_picture(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=8)
    folder = tmp_path / "cars"
    local.described(kind='kind = "td.none"')
    without = collect(local.toml, folder)
    assert all(row["kind"] is None for row in rows_of(folder))
    assert [rule.place for rule in without.silent] == [f"{local.toml}:11"]
    pictures = {path: times for path, times in local.site.requests.items() if path.startswith("/img")}
    local.described()
    with pytest.raises(InputError, match=r"The rules in .* have changed .*--again"):
        collect(local.toml, folder)
    done = collect(local.toml, folder, again=True)
    assert (done.photos, done.new_photos) == (without.photos, 0)
    assert all(row["kind"] in KINDS for row in rows_of(folder))
    assert {path: times for path, times in local.site.requests.items() if path.startswith("/img")} == pictures


def test_what_failed_is_tried_again_when_asked(serve_site: ServeSite, tmp_path: Path) -> None:
    local = serve_site(cars=8)
    collect(local.toml, tmp_path / "cars")
    assert local.site.requests["/missing/1"] == 1
    collect(local.toml, tmp_path / "cars", retry_failed=True)
    assert local.site.requests["/missing/1"] == 2
    assert local.site.requests["/car/1"] == local.site.requests["/img/1/640.png"] == 1


def test_a_site_that_is_not_there_is_told(tmp_path: Path, serve_site: ServeSite) -> None:
    local = serve_site()
    toml = tmp_path / "site.toml"
    lines = ['start = "http://127.0.0.1:9/cars"', "[pace]", "delay_s = 0.0", "retries = 0"]
    toml.write_text("\n".join(lines), encoding="utf-8")
    collected = collect(toml, tmp_path / "cars")
    assert collected.photos == 0
    assert "robots.txt of 127.0.0.1:9 cannot be read" in collected.left_out[0].reason
    assert rows_of(tmp_path / "cars") == []
    assert local.site.requests == {}


@pytest.mark.parametrize("folders", [[], ["images"]])  # an import's folder has one too
def test_a_folder_of_other_files_is_left_alone(serve_site: ServeSite, tmp_path: Path, folders: list[str]) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    for folder in folders:
        (tmp_path / folder).mkdir()
    with pytest.raises(OutputError, match=r"holds no crawl but other files, such as thesis\.txt"):
        collect(serve_site().toml, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.txt", *folders}


def test_two_crawls_into_one_folder_are_refused(serve_site: ServeSite, tmp_path: Path) -> None:
    from carscribe.collect.journal import Journal

    journal = Journal(tmp_path)
    try:
        with pytest.raises(CollectError, match="Another carscribe collect is writing"):
            collect(serve_site().toml, tmp_path)
    finally:
        journal.close()


def test_no_description_is_told(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match="There is no file"):
        collect(tmp_path / "none.toml", tmp_path / "cars")
    assert not (tmp_path / "cars").exists()


# --- sites that want to be left alone ---


@dataclass(slots=True)
class Answering(Site):
    """A site that answers some addresses as told."""

    replies: dict[str, Reply] = field(default_factory=dict)

    def answer(self, address: str) -> Reply:
        usual = Site.answer(self, address)
        return self.replies.get(address, usual)


def test_a_long_retry_after_ends_the_run_and_the_next_goes_on(serve_site: ServeSite, tmp_path: Path) -> None:
    busy = Reply(status=503, headers=(("Retry-After", "7200"),))
    site = Answering(cars=4, replies={"/car/2": busy})
    local = serve_site(site=site)
    stopped = collect(local.toml, tmp_path / "cars")
    assert "asks to be left alone for 7200 s (HTTP 503)" in str(stopped.stopped)
    assert stopped.waiting > 0
    site.replies.clear()
    done = collect(local.toml, tmp_path / "cars")
    assert (done.stopped, done.waiting) == (None, 0)
    assert car_name(2) in {row["name"] for row in rows_of(tmp_path / "cars")}


@pytest.mark.parametrize(
    ("robots", "photos"),
    [
        (Reply(status=404, body=b"User-agent: *\nDisallow: /"), 2),
        (Reply(status=500), 0),
        (Reply(body=b"User-agent: carscribe\nDisallow: /img"), 0),
        (Reply(body=b"User-agent: otherbot\nDisallow: /"), 2),
    ],
    ids=["missing", "broken", "names us", "names another"],
)
def test_robots_txt_is_obeyed(serve_site: ServeSite, tmp_path: Path, robots: Reply, photos: int) -> None:
    local = serve_site(site=Answering(cars=2, replies={"/robots.txt": robots}))
    local.described(start=f'start = ["{local.base}/car/1", "{local.base}/car/2"]', cars="within = []")
    assert collect(local.toml, tmp_path / "cars").photos == photos
    pictures = [path for path in local.site.requests if path.startswith("/img")]
    assert len(pictures) == (3 if photos else 0)  # car 2 shows a page that calls itself a picture


def test_a_crawl_delay_is_waited_for(serve_site: ServeSite, tmp_path: Path) -> None:
    robots = Reply(body=b"User-agent: *\nCrawl-delay: 0.3")
    local = serve_site(site=Answering(cars=2, replies={"/robots.txt": robots}))
    local.described(start=f'start = ["{local.base}/car/1", "{local.base}/car/2"]', cars="within = []")
    begun = time.monotonic()
    collect(local.toml, tmp_path / "cars")
    assert time.monotonic() - begun > 4 * 0.3  # five addresses, four waits


def test_the_next_address_of_a_picture_is_tried_when_the_best_fails(serve_site: ServeSite, tmp_path: Path) -> None:
    gone = Reply(status=410)
    local = serve_site(site=Answering(cars=4, replies={"/img/4/640.png": gone}))
    collect(local.toml, tmp_path / "cars")
    (row,) = [row for row in rows_of(tmp_path / "cars") if row["name"] == car_name(4)]
    assert (row["image_url"], row["width_px"]) == (f"{local.base}/img/4/320.png", 320)


def test_a_photo_that_another_page_refuses_is_given_up(serve_site: ServeSite, tmp_path: Path) -> None:
    page = "<h1>K5</h1><div class='gallery'><img src='/img/1/640.png'></div>"
    refusing = Reply(body=f"<meta name=robots content=noai>{page}".encode())
    local = serve_site(site=Answering(cars=2, replies={"/car/2": refusing}))
    collected = collect(local.toml, tmp_path / "cars")
    assert collected.photos == 0
    assert list((tmp_path / "cars" / "images").iterdir()) == []


@pytest.mark.parametrize(
    ("said", "seconds"), [("120", 120), ("soon", None), ("", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)]
)
def test_retry_after_is_read_as_number_and_as_date(said: str, seconds: float | None) -> None:
    from scrapy.http import Response

    from carscribe.collect.fetching import retry_after_s

    assert retry_after_s(Response("http://e.com", headers={"Retry-After": said})) == seconds


def test_a_car_that_was_taken_for_a_list_is_read_as_a_car(serve_site: ServeSite, tmp_path: Path) -> None:
    """The second list links to car 1 as to a list, before any link says that it is a car's."""
    first = Reply(body=b'<a class="next" href="/car/1">1</a><a class="next" href="/cars?page=2">2</a>')
    second = Reply(body=b'<ul class="cars"><a href="/car/1">1</a><a href="/car/2">2</a></ul>')
    site = Answering(cars=2, replies={"/cars?page=1": first, "/cars?page=2": second})
    collected = collect(serve_site(site=site).toml, tmp_path / "cars")
    assert {row["name"] for row in rows_of(tmp_path / "cars")} == {car_name(1), car_name(2)}
    assert (collected.cars, collected.waiting) == (2, 0)


def test_a_redirect_in_euc_kr_is_followed_as_it_is_written(serve_site: ServeSite, tmp_path: Path) -> None:
    moved = Reply(status=301, headers=(("Location", "/" + "차".encode("euc-kr").decode("latin-1")),))
    site = Answering(cars=1, replies={"/car/1": moved, "/%C2%F7": Site(cars=1).answer("/car/1")})
    collect(serve_site(site=site).toml, tmp_path / "cars")
    (row,) = rows_of(tmp_path / "cars")
    assert (row["name"], row["source"][-7:]) == (car_name(1), "/%C2%F7")


def test_a_picture_that_cannot_be_written_stops_the_run(serve_site: ServeSite, tmp_path: Path) -> None:
    """Its place is taken by a folder, as good as a full disk."""
    content = draw(1, 640, "png")
    taken = tmp_path / "cars" / "images" / f"{file_stem(car_name(1))}-{sha256_of(content)[:12]}.png"
    taken.mkdir(parents=True)
    local = serve_site(cars=1)
    stopped = collect(local.toml, tmp_path / "cars")
    assert "cannot be written" in str(stopped.stopped)
    taken.rmdir()
    done = collect(local.toml, tmp_path / "cars")
    assert (done.stopped, done.photos, done.waiting) == (None, 1, 0)


@pytest.mark.parametrize(
    ("changes", "line", "advice"),
    [
        ({"start": 'start = "{base}/nothing"'}, 2, "no page to begin with could be read"),
        ({"cars": 'cars = "ul.autos a"'}, 7, "no page of a car was read"),
        ({"image": "", "cars": ""}, 9, "no page says in JSON-LD or Open Graph which its picture is"),
    ],
)
def test_a_site_that_gives_nothing_is_told_where_to_look(
    serve_site: ServeSite, changes: dict[str, str], line: int, advice: str
) -> None:
    local = serve_site(cars=2)
    local.described(**{key: written.replace("{base}", local.base) for key, written in changes.items()})
    look = try_site(local.toml)
    assert str(look.advice).startswith(f"{local.toml}:{line}: {advice}")
