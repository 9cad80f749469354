"""Pieces of a page: the frame filled in, text made safe, counts and tables."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template

from carscribe.plaintext import plain_line

FOLDERS = re.compile(r"(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:;,()'\"<>]+){2,}[/\\]?")
"""A path of at least two steps, as error messages hold them."""


def page(package: str, *, title: str, **parts: str) -> str:
    """The page of a package, its places filled with `parts`, which are HTML already; `title` is text."""
    own, shared = files(package), files("carscribe.pages")
    safe = text(title)
    return Template(shared.joinpath("frame.html").read_text("utf-8")).substitute(
        title=safe,
        style=shared.joinpath("frame.css").read_text("utf-8") + own.joinpath("page.css").read_text("utf-8"),
        body=Template(own.joinpath("page.html").read_text("utf-8")).substitute(title=safe, **parts),
    )


def text(said: str) -> str:
    """Text from anywhere, safe to stand in a page.

    >>> text("<b>\\x1b red & blue</b>")
    '&lt;b&gt; red &amp; blue&lt;/b&gt;'
    """
    return escape(plain_line(said))


def without_folders(said: str) -> str:
    """Text in which of each path only the last step is left. Model names of a hub have no slash in front.

    >>> without_folders("/home/kim/models/mine requires x; OpenGVLab/InternVL3-8B-hf")
    '…/mine requires x; OpenGVLab/InternVL3-8B-hf'
    """
    return FOLDERS.sub(lambda path: "…/" + re.split(r"[/\\]", path[0].rstrip("/\\"))[-1], said)


def facts(rows: Mapping[str, str]) -> str:
    """Names and what is told of each, as the inside of a <dl>; both are text."""
    return "".join(f"<dt>{text(head)}</dt><dd>{text(told)}</dd>" for head, told in rows.items())


def number(count: int) -> str:
    """A count."""
    return f"{count:,}"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: bool = True) -> str:
    """A table of cells that are HTML already. With `numbers`, columns from the fourth on stand at the right."""
    kinds = [' class="n"' if numbers and place > 2 else "" for place in range(len(heads))]
    head = "".join(f"<th{kind}>{text(cell)}</th>" for kind, cell in zip(kinds, heads, strict=True))
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{cell}</td>' for kind, cell in zip(kinds, row, strict=True))}</tr>" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
