"""The braces of a prompt: `{name}` and `{kind}` stand for metadata, `{{` and `}}` for the braces themselves.

Not `str.format`: that would follow `{name.__class__}` into an object, and the values are crawled text.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

PLACEHOLDERS = ("name", "kind")

# Longest first: a doubled brace is a literal, then a whole placeholder, then a brace that stands alone.
_BRACES = re.compile(r"\{\{|\}\}|\{(?P<word>[^{}]*)\}|[{}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class BraceProblem:
    """What a prompt says in braces that nothing can be put for, and what to write instead.

    `line` is the template's line that holds it, to find it again in a file.
    """

    line: str
    message: str


def brace_problems(template: str) -> Iterator[BraceProblem]:
    """Yield what is wrong with a prompt's braces, in order; nothing when `fill` can fill it.

    >>> [problem.message for problem in brace_problems("Is {nmae} a {kind}?")]
    ['{nmae} is no placeholder: did you mean {name}? Write {{ and }} for literal braces.']
    """
    for match in _BRACES.finditer(template):
        found, word = match.group(), match.group("word")
        line = (template[: match.start()].rpartition("\n")[2] + template[match.start() :]).partition("\n")[0]
        if word is None and len(found) == 1:
            yield BraceProblem(
                line=line, message=f"a single {found} stands alone: write {found * 2} for a literal brace."
            )
        elif word is not None and word not in PLACEHOLDERS:
            message = f"{found} is no placeholder: {_advice(word)} Write {{{{ and }}}} for literal braces."
            yield BraceProblem(line=line, message=message)


def fill(template: str, values: Mapping[str, str]) -> str:
    """Put `values`, one for each of `PLACEHOLDERS`, where the template names them. Values are not read for braces.

    >>> fill("{{{name}}}", {"name": "{kind}", "kind": "sedan"})
    '{{kind}}'

    Raises:
        KeyError: the template holds a placeholder that `brace_problems` reports.
    """

    def replacement(match: re.Match[str]) -> str:
        word = match.group("word")
        return match.group()[0] if word is None else values[word]

    return _BRACES.sub(replacement, template)


def _advice(word: str) -> str:
    close = difflib.get_close_matches(word.strip().lower(), PLACEHOLDERS, n=1, cutoff=0.5)
    if close:
        return f"did you mean {{{close[0]}}}?"
    known = " and ".join(f"{{{placeholder}}}" for placeholder in PLACEHOLDERS)
    return f"only {known} are."
