"""The version ranges that a distribution's own metadata asks for, and whether a version is in one. Pure."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Line
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion

_EXTRA = re.compile(r"""\bextra\s*==\s*["']([^"']+)["']""")


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
    """The requirements of a distribution, those left out that another system or Python has.

    >>> [str(r) for r in parse_requirements(["rich>=13.9", "torch<2.14,>=2.11; extra == 'local'", "x; os_name == 'y'"])]
    ['rich>=13.9', 'torch>=2.11,<2.14']
    >>> parse_requirements(['faces; (python_version > "3" and os_name != "y") and extra == "privacy"'])[0].extra
    'privacy'
    """
    found = []
    for line in lines:
        try:
            wanted = Line(line)
        except InvalidRequirement:
            continue
        match = _EXTRA.search(str(wanted.marker))
        extra = match[1] if match else None
        if wanted.marker is None or wanted.marker.evaluate({"extra": extra or ""}):
            clauses = sorted(map(str, wanted.specifier), key=lambda clause: (clause[0] != ">", clause))
            found.append(Requirement(name=wanted.name, specifier=",".join(clauses), extra=extra))
    return found


def is_within(version: str, specifier: str) -> bool:
    """Whether `version` is in a range. A local part (+cu130) counts nothing; a pre-release comes before its release.

    >>> is_within("2.13.0+cu130", ">=2.11,<2.14"), is_within("2.9.1", ">=2.11,<2.14"), is_within("2.14", "<2.14")
    (True, False, False)
    >>> is_within("2.11.0a0+5228986", ">=2.11"), is_within("0.26.0", "==0.26.0"), is_within("anything", "")
    (False, True, True)
    """
    try:
        return not specifier or SpecifierSet(specifier).contains(version, prereleases=True)
    except InvalidVersion:
        return False
