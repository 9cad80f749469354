"""The addresses that a picture has on a page, the largest first: srcset, <picture>, lazy images, links."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lxml import etree
from parsel import Selector

from carscribe.photos.rows import looks_like_photo

_LARGE = ("data-zoom-image", "data-zoom", "data-full", "data-full-src", "data-large", "data-large-src", "data-original")
_LAZY = ("data-src", "data-lazy-src", "data-lazy", "data-echo", "data-url")
_SRCSETS = ("srcset", "data-srcset", "data-lazy-srcset")
_IN_STYLE = re.compile(r"""background(?:-image)?\s*:[^;]*?url\(\s*['"]?([^'")]+)""")

# What an address without a width is taken for, in pixels: a link from a small picture to its file leads to the full
# one; `data-original` and the like are larger than `src`; a `src` beside any of these is a small or grey stand-in.
_LINKED_PX, _LARGE_PX, _LAZY_PX, _PLAIN_PX, _DENSITY_PX, _STAND_IN_PX = 2_000.0, 1_600.0, 900.0, 800.0, 800.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One address of a picture, as written, and its width: as the page says it, or what its place suggests."""

    address: str
    width_px: float


def candidates_of(found: Selector) -> Iterator[list[Candidate]]:
    """The pictures that a found value stands for, each with all its addresses.

    An `<img>` or `<picture>` is one; a text is an address or a srcset; of anything else its background, or the
    pictures in it.
    """
    element = found.root
    if isinstance(element, str):
        yield list(_written(element))
    elif not isinstance(element, etree._Element):
        return
    elif element.tag in {"img", "picture", "source"}:
        yield list(_of_picture(element))
    elif element.tag == "meta":
        yield list(_written(element.get("content") or ""))
    elif element.tag == "link":
        yield list(_written(element.get("href") or ""))
    elif pictures := list(element.iter("img")):
        for picture in pictures:
            yield list(_of_picture(picture))
    else:
        yield list(_of_other(element))


def ordered(candidates: Iterable[Candidate], *, max_width_px: int) -> list[str]:
    """Addresses from the largest that is no wider than the limit downwards, then those above it from below.

    >>> some = [Candidate(address=f"{px}.jpg", width_px=px) for px in (400, 8000, 1600)]
    >>> ordered(some, max_width_px=4096)
    ['1600.jpg', '400.jpg', '8000.jpg']
    """
    fits = sorted((c for c in candidates if c.width_px <= max_width_px), key=lambda c: -c.width_px)
    above = sorted((c for c in candidates if c.width_px > max_width_px), key=lambda c: c.width_px)
    return list(dict.fromkeys(c.address for c in (*fits, *above)))


def read_srcset(text: str) -> Iterator[tuple[str, float | None, str]]:
    """The candidates of a srcset: address, number, and "w", "x" or "" for its unit.

    >>> list(read_srcset("a.jpg 320w, b,c.jpg 1.5x,d.jpg"))
    [('a.jpg', 320.0, 'w'), ('b,c.jpg', 1.5, 'x'), ('d.jpg', None, '')]

    Source: https://html.spec.whatwg.org/multipage/images.html#parsing-a-srcset-attribute
    """
    rest = text
    while rest := rest.lstrip(" \t\r\n\f,"):
        address, _, rest = _cut(rest)
        number, unit = None, ""
        if address.endswith(","):
            address = address.rstrip(",")
        else:
            said, _, rest = rest.partition(",")
            if match := re.search(r"([\d.]+)([wx])\b", said):
                number, unit = _number(match[1]), match[2]
        yield address, number, unit


def _cut(text: str) -> tuple[str, str, str]:
    """Text up to the first white space, that, and what is behind."""
    match = re.search(r"\s+", text)
    return (text[: match.start()], match[0], text[match.end() :]) if match else (text, "", "")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _of_picture(element: etree._Element) -> Iterator[Candidate]:
    """An image's own addresses, those of the sources beside it, and of the file that it links to."""
    # Any ancestor: to the parser a <source> is not empty, and holds what comes behind it.
    around = element if element.tag == "picture" else next(element.iterancestors("picture"), None)
    parts = [element] if around is None else list(around.iter("img", "source"))
    found = [candidate for part in parts for candidate in _of_attributes(part)]
    link = next(element.iterancestors("a"), None)
    if link is not None and looks_like_photo((link.get("href") or "").strip()):
        found.append(Candidate(address=link.get("href").strip(), width_px=_LINKED_PX))
    yield from found
    for part in parts:
        address = (part.get("src") or "").strip()
        if _is_address(address):
            yield Candidate(address=address, width_px=_STAND_IN_PX if found else _PLAIN_PX)


def _of_attributes(element: etree._Element) -> Iterator[Candidate]:
    """What an element has besides `src`: lazy addresses and srcsets."""
    for names, width_px in ((_LARGE, _LARGE_PX), (_LAZY, _LAZY_PX)):
        for name in names:
            address = (element.get(name) or "").strip()
            if _is_address(address):
                yield Candidate(address=address, width_px=width_px)
    for name in _SRCSETS:
        yield from _of_srcset(element.get(name) or "")


def _of_srcset(text: str) -> Iterator[Candidate]:
    for address, number, unit in read_srcset(text):
        if _is_address(address):
            width_px = number if unit == "w" and number else _DENSITY_PX * (number or 1)
            yield Candidate(address=address, width_px=width_px)


def _of_other(element: etree._Element) -> Iterator[Candidate]:
    if looks_like_photo((element.get("href") or "").strip()):
        yield Candidate(address=element.get("href").strip(), width_px=_LINKED_PX)
    yield from _of_attributes(element)
    if match := _IN_STYLE.search(element.get("style") or ""):
        yield Candidate(address=match[1].strip(), width_px=_PLAIN_PX)


def _written(text: str) -> Iterator[Candidate]:
    """A text that is an address, or a srcset."""
    if any(unit for _, _, unit in read_srcset(text)):
        yield from _of_srcset(text)
    elif _is_address(text.strip()):
        yield Candidate(address=text.strip(), width_px=_PLAIN_PX)


def _is_address(text: str) -> bool:
    return bool(text) and not text.startswith(("data:", "blob:", "about:", "javascript:", "#"))
