"""Text that came from a crawl or a model, made safe to put on one line. Pure; knows nothing of where the line goes."""

import unicodedata


def plain_line(text: str) -> str:
    """Text as one line: format characters go; control characters, lone surrogates and white space become one space.

    >>> plain_line("red\\x1b[31m\\nline\\u202e")
    'red [31m line'
    """
    if text.isprintable():  # most text is; that goes without looking at each character
        return " ".join(text.split())
    categories = ((character, unicodedata.category(character)) for character in text)
    visible = (" " if kind in {"Cc", "Cs"} else character for character, kind in categories if kind != "Cf")
    return " ".join("".join(visible).split())
