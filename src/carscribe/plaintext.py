"""Text that came from a crawl or a model, made safe to put on one line or on several. Pure; knows nothing of where."""

import re
import unicodedata

MODEL_MARK = re.compile(
    r"<\|[^<>|]{1,40}\|>|</?(?:s|pad|unk|bos|eos|extra_id_\d+|img|image|img_context|video|box|ref|quad"
    r"|start_of_turn|end_of_turn)>",
    re.IGNORECASE,
)
"""A special token of a model, written out."""

_PICTOGRAPH = (
    "[\u2190-\u21ff\u2300-\u23ff\u2600-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)
"""The blocks in which emoji are that others are joined to; flags' letters and skin tones are not among them."""

_EMOJI_JOINER = re.compile(
    f"(?:(?<={_PICTOGRAPH})|(?<={_PICTOGRAPH}[\ufe0f\U0001f3fb-\U0001f3ff]))\u200d(?={_PICTOGRAPH})"
)
"""A zero width joiner that makes one emoji of two. Source: UAX #29, rule GB11."""


def counted(count: int, noun: str) -> str:
    """A count and its noun, in the plural unless it is one.

    >>> counted(1, "photo"), counted(2000, "photo")
    ('1 photo', '2,000 photos')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def plain_line(text: str) -> str:
    """Text as one line: format characters go; control characters, lone surrogates and white space become one space.

    Of format characters the joiner between two emoji stays, without which 👩‍🔧 falls apart.

    >>> plain_line("red\\x1b[31m\\nline\\u202e 👩‍🔧")
    'red [31m line 👩‍🔧'
    """
    if text.isprintable():  # most text is; that goes without looking at each character
        return " ".join(text.split())
    joiners = {match.start() for match in _EMOJI_JOINER.finditer(text)}
    visible = (_visible(character) if place not in joiners else character for place, character in enumerate(text))
    return " ".join("".join(visible).split())


def plain_lines(text: str) -> str:
    """Text in its lines, without control characters but the tab, and without lone surrogates.

    >>> plain_lines("red\\x1b[31m\\r\\nline\\u2028three 👩‍🔧")
    'red[31m\\nline\\nthree 👩‍🔧'
    """
    lines = re.split("\r\n|[\r\n\x85\u2028\u2029]", text)
    return "\n".join(line if line.isprintable() else "".join(filter(_may_stand, line)) for line in lines)


def model_mark_in(text: str) -> str | None:
    """The first special token of a model that is written out in `text`, in whatever case or width.

    >>> model_mark_in("red <|EndOfText|>"), model_mark_in("0 < 1")
    ('<|EndOfText|>', None)
    """
    found = MODEL_MARK.search(unicodedata.normalize("NFKC", text))
    return found and found[0]


def _visible(character: str) -> str:
    match unicodedata.category(character):
        case "Cc" | "Cs":
            return " "
        case "Cf":
            return ""
        case _:
            return character


def _may_stand(character: str) -> bool:
    return character == "\t" or unicodedata.category(character) not in {"Cc", "Cs"}
