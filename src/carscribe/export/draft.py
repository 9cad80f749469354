"""An export's folder: everything is written into a hidden one first, and moved into place when all of it is there.

Knows nothing of formats. Until `publish`, an earlier export in the folder stays as it was.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import IO

from carscribe.errors import OutputError
from carscribe.export.manifest import (
    FINISHED,
    LOCK,
    OWN_NAMES,
    STAGE,
    UNFINISHED,
    Earlier,
    Entry,
    entries,
    find_earlier,
    header,
    line,
)
from carscribe.plaintext import plain_line

_SYSTEM_FILES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_FILES_A_FOLDER = 1000


class Draft:
    """An export that is being prepared. `open_draft` makes one.

    Its entries are numbered, and the n-th one's file waits in the hidden folder under its number. One without a file
    there is in place already.
    """

    def __init__(self, folder: Path, *, format_: str, earlier: Earlier | None) -> None:
        self.folder = folder
        self.bytes_written = 0
        self._format = format_
        self._stage = folder / STAGE
        self._earlier = {} if earlier is None else earlier.files
        self._stale = set(self._earlier)
        self._tables: dict[str, IO[str]] = {}
        self._shards: dict[str, Path] = {}
        self._scratches = 0
        self._at_close = ExitStack()
        self._clear: set[str] = set()
        self._count = 0
        self.next_file().parent.mkdir(parents=True)
        self._list_path = self._stage / "list.jsonl"
        self._list = self._list_path.open("w", encoding="utf-8", newline="\n")
        self._list.write(header(format_, finished=True))

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Disk trouble in this context is told in one line. Raises: OutputError."""
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self.folder} takes no more: {error.strerror or error}. {self._count:,} files were ready; none was "
                "put in place. Make room or name another folder with --to, and run the command again."
            ) from None

    def earlier_sha256(self, name: str) -> str | None:
        """What the image at `name` was when a finished export put it there; None when none did."""
        return self._earlier.get(name)

    def next_file(self) -> Path:
        """Where the file of the next entry is to be written; nothing is there yet."""
        return self._staged(self._count)

    def add(self, entry: Entry, *, size_bytes: int = 0) -> None:
        """The next entry: its file lies at `next_file()`, or in place already, from an earlier export.

        Raises: OutputError, also when something that no export wrote is in the file's way.
        """
        self._check_way(entry.file)
        self._stale.discard(entry.file)
        self._count += 1
        self.bytes_written += size_bytes
        with self.writing():
            self._list.write(line(entry))
            if self._count % _FILES_A_FOLDER == 0:
                self.next_file().parent.mkdir()

    def text(self, name: str, content: str, *, photo: str) -> None:
        """A small file about one photo. Raises: OutputError."""
        encoded = content.encode()
        with self.writing():
            self.next_file().write_bytes(encoded)
        self.add(Entry(file=name, photo=photo), size_bytes=len(encoded))

    def table(self, name: str, *, encoding: str = "utf-8") -> "Table":
        """A file about all photos, to be written line by line. It is put in place last. Raises: OutputError."""
        self._check_way(name)
        with self.writing():
            file = self._table_path(len(self._tables)).open("w", encoding=encoding, newline="")
        self._tables[name] = file
        return Table(self, file)

    def scratch(self) -> Path:
        """Where a file may be written that `put` names later, or nobody; nothing is there yet."""
        self._scratches += 1
        return self._stage / f"scratch-{self._scratches}"

    def put(self, scratch: Path, name: str) -> None:
        """A file of many photos, closed by now: it is put in place last but for the tables. Raises: OutputError."""
        self._check_way(name)
        self._shards[name] = scratch

    def on_close(self, let_go: Callable[[], None]) -> None:
        """Call this when the draft is closed, published or not."""
        self._at_close.callback(let_go)

    def publish(self) -> int:
        """Move everything into place and remove what is left of an earlier export. The number of files removed.

        Raises: OutputError; then, as after a kill, `UNFINISHED` lies in the folder, and the next export mends that.
        """
        with self.writing():
            self._close()
            marker = self._marker()
        try:
            # From here on the folder is not finished. Its tables go first, so that no loader takes it for whole, and
            # come last.
            marker.replace(self.folder / UNFINISHED)
            whole = [name for name in (*self._shards, *self._tables) if name in self._earlier]
            self._remove(reversed(whole))
            removed = self._remove(self._stale)
            self._put_all()
            self._list_path.replace(self.folder / FINISHED)
            (self.folder / UNFINISHED).unlink()
        except OSError as error:
            raise OutputError(
                f"{self.folder} is not finished: {error.filename2 or error.filename}: {error.strerror or error}. Mend "
                "that and run the same command again: it finishes the export."
            ) from None
        return removed

    def close(self) -> None:
        """Let go of all open files."""
        self._at_close.close()
        for file in (self._list, *self._tables.values()):
            with suppress(OSError):  # what could not be written is thrown away
                file.close()

    def _staged(self, number: int) -> Path:
        return self._stage / str(number // _FILES_A_FOLDER) / str(number)

    def _table_path(self, number: int) -> Path:
        return self._stage / f"table-{number}"

    def _check_way(self, name: str) -> None:
        """Raises: OutputError when something that no export wrote lies where a file, or a folder above it, is to be."""
        folders = [str(above) for above in Path(name).parents[:-1] if str(above) not in self._clear]
        with self.writing():
            for path in (self.folder / above for above in folders):
                if path.is_symlink() or (path.exists() and not path.is_dir()):
                    raise _in_the_way(path)
            if name not in self._earlier and _is_there(self.folder / name):
                raise _in_the_way(self.folder / name)
        self._clear.update(folders)

    def _close(self) -> None:
        """Everything onto the disk; shards and tables become the last entries."""
        for file in self._tables.values():
            file.close()
        tables = {name: self._table_path(number) for number, name in enumerate(self._tables)}
        for name, path in {**self._shards, **tables}.items():
            size_bytes = path.stat().st_size
            path.replace(self.next_file())
            self.add(Entry(file=name), size_bytes=size_bytes)
        self._list.close()
        if hasattr(os, "sync"):
            os.sync()  # once for all: an fsync for each of a million captions takes an hour or more
        else:
            for number in range(self._count):
                _flush(self._staged(number))
            _flush(self._list_path)

    def _marker(self) -> Path:
        """The list of all that the folder may hold of exports until this one is finished."""
        path = self._stage / "unfinished.jsonl"
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(header(self._format, finished=False))
            # Without SHA-256: what of it is in place, nobody knows until the end.
            file.writelines(line(Entry(file=name)) for name in self._earlier)
            file.writelines(line(Entry(file=entry.file)) for entry in entries(self._list_path))
            file.flush()
            os.fsync(file.fileno())
        return path

    def _put_all(self) -> None:
        made: set[Path] = set()
        for number, entry in enumerate(entries(self._list_path)):
            staged, target = self._staged(number), self.folder / entry.file
            if not staged.exists():  # in place already
                continue
            if target.parent not in made:
                target.parent.mkdir(parents=True, exist_ok=True)
                made.add(target.parent)
            staged.replace(target)

    def _remove(self, names: Iterable[str]) -> int:
        """Remove files that an export wrote, and folders that are empty then. The number of those that were there."""
        removed = 0
        for name in names:
            path = self.folder / name
            folders = list(path.parents)[: name.count("/")]
            if any(above.is_symlink() for above in folders) or not os.path.lexists(path):
                continue  # behind a link that somebody put here lies nothing of ours
            path.unlink()
            removed += 1
            with suppress(OSError):  # one that is not empty stays, and with it those above
                for above in folders:
                    above.rmdir()
        return removed


class Table:
    """A file about all photos, while it is being written; `csv.writer` takes it too."""

    def __init__(self, draft: Draft, file: IO[str]) -> None:
        self._draft = draft
        self._file = file

    def write(self, text: str) -> None:
        """Some more of it. Raises: OutputError."""
        with self._draft.writing():
            self._file.write(text)


@contextmanager
def open_draft(folder: Path, *, format_: str, overwrite: bool) -> Iterator[Draft]:
    """An export to be prepared in `folder`, which is made if need be. Unless published, it leaves nothing behind.

    Raises: OutputError when the folder cannot be used, or holds something already.
    """
    made = _make(folder)
    try:
        with _sole_writer(folder):
            try:
                with _usable(folder):
                    earlier = _check(folder, find_earlier(folder), format_=format_, overwrite=overwrite)
                    shutil.rmtree(folder / STAGE, ignore_errors=True)  # of an export that was killed
                    draft = Draft(folder, format_=format_, earlier=earlier)
                with closing(draft):
                    yield draft
            finally:
                shutil.rmtree(folder / STAGE, ignore_errors=True)
    finally:
        if made:
            with suppress(OSError):  # it holds the export
                folder.rmdir()


def _make(folder: Path) -> bool:
    """Make the folder, if it is not there. Whether it was made. Raises: OutputError, also for one with other things."""
    with _usable(folder):
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            if not folder.is_dir():
                raise OutputError(f"{folder} is a file. An export is a folder: name another with --to.") from None
            _refuse_others(folder)
            return False
    return True


def _refuse_others(folder: Path) -> None:
    if (folder / FINISHED).exists() or (folder / UNFINISHED).exists():
        return
    others = sorted(entry.name for entry in folder.iterdir() if entry.name not in OWN_NAMES | _SYSTEM_FILES)
    if others:
        some = ", ".join(map(plain_line, others[:3])) + (" …" if len(others) > 3 else "")
        raise OutputError(
            f"{folder} holds other things ({some}), and nothing that an export wrote. Name a new folder, e.g. --to "
            f"{folder / 'export'}"
        )


def _check(folder: Path, earlier: Earlier | None, *, format_: str, overwrite: bool) -> Earlier | None:
    """The earlier export, if it may be replaced. Raises: OutputError."""
    if earlier is None:
        return None
    if earlier.format != format_:
        raise OutputError(
            f"{folder} holds an export of another format, {earlier.format}. Name another folder with --to, or delete "
            "this one."
        )
    if earlier.finished and not overwrite:
        raise OutputError(
            f"{folder} holds an export already, of {len(earlier.files):,} files. Replace it with --overwrite, or name "
            "another folder with --to."
        )
    return earlier


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be written: {error.strerror or error}. Name another folder with --to."
        ) from None


@contextmanager
def _sole_writer(folder: Path) -> Iterator[None]:
    """Hold the folder against other exports. Raises: OutputError when another process has it."""
    from filelock import FileLock, Timeout

    path = folder / LOCK
    lock = FileLock(path)
    with _usable(folder):
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(f"Another export is writing to {folder}. Wait for it, or name another folder.") from None
    try:
        yield
    finally:
        with suppress(OSError):  # Windows keeps a file that is open
            path.unlink()
        lock.release()


def _is_there(path: Path) -> bool:
    """Whether anything is there, even a link to nothing. Raises: OSError when nothing can be: a name too long."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _in_the_way(path: Path) -> OutputError:
    return OutputError(
        f"{path} is in the way, and was not written by an export. Move it, or name another folder with --to."
    )


def _flush(path: Path) -> None:
    if path.exists():
        with path.open("r+b") as file:
            os.fsync(file.fileno())
