"""What a run has to ask: what is wanted, less what is known. A hundred thousand photos in a second or two.

A file that has not changed (path, size, time of change) is known by its bytes without being read. One that was touched
or copied is compared by its bytes (`files.recognise`). Of one that is new, everything is asked, until its bytes turn
out to be known: see `writing.RunWriter.missing`.
"""

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from carscribe.catalog.entries import Ask, AskChange, Condition, PromptSet, Provenance, Work
from carscribe.catalog.files import FileRow, Size, note_files, recognise
from carscribe.catalog.prompt_sets import PromptSets
from carscribe.catalog.text import compact_json
from carscribe.catalog.workspace import Workspace
from carscribe.collector import collector_paused
from carscribe.records import Metadata, PhotoFile


def plan_work(
    workspace: Workspace,
    files: Sequence[PhotoFile],
    wanted: Callable[[Metadata], tuple[PromptSet, ...]],
    condition: Condition,
    *,
    settings: str = "",
    retry_failed: bool = False,
    strict: Provenance | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Work:
    """Note what is wanted of files, and find what of it is missing. Begins a run; all or nothing.

    `wanted` gives the prompt sets for a photo's metadata, one and the same tuple for the same questions.
    `settings` says how photos are read: one that could not be read is tried again when it changes. With `strict`, an
    answer of another provenance, or of fewer tiles than asked for, counts as missing. `say` is told when files have to
    be read.

    Raises: WorkspaceError.
    """
    with workspace.transaction(), collector_paused():
        connection = workspace.connection
        condition_id = _condition_id(workspace, condition)
        run_id = int(
            connection.execute(
                "INSERT INTO runs (started_at, state, host, pid, model, adapter, condition_id, photos, to_ask)"
                " VALUES (?, 'planned', ?, ?, ?, ?, ?, ?, 0) RETURNING id",
                (
                    now(),
                    socket.gethostname(),
                    os.getpid(),
                    condition.model,
                    condition.adapter_folder,
                    condition_id,
                    len(files),
                ),
            ).fetchone()[0]
        )
        rows, moved = note_files(workspace, files)
        recognise(workspace, files, rows, say)
        sets = PromptSets(workspace)
        wanted_of = [wanted(file.metadata) for file in files]
        recipes = list(dict.fromkeys(each.recipe.id for each in wanted_of[0])) if wanted_of else []
        changes = _changed_asks(workspace, wanted_of, rows, sets, condition_id, run_id)
        answered = answered_prompts(workspace, condition_id, strict)
        failures = {} if retry_failed else _failures(workspace, condition_id, settings)
        asks: list[Ask] = []
        failed: dict[str, str] = {}
        nothing: frozenset[int] = frozenset()
        for index, (prompt_sets, row) in enumerate(zip(wanted_of, rows, strict=True)):
            missing = sets.missing(prompt_sets, answered.get(row.photo_id, nothing))
            if not missing:
                continue
            file = files[index]
            if (reason := failures.get((row.id, row.size))) is not None:
                failed[file.key] = reason
                continue
            asks.append(Ask(index=index, file=file, file_id=row.id, prompts=missing))
        connection.execute(
            "UPDATE runs SET to_ask = ?, recipes = ? WHERE id = ?", (len(asks), compact_json(recipes), run_id)
        )
        if not asks:
            note_asks(workspace, changes)
            connection.execute("UPDATE runs SET state = 'done', ended_at = ? WHERE id = ?", (now(), run_id))
    return Work(
        run_id=run_id,
        condition_id=condition_id,
        file_ids=tuple(row.id for row in rows),
        asks=tuple(asks),
        kept=len(files) - len(asks) - len(failed),
        moved=moved,
        failed=failed,
        changes=tuple(changes),
    )


def note_asks(workspace: Workspace, changes: Sequence[AskChange]) -> None:
    """Note what is asked of files from now on."""
    workspace.connection.executemany(
        "INSERT INTO asks (file_id, recipe, language, prompt_set_id, condition_id, run_id) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET prompt_set_id = excluded.prompt_set_id, condition_id = excluded.condition_id,"
        " run_id = excluded.run_id",
        changes,
    )


def answered_prompts(
    workspace: Workspace, condition_id: int, strict: Provenance | None = None
) -> dict[int | None, frozenset[int]]:
    """For each photo's id the ids of the prompts that have an answer under a condition. Equal sets are one object."""
    where, values = "condition_id = ?", [condition_id]
    if strict is not None:
        where += " AND provenance_id = ? AND tiles = asked_tiles"
        values.append(provenance_id(workspace, strict))
    rows = workspace.connection.execute(
        f"SELECT photo_id, group_concat(prompt_id) FROM answers WHERE {where} GROUP BY photo_id", values
    )
    parsed: dict[str, frozenset[int]] = {}
    answered: dict[int | None, frozenset[int]] = {}
    for photo_id, prompts in rows:
        if prompts not in parsed:
            parsed[prompts] = frozenset(map(int, prompts.split(",")))
        answered[photo_id] = parsed[prompts]
    return answered


def provenance_id(workspace: Workspace, provenance: Provenance) -> int:
    """The id of a provenance, made when it is new."""
    values = (provenance.dtype, provenance.device, compact_json(dict(sorted(provenance.versions.items()))))
    workspace.connection.execute(
        "INSERT INTO provenances (dtype, device, versions) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", values
    )
    found = workspace.connection.execute(
        "SELECT id FROM provenances WHERE dtype = ? AND device = ? AND versions = ?", values
    )
    return int(found.fetchone()[0])


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _condition_id(workspace: Workspace, condition: Condition) -> int:
    identity = (condition.held_weights, condition.adapter, condition.decoding, condition.max_tiles)
    found = workspace.connection.execute(
        "INSERT INTO conditions (weights, adapter, decoding, max_tiles, model) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET model = excluded.model RETURNING id",
        (*identity, condition.label),
    )
    return int(found.fetchone()[0])


def _changed_asks(
    workspace: Workspace,
    wanted: Sequence[tuple[PromptSet, ...]],
    rows: Sequence[FileRow],
    sets: PromptSets,
    condition_id: int,
    run_id: int,
) -> list[AskChange]:
    """What is asked of each file from this run on, where that is not what was asked before."""
    alike = wanted[0] if wanted and all(each is wanted[0] for each in wanted) else ()
    if alike and all(_asked_of_all(workspace, each, sets.id(each), condition_id) for each in alike):
        return []
    noted = {
        row[:3]: row[3:]
        for row in workspace.connection.execute(
            "SELECT file_id, recipe, language, prompt_set_id, condition_id FROM asks"
        )
    }
    changed: list[AskChange] = []
    named: dict[int, list[tuple[str, str, tuple[int, int]]]] = {}
    for prompt_sets, row in zip(wanted, rows, strict=True):
        if id(prompt_sets) not in named:  # most photos of a run have one and the same
            named[id(prompt_sets)] = [
                (each.recipe.id, each.language, (sets.id(each), condition_id)) for each in prompt_sets
            ]
        for recipe, language, asked in named[id(prompt_sets)]:
            if noted.get((row.id, recipe, language)) != asked:
                changed.append((row.id, recipe, language, *asked, run_id))
    return changed


def _asked_of_all(workspace: Workspace, prompts: PromptSet, set_id: int, condition_id: int) -> bool:
    """Whether every file of the workspace is asked this set already: known by counting, for a file is asked one."""
    asked, files = workspace.connection.execute(
        "SELECT (SELECT count(*) FROM asks WHERE recipe = ? AND language = ? AND prompt_set_id = ?"
        " AND condition_id = ?), (SELECT count(*) FROM files)",
        (prompts.recipe.id, prompts.language, set_id, condition_id),
    ).fetchone()
    return bool(asked == files)


def _failures(workspace: Workspace, condition_id: int, settings: str) -> Mapping[tuple[int, Size], str]:
    """Why a file of this size and time failed, where trying again would be no different."""
    rows = workspace.connection.execute(
        "SELECT file_id, size_bytes, mtime_ns, error FROM failures"
        " WHERE condition_id = ? OR (condition_id IS NULL AND settings = ?) ORDER BY id",
        (condition_id, settings),
    )
    return {(row[0], (row[1], row[2])): row[3] for row in rows}
