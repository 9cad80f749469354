"""Files of a plan against the catalogue: the database compares them, and tells those that are not as it has them.

A million files that nothing is to be done about cost half a second, for nothing of them comes back into Python.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Literal, NamedTuple

from carscribe.catalog.database import marks
from carscribe.catalog.files import CatalogPath, SeenFiles, Size
from carscribe.catalog.prompt_sets import Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersThatCount:
    """Answers under one condition; with a provenance, those of that alone and of as many tiles as were asked for.

    Besides, those under the conditions `imported`: captions that were there before a model was asked.
    """

    condition_id: int
    provenance_id: int | None = None
    imported: tuple[int, ...] = ()

    def prompts_of(self, photo_id: str) -> str:
        """SQL for the ids of the prompts that a photo has answers to, as `answered.prompts`; it takes `values`."""
        imported = ",".join(map(str, self.imported))
        if self.provenance_id is None:
            if self.imported:
                one_of = f"condition_id IN (?, {imported})"
                return f"SELECT group_concat(prompts) FROM answered WHERE photo_id = {photo_id} AND {one_of}"
            return f"SELECT prompts FROM answered WHERE photo_id = {photo_id} AND condition_id = ?"
        return (
            f"SELECT group_concat(DISTINCT prompt_id) FROM answers WHERE photo_id = {photo_id} AND"
            f" ((condition_id = ? AND provenance_id = ? AND tiles = asked_tiles) OR condition_id IN ({imported}))"
        )

    @property
    def values(self) -> tuple[int, ...]:
        """The values for the question marks of `prompts_of`."""
        return (self.condition_id,) if self.provenance_id is None else (self.condition_id, self.provenance_id)


class FileRow(NamedTuple):
    """A file as the catalogue has it."""

    path: CatalogPath
    file_id: int
    key: str
    photo_id: int | None
    size_bytes: int | None
    mtime_ns: int | None

    @property
    def size(self) -> Size:
        """The size and the time of change that it was noted with."""
        return self.size_bytes, self.mtime_ns


OpenRow = tuple[int, int | None, int | None, str | None]
"""A file of which something may be left to do, by its number: its id, None when it is new or not as it was; whether
what is wanted of it is what it is asked; the ids of the prompts that it has answers to, as `answered.prompts`."""


def open_rows(
    connection: sqlite3.Connection,
    files: SeenFiles,
    numbers: Sequence[int],
    wanted: Wanted,
    answers: AnswersThatCount,
) -> list[OpenRow]:
    """Some files, save those that are as they were, are asked what is wanted, and have enough answers.

    The database gives them as one JSON text. Row by row, it and the thread that looks files up would take turns.
    """
    query = _query(
        len(numbers),
        with_crawled=files.with_crawled,
        sets=len(wanted.asked),
        enough=len(wanted.enough),
        prompts=answers.prompts_of("files.photo_id"),
    )
    asked = [each for _, _, set_id in wanted.asked for each in (set_id, answers.condition_id)]
    seen = chain.from_iterable(files.rows[number] for number in numbers)
    found = connection.execute(query, (*seen, *asked, *answers.values, *wanted.enough))
    rows: list[OpenRow] = json.loads(found.fetchone()[0])
    return rows


def file_rows(connection: sqlite3.Connection, column: Literal["path", "key"], values: Collection[Any]) -> list[FileRow]:
    """The rows of files that have one of these paths, or keys, the oldest first."""
    rows = connection.execute(
        "SELECT path, id, key, photo_id, size_bytes, mtime_ns FROM files"
        f" WHERE {column} IN ({marks(len(values))}) ORDER BY id",
        tuple(values),
    )
    return list(map(FileRow._make, rows))


@lru_cache
def _query(rows: int, *, with_crawled: bool, sets: int, enough: int, prompts: str) -> str:
    columns = ["number", "path", "key", "size_bytes", "mtime_ns", *(("name", "kind", "extra") if with_crawled else ())]
    row = f"({marks(len(columns))})"
    of_crawl = "= '{}' AND files.name IS NULL AND files.kind IS NULL"
    if with_crawled:
        of_crawl = "= seen.extra AND files.name IS seen.name AND files.kind IS seen.kind"
    asked = "EXISTS (SELECT 1 FROM asks WHERE file_id = files.id AND prompt_set_id = ? AND condition_id = ?)"
    # Of a file that is not there at the moment, what was known stays.
    return f"""
        WITH seen ({", ".join(columns)}) AS (VALUES {", ".join([row] * rows)}), known AS (
            SELECT number, files.id,
                files.key = seen.key AND files.extra {of_crawl} AND (seen.size_bytes IS NULL
                    OR (files.size_bytes IS seen.size_bytes AND files.mtime_ns IS seen.mtime_ns)) AS is_same,
                {" AND ".join([asked] * sets)} AS is_asked,
                ({prompts}) AS answered
            FROM seen LEFT JOIN files ON files.path = seen.path
        )
        SELECT json_group_array(json_array(number, CASE WHEN is_same THEN id END, is_asked, answered)) FROM known
        WHERE NOT coalesce(is_same AND is_asked AND answered IN ({marks(enough)}), 0)
    """
