"""The version ranges that Carscribe's own metadata asks for, and whether a version is in one. Pure.

Only what its pyproject.toml uses: `>=`, `<`, `==` and `extra ==`. `packaging` would do more, and is no base dependency.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*\(?([^;)]*)\)?\s*(?:;(.*))?$")
_EXTRA = re.compile(r"""^\s*extra\s*==\s*['"]([^'"]+)['"]\s*$""")
_VERSION = re.compile(r"v?(\d+(?:\.\d+)*)(?:[._-]?(a|b|c|rc|alpha|beta|pre|preview|dev))?", re.IGNORECASE)
_CLAUSE = re.compile(r"(>=|<=|==|!=|~=|<|>)\s*([^,\s]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One line of a distribution's requirements. `extra` is None for what is always needed."""

    name: str
    specifier: str
    extra: str | None

    def __str__(self) -> str:
        """As pip takes it: `rich>=13.9`."""
        return f"{self.name}{self.specifier}"


def parse_requirements(lines: Iterable[str]) -> list[Requirement]:
    """The requirements of a distribution, those left out that depend on anything but an extra.

    >>> [str(r) for r in parse_requirements(["rich>=13.9", "torch<2.14,>=2.11; extra == 'local'", "x; os_name == 'y'"])]
    ['rich>=13.9', 'torch>=2.11,<2.14']
    """
    found = []
    for line in lines:
        match = _REQUIREMENT.match(line)
        if match is None:
            continue
        marker = (match[3] or "").strip()
        extra = _EXTRA.match(marker)
        if marker and extra is None:
            continue
        clauses = sorted((part.strip() for part in match[2].split(",") if part.strip()), key=lambda c: c[0] != ">")
        found.append(Requirement(name=match[1], specifier=",".join(clauses), extra=extra[1] if extra else None))
    return found


def is_within(version: str, specifier: str) -> bool:
    """Whether `version` is in a range. A local part (+cu130) counts nothing; a pre-release comes before its release.

    >>> is_within("2.13.0+cu130", ">=2.11,<2.14"), is_within("2.9.1", ">=2.11,<2.14"), is_within("2.14", "<2.14")
    (True, False, False)
    >>> is_within("2.11.0a0+5228986", ">=2.11"), is_within("0.26.0", "==0.26.0"), is_within("anything", "")
    (False, True, True)
    """
    return all(_holds(_key(version), operator, bound) for operator, bound in _CLAUSE.findall(specifier))


def _holds(version: tuple[tuple[int, ...], bool], operator: str, bound: str) -> bool:
    if operator == "==" and bound.endswith(".*"):
        wanted = _key(bound)[0]
        return version[0][: len(wanted)] == wanted
    other = _key(bound)
    match operator:
        case ">=" | "~=":
            return version >= other
        case "<=":
            return version <= other
        case "==":
            return version == other
        case "!=":
            return version != other
        case ">":
            return version > other
        case _:
            return version < other


def _key(version: str) -> tuple[tuple[int, ...], bool]:
    """Release numbers without trailing zeros, and whether it is a final release."""
    match = _VERSION.match(version.strip())
    if match is None:
        return (), False
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers), match[2] is None
