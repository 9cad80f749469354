"""Reads a user's TOML file, and tells what is wrong with one by file and line. Recipes and sites of crawls use it."""

import re
import tomllib
from collections.abc import Iterable
from typing import Any

from carscribe.errors import InputError
from carscribe.recipes.checking import Problem
from carscribe.recipes.toml_lines import TomlLines

_TOML_PLACE = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


def parse_toml(content: bytes, *, label: str, error: type[InputError]) -> tuple[dict[str, Any], str]:
    """The document in a file's bytes, and its text. `label` is what messages call the file.

    Raises: `error`, as `label:LINE: problem. What to do.`, when the bytes are not UTF-8 or not TOML.
    """
    source = _decode(content, label=label, error=error)
    try:
        return tomllib.loads(source), source
    # A number of thousands of digits is a plain ValueError, a thousand brackets a RecursionError.
    except (ValueError, RecursionError) as failure:
        raise error(_syntax_message(failure, source, label=label)) from None


def problems_text(problems: Iterable[Problem], lines: TomlLines, *, label: str) -> str:
    """All problems, one a line with its place, in the order of the file."""
    placed = [(lines.line_of(problem.location, found=problem.found), problem.message) for problem in problems]
    placed.sort(key=lambda place: place[0])  # stable: problems of one line stay in the order of the checks
    return "\n".join(f"{label}:{line}: {message}" for line, message in placed)


def _decode(content: bytes, *, label: str, error: type[InputError]) -> str:
    try:
        return content.decode("utf-8-sig")  # some Windows editors begin a file with a byte-order mark
    except UnicodeDecodeError as failure:
        line = content.count(b"\n", 0, failure.start) + 1
        byte = content[failure.start]
        raise error(f"{label}:{line}: byte 0x{byte:02x} is not UTF-8. Save the file as UTF-8.") from None


def _syntax_message(failure: Exception, source: str, *, label: str) -> str:
    place = _TOML_PLACE.search(str(failure))
    reason = _TOML_PLACE.sub("", str(failure))
    last_line = source.rstrip().count("\n") + 1
    line = int(place.group("line")) if place and place.group("line") else last_line
    if "overwrite" in reason or "twice" in reason:
        advice = "A key or table stands there twice: remove one."
    else:
        advice = "Check quotes, brackets and = there."
    return f"{label}:{line}: this is not TOML: {reason}. {advice}"
