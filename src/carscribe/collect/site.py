"""The description of a site to crawl: read from TOML and checked, key by key. `docs/collect.md` explains the keys."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from w3lib.url import safe_url_string

from carscribe.collect.selecting import as_xpath
from carscribe.errors import SiteError
from carscribe.photos.rows import column_role
from carscribe.recipes.checking import Problem, closest, toml_type
from carscribe.recipes.toml_files import parse_toml, problems_text
from carscribe.recipes.toml_lines import Location, TomlLines

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

    start: Annotated[_Rules, Field(min_length=1)]
    contact: str | None = None
    licence: str | None = None
    encoding: str | None = None
    follow: Follow = Follow()
    car: Car = Car()
    pictures: Pictures = Pictures()
    pace: Pace = Pace()

    @property
    def hosts(self) -> frozenset[str]:
        """Hosts whose pages are read, in ASCII as addresses have them. Pictures may lie anywhere."""
        within = [f"http://{host}" for host in self.follow.within]
        return frozenset(urlsplit(safe_url_string(url)).netloc.lower() for url in within or self.start)


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
        car, follow = self.table.car, self.table.follow
        written = {
            "follow.lists": follow.lists,
            "follow.cars": follow.cars,
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
    "each": 'each = "li.car"',
    "extra": '[car.extra] with a rule for each field, such as year = "td.year"',
}
_TABLES = ("follow", "car", "pictures", "pace")


def _shape_problems(document: Mapping[str, Any]) -> Iterator[Problem]:
    try:
        SiteTable.model_validate(document)
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            location: Location = tuple(error["loc"])
            yield Problem(location=location, message=_shape_message(error, location, document))


def _shape_message(error: Any, location: Location, document: Mapping[str, Any]) -> str:
    key = next(str(part) for part in reversed(location) if isinstance(part, str))
    given, bounds = error["input"], error.get("ctx", {})
    match error["type"]:
        case "extra_forbidden":
            return _unknown_key(key, location)
        case "missing":
            slip = next(
                (have for have in document if have not in SiteTable.model_fields and closest(have, [key])), None
            )
            return f"{key} is missing{f' ({slip}?)' if slip else ''}. Add {_EXAMPLES.get(key, key)}."
        case "too_short":
            return f"{key} is empty. Write {_EXAMPLES.get(key, 'one or more')}."
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
    for at, url in _texts(document.get("start"), ("start",)):
        parts = _split(url)
        if parts is None or parts.scheme not in {"http", "https"} or not parts.netloc:
            yield Problem(
                location=at, message=f'"{url}" is no address of a page. Write it whole: https://example.com/cars.'
            )
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
