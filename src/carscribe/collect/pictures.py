"""The addresses that a picture has on a page, the largest first: srcset, <picture>, lazy images, <noscript>, links."""

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
_LINKED_PX, _LARGE_PX, _LAZY_PX, _PLAIN_PX, _DENSITY_PX, STAND_IN_PX = 2_000.0, 1_600.0, 900.0, 800.0, 800.0, 1.0


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
    elif pictures := list(element.iter("img", "picture")):
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
    """An image's own addresses, those of the sources beside it, of the same for browsers without scripts, and of the
    file that it links to.
    """
    whole = _whole(element)
    lazy, plain = _with_and_without_scripts(whole)
    parts = [*_parts(lazy), *([] if plain is None else _parts(plain))]
    found = [candidate for part in parts for candidate in _of_attributes(part)]
    link = next(element.iterancestors("a"), None)
    if link is not None and looks_like_photo((link.get("href") or "").strip()):
        found.append(Candidate(address=link.get("href").strip(), width_px=_LINKED_PX))
    yield from found
    for part in parts:
        address = (part.get("src") or "").strip()
        if _is_address(address):
            is_stand_in = plain is not None and next(part.iterancestors("noscript"), None) is None
            yield Candidate(address=address, width_px=STAND_IN_PX if found or is_stand_in else _PLAIN_PX)


def _whole(element: etree._Element) -> etree._Element:
    """The `<picture>` around an image, or the image."""
    # Any ancestor: to the parser a <source> is not empty, and holds what comes behind it.
    around = element if element.tag == "picture" else next(element.iterancestors("picture"), None)
    return element if around is None else around


def _parts(whole: etree._Element) -> list[etree._Element]:
    return list(whole.iter("img", "source")) if whole.tag == "picture" else [whole]


def _with_and_without_scripts(whole: etree._Element) -> tuple[etree._Element, etree._Element | None]:
    """A picture that scripts fill in, and its twin in the `<noscript>` beside it; whichever of the two is given."""
    noscript = next(whole.iterancestors("noscript"), None)
    if noscript is not None:
        lazy = _beside(noscript)
        return (whole, None) if lazy is None else (lazy, whole)
    for backwards in (False, True):
        noscript = _neighbour(whole, backwards=backwards)
        if noscript is not None and noscript.tag == "noscript" and _beside(noscript) is whole:
            return whole, _whole(next(noscript.iter("img")))
    return whole, None


def _beside(noscript: etree._Element) -> etree._Element | None:
    """The picture whose twin a `<noscript>` holds, next to it. Of two, the one that shares an address with it, else the
    one before it, or behind it where a row of such pictures begins with a `<noscript>`.
    """
    images, parent = list(noscript.iter("img")), noscript.getparent()
    if len(images) != 1 or parent is None:
        return None
    sides = [_neighbour(noscript, backwards=True), _neighbour(noscript, backwards=False)]
    pictures = [each for each in sides if each is not None and each.tag in {"img", "picture"}]
    if len(pictures) < 2:
        return pictures[0] if pictures else None
    twins = [each for each in pictures if _addresses(each) & _addresses(_whole(images[0]))]
    if len(twins) == 1:
        return twins[0]
    row = parent.iterchildren("img", "picture", "noscript")
    first = next(each for each in row if each.tag != "noscript" or each.find(".//img") is not None)
    return pictures[1] if first.tag == "noscript" else pictures[0]


def _addresses(whole: etree._Element) -> set[str]:
    parts = _parts(whole)
    return {each.address for part in parts for each in _of_attributes(part)} | {
        address for part in parts if _is_address(address := (part.get("src") or "").strip())
    }


def _neighbour(element: etree._Element, *, backwards: bool) -> etree._Element | None:
    siblings = element.itersiblings(preceding=backwards)
    return next((each for each in siblings if isinstance(each.tag, str)), None)


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
