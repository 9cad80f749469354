"""The SQLite file: opened with the journal its file system can bear, brought to the newest form, errors translated."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib import resources
from pathlib import Path

from carscribe.errors import WorkspaceError

FILE = "catalog.sqlite"
BUSY_S = 30.0
"""How long a statement waits for another process's transaction."""

PAGE = 500
"""Rows looked up in one statement; SQLite takes 32,766 values in one."""

APPLICATION_ID = 0x43415253
"""`CARS`: written into the file's header, so that a database of something else is told apart."""


def marks(count: int) -> str:
    """So many question marks, for values in a statement."""
    return ",".join("?" * count)


def connect(folder: Path, *, network: bool, write: bool) -> sqlite3.Connection:
    """The workspace's database, migrated when `write`. Transactions are explicit: see `transaction`.

    Raises: WorkspaceError when it is none of ours, is damaged, is newer than this program, or cannot be written.
    """
    path = folder / FILE
    with translated(path):
        if write and network:
            _leave_write_ahead(path)
        connection = _open(path, write=write)
        try:
            _check(connection, path)
            if write:
                mode = "DELETE" if network else "WAL"
                found = connection.execute(f"PRAGMA journal_mode = {mode}").fetchone()[0]
                if found.upper() != mode:  # the file system cannot share memory after all
                    connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, path: Path) -> Iterator[None]:
    """All or nothing. Raises: WorkspaceError when SQLite cannot (disk full, locked, damaged)."""
    with translated(path):
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        try:
            connection.execute("COMMIT")
        except BaseException:  # a reader that holds on for too long, a full disk
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn what SQLite raises into a WorkspaceError that says what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise WorkspaceError(_advice(path, error)) from error


def has_column(connection: sqlite3.Connection, table: str, column: str) -> bool:
    """Whether a table has a column; a reader finds a workspace of an older form as it is."""
    return any(row[1] == column for row in connection.execute(f"PRAGMA table_info({table})"))


def adapter_of_run(connection: sqlite3.Connection) -> str:
    """The SQL for the folder of a run's adapter; of a workspace from before adapters, none."""
    return "runs.adapter" if has_column(connection, "runs", "adapter") else "''"


def imported_conditions(connection: sqlite3.Connection) -> tuple[int, ...]:
    """The ids of the conditions under which captions were imported, see `catalog.imported`; mostly none."""
    rows = connection.execute("SELECT id FROM conditions WHERE weights >= 'imported:' AND weights < 'imported;'")
    return tuple(row[0] for row in rows)


def answered_table(connection: sqlite3.Connection) -> str:
    """What a SELECT from the table `answered` begins with: nothing, but in a workspace from before it."""
    if has_column(connection, "answered", "prompts"):
        return ""
    prompts = "group_concat(DISTINCT prompt_id) AS prompts"
    return f"WITH answered AS (SELECT photo_id, condition_id, {prompts} FROM answers GROUP BY 1, 2)"


def migrations() -> list[tuple[int, str]]:
    """(number, SQL) of every migration, in order."""
    folder = resources.files("carscribe.catalog") / "migrations"
    scripts = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".sql")), key=lambda entry: entry.name)
    return [(int(script.name.partition("_")[0]), script.read_text("utf-8")) for script in scripts]


def _open(path: Path, *, write: bool) -> sqlite3.Connection:
    mode, uri = "rwc" if write else "ro", path.absolute().as_uri()
    connection = sqlite3.connect(
        f"{uri}?mode={mode}", uri=True, timeout=BUSY_S, isolation_level=None,
        check_same_thread=False,
    )  # fmt: skip
    try:
        connection.execute("SELECT count(*) FROM sqlite_schema")
    except sqlite3.OperationalError:
        connection.close()
        if write or path.with_name(f"{FILE}-wal").exists():
            raise
        if path.with_name(f"{FILE}-journal").exists():  # a killed writer's: it has to be rolled back before reading
            connection = sqlite3.connect(f"{uri}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None)
            connection.execute("SELECT count(*) FROM sqlite_schema")
            connection.execute("PRAGMA query_only = ON")
            return connection
        # A write-ahead database in a folder that may not be written: nobody writes it, so it may be read as it lies.
        connection = sqlite3.connect(f"{uri}?immutable=1", uri=True, isolation_level=None)
    return connection


def _leave_write_ahead(path: Path) -> None:
    """Fold a write-ahead log that came along into the database, without the shared memory it would need."""
    if not path.exists():
        return
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = DELETE")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != APPLICATION_ID and (application or tables):
        raise WorkspaceError(f"{path} is a database of another program. Name another workspace.")
    known = migrations()[-1][0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > known:
        raise WorkspaceError(
            f"{path} was written by a newer Carscribe (form {version}; this one knows {known}). "
            "Update: pip install --upgrade carscribe"
        )


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, script in migrations():
        if number <= version:
            continue
        with transaction(connection, path):
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, since `executescript` would commit before the first."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _advice(path: Path, error: sqlite3.DatabaseError) -> str:
    said = str(error)
    if "disk is full" in said:
        advice = "Every answer up to here is kept: free some space and run the same command again"
    elif "locked" in said:
        advice = "Another program holds it: close that, or wait, and run the same command again"
    elif "readonly" in said or "unable to open" in said or "permission" in said:
        advice = "Check that its folder may be written, or name another workspace"
    elif "malformed" in said or "not a database" in said:
        advice = (
            f"It is damaged. Keep a copy, then try: sqlite3 {path.name} .recover | sqlite3 new.sqlite, "
            "and put new.sqlite in its place"
        )
    elif "disk I/O" in said:
        advice = "The disk or its mount failed. See that it is there and has room, and run the same command again"
    else:
        advice = "Run the same command again; if it says the same, keep a copy of the workspace and report it"
    return f"{path}: {said}. {advice}."
