"""The tables of a journal, `journal.sql`: made, and brought up to this version where an older one made them."""

import sqlite3
from importlib import resources

VERSION = "2"


def make(db: sqlite3.Connection) -> None:
    """All tables, in a database that has none."""
    for statement in _statements():
        db.execute(statement)


def allow_sitemaps(db: sqlite3.Connection) -> None:
    """From version 1, which had no sitemaps and a CHECK that says so: the table of addresses is made anew.

    Source: https://www.sqlite.org/lang_altertable.html#otheralter
    """
    marks = ("CREATE TABLE addresses", "CREATE INDEX waiting", "CREATE TRIGGER")
    table, *around = [each for each in _statements() if any(mark in each for mark in marks)]
    db.execute(table.replace("CREATE TABLE addresses", "CREATE TABLE renewed"))
    db.execute("INSERT INTO renewed SELECT * FROM addresses")
    db.execute("DROP TABLE addresses")
    db.execute("ALTER TABLE renewed RENAME TO addresses")
    for statement in around:
        db.execute(statement)


def _statements() -> list[str]:
    return (resources.files("carscribe.collect") / "journal.sql").read_text("utf-8").split(";\n")
