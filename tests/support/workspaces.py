"""A workspace with answers in it, made by a fake engine."""

import sqlite3
from contextlib import closing
from pathlib import Path

from fakes import FakeEngine
from photos_on_disk import write_photos

import carscribe

RECIPE = """
id = "own"
version = 1
languages = ["en", "ko"]
[[questions]]
id = "colour"
priority = 1
text.en = "Color?"
text.ko = "색은?"
choices.en = ["red", "blue"]
choices.ko = ["빨강", "파랑"]
[[questions]]
id = "wheels"
priority = 2
max_new_tokens = 8
text.en = "wheels"
text.ko = "휠"
"""


ANSWERED = "SELECT photo_id, condition_id, prompts FROM answered ORDER BY 1, 2"
COUNTED_ANEW = (
    "SELECT photo_id, condition_id, group_concat(DISTINCT prompt_id) FROM answers GROUP BY 1, 2 ORDER BY 1, 2"
)
"""What `ANSWERED` gives, from the answers themselves."""

UNDONE_BY = {
    2: ("DROP TABLE writer",),
    3: ("ALTER TABLE runs DROP COLUMN adapter",),
    4: ("DROP TABLE calibrations",),
    5: ("ALTER TABLE answers DROP COLUMN remark",),
    6: ("ALTER TABLE answers DROP COLUMN score",),
    7: ("DROP TABLE answered",),
    8: ("DROP INDEX answers_of_choices",),
    9: ("DROP INDEX files_by_name", "ALTER TABLE files DROP COLUMN file_name"),
}
"""What takes each migration back."""


def make_workspace(folder: Path, *, photos: int = 3, **options: object) -> Path:
    """`folder`/workspace, asked `own` about `folder`/photos in English and Korean."""
    recipe = folder / "own.toml"
    if not recipe.exists():
        recipe.write_text(RECIPE, "utf-8")
    if not (folder / "photos").exists():
        write_photos(folder / "photos", photos)
    chosen = {"recipes": [recipe], "languages": ["en", "ko"], "engine": FakeEngine()} | options
    for _ in carscribe.describe(folder / "photos", workspace=folder / "workspace", **chosen):  # type: ignore[arg-type]
        pass
    return folder / "workspace"


def put_back(workspace: Path, form: int) -> None:
    """Make a workspace one of an older form, as an older Carscribe would have written it."""
    with closing(sqlite3.connect(workspace / "catalog.sqlite", isolation_level=None)) as connection:
        for number in sorted(UNDONE_BY, reverse=True):
            for statement in UNDONE_BY[number] if number > form else ():
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {form}")
