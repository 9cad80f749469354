"""`noai` and `noimageai`: a site's word, in a header or in the page, that machines are not to learn from its pictures.

Source: https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag (the grammar of header and tag);
the two words are DeviantArt's, of November 2022.
"""

from collections.abc import Iterable

from parsel import Selector

ROBOT = "carscribe"
"""What this crawler is called in robots.txt and in headers."""

_REFUSING = ("noai", "noimageai")
_WITH_A_VALUE = ("max-snippet", "max-image-preview", "max-video-preview", "unavailable_after")


def refusal_in_headers(values: Iterable[str]) -> str | None:
    """The refusing word of `X-Robots-Tag` headers, if any. What is addressed to another robot by name is not for us.

    >>> refusal_in_headers(["noindex, NoImageAI"]), refusal_in_headers(["otherbot: noai"])
    ('noimageai', None)
    """
    for value in values:
        addressed = True
        for part in value.lower().split(","):
            robot, colon, word = part.partition(":")
            if colon and robot.strip() not in _WITH_A_VALUE:
                addressed = robot.strip() in {ROBOT, "*"}
            word = (word if colon else part).strip()
            if addressed and word in _REFUSING:
                return word
    return None


def refusal_in_page(page: Selector) -> str | None:
    """The refusing word of a page's robots tags, if any."""
    for tag in page.css("meta[name][content]"):
        if tag.attrib["name"].strip().lower() in {"robots", ROBOT}:
            words = [word.strip() for word in tag.attrib["content"].lower().replace(";", ",").split(",")]
            if refused := next((word for word in _REFUSING if word in words), None):
                return refused
    return None
