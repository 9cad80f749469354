"""Opening a workspace: what is refused, and with which words; what is counted in one."""

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEngine
from workspaces import ANSWERED, COUNTED_ANEW, UNDONE_BY, make_workspace, put_back

import carscribe
from carscribe.catalog import reading
from carscribe.catalog.database import connect, migrations
from carscribe.catalog.locking import LEASE
from carscribe.catalog.reading import asked_models, asked_recipes, find_files, kept_photos
from carscribe.catalog.status import Status, status_of
from carscribe.catalog.workspace import Workspace, read_workspace, write_workspace
from carscribe.errors import WorkspaceBusyError, WorkspaceError


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ("nothing", "does not exist. Make one with: carscribe describe PHOTOS -w"),
        ("empty", "holds no catalog.sqlite"),
        ("file", "is a file"),
    ],
)
def test_reading_what_is_no_workspace_says_how_to_make_one(there: str, says: str, tmp_path: Path) -> None:
    folder = tmp_path / "공간"
    if there == "empty":
        folder.mkdir()
    elif there == "file":
        folder.touch()
    with pytest.raises(WorkspaceError, match=says), read_workspace(folder):
        pass
    with pytest.raises(WorkspaceError, match=says), write_workspace(folder, create=False):
        pass


def test_a_folder_of_other_things_is_not_made_a_workspace(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with (
        pytest.raises(WorkspaceError, match=r"other things in it \(photo.jpg\).*-w"),
        write_workspace(tmp_path, create=True),
    ):
        pass
    assert [entry.name for entry in tmp_path.iterdir()] == ["photo.jpg"]


def test_a_file_in_the_way_is_said(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    for folder in (tmp_path / "x", tmp_path / "x" / "y"):
        with pytest.raises(WorkspaceError, match=r"(N|n)ame another"), write_workspace(folder, create=True):
            pass


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite")) as connection:
        connection.execute("CREATE TABLE other (x)")
    with pytest.raises(WorkspaceError, match="another program"), write_workspace(tmp_path, create=True):
        pass


def test_a_newer_form_is_refused_and_not_touched(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    newer = migrations()[-1][0] + 1
    with closing(sqlite3.connect(workspace / "catalog.sqlite")) as connection:
        connection.execute(f"PRAGMA user_version = {newer}")
    for opened in (read_workspace(workspace), write_workspace(workspace, create=True)):
        with pytest.raises(WorkspaceError, match=r"newer Carscribe.*pip install --upgrade"), opened:
            pass


def test_a_damaged_catalogue_says_how_to_save_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, photos=40)
    path = workspace / "catalog.sqlite"
    content = bytearray(path.read_bytes())
    content[100:] = os.urandom(len(content) - 100)
    path.write_bytes(content)
    with pytest.raises(WorkspaceError, match=r"damaged.*\.recover"), write_workspace(workspace, create=True):
        pass
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(WorkspaceError, match="damaged"), read_workspace(workspace):
        pass


def test_migrations_are_numbered_without_gaps_and_applied_once(tmp_path: Path) -> None:
    assert [number for number, _ in migrations()] == list(range(1, len(migrations()) + 1))
    for _ in range(2):
        with closing(connect(tmp_path, network=False, write=True)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations()),)
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def test_the_journal_is_what_the_mount_can_bear_and_answers_move_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    for mount, journal in (("local", "wal"), ("network", "delete"), ("local", "wal")):
        monkeypatch.setenv("CARSCRIBE_MOUNT", mount)
        workspace = make_workspace(tmp_path)
        with write_workspace(workspace, create=False, say=said.append) as opened:
            assert opened.connection.execute("PRAGMA journal_mode").fetchone() == (journal,)
            assert status_of(opened).answers == 12
    assert [("network or FUSE mount" in text) for text in said] == [True]


@pytest.mark.parametrize(("mount", "journal"), [("local", "wal"), ("network", "delete")])
def test_answers_are_on_disk_once_written_whatever_sqlite_was_built_to_do(
    mount: str, journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer has to survive a power cut; SQLITE_DEFAULT_SYNCHRONOUS may say that it need not."""
    monkeypatch.setenv("CARSCRIBE_MOUNT", mount)
    as_built = sqlite3.connect

    def built_to_be_hasty(*where: Any, **how: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = as_built(*where, **how)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    monkeypatch.setattr(sqlite3, "connect", built_to_be_hasty)
    full = 2  # as SQLite numbers them: OFF, NORMAL, FULL, EXTRA
    for _ in ("made", "opened again"):
        with write_workspace(tmp_path / "workspace", create=True) as opened:
            assert opened.connection.execute("PRAGMA journal_mode").fetchone() == (journal,)
            assert opened.connection.execute("PRAGMA synchronous").fetchone()[0] >= full


def test_a_log_left_by_a_killed_writer_is_folded_in_on_a_network_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a workspace is copied from a local disk to a volume while its log is still beside it."""
    workspace = make_workspace(tmp_path)
    holder = sqlite3.connect(workspace / "catalog.sqlite", isolation_level=None)
    holder.execute("UPDATE photos SET width_px = 77")
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("catalog.sqlite", "catalog.sqlite-wal"):
        (copy / name).write_bytes((workspace / name).read_bytes())
    holder.close()
    monkeypatch.setenv("CARSCRIBE_MOUNT", "network")
    with write_workspace(copy, create=False) as opened:
        assert opened.connection.execute("SELECT DISTINCT width_px FROM photos").fetchall() == [(77,)]
    assert not (copy / "catalog.sqlite-wal").exists()


@pytest.mark.parametrize("mount", ["local", "network"])
def test_reading_goes_on_while_another_writes(mount: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", mount)
    workspace = make_workspace(tmp_path)
    with write_workspace(workspace, create=False), read_workspace(workspace) as opened:
        assert status_of(opened).answers == 12
        with (
            pytest.raises(WorkspaceBusyError, match=f"process {os.getpid()}"),
            write_workspace(workspace, create=False),
        ):
            pass


def test_the_status_counts_by_recipe_language_and_model(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, languages=["en"])
    (tmp_path / "photos" / "broken.png").write_bytes(b"")
    make_workspace(tmp_path, languages=["en", "ko"], limit=2)
    make_workspace(tmp_path, languages=["en"])
    with read_workspace(workspace) as opened:
        status = status_of(opened)
        assert asked_recipes(opened) == {"own": ("en", "ko")}
        assert asked_models(opened) == ("fake",)
    assert (status.files, status.photos, status.unread, status.answers, status.runs) == (4, 3, 1, 8, 3)
    assert [(t.language, t.photos, t.complete, t.answered, t.wanted) for t in status.targets] == [
        ("en", 4, 3, 6, 8),
        ("ko", 2, 1, 2, 4),
    ]
    assert [key for key, _ in status.failed] == ["broken.png"]
    assert not status.complete


def test_a_model_that_never_loaded_changes_nothing(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)

    class Unloadable(FakeEngine):
        @property
        def peak_bytes(self) -> None:  # type: ignore[override]
            return None

    from carscribe import keeping
    from carscribe.pipeline import plan_run

    engine = Unloadable()
    engine.card = replace(engine.card, model="huge", weights="huge")  # type: ignore[misc]
    plan = plan_run(tmp_path / "photos", recipes=[tmp_path / "own.toml"], compare_bytes=False)
    with write_workspace(workspace, create=False) as opened:
        assert len(keeping.prepare(opened, plan, engine).work.asks) == 3
    with read_workspace(workspace) as opened:
        status = status_of(opened)
        assert status.complete
        assert status.last_run is not None
        assert status.last_run.model == "fake"


def test_another_models_answers_can_be_read_beside_the_last_ones(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    other = FakeEngine(limit=1)
    other.card = replace(other.card, model="other", weights="other")  # type: ignore[misc]
    make_workspace(tmp_path, engine=other, limit=1)
    with read_workspace(workspace) as opened:
        by_model = {
            model: [len(photo.answers) for photo in kept_photos(opened, model=model)] for model in asked_models(opened)
        }
        now = [{o.model for o in photo.origins if o} for photo in kept_photos(opened)]
    assert by_model == {"other": [4, 0, 0], "fake": [4, 4, 4]}
    assert now == [{"other"}, {"fake"}, {"fake"}]


def test_a_name_with_percent_signs_means_itself(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    with read_workspace(workspace) as opened:
        assert find_files(opened, "%") == []
        assert [key for _, key in find_files(opened, "차_0")] == []
        assert len(find_files(opened, "차")) == 3


KILLED_IN_A_TRANSACTION = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 2")
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE files SET key = 'half ' || key")
for i in range(2000):
    connection.execute("INSERT INTO prompts (text, choices, max_new_tokens) VALUES (?, '[]', 1)", (str(i) * 50,))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process in the middle of a transaction")
def test_what_a_killed_writer_left_half_done_is_undone_before_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", "network")
    workspace = make_workspace(tmp_path)
    subprocess.run([sys.executable, "-c", KILLED_IN_A_TRANSACTION, str(workspace / "catalog.sqlite")], check=False)
    assert (workspace / "catalog.sqlite-journal").exists()
    with read_workspace(workspace) as opened:
        assert opened.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert [photo.file.key for photo in kept_photos(opened)] == ["차 0.png", "차 1.png", "차 2.png"]


def test_a_transaction_that_cannot_be_ended_is_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", "network")
    workspace = make_workspace(tmp_path)
    with (
        write_workspace(workspace, create=False) as opened,
        closing(sqlite3.connect(workspace / "catalog.sqlite", isolation_level=None)) as reader,
    ):
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM photos").fetchone()
        opened.connection.execute("PRAGMA busy_timeout = 10")
        with pytest.raises(WorkspaceError, match="locked"), opened.transaction():
            opened.connection.execute("UPDATE photos SET width_px = 7")
        reader.execute("COMMIT")
        with opened.transaction():
            opened.connection.execute("UPDATE photos SET width_px = 8")
        assert opened.connection.execute("SELECT DISTINCT width_px FROM photos").fetchall() == [(8,)]


def test_what_fails_in_a_transaction_leaves_nothing_of_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)

    def fail_half_way(opened: Workspace) -> None:
        with opened.transaction():
            opened.connection.execute("UPDATE photos SET width_px = 7")
            raise KeyError

    with write_workspace(workspace, create=False) as opened:
        with pytest.raises(KeyError):
            fail_half_way(opened)
        assert opened.connection.execute("SELECT DISTINCT width_px FROM photos").fetchall() == [(32,)]


def test_a_reader_goes_on_when_a_run_with_another_model_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", "network")
    monkeypatch.setattr(reading, "PAGE", 1)
    workspace = make_workspace(tmp_path)
    with read_workspace(workspace) as opened:
        photos = kept_photos(opened)
        next(photos)
        other = FakeEngine()
        other.card = replace(other.card, model="other", weights="other", dtype="float16")  # type: ignore[misc]
        make_workspace(tmp_path, engine=other)
        assert [{origin.model for origin in photo.origins if origin} for photo in photos] == [{"other"}, {"other"}]


def test_the_recipe_asked_last_comes_first_even_if_it_had_nothing_to_ask(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    make_workspace(tmp_path, recipes=["brief"])
    make_workspace(tmp_path)
    with read_workspace(workspace) as opened:
        assert list(asked_recipes(opened)) == ["own", "brief"]


def test_files_of_one_name_that_fail_are_all_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"")
        list(carscribe.describe(tmp_path / name, workspace=tmp_path / "ws", engine=FakeEngine()))
    with read_workspace(tmp_path / "ws") as opened:
        assert [key for key, _ in status_of(opened).failed] == ["1.png", "1.png"]


def test_a_writer_that_lost_the_workspace_while_its_machine_slept_writes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", "network")
    workspace = make_workspace(tmp_path)
    with write_workspace(workspace, create=False) as asleep:
        (workspace / LEASE).unlink()  # another machine waited the lease out and took it
        with write_workspace(workspace, create=False) as other, other.transaction():
            other.connection.execute("UPDATE photos SET width_px = 78")
        with pytest.raises(WorkspaceBusyError, match="was taken over by"), asleep.transaction():
            asleep.connection.execute("UPDATE photos SET width_px = 77")
    with read_workspace(workspace) as opened:
        assert opened.connection.execute("SELECT DISTINCT width_px FROM photos").fetchall() == [(78,)]


def test_a_workspace_of_the_first_form_is_read_and_gone_on_with(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    put_back(workspace, 1)
    with read_workspace(workspace) as opened:
        assert status_of(opened).answers == 12
    with write_workspace(workspace, create=False) as opened:
        assert (opened.generation, status_of(opened).answers) == (1, 12)


@pytest.mark.parametrize("form", range(1, len(migrations())))
def test_a_workspace_of_any_older_form_has_the_same_status_before_and_after_it_is_written(
    form: int, tmp_path: Path
) -> None:
    def counted() -> Status:
        with read_workspace(workspace) as opened:
            return replace(status_of(opened), catalog_bytes=0)

    workspace = make_workspace(tmp_path, languages=["en"])
    (tmp_path / "photos" / "broken.png").write_bytes(b"")
    make_workspace(tmp_path, limit=2)
    status = counted()
    put_back(workspace, form)
    assert counted() == status
    with write_workspace(workspace, create=False) as opened:
        assert opened.connection.execute(ANSWERED).fetchall() == opened.connection.execute(COUNTED_ANEW).fetchall()
    assert counted() == status


def test_every_migration_can_be_put_back_by_these_tests() -> None:
    assert sorted(UNDONE_BY) == [number for number, _ in migrations()][1:]
