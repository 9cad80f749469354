"""Photos of a set without those that a check flagged."""

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carscribe.check.report import read_report, rows_of
from carscribe.found import PhotoList, Photos
from carscribe.records import PhotoFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The photos that are left, and how many were skipped for which fault: of several, the first that was told."""

    files: Photos
    skipped: Mapping[str, int]


def without_flagged(files: Photos, path: Path) -> Wanted:
    """The photos that a report in `path` does not want skipped.

    A photo is the one that was flagged if it has its key and its bytes: one that was replaced since is left in.

    Raises: InputError when the file is no report.
    """
    flagged = {
        str(row.get("photo")): row for row in rows_of(path, read_report(path), "flagged") if row.get("skip") is True
    }
    skipped: Counter[str] = Counter()
    left: list[PhotoFile] = []
    for file in files:
        row = flagged.get(file.key)
        if row is not None and _is_the_same(file.path, row):
            skipped[_first_fault(row)] += 1
        else:
            left.append(file)
    return Wanted(files=PhotoList(left) if skipped else files, skipped=dict(skipped.most_common()))


def _is_the_same(path: Path, row: Mapping[str, Any]) -> bool:
    """Whether a file has the size and the bytes it had. Of one that could not be read, the size alone is known."""
    try:
        if path.stat().st_size != int(row.get("bytes") or 0):
            return False
        if row.get("sha256") is None:
            return True
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == str(row["sha256"])
    except (OSError, ValueError):
        return not row.get("bytes")  # it was not there to be read, and is not there now


def _first_fault(row: Mapping[str, Any]) -> str:
    faults = row.get("faults")
    first = faults[0] if isinstance(faults, list) and faults else None
    return str(first.get("fault", "flagged")) if isinstance(first, dict) else "flagged"
