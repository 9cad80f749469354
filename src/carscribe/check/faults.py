"""From measures to faults: limits, and what is said of a photo that is beyond one. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Literal, get_args

from carscribe.check.measures import Measures
from carscribe.errors import InputError

FaultKind = Literal[
    "unreadable",
    "too_small",
    "odd_aspect",
    "dark",
    "blown_out",
    "blurry",
    "graphic",
    "same_bytes",
    "near_duplicate",
    "two_names",
    "two_kinds",
    "unknown_kind",
]
"""What a photo may be flagged for, in the order in which it is told."""

FAULTS: tuple[FaultKind, ...] = get_args(FaultKind)

TITLES: Mapping[FaultKind, str] = {
    "unreadable": "Unreadable",
    "too_small": "Too small",
    "odd_aspect": "Odd aspect",
    "dark": "Dark",
    "blown_out": "Blown out",
    "blurry": "Blurry",
    "graphic": "Screenshots and drawings",
    "same_bytes": "Same bytes",
    "near_duplicate": "Near-duplicates",
    "two_names": "One photo, two names",
    "two_kinds": "One photo, two kinds",
    "unknown_kind": "Unknown kind",
}

METADATA_FAULTS: frozenset[FaultKind] = frozenset({"two_names", "two_kinds", "unknown_kind"})
"""Faults of what was crawled and not of the picture: `describe` skips no photo for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Where a fault begins. Fixed by bench/cleaning.py on half of a grid of planted faults: docs/check.md.

    `too_small`: shorter side in pixels, below it. `odd_aspect`: longer side by shorter, above. `dark`: brightness of
    the brightest hundredth, 0 to 1, below. `blown_out`: share of white, above. `blurry`: blur in ‰ of the longer side,
    above. `graphic`: share of thin marks on plain ground, above. `near_duplicate`: correlation of two photos, from
    it on.
    """

    too_small: float = 192
    odd_aspect: float = 2.5
    dark: float = 0.48
    blown_out: float = 0.2
    blurry: float = 1.9
    graphic: float = 0.015
    near_duplicate: float = 0.94


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a photo is flagged: `value` is what was measured, `limit` where the fault begins; None where nothing is."""

    kind: FaultKind
    says: str
    value: float | None = None
    limit: float | None = None


def limits_with(changes: Iterable[str]) -> Limits:
    """The limits with some of them changed, each as `blurry=2.5`. Raises: InputError.

    >>> limits_with(["blurry=2.5"]).blurry
    2.5
    """
    known = [field.name for field in fields(Limits)]
    limits = Limits()
    for change in changes:
        name, _, said = change.partition("=")
        try:
            value = float(said)
        except ValueError:
            value = float("nan")
        if name.strip() not in known or not 0 <= value < float("inf"):
            raise InputError(
                f"--threshold {change!r} should look like blurry=2.5: a name of {', '.join(known)}, and a number of 0 "
                "or more."
            )
        limits = replace(limits, **{name.strip(): value})
    return limits


def faults_named(names: Iterable[str]) -> frozenset[FaultKind]:
    """Faults by name. Raises: InputError."""
    named = set(names)
    if unknown := sorted(named - set(FAULTS)):
        raise InputError(f"--keep {unknown[0]!r} is no fault. There are: {', '.join(FAULTS)}.")
    return frozenset(fault for fault in FAULTS if fault in named)


def limits_json(limits: Limits) -> dict[str, float]:
    """Limits for machines."""
    return asdict(limits)


def faults_of(measures: Measures, limits: Limits) -> tuple[Fault, ...]:
    """The faults of a photo by itself.

    >>> sharp = Measures(shorter_px=720, aspect=1.5, brightness=0.9, clipped=0.0, blur=0.7, marks=0.0)
    >>> faults_of(sharp, Limits())
    ()
    >>> [fault.says for fault in faults_of(replace(sharp, blur=4.0), Limits())]
    ['edges are 4.0 ‰ of the longer side wide (limit 1.9)']
    """
    return tuple(_faults(measures, limits))


def _faults(found: Measures, limits: Limits) -> Iterator[Fault]:
    if found.shorter_px < limits.too_small:
        says = f"its shorter side has {found.shorter_px} px (limit {limits.too_small:g})"
        yield Fault(kind="too_small", says=says, value=found.shorter_px, limit=limits.too_small)
    if found.aspect > limits.odd_aspect:
        says = f"it is {found.aspect:.1f} times as long as wide (limit {limits.odd_aspect:g})"
        yield Fault(kind="odd_aspect", says=says, value=found.aspect, limit=limits.odd_aspect)
    if found.brightness < limits.dark:
        says = f"its brightest parts have {found.brightness:.0%} of white (limit {limits.dark:.0%})"
        yield Fault(kind="dark", says=says, value=found.brightness, limit=limits.dark)
    if found.clipped > limits.blown_out:
        says = f"{found.clipped:.0%} of it are white (limit {limits.blown_out:.0%})"
        yield Fault(kind="blown_out", says=says, value=found.clipped, limit=limits.blown_out)
    if found.blur is not None and found.blur > limits.blurry:
        says = f"edges are {found.blur:.1f} ‰ of the longer side wide (limit {limits.blurry:g})"
        yield Fault(kind="blurry", says=says, value=found.blur, limit=limits.blurry)
    if found.marks > limits.graphic:
        says = f"lines or letters on plain ground in {found.marks:.1%} of it (limit {limits.graphic:.1%})"
        yield Fault(kind="graphic", says=says, value=found.marks, limit=limits.graphic)
