"""What a check found, and what to type about it. Knows neither the checks nor how findings are shown."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from carscribe.errors import InputError

Status = Literal["ok", "note", "warning", "problem"]

Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    "ok": as it should be. "note": good to know. "warning": works, but slower or not in every case. "problem": Carscribe
    cannot do its work here until `advice` is followed. `advice` says what to type, or what to change.
    """

    topic: str
    status: Status
    what: str
    advice: str | None = None


def findings_of(checks: Mapping[str, Callable[[Facts], Iterable[Finding]]], facts: Facts) -> Iterator[Finding]:
    """The findings of each check, by topic. One that breaks becomes a finding itself, and the others go on. So does
    what was set wrongly for one.

    >>> [found.what for found in findings_of({"Sums": lambda facts: [1 / facts]}, 0)]
    ['This check itself broke (ZeroDivisionError: division by zero); the others go on.']
    """
    for topic, check in checks.items():
        try:
            found = list(check(facts))
        except InputError as error:
            yield Finding(topic=topic, status="problem", what=str(error))
        except Exception as error:  # noqa: BLE001 - a doctor who faints helps nobody, and other machines are strange
            yield broken_check(topic, error)
        else:
            yield from found


def broken_check(topic: str, error: Exception) -> Finding:
    """The finding about a check that raised what it should not have."""
    said = (str(error).strip().splitlines() or [""])[0]
    return Finding(
        topic=topic,
        status="warning",
        what=f"This check itself broke ({type(error).__name__}: {said}); the others go on.",
        advice="Please report it, with the output of: carscribe doctor --json",
    )


def count_problems(findings: Iterable[Finding]) -> int:
    """How many findings keep Carscribe from its work."""
    return sum(finding.status == "problem" for finding in findings)
