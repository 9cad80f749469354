"""`kill -9` at any moment, then the same again: every question about every photo has exactly one answer."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from photos_on_disk import write_photos
from workspaces import ANSWERED, COUNTED_ANEW

PHOTOS, KILLS = 600, 22
SHOWS_SOMETHING = 5
"""Processes that must have kept answers before they were killed."""
SCRIPT = Path(__file__).parents[1] / "support" / "killed_often.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked, to have many quickly")
@pytest.mark.parametrize(("mount", "journal"), [("local", "wal"), ("network", "delete")])
def test_killed_at_random_moments_nothing_is_lost_and_nothing_doubled(mount: str, journal: str, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", PHOTOS)
    workspace = tmp_path / "workspace"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(photos), str(workspace), str(KILLS), "1"],
        env={**os.environ, "CARSCRIBE_MOUNT": mount},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    with closing(sqlite3.connect(workspace / "catalog.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == (journal,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        per_question = connection.execute(
            "SELECT count(*) FROM answers GROUP BY photo_id, prompt_id, condition_id"
        ).fetchall()
        assert per_question == [(1,)] * (PHOTOS * 11)
        assert connection.execute(ANSWERED).fetchall() == connection.execute(COUNTED_ANEW).fetchall()
        states = [state for (state,) in connection.execute("SELECT state FROM runs ORDER BY id")]
        assert states[-1] == "done"
        assert set(states[:-1]) <= {"planned", "running"}
        kept_by = connection.execute("SELECT count(DISTINCT run_id) FROM answers").fetchone()[0]
    assert kept_by >= SHOWS_SOMETHING
