"""The list of files that an export wrote, kept hidden beside them: what a later export may replace and remove.

Knows nothing of formats, and of the files only their names.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carscribe.errors import OutputError

FINISHED = ".carscribe-export.jsonl"
"""The list of a finished export. Loaders of data sets pass over names with a dot in front."""

UNFINISHED = "EXPORT-NOT-FINISHED.jsonl"
"""The list while files are moved into place, in plain sight: all that the folder may hold of exports.

With both there, this one counts."""

STAGE = ".carscribe-export.part"
"""The folder in which an export is prepared."""

LOCK = ".carscribe-export.lock"
"""Held by the process that writes."""

OWN_NAMES = frozenset({FINISHED, UNFINISHED, STAGE, LOCK})

_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file of an export: its path below the folder with forward slashes, its photo's key, its photo's SHA-256.

    No photo: a file about all of them. No SHA-256: no image. `masked` is None of an image that is the photo's own file;
    of one made anew it says how many boxes of each kind were hidden in it.
    """

    file: str
    photo: str | None = None
    sha256: str | None = None
    masked: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An export found in a folder. `files` maps each path to the SHA-256 of the image there, None for other files.

    None as well for masked images: the SHA-256 of their photo is not theirs.
    """

    format: str
    finished: bool
    files: Mapping[str, str | None]


def header(format_: str, *, finished: bool) -> str:
    """The first line of a list, for people too."""
    note = "Files written by carscribe export."
    if not finished:
        note = "This export was interrupted and is not whole. Run the same command again to finish it."
    return json.dumps({"carscribe_export": _VERSION, "format": format_, "note": note}) + "\n"


def line(entry: Entry) -> str:
    """One file's line."""
    row: dict[str, Any] = {"file": entry.file, "photo": entry.photo, "sha256": entry.sha256}
    if entry.masked is not None:
        row["masked"] = dict(entry.masked)
    text = json.dumps(row, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace").decode() + "\n"


def entries(path: Path) -> Iterator[Entry]:
    """The files of a list. Raises: OutputError when it is damaged, or not from this version; OSError."""
    with path.open(encoding="utf-8") as file:
        _format_of(path, file.readline())
        for number, text in enumerate(file, start=2):
            row = _object(text)
            name, photo, sha256, masked = (row.get(field) for field in ("file", "photo", "sha256", "masked"))
            if not isinstance(name, str) or not _is_inside(name):
                raise _damaged(path, f"line {number} names no file inside the folder")
            yield Entry(
                file=name,
                photo=photo if isinstance(photo, str) else None,
                sha256=sha256 if isinstance(sha256, str) else None,
                masked=masked if isinstance(masked, dict) else None,
            )


def find_earlier(folder: Path) -> Earlier | None:
    """The export that lies in a folder, finished or not; None when there is none. Raises: OutputError, OSError."""
    for name in (UNFINISHED, FINISHED):
        path = folder / name
        if path.is_file():
            with path.open(encoding="utf-8") as file:
                format_ = _format_of(path, file.readline())
            files = {entry.file: None if entry.masked is not None else entry.sha256 for entry in entries(path)}
            return Earlier(format=format_, finished=name == FINISHED, files=files)
    return None


def _format_of(path: Path, first: str) -> str:
    row = _object(first)
    if row.get("carscribe_export") != _VERSION:
        raise _damaged(path, "it does not begin as the list of an export does, or another version wrote it")
    return str(row.get("format"))


def _object(text: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError:
        return {}
    return row if isinstance(row, dict) else {}


def _is_inside(name: str) -> bool:
    """Whether a path stays in its folder on every system: a list from elsewhere must not lead to other files."""
    return not any(part in {"", ".", ".."} or set(part) & set("\\:\0") for part in name.split("/"))


def _damaged(path: Path, why: str) -> OutputError:
    return OutputError(f"{path} cannot be used: {why}. Name another folder with --to, or delete this one.")
