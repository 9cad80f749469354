"""Files as they are now, in the words of the catalogue: their paths, sizes and times, their bytes, what was crawled."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

from carscribe.catalog.database import PAGE, marks
from carscribe.catalog.text import compact_json, writable
from carscribe.catalog.workspace import Workspace
from carscribe.errors import WorkspaceError
from carscribe.found import Block, PhotoList, Photos
from carscribe.records import Metadata, PhotoFile

STAT_THREADS = 16
"""Files looked up at once on a network mount, where each look takes a millisecond."""

Size = tuple[int | None, int | None]
"""(bytes, time of change in ns) of a file; (None, None) when it is not there."""

NameAndSize = tuple[str, int | None]
"""A file's name and its bytes: what a copy of it has too."""

CatalogPath = str | bytes
"""An absolute path as SQLite takes it: bytes where it is no UTF-8."""

Crawled = tuple[str | None, str | None, str]
"""What was crawled with a file, as SQLite takes it: its name, its kind, all else as JSON."""

NOTHING_CRAWLED: Crawled = (None, None, "{}")


class Paths:
    """By which paths the catalogue knows files. Remembers folders, which many files share."""

    def __init__(self) -> None:
        self._folders: dict[str, str] = {}

    def of(self, folders: Iterable[tuple[str, Sequence[str]]]) -> list[CatalogPath]:
        """The paths of files, by the ways to their folders and their names in them, as a `Block` has them."""
        paths: list[CatalogPath] = []
        for way, names in folders:
            real = self._folders.get(way)
            if real is None:
                real = self._folders[way] = os.path.join(os.path.realpath(way), "")  # noqa: PTH118 - text: a Path for each of a million files is slow
            if real.isascii() and "".join(names).isascii():
                paths += [real + name for name in names]
            else:
                paths += [_as_sqlite_takes_it(real + name) for name in names]
        return paths


def _as_sqlite_takes_it(path: str) -> CatalogPath:
    try:
        path.encode()
    except UnicodeEncodeError:  # the file system's own bytes, which are no UTF-8
        return os.fsencode(path)
    return path


SeenRow = tuple[Any, ...]
"""A file as it is now: its number in the block, its path, key, size, time of change and, where any is, `Crawled`."""


class SeenFiles:
    """The files of a block as they are now. `with_crawled` says whether anything was crawled with any of them."""

    def __init__(self, block: Block, paths: Paths, *, network: bool) -> None:
        self.block = block
        self.with_crawled = block.metadata is not None
        known_by = paths.of(block.folders)
        sizes = zip(*_sizes(known_by, network), strict=True)
        crawled = zip(*map(_crawled, block.metadata or ()), strict=True)
        numbers = range(len(known_by))
        self.rows: list[SeenRow] = list(zip(numbers, known_by, block.keys, *sizes, *crawled, strict=True))

    @cached_property
    def places(self) -> Sequence[int]:
        """Where they are in the plan."""
        return self.block.places()

    def path(self, number: int) -> CatalogPath:
        """The path of one of them."""
        path: CatalogPath = self.rows[number][1]
        return path

    def key(self, number: int) -> str:
        """The key of one of them."""
        key: str = self.rows[number][2]
        return key

    def size(self, number: int) -> Size:
        """The size of one of them."""
        _, _, _, size_bytes, mtime_ns, *_ = self.rows[number]
        return size_bytes, mtime_ns

    def name_and_size(self, number: int) -> NameAndSize:
        """The name and the bytes of one of them."""
        return name_of(self.key(number)), self.size(number)[0]

    def crawled(self, number: int) -> Crawled:
        """What was crawled with one of them."""
        return self.rows[number][5:] if self.with_crawled else NOTHING_CRAWLED


def seen_files(photos: Photos, paths: Paths, *, network: bool) -> Iterator[SeenFiles]:
    """The files of every block as they are now, looked up in a thread while the block before is being compared."""
    with ThreadPoolExecutor(1) as pool:
        ahead: Future[SeenFiles] | None = None
        for block in photos.blocks():
            following = pool.submit(SeenFiles, block, paths, network=network)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        if ahead is not None:
            yield ahead.result()


def name_of(key: str) -> str:
    """A file's name without its folders: as the column `file_name`."""
    return key.rpartition("/")[2]


def ids_of(workspace: Workspace, paths: Paths, files: Sequence[PhotoFile]) -> list[int]:
    """The ids of files that are in the catalogue, in the order given. Raises: WorkspaceError when one is no longer."""
    wanted = [path for block in PhotoList(files).blocks() for path in paths.of(block.folders)]
    found: dict[CatalogPath, int] = {}
    for start in range(0, len(wanted), PAGE):
        some = wanted[start : start + PAGE]
        found |= workspace.connection.execute(f"SELECT path, id FROM files WHERE path IN ({marks(len(some))})", some)
    if gone := [file.key for file, path in zip(files, wanted, strict=True) if path not in found]:
        raise WorkspaceError(f"{gone[0]} was moved while it was looked for. Run the same command again.")
    return [found[path] for path in wanted]


def hashes_of(paths: Iterable[CatalogPath]) -> list[str | None]:
    """The SHA-256 of files, None of those that cannot be read: reading them for the model will say what is wrong."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_sha256, paths))


def size_of(path: CatalogPath) -> Size:
    """A file's size and time of change; (None, None) where it is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116 - text, as above
    except (OSError, ValueError):
        return None, None
    return status.st_size, status.st_mtime_ns


def _sizes(paths: Sequence[CatalogPath], network: bool) -> list[Size]:
    if not network:
        return list(map(size_of, paths))
    with ThreadPoolExecutor(STAT_THREADS) as pool:
        return list(pool.map(size_of, paths, chunksize=64))


def _sha256(path: CatalogPath) -> str | None:
    try:
        with open(path, "rb") as file:  # noqa: PTH123 - text, as above
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError):
        return None


def _crawled(metadata: Metadata) -> Crawled:
    name, kind = metadata.name, metadata.kind
    return (
        None if name is None else writable(name),
        None if kind is None else writable(kind),
        writable(compact_json(dict(metadata.extra))) if metadata.extra else "{}",
    )


def metadata_of(name: str | None, kind: str | None, extra: str) -> Metadata:
    """What was crawled with a file, from what the catalogue has of it."""
    return Metadata(name=name, kind=kind, extra=json.loads(extra))
