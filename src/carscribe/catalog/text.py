"""Text on its way into SQLite. Pure."""

import json


def writable(text: str) -> str:
    """Text that SQLite takes: a lone surrogate, which is no character, becomes `\\ud800`.

    >>> writable("a" + chr(0xD800)), writable("기아")
    ('a\\\\ud800', '기아')
    """
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))  # made once: `json.dumps` would each time


def compact_json(value: object) -> str:
    """JSON without spaces, non-ASCII as it is."""
    return _ENCODER.encode(value)
