"""What a check found, and the same as JSON: for people's eyes, and for `describe` and `finetune` to read."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from carscribe.check.faults import FAULTS, Fault, FaultKind, Limits, limits_json
from carscribe.errors import InputError
from carscribe.whole_files import write_whole

FORMAT = 1
"""The number of the JSON's form; another one is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedPhoto:
    """A photo that is flagged. `sha256` is None, and sizes are 0, of one that cannot be read."""

    key: str
    location: str
    size_bytes: int
    sha256: str | None
    width_px: int
    height_px: int
    faults: tuple[Fault, ...]
    skip: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A photo of a group."""

    key: str
    location: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Photos that are one picture: with the same bytes, or nearly. `keep` has no other fault, and most pixels."""

    why: Literal["same_bytes", "near_duplicate"]
    keep: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Respelt:
    """Names that are one by another spelling, and how often each is there, the commonest first."""

    names: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found. `photos` were given and `read` looked at, fewer only where it was `stopped`.

    `spellings` are groups of names; `unknown_kinds` counts photos by kind; `conflicts` are rows that contradict each
    other about a photo. `skipped` counts by fault what `describe --skip-flagged` leaves out, each photo once.
    """

    photos: int
    read: int
    stopped: bool
    seconds: float
    limits: Limits
    flagged: tuple[CheckedPhoto, ...]
    groups: tuple[Group, ...]
    spellings: tuple[Respelt, ...] = ()
    unknown_kinds: Mapping[str, int] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()
    rows_without_photo: int = 0
    photos_without_row: int = 0

    def counts(self) -> dict[FaultKind, int]:
        """How many photos have each fault, in the order of `FAULTS`."""
        found = Counter(fault.kind for photo in self.flagged for fault in photo.faults)
        return {kind: found[kind] for kind in FAULTS}


def report_json(report: Report) -> dict[str, Any]:
    """The report as one JSON object: docs/check.md has its form."""
    return {
        "carscribe_check": FORMAT,
        "photos": report.photos,
        "read": report.read,
        "stopped": report.stopped,
        "seconds": round(report.seconds, 2),
        "limits": limits_json(report.limits),
        "counts": report.counts(),
        "flagged": [_photo_json(photo) for photo in report.flagged],
        "groups": [
            {
                "why": group.why,
                "keep": group.keep,
                "photos": [{"photo": member.key, "sha256": member.sha256} for member in group.members],
            }
            for group in report.groups
        ],
        "spellings": [[{"name": name, "photos": count} for name, count in each.names] for each in report.spellings],
        "unknown_kinds": dict(report.unknown_kinds),
        "conflicts": list(report.conflicts),
        "rows_without_photo": report.rows_without_photo,
        "photos_without_row": report.photos_without_row,
    }


def _photo_json(photo: CheckedPhoto) -> dict[str, Any]:
    return {
        "photo": photo.key,
        "sha256": photo.sha256,
        "bytes": photo.size_bytes,
        "width_px": photo.width_px,
        "height_px": photo.height_px,
        "skip": photo.skip,
        "faults": [
            {
                "fault": fault.kind,
                "value": None if fault.value is None else round(fault.value, 4),
                "limit": fault.limit,
                "says": fault.says,
            }
            for fault in photo.faults
        ],
    }


def write_report(path: Path, report: Report) -> None:
    """Write the JSON beside, then replace. Raises: OutputError."""
    write_whole(path, json.dumps(report_json(report), ensure_ascii=False, indent=1) + "\n", option="--report")


def read_report(path: Path) -> dict[str, Any]:
    """A report as it was written, or as a person changed it since. Raises: InputError for any other file."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. Make it with: carscribe check PHOTOS --report {path}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no report that can be read: {error}. {_HOW}") from None
    if not isinstance(found, dict) or found.get("carscribe_check") != FORMAT:
        raise InputError(f"{path} is no report of carscribe check (of form {FORMAT}). {_HOW}")
    return found


def groups_in(path: Path) -> dict[str, str]:
    """From a report, the name of a group of near-duplicates by SHA-256. Raises: InputError for any other file."""
    groups: dict[str, str] = {}
    for number, row in enumerate(rows_of(path, read_report(path), "groups")):
        photos = row.get("photos")
        for photo in photos if isinstance(photos, list) else []:
            if isinstance(photo, dict) and photo.get("sha256") and row.get("why") == "near_duplicate":
                groups[str(photo["sha256"])] = f"checked {number}"
    return groups


def rows_of(path: Path, report: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a list in a report. Raises: InputError where it is none."""
    rows = report.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path} has no list of objects {name!r}. {_HOW}")
    yield from rows


_HOW = "Write it with: carscribe check PHOTOS --report FILE"
