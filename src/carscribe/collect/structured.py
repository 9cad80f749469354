"""What a page says of itself in JSON-LD and Open Graph: the defaults where a site's description has no rule.

Source: https://schema.org/Car, https://schema.org/ImageObject, https://ogp.me
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from parsel import Selector

from carscribe.collect.pictures import Candidate

_CARS = frozenset({"car", "vehicle", "motorcycle", "product", "individualproduct"})
_KIND_KEYS = ("bodyType", "vehicleConfiguration", "category")
_LICENCE_KEYS = ("license", "copyrightNotice", "creditText")
_UNKNOWN_PX = 1_200
"""What sites are told to give in JSON-LD and Open Graph: 1,200 pixels across."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Structured:
    """What a page says; each picture with its addresses."""

    name: str | None = None
    kind: str | None = None
    licence: str | None = None
    pictures: tuple[tuple[Candidate, ...], ...] = ()


def structured(page: Selector) -> Structured:
    """JSON-LD first, Open Graph for what that leaves out, then the page's first heading or title for the name."""
    car = next(_cars(page), {})
    images = list(_images(car.get("image")))
    meta = _open_graph(page)
    social = _social_image(meta)
    if len(images) <= 1 and social:
        pictures: tuple[tuple[Candidate, ...], ...] = ((*images, social),)  # one picture, in two sizes
    else:
        pictures = tuple((image,) for image in images)
    heading = " ".join("".join(page.xpath("(//h1)[1]//text()").getall()).split())
    title = " ".join((page.xpath("//title/text()").get() or "").split())
    return Structured(
        name=_text(car.get("name")) or meta.get("og:title") or heading or title or None,
        kind=next((text for key in _KIND_KEYS if (text := _text(car.get(key)))), None) or meta.get("product:category"),
        licence=_licence(page, car, meta),
        pictures=pictures,
    )


def _cars(page: Selector) -> Iterator[dict[str, Any]]:
    """Objects of JSON-LD that are cars or products, in the order of the page."""
    for script in page.xpath('//script[contains(translate(@type, "LDJSON", "ldjson"), "ld+json")]/text()').getall():
        try:
            document = json.loads(re.sub(r"^\s*(?:<!--|//<!\[CDATA\[)|(?:-->|//\]\]>)\s*$", "", script), strict=False)
        except (ValueError, RecursionError):
            continue  # many sites have such a slip, and their pages say the same elsewhere
        for each in _objects(document):
            types = each.get("@type")
            named = {str(t).rpartition("/")[2].lower() for t in (types if isinstance(types, list) else [types])}
            if named & _CARS:
                yield each


def _objects(value: Any, depth: int = 0) -> Iterator[dict[str, Any]]:
    if depth > 20:
        return
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _objects(item, depth + 1)


def _images(value: Any) -> Iterator[Candidate]:
    match value:
        case str() if value.strip():
            yield Candidate(address=value.strip(), width_px=_UNKNOWN_PX)
        case list():
            for item in value:
                yield from _images(item)
        case dict():
            address = value.get("contentUrl") or value.get("url") or value.get("@id")
            if isinstance(address, str) and address.strip():
                yield Candidate(address=address.strip(), width_px=_pixels(value.get("width")))


def _pixels(value: Any) -> float:
    value = value.get("value") if isinstance(value, dict) else value
    match = re.match(r"\d+", str(value or ""))
    return float(match[0]) if match else _UNKNOWN_PX


def _open_graph(page: Selector) -> dict[str, str]:
    """The first content of each property."""
    meta: dict[str, str] = {}
    for tag in page.xpath("//meta[@content and (@property or @name)]"):
        text = " ".join(tag.attrib["content"].split())
        if text:
            meta.setdefault((tag.attrib.get("property") or tag.attrib["name"]).strip().lower(), text)
    return meta


def _social_image(meta: dict[str, str]) -> Candidate | None:
    address = meta.get("og:image:secure_url") or meta.get("og:image") or meta.get("og:image:url")
    return Candidate(address=address, width_px=_pixels(meta.get("og:image:width"))) if address else None


def _licence(page: Selector, car: dict[str, Any], meta: dict[str, str]) -> str | None:
    """Of the picture's own object, of the car's, of a link of that relation, of the page."""
    image = car.get("image")
    first = image[0] if isinstance(image, list) and image else image
    for each in (first, car):
        if isinstance(each, dict) and (said := next((t for key in _LICENCE_KEYS if (t := _text(each.get(key)))), None)):
            return said
    linked = page.xpath('//*[self::a or self::link][contains(concat(" ", @rel, " "), " license ")]/@href').get()
    return linked or next((meta[key] for key in ("dcterms.rights", "dc.rights", "copyright") if key in meta), None)


def _text(value: Any) -> str | None:
    match value:
        case str():
            return " ".join(value.split()) or None
        case int() | float():
            return str(value)
        case list():
            return next((text for item in value if (text := _text(item))), None)
        case dict():
            return _text(value.get("name") or value.get("@value") or value.get("url"))
        case _:
            return None
