"""A description of a site is told what is wrong with it, all at once, by file and line."""

from pathlib import Path

import pytest

from carscribe.errors import SiteError

pytest.importorskip("scrapy")

from carscribe.collect.site import load_site

GOOD = """\
start = ["https://example.com/cars", "https://cars.example.com/"]
contact = "me@example.com"
[follow]
cars = ["ul a", "//a[@class='car']"]
[car]
name = "h1"
[car.extra]
year = "td.year::text"
"""


def loaded(folder: Path, text: str) -> str:
    """What is told of a description; empty when it is taken."""
    path = folder / "site.toml"
    path.write_text(text, encoding="utf-8")
    try:
        load_site(path)
    except SiteError as error:
        return str(error).replace(f"{path}:", "")
    return ""


def test_a_description_is_read(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(GOOD, encoding="utf-8")
    site = load_site(path)
    assert site.table.hosts == {"example.com", "cars.example.com"}
    assert site.rules["follow.cars"] == ("ul a", "//a[@class='car']")
    assert site.place("car.name") == f"{path}:6"
    assert site.place("car.extra.year") == f"{path}:8"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('start = "https://e.com"\nfolow = 1', "2: unknown key folow. Did you mean follow?"),
        ('start = "https://e.com"\n[car]\nnmae = "h1"', "3: unknown key nmae. Did you mean name?"),
        ('start = "https://e.com"\n[car]\ndelay_s = 1.0', "3: delay_s belongs under [pace]. Move it there."),
        (
            'start = "https://e.com"\n[car]\nencoding = "utf-8"',
            "3: encoding belongs to the top of the file, before the first [table]. Move it there.",
        ),
        ('[car]\nname = "h1"', "1: start is missing. Add start = "),
        ('strat = "https://e.com"', "1: start is missing (strat?)."),
        ('start = []', "1: start is empty. Write start = "),
        ('start = "example.com/cars"', '1: "example.com/cars" is no address of a page. Write it whole'),
        ('start = "https://e.com"\n[car]\nname = "h1["', '3: "h1[" is neither CSS nor XPath, as CSS: '),
        ('start = "https://e.com"\n[car]\nname = "//h1["', '3: "//h1[" is neither CSS nor XPath, as XPath: '),
        ('start = "https://e.com"\n[car]\nname = ["h1",\n "h2 >"]', '4: "h2 >" is neither CSS nor XPath'),
        ('start = "https://e.com"\n[car]\nname = 1', "3: name is a whole number. Write text in quotes"),
        ('start = "https://e.com"\n[car.extra]\nsource = "h1"', "3: source is a column of cars.json itself."),
        ('start = "https://e.com"\n[car.extra]\nmodel = "h1"', "3: model would be taken for the name"),
        ('start = "https://e.com"\n[car.extra]\n차종 = "h1"', "3: this is not TOML"),
        ('start = "https://e.com"\n[car.extra]\n"차종" = "h1"', "3: 차종 would be taken for the kind"),
        ('start = "https://e.com"\n[pace]\ndelay_s = -1.0', "3: delay_s is -1.0. Give at least 0."),
        ('start = "https://e.com"\n[pace]\nat_once = "two"', "3: at_once is a string. Write a number"),
        ('start = "https://e.com"\npace = 1', "2: pace is a whole number, not a table. Write [pace]"),
        ('start = "https://e.com"\nencoding = "euc-kt"', '2: "euc-kt" is no encoding.'),
        ('start = "https://e.com"\n[follow]\nwithin = "https://e.com/"', '3: "https://e.com/" is no host.'),
        ('start = "https://e.com"\n[follow]\ncars = "a"\n[car]\neach = "li"', "5: each is for pages of several cars"),
        ('start = "https://e.com\n', "1: this is not TOML"),
        ('sitemaps = "e.com/sitemap.xml"', '1: "e.com/sitemap.xml" is no address of a sitemap. Write it whole'),
        ('start = "https://e.com"\nsitemaps = true', "2: sitemaps is true or false. Write text in quotes"),
        ('sitemaps = "robots"', '1: "robots" is the robots.txt of the start pages, and there is no start. Write '),
        ('sitemaps = []', "1: start is missing. Add start = "),
        ('sitemap = "https://e.com/s.xml"', "1: sitemap is a string, not a table. Write sitemaps = "),
        ('start = "https://e.com"\n[sitemap]\ncars = "x"', "2: sitemap is for sitemaps, and there are none. Add "),
        ('sitemaps = "https://e.com/s"\n[sitemap]\ncars = ["x",\n"(/car"]', '4: "(/car" is no regular expression, '),
        ('sitemaps = "https://e.com/s"\n[sitemap]\nfiles = 1', "3: files is a whole number. Write text in quotes"),
        ('sitemaps = "https://e.com/s"\n[sitemap]\nmax_depth = 0', "3: max_depth is 0. Give at least 1."),
        ('sitemaps = "https://e.com/s"\n[sitemap]\nmax_megabytes = 500', "3: max_megabytes is 500. Give at most 200."),
        ('sitemaps = "https://e.com/s"\n[sitemap]\nmax_fils = 5', "3: unknown key max_fils. Did you mean max_files?"),
        ('sitemaps = "https://e.com/s"\n[car]\nmax_files = 5', "3: max_files belongs under [sitemap]. Move it there."),
        ('sitemaps = "https://e.com/s"\n[follow]\ncars = "a"', "1: follow.cars leads to pages of cars, so "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    assert loaded(tmp_path, text).startswith(told) or f"\n{told}" in loaded(tmp_path, text)


def test_a_host_in_hangul_is_known_by_its_ascii_form(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('start = "http://자동차.한국/목록"', encoding="utf-8")
    assert load_site(path).table.hosts == {"xn--2q1bw78a3kd.xn--3e0b707e"}


def test_sitemaps_alone_are_a_beginning(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text("sitemaps = \"https://e.com/s.xml\"\n[sitemap]\ncars = '/car/'\n", encoding="utf-8")
    site = load_site(path)
    assert (site.table.sitemap_addresses, site.table.hosts) == (["https://e.com/s.xml"], {"e.com"})
    assert site.place("sitemap.cars") == f"{path}:3"
    path.write_text('start = "https://e.com/a/b?c"\nsitemaps = ["robots", "https://f.com/s.xml"]', encoding="utf-8")
    table = load_site(path).table
    assert table.sitemap_addresses == ["https://e.com/robots.txt", "https://f.com/s.xml"]
    assert table.hosts == {"e.com", "f.com"}


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    told = loaded(tmp_path, 'start = "example"\n[car]\nnmae = "h1"\nkind = "td["\n')
    assert [line.partition(":")[0] for line in told.splitlines()] == ["1", "3", "4"]


def test_bytes_that_are_not_utf8_are_told(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_bytes('start = "https://e.com"\n# 현대\n'.encode("euc-kr"))
    with pytest.raises(SiteError, match=r"site\.toml:2: byte 0xc7 is not UTF-8"):
        load_site(path)
