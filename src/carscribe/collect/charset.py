"""Which characters a page's bytes are: what the page says of itself, where that fits, else what fits best.

Old Korean pages are EUC-KR (Windows' CP949, which holds it), often without saying so, or under a server that says UTF-8
of everything.
"""

from collections.abc import Iterator

from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom, resolve_encoding

_GUESSES = ("utf-8", "cp949", "cp1252")


def charset_of(body: bytes, content_type: str | None) -> str:
    """The encoding that decodes a page with the fewest slips; of those that do so equally well, the first of: its
    byte-order mark, the server's word, the page's own, UTF-8, CP949.

    >>> charset_of("현대 그랜저".encode("euc-kr"), "text/html")
    'cp949'
    """
    best, fewest = "utf-8", None
    for encoding in _candidates(body, content_type):
        slips = _slips(body, encoding)
        if slips == 0:
            return encoding
        if fewest is None or slips < fewest:
            best, fewest = encoding, slips
    return best


def _candidates(body: bytes, content_type: str | None) -> Iterator[str]:
    mark, _ = read_bom(body)
    said = (mark, http_content_type_encoding(content_type), html_body_declared_encoding(body), *_GUESSES)
    for name in dict.fromkeys(said):
        if name and (encoding := resolve_encoding(name)):
            yield encoding


def _slips(body: bytes, encoding: str) -> int:
    """How many bytes do not belong to the encoding."""
    try:
        body.decode(encoding)
    except UnicodeDecodeError:
        # One slip would read the same either way, many are another encoding.
        return body.decode(encoding, "replace").count("\ufffd")
    except LookupError:
        return len(body) + 1
    return 0
