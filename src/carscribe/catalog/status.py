"""How far a workspace is: counted over a million answers in a second."""

import json
import sqlite3
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from carscribe.catalog.database import adapter_of_run, answered_table, imported_conditions, translated
from carscribe.catalog.entries import weights_and_held
from carscribe.catalog.prompt_sets import prompts_in
from carscribe.catalog.workspace import Workspace
from carscribe.records import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One recipe in one language by one model, as it is asked of `photos` files now.

    `complete` of them have every answer. `answered` of `wanted` answers are there.
    """

    recipe: str
    version: int
    language: Language
    model: str
    photos: int
    complete: int
    wanted: int
    answered: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A run as it was noted. `state`: running, done, stopped, failed; "running" with nobody writing means killed."""

    started_at: str
    ended_at: str | None
    state: str
    host: str
    pid: int
    model: str
    weights: str
    max_tiles: int
    photos: int
    to_ask: int
    figures: Mapping[str, Any]
    held: str = ""
    adapter: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """All counts. `failed` has (key, reason of its last failure) of every file that lacks answers for one."""

    files: int
    photos: int
    unread: int
    answers: int
    catalog_bytes: int
    targets: tuple[Target, ...]
    failed: tuple[tuple[str, str], ...]
    verdicts: Mapping[str, int]
    runs: int
    last_run: RunEntry | None

    @property
    def complete(self) -> bool:
        """Whether every answer that is asked for is there."""
        return all(target.answered == target.wanted for target in self.targets)


def status_of(workspace: Workspace) -> Status:
    """Count everything. Raises: WorkspaceError."""
    with translated(workspace.path):
        count = workspace.connection.execute(
            "SELECT (SELECT count(*) FROM files), (SELECT count(*) FROM photos),"
            " (SELECT count(*) FROM files WHERE photo_id IS NULL), (SELECT count(*) FROM answers),"
            " (SELECT count(*) FROM runs)"
        ).fetchone()
        sets = _prompt_sets(workspace)
        return Status(
            files=count[0],
            photos=count[1],
            unread=count[2],
            answers=count[3],
            catalog_bytes=sum(file.stat().st_size for file in workspace.folder.glob(f"{workspace.path.name}*")),
            targets=_targets(workspace, sets),
            failed=_failed(workspace, sets),
            verdicts=_verdicts(workspace),
            runs=count[4],
            last_run=last_run(workspace),
        )


def last_run(workspace: Workspace) -> RunEntry | None:
    """The newest run that had an engine to ask, or nothing to ask it; None in a workspace without one.

    Captions that were imported are no run of a model.
    """
    adapter = adapter_of_run(workspace.connection)
    row = workspace.connection.execute(
        "SELECT started_at, ended_at, state, host, pid, runs.model, weights, max_tiles, photos, to_ask, figures,"
        f" {adapter} FROM runs"
        " JOIN conditions ON conditions.id = condition_id WHERE state <> 'planned'"
        " AND NOT (weights >= 'imported:' AND weights < 'imported;') ORDER BY runs.id DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    weights, held = weights_and_held(row[6])
    return RunEntry(
        started_at=row[0],
        ended_at=row[1],
        state=row[2],
        host=row[3],
        pid=row[4],
        model=row[5],
        weights=weights,
        held=held,
        max_tiles=row[7],
        photos=row[8],
        to_ask=row[9],
        figures=json.loads(row[10]),
        adapter=row[11],
    )


def _targets(workspace: Workspace, sets: Mapping[int, Set[int]]) -> tuple[Target, ...]:
    """The targets: files that are asked the same and have answers to the same are counted by the database, as one."""
    connection = workspace.connection
    names = {
        row[0]: row[1:]
        for row in connection.execute(
            "SELECT prompt_sets.id, name, version, language FROM prompt_sets JOIN recipes ON recipes.id = recipe_id"
        )
    }
    models = dict(connection.execute("SELECT id, model FROM conditions"))
    prompts, join = _prompts(connection)
    sums: dict[tuple[str, int, str, str], list[int]] = {}
    for set_id, condition, answered, photos in connection.execute(
        f"{answered_table(connection)} SELECT prompt_set_id, asks.condition_id, {prompts}, count(*)"
        f" FROM asks CROSS JOIN files ON files.id = file_id {join} GROUP BY 1, 2, 3"
    ):
        asked = sets[set_id]
        found = len(asked & prompts_in(answered))
        row = sums.setdefault((*names[set_id], models[condition]), [0, 0, 0, 0])
        row[0] += photos
        row[1] += photos * (found == len(asked))
        row[2] += photos * len(asked)
        row[3] += photos * found
    return tuple(
        Target(
            recipe=recipe,
            version=version,
            language=language,
            model=model,
            photos=row[0],
            complete=row[1],
            wanted=row[2],
            answered=row[3],
        )
        for (recipe, version, language, model), row in sums.items()
    )


def _prompt_sets(workspace: Workspace) -> dict[int, Set[int]]:
    """The ids of the prompts of each set."""
    rows = workspace.connection.execute(
        "SELECT prompt_set_id, group_concat(prompt_id) FROM prompt_set_items GROUP BY prompt_set_id"
    )
    return {set_id: prompts_in(prompts) for set_id, prompts in rows}


def _failed(workspace: Workspace, sets: Mapping[int, Set[int]]) -> tuple[tuple[str, str], ...]:
    prompts, join = _prompts(workspace.connection)
    rows = workspace.connection.execute(
        f"{answered_table(workspace.connection)} SELECT failures.file_id, key, error, prompt_set_id, {prompts}"
        " FROM failures CROSS JOIN files ON files.id = failures.file_id CROSS JOIN asks ON asks.file_id = files.id"
        f" {join} ORDER BY failures.id"
    )
    lacking = (row for row in rows if not sets[row[3]] <= prompts_in(row[4]))
    return tuple({row[0]: (row[1], row[2]) for row in lacking}.values())


def _prompts(connection: sqlite3.Connection) -> tuple[str, str]:
    """SQL for the ids of the prompts that a file has answers to, by whom it asks or imported, and the join it needs."""
    imported = imported_conditions(connection)
    if not imported:  # a join takes two thirds of the time
        of_photo = "answered.photo_id = files.photo_id AND answered.condition_id = asks.condition_id"
        return "prompts", f"LEFT JOIN answered ON {of_photo}"
    conditions = ", ".join(map(str, imported))
    of_photo = f"answered.photo_id = files.photo_id AND answered.condition_id IN (asks.condition_id, {conditions})"
    return f"(SELECT group_concat(prompts) FROM answered WHERE {of_photo})", ""


def _verdicts(workspace: Workspace) -> dict[str, int]:
    rows = workspace.connection.execute(
        "SELECT decision, count(*) FROM (SELECT max(id) AS newest FROM verdicts"
        " GROUP BY photo_id, recipe, question, language) JOIN verdicts ON verdicts.id = newest GROUP BY decision"
    )
    return dict(rows)
