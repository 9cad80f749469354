"""Text that leaves Carscribe: captions a trainer reads, cells a spreadsheet opens. Pure; knows nothing of files."""

import unicodedata

from carscribe.plaintext import plain_line

_FORMULA = frozenset("=+-@")


def caption(text: str) -> str:
    """Text as one caption, the same in every format that trainers read: one line that no spreadsheet calculates.

    Nothing is added, so that no token is added: what begins a formula is taken from the front. A minus before a number
    means something and becomes the typographic one.

    >>> caption("=HYPERLINK('x')\\n"), caption("-20 mm lowered stance")
    ("HYPERLINK('x')", '−20 mm lowered stance')
    """
    line = plain_line(text)
    while line and _begins_formula(line):
        rest = line[1:].lstrip()
        if _plain(line[0]) == "-" and line[1:].removeprefix(".")[:1].isdigit():
            return f"\N{MINUS SIGN}{rest}"
        line = rest
    return line


def cell(text: str) -> str:
    """Text as one line in a cell: an apostrophe in front of whatever a spreadsheet would take for a formula.

    Also after a semicolon, for that is where a spreadsheet set to a European language begins the next cell.

    >>> cell("@Home edition"), cell("red;=1+1"), cell("well-kept = clean")
    ("'@Home edition", "red;'=1+1", 'well-kept = clean')
    """
    return _guarded(plain_line(text))


def path_cell(path: str) -> str:
    """A path in a cell, its blanks as they are. It differs from `path` only where that could do harm."""
    return _guarded(visible(path))


def visible(text: str) -> str:
    """Text with `_` for control and format characters, line separators and lone surrogates; all blanks are kept.

    The joiners stay, which hold emoji and some scripts together and hide nothing.

    >>> visible("a\\x1b[31m  b\\u202egpj.exe")
    'a_[31m  b_gpj.exe'
    """
    if text.isprintable():
        return text
    hidden = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return "".join(
        "_"
        if unicodedata.category(char) in hidden and char not in "\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
        else char
        for char in text
    )


def _guarded(line: str) -> str:
    return ";".join(_guarded_part(part) for part in line.split(";"))


def _guarded_part(part: str) -> str:
    text = part.lstrip()
    return f"{part[: len(part) - len(text)]}'{text}" if _begins_formula(text) else part


def _begins_formula(text: str) -> bool:
    return _plain(text[:1])[:1] in _FORMULA


def _plain(char: str) -> str:
    """Full-width and small forms (`＝`, `﹣`) as the characters that they stand for: some spreadsheets read them so."""
    return unicodedata.normalize("NFKC", char)
