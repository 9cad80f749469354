"""A workspace: a folder with a catalogue, opened for one writer or for any number of readers."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from carscribe.catalog.database import FILE, connect, transaction, translated
from carscribe.catalog.locking import HOLDER, LEASE, LOCK, holder_of, sole_writer
from carscribe.catalog.mounts import Mount, mount_of
from carscribe.errors import WorkspaceBusyError, WorkspaceError

OWN_NAMES = frozenset({FILE, f"{FILE}-wal", f"{FILE}-shm", f"{FILE}-journal", HOLDER, LOCK, LEASE})
"""All that Carscribe puts into a workspace."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Workspace:
    """An open workspace. Only the modules of this package use `connection`.

    `generation` is the number of the writer that opened it, 0 for a reader: see `migrations/0002_writer.sql`.
    """

    folder: Path
    mount: Mount
    connection: sqlite3.Connection
    generation: int = 0

    @property
    def path(self) -> Path:
        """The catalogue's file."""
        return self.folder / FILE

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A context in which all changes are made, or none.

        Raises: WorkspaceError; WorkspaceBusyError when another process has taken the workspace over.
        """
        with transaction(self.connection, self.path):
            if self.connection.execute("SELECT generation FROM writer").fetchone()[0] != self.generation:
                raise WorkspaceBusyError(
                    f"{self.folder} was taken over by {holder_of(self.folder) or 'another process'}: this one gave no "
                    "sign of life for a while (its machine slept, or its mount was away). Every answer up to here is "
                    "kept. Once nobody writes to it, run the same command again."
                )
            yield


def is_workspace(folder: Path) -> bool:
    """Whether there is a catalogue in `folder`."""
    return (folder / FILE).is_file()


@contextmanager
def write_workspace(folder: Path, *, create: bool, say: Callable[[str], None] = lambda _: None) -> Iterator[Workspace]:
    """The workspace in `folder`, of which this process is the only writer, made when `create` and there is none.

    `say` is told when the folder lies on a network mount, and when another process's lock is waited for.

    Raises: InputError, before anything is made; WorkspaceError, WorkspaceBusyError.
    """
    if not create:
        _must_exist(folder)
    mount = mount_of(folder)
    _make(folder)
    if mount.network:
        say(
            f"{folder} is on a network or FUSE mount ({mount.kind}): its catalogue is kept with a rollback journal, "
            "which is slower and safe there. A workspace on a local disk is quicker."
        )
    with sole_writer(folder, network=mount.network, say=say):
        connection = connect(folder, network=mount.network, write=True)
        try:
            with transaction(connection, folder / FILE):
                raised = connection.execute("UPDATE writer SET generation = generation + 1 RETURNING generation")
                generation = int(raised.fetchone()[0])
            yield Workspace(folder=folder, mount=mount, connection=connection, generation=generation)
        finally:
            connection.close()


@contextmanager
def read_workspace(folder: Path) -> Iterator[Workspace]:
    """The workspace in `folder`, to be read while others may read or write. Raises: InputError, WorkspaceError."""
    _must_exist(folder)
    mount = mount_of(folder)
    connection = connect(folder, network=mount.network, write=False)
    try:
        with translated(folder / FILE):
            if not connection.execute("PRAGMA user_version").fetchone()[0]:
                raise WorkspaceError(f"{folder} holds nothing yet. Fill it: carscribe describe PHOTOS -w {folder}")
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                connection.execute("BEGIN")  # one view of all; with a rollback journal it would hold up the writer
            yield Workspace(folder=folder, mount=mount, connection=connection)
    finally:
        connection.close()


def _must_exist(folder: Path) -> None:
    try:
        if is_workspace(folder):
            return
    except OSError as error:
        raise WorkspaceError(f"{folder} cannot be looked up: {error.strerror}. Check the path.") from None
    what = "is a file" if folder.is_file() else f"holds no {FILE}" if folder.exists() else "does not exist"
    raise WorkspaceError(f"No workspace at {folder}: it {what}. Make one with: carscribe describe PHOTOS -w {folder}")


def _make(folder: Path) -> None:
    """Make the folder. Raises: WorkspaceError when something else is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        others = sorted(entry.name for entry in folder.iterdir() if not _is_own(entry.name))
    except FileExistsError:
        raise WorkspaceError(f"{folder} is a file. A workspace is a folder: name another with -w.") from None
    except OSError as error:
        raise WorkspaceError(f"{folder} cannot be made: {error.strerror}. Name another workspace with -w.") from None
    if others and not is_workspace(folder):
        raise WorkspaceError(
            f"{folder} is a folder with other things in it ({', '.join(others[:3])}"
            f"{' …' if len(others) > 3 else ''}). Name a new folder with -w, e.g. -w {folder / 'workspace'}"
        )


def _is_own(name: str) -> bool:
    return name in OWN_NAMES or name.startswith((LOCK, LEASE))
