"""Files as the catalogue knows them: where they lie, how large, since when; and the text SQLite can take."""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from carscribe.catalog.text import compact_json, writable
from carscribe.catalog.workspace import Workspace
from carscribe.records import Metadata, PhotoFile

STAT_THREADS = 16
"""Files looked up at once on a network mount, where each look takes a millisecond."""

Size = tuple[int | None, int | None]
"""(bytes, time of change in ns) of a file; (None, None) when it is not there."""


@dataclass(slots=True)
class FileRow:
    """A file as the catalogue has it, and as it is now.

    `photo_id` is None while its bytes are not known. `familiar` then says that they may well be: it has the size of a
    photo that was known in this place or by this name.
    """

    id: int
    photo_id: int | None
    size: Size
    familiar: bool = False


def note_files(workspace: Workspace, files: Sequence[PhotoFile]) -> tuple[list[FileRow], int]:
    """The row of each file, new or brought up to date, and how many were found at another path than before."""
    connection = workspace.connection
    known = {
        row[2]: row
        for row in connection.execute(
            "SELECT id, photo_id, path, key, size_bytes, mtime_ns, name, kind, extra FROM files"
        )
    }
    absolute = _Absolute()
    paths = [absolute(file.location) for file in files]
    here = set(paths)
    new = not here <= known.keys()
    gone = {row[3]: row for path, row in known.items() if new and path not in here}
    names = {(os.path.basename(row[2]), row[4]) for row in known.values() if new and row[1]}  # noqa: PTH119
    rows: list[FileRow] = []
    added: list[tuple[Any, ...]] = []
    changed: list[tuple[Any, ...]] = []
    next_id = 1 + (connection.execute("SELECT max(id) FROM files").fetchone()[0] or 0)
    moved = 0
    for file, path, size in zip(files, paths, _sizes(paths, workspace.mount.network), strict=True):
        row = known.get(path)
        # Of a file that is not there at the moment, what was known stays.
        known_size = row[4:6] if row is not None and size == (None, None) else size
        now = (path, file.key, *known_size, *_metadata(file.metadata))
        if row is None and (before := gone.get(file.key)) and before[4] == size[0] and not os.path.lexists(before[2]):
            row, moved = gone.pop(file.key), moved + 1
        if row is None:
            familiar = (os.path.basename(path), size[0]) in names  # noqa: PTH119 - text, as below
            rows.append(FileRow(next_id + len(added), None, size, familiar))
            added.append((rows[-1].id, *now))
            continue
        photo_id = row[1] if row[4:6] == known_size else None
        if row[2:] != now:
            changed.append((photo_id, *now, row[0]))
        rows.append(FileRow(row[0], photo_id, size, row[1] is not None and row[4] == size[0]))
    connection.executemany(
        "UPDATE files SET photo_id = ?, path = ?, key = ?, size_bytes = ?, mtime_ns = ?, name = ?, kind = ?,"
        " extra = ? WHERE id = ?",
        changed,
    )
    connection.executemany(
        "INSERT INTO files (id, path, key, size_bytes, mtime_ns, name, kind, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        added,
    )
    return rows, moved


def recognise(
    workspace: Workspace, files: Sequence[PhotoFile], rows: Sequence[FileRow], say: Callable[[str], None]
) -> None:
    """Find photos of files that were touched or copied by their bytes, so that no model is loaded to ask nothing."""
    unsure = [(file, row) for file, row in zip(files, rows, strict=True) if row.familiar and row.photo_id is None]
    if not unsure:
        return
    say(f"{len(unsure):,} files have another time or place than before: comparing their bytes …")
    connection = workspace.connection
    with ThreadPoolExecutor() as pool:
        hashes = list(pool.map(_sha256, (file.location for file, _ in unsure)))
    for (_, row), sha256 in zip(unsure, hashes, strict=True):
        if photo := connection.execute("SELECT id FROM photos WHERE sha256 = ?", (sha256,)).fetchone():
            row.photo_id = photo[0]
    connection.executemany(
        "UPDATE files SET photo_id = ? WHERE id = ?",
        [(row.photo_id, row.id) for _, row in unsure if row.photo_id is not None],
    )


def _sha256(location: str) -> str | None:
    try:
        with open(location, "rb") as file:  # noqa: PTH123 - text, as below
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):  # reading it for the model will say what is wrong
        return None


def _metadata(metadata: Metadata) -> tuple[str | None, str | None, str]:
    name, kind = metadata.name, metadata.kind
    return (
        None if name is None else writable(name),
        None if kind is None else writable(kind),
        writable(compact_json(dict(metadata.extra))) if metadata.extra else "{}",
    )


def _sizes(paths: Sequence[str | bytes], network: bool) -> Iterable[Size]:
    if not network:
        return map(size_of, paths)
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        return list(pool.map(size_of, paths, chunksize=64))


def size_of(path: str | bytes) -> Size:
    """A file's size and time of change; (None, None) where it is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116 - text: a Path for each of a million files is slow
    except (OSError, ValueError):
        return None, None
    return status.st_size, status.st_mtime_ns


class _Absolute:
    """Makes paths absolute, as text or bytes that SQLite takes; remembers folders, which many files share."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def __call__(self, location: str) -> str | bytes:
        folder, slash, name = location.rpartition(os.sep)
        real = self._folders.get(folder)
        if real is None:
            real = self._folders[folder] = os.path.join(os.path.realpath(folder + slash), "")  # noqa: PTH118 - as above
        text = real + name
        if text.isascii():
            return text
        try:
            text.encode()
        except UnicodeEncodeError:  # the file system's own bytes, which are no UTF-8
            return os.fsencode(text)
        return text
