"""The description of a site to crawl: read from TOML and checked, key by key. `docs/collect.md` explains the keys."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urljoin, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from w3lib.url import safe_url_string

from carscribe.collect.selecting import as_xpath
from carscribe.errors import SiteError
from carscribe.photos.rows import column_role
from carscribe.recipes.checking import Problem, closest, toml_type
from carscribe.recipes.toml_files import parse_toml, problems_text
from carscribe.recipes.toml_lines import Location, TomlLines

ROBOTS = "robots"
"""Stands in `sitemaps` for those that robots.txt names."""

OWN_COLUMNS = ("name", "kind", "image", "source", "image_url", "retrieved_at", "licence", "sha256", "also_on")
"""What `cars.json` says of every photo: no extra field may be called so."""

_Rules = Annotated[list[str], BeforeValidator(lambda given: [given] if isinstance(given, str) else given)]
_HOST = re.compile(r"[\w.-]+(:\d+)?")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Follow(_Table):
    """How one gets from page to page: rules for links to lists of cars, and to the page of one car."""

    lists: _Rules = []
    cars: _Rules = []
    within: _Rules = []
    max_depth: Annotated[int, Field(ge=1)] = 1_000
    max_pages: Annotated[int, Field(ge=1)] = 100_000


class SitemapTable(_Table):
    """What is taken of sitemaps, by regular expressions in addresses, and how far index files lead on."""

    cars: _Rules = []
    lists: _Rules = []
    files: _Rules = []
    max_depth: Annotated[int, Field(ge=1, le=10)] = 3
    max_files: Annotated[int, Field(ge=1)] = 1_000
    max_megabytes: Annotated[int, Field(ge=1, le=200)] = 50


class Car(_Table):
    """What the page of a car says, rule by rule. Left out, JSON-LD and Open Graph say name, kind, image and licence."""

    each: str | None = None
    name: _Rules = []
    kind: _Rules = []
    image: _Rules = []
    licence: _Rules = []
    extra: dict[str, _Rules] = {}


class Pictures(_Table):
    """Which pictures are wanted."""

    min_side_px: Annotated[int, Field(ge=1)] = 256
    max_width_px: Annotated[int, Field(ge=1)] = 4_096
    max_megabytes: Annotated[int, Field(ge=1, le=1_000)] = 20
    per_car: Annotated[int, Field(ge=1)] = 20


class Pace(_Table):
    """How gently pages and pictures are asked for, host by host."""

    delay_s: Annotated[float, Field(ge=0, le=3_600)] = 1.0
    at_once: Annotated[int, Field(ge=1, le=16)] = 2
    timeout_s: Annotated[float, Field(gt=0, le=600)] = 60.0
    retries: Annotated[int, Field(ge=0, le=20)] = 4
    retry_after_s: Annotated[float, Field(gt=0)] = 2.0
    longest_wait_s: Annotated[float, Field(gt=0)] = 600.0


class SiteTable(_Table):
    """The shape of a site's file."""

    start: _Rules = []
    sitemaps: _Rules = []
    contact: str | None = None
    licence: str | None = None
    encoding: str | None = None
    follow: Follow = Follow()
    sitemap: SitemapTable = SitemapTable()
    car: Car = Car()
    pictures: Pictures = Pictures()
    pace: Pace = Pace()

    @property
    def hosts(self) -> frozenset[str]:
        """Hosts whose pages are read, in ASCII as addresses have them. Pictures may lie anywhere."""
        within = [f"http://{host}" for host in self.follow.within]
        begun = [*self.start, *self.sitemap_addresses]
        return frozenset(urlsplit(safe_url_string(url)).netloc.lower() for url in within or begun)

    @property
    def sitemap_addresses(self) -> list[str]:
        """The sitemaps to begin with. For "robots" that is the robots.txt of each start page, which names them."""
        robots = [urljoin(url, "/robots.txt") for url in self.start] if ROBOTS in self.sitemaps else []
        return list(dict.fromkeys([*robots, *(url for url in self.sitemaps if url != ROBOTS)]))


class Site:
    """A checked description, with the file and the line of each of its keys."""

    def __init__(self, table: SiteTable, lines: TomlLines, label: str) -> None:
        self.table = table
        self.label = label
        self._lines = lines

    def place(self, key: str) -> str:
        """Where a key such as `car.kind` stands: `site.toml:12`."""
        return f"{self.label}:{self._lines.line_of(tuple(key.split('.')))}"

    @property
    def rules(self) -> dict[str, tuple[str, ...]]:
        """Every rule that is written down, by its key."""
        car, follow, sitemap = self.table.car, self.table.follow, self.table.sitemap
        written = {
            "follow.lists": follow.lists,
            "follow.cars": follow.cars,
            "sitemap.cars": sitemap.cars,
            "sitemap.lists": sitemap.lists,
            "sitemap.files": sitemap.files,
            "car.each": [car.each] if car.each else [],
            "car.name": car.name,
            "car.kind": car.kind,
            "car.image": car.image,
            "car.licence": car.licence,
            **{f"car.extra.{key}": rules for key, rules in car.extra.items()},
        }
        return {key: tuple(rules) for key, rules in written.items() if rules}

    @property
    def reading(self) -> str:
        """What decides what is read from a page, as text: pages read by other rules would have to be read again."""
        return self.table.model_dump_json(include={"follow": {"lists", "cars"}, "car": True, "encoding": True})

    @property
    def taking(self) -> str:
        """What decides what is taken of a sitemap, as text."""
        return self.table.sitemap.model_dump_json(include={"cars", "lists", "files"})


def load_site(path: Path) -> Site:
    """Read and check a description.

    Raises: SiteError, with a line `FILE:LINE: problem. What to do.` for every problem.
    """
    label = str(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise SiteError(f"There is no file {path}. docs/collect.md has one to begin with.") from None
    except (OSError, ValueError) as failure:
        raise SiteError(f"{path} cannot be read: {failure}. Name a TOML file that describes a site.") from None
    document, source = parse_toml(content, label=label, error=SiteError)
    lines = TomlLines(source)
    problems = [*_shape_problems(document), *_meaning_problems(document)]
    if problems:
        raise SiteError(problems_text(problems, lines, label=label))
    return Site(SiteTable.model_validate(document), lines, label)


# --- shape: pydantic's errors in words for whoever writes such a file ---

_EXAMPLES: Mapping[str, str] = {
    "start": 'start = ["https://example.com/cars"], the pages to begin with',
    "sitemap": 'sitemaps = ["https://example.com/sitemap.xml"] for addresses, and [sitemap] for what to take of them',
    "each": 'each = "li.car"',
    "extra": '[car.extra] with a rule for each field, such as year = "td.year"',
}
_TABLES = ("follow", "sitemap", "car", "pictures", "pace")


def _shape_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        SiteTable.model_validate(document)
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            location: Location = tuple(error["loc"])
            yield Problem(location=location, message=_shape_message(error, location))


def _shape_message(error: Any, location: Location) -> str:
    key = next(str(part) for part in reversed(location) if isinstance(part, str))
    given, bounds = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(key, location)
        case "greater_than_equal" | "greater_than" | "less_than_equal":
            bound = next(iter(bounds.values()))
            words = {"greater_than": "more than", "less_than_equal": "at most"}.get(error["type"], "at least")
            return f"{key} is {given}. Give {words} {bound:,}."
        case "string_type" | "list_type":
            return f'{key} is {toml_type(given)}. Write text in quotes, or several in [ ]: {key} = "…".'
        case "int_type" | "float_type":
            return f"{key} is {toml_type(given)}. Write a number, without quotes: {key} = {_default(location)}."
        case _ if key in _TABLES or key == "extra":
            example = _EXAMPLES.get(key, f"[{key}] on a line of its own")
            return f"{key} is {toml_type(given)}, not a table. Write {example}."
        case _:
            return f"{key}: {error['msg']}"


def _unknown_key(key: str, location: Location) -> str:
    """Misspelt, or in the wrong table, or not known at all."""
    known = list(_model(location).model_fields)
    if near := closest(key, known):
        return f"unknown key {key}. Did you mean {near}?"
    for table in _TABLES:
        if key in SiteTable.model_fields[table].annotation.model_fields:  # type: ignore[union-attr]
            return f"{key} belongs under [{table}]. Move it there."
    if key in SiteTable.model_fields:
        return f"{key} belongs to the top of the file, before the first [table]. Move it there."
    where = "For a field of your own, put it under [car.extra]. " if location[0] == "car" else ""
    return f"unknown key {key}. {where}Known here: {', '.join(known)}."


def _model(location: Location) -> type[BaseModel]:
    model: type[BaseModel] = SiteTable
    if len(location) > 1 and location[0] in _TABLES:
        model = SiteTable.model_fields[str(location[0])].annotation  # type: ignore[assignment]
    return model


def _default(location: Location) -> object:
    return _model(location).model_fields[str(location[-1])].default


# --- meaning: what no shape says ---


def _meaning_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    if document.get("start") in (None, []) and not (document.get("sitemaps") or document.get("sitemap")):
        yield Problem(location=("start",), message=_nowhere_to_begin(document))
    for at, url in _texts(document.get("start"), ("start",)):
        if not _is_address(url):
            yield Problem(
                location=at, message=f'"{url}" is no address of a page. Write it whole: https://example.com/cars.'
            )
    yield from _sitemap_problems(document)
    follow, car = _table(document.get("follow")), _table(document.get("car"))
    for at, host in _texts(follow.get("within"), ("follow", "within")):
        if not _HOST.fullmatch(host.lower()):
            yield Problem(location=at, message=f'"{host}" is no host. Write it without http:// and path: example.com.')
    rules: list[tuple[Location, object]] = [(("follow", key), follow.get(key)) for key in ("lists", "cars")]
    rules += [(("car", key), car.get(key)) for key in ("each", "name", "kind", "image", "licence")]
    rules += [(("car", "extra", key), given) for key, given in _table(car.get("extra")).items()]
    for location, given in rules:
        for at, rule in _texts(given, location):
            yield from _rule_problems(rule, at)
    for key in _table(car.get("extra")):
        if key in OWN_COLUMNS or key in {"width_px", "height_px"}:
            advice = "Write it under [car]." if key in Car.model_fields else "Call it otherwise."
            yield Problem(location=("car", "extra", key), message=f"{key} is a column of cars.json itself. {advice}")
        elif role := column_role(key):
            message = f"{key} would be taken for the {role} when cars.json is read. Call it otherwise."
            yield Problem(location=("car", "extra", key), message=message)
    encoding = document.get("encoding")
    if isinstance(encoding, str) and not _is_encoding(encoding):
        message = f'"{encoding}" is no encoding. Write one such as "euc-kr", or leave it out.'
        yield Problem(location=("encoding",), message=message)
    if follow.get("cars") and car.get("each"):
        message = "each is for pages of several cars, and follow.cars leads to pages of one. Remove one of them."
        yield Problem(location=("car", "each"), message=message)


def _nowhere_to_begin(document: Mapping[str, Any]) -> str:
    if "start" in document:
        return f"start is empty. Write {_EXAMPLES['start']}."
    slip = next((have for have in document if have not in SiteTable.model_fields and closest(have, ["start"])), None)
    return f"start is missing{f' ({slip}?)' if slip else ''}. Add {_EXAMPLES['start']}, or sitemaps."


def _sitemap_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    given = _texts(document.get("sitemaps"), ("sitemaps",))
    table = _table(document.get("sitemap"))
    for at, url in given:
        if url == ROBOTS and not document.get("start"):
            whose = 'sitemaps = "https://example.com/robots.txt"'
            message = f'"{ROBOTS}" is the robots.txt of the start pages, and there is no start. Write {whose} instead.'
            yield Problem(location=at, message=message)
        elif url != ROBOTS and not _is_address(url):
            whole = f'Write it whole: https://example.com/sitemap.xml. "{ROBOTS}" takes those that robots.txt names.'
            yield Problem(location=at, message=f'"{url}" is no address of a sitemap. {whole}')
    if table and not document.get("sitemaps"):
        message = f"sitemap is for sitemaps, and there are none. Add {_EXAMPLES['sitemap'].partition(' for ')[0]}."
        yield Problem(location=("sitemap",), message=f"{message[:-1]} to the top of the file, or remove [sitemap].")
    for key in ("cars", "lists", "files"):
        for at, pattern in _texts(table.get(key), ("sitemap", key)):
            if reason := _pattern_fault(pattern):
                advice = f"Check brackets, and write \\ before signs that mean themselves: {key} = '/car/\\d+\\.html'."
                message = f'"{pattern}" is no regular expression, {reason}. {advice}'
                yield Problem(location=at, message=message)
    if given and _table(document.get("follow")).get("cars") and not (table.get("cars") or table.get("lists")):
        message = (
            "follow.cars leads to pages of cars, so those in sitemaps have to be told from others. "
            "Write cars = '/car/' under [sitemap], what the addresses of cars have in them; '.' takes all."
        )
        yield Problem(location=("sitemaps",), message=message)


def _pattern_fault(pattern: str) -> str | None:
    try:
        re.compile(pattern)
    except re.error as failure:
        return str(failure)
    except (RecursionError, OverflowError):
        return "it is too large"
    return None


def _is_address(url: str) -> bool:
    parts = _split(url)
    return parts is not None and parts.scheme in {"http", "https"} and bool(parts.netloc)


def _rule_problems(rule: str, at: Location) -> Iterator[Problem]:
    try:
        as_xpath(rule)
    except ValueError as failure:
        reason = str(failure).rstrip(".")
        yield Problem(location=at, message=f'"{rule}" is neither CSS nor XPath, {reason}. Check brackets and quotes.')


def _texts(given: object, location: Location) -> list[tuple[Location, str]]:
    """Each text of a text or of an array of them, with its place."""
    if isinstance(given, str):
        return [(location, given)]
    items = given if isinstance(given, list) else []
    return [((*location, number), item) for number, item in enumerate(items) if isinstance(item, str)]


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _split(url: str) -> Any:
    try:
        return urlsplit(url)
    except ValueError:
        return None


def _is_encoding(name: str) -> bool:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        return False
    return True
