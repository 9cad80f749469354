"""What a run has to ask: what is wanted, less what is known. A hundred thousand photos in a second or two.

A file that has not changed (path, size, time of change) is known by its bytes without being read. Of one that has, or
is new, everything is asked, until its bytes turn out to be known: see `writing.RunWriter.missing`.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from carscribe.catalog.entries import Ask, AskChange, Condition, Provenance, Wanted, Work
from carscribe.catalog.files import FileRow, Size, note_files
from carscribe.catalog.prompt_sets import PromptSets
from carscribe.catalog.text import compact_json
from carscribe.catalog.workspace import Workspace


def plan_work(
    workspace: Workspace,
    wanted: Sequence[Wanted],
    condition: Condition,
    *,
    settings: str = "",
    retry_failed: bool = False,
    strict: Provenance | None = None,
) -> Work:
    """Note what is wanted, and find what of it is missing. Begins a run; all or nothing.

    `settings` says how photos are read: one that could not be read is tried again when it changes. With `strict`, an
    answer of another provenance, or of fewer tiles than asked for, counts as missing.

    Raises: WorkspaceError.
    """
    with workspace.transaction():
        connection = workspace.connection
        condition_id = _condition_id(workspace, condition)
        run_id = int(
            connection.execute(
                "INSERT INTO runs (started_at, state, host, pid, model, condition_id, photos, to_ask)"
                " VALUES (?, 'planned', ?, ?, ?, ?, ?, 0) RETURNING id",
                (now(), socket.gethostname(), os.getpid(), condition.model, condition_id, len(wanted)),
            ).fetchone()[0]
        )
        rows, moved = note_files(workspace, [each.file for each in wanted])
        sets = PromptSets(workspace)
        changes = _changed_asks(workspace, wanted, rows, sets, condition_id, run_id)
        answered = answered_prompts(workspace, condition_id, strict)
        failures = {} if retry_failed else _failures(workspace, condition_id, settings)
        asks: list[Ask] = []
        failed: dict[str, str] = {}
        for index, (each, row) in enumerate(zip(wanted, rows, strict=True)):
            known = answered.get(row.photo_id, frozenset()) if row.photo_id else frozenset()
            missing = sets.missing(each.sets, known)
            if not missing:
                continue
            if (reason := failures.get((row.id, row.size))) is not None:
                failed[each.file.key] = reason
                continue
            asks.append(Ask(index=index, file=each.file, file_id=row.id, prompts=missing))
        connection.execute("UPDATE runs SET to_ask = ? WHERE id = ?", (len(asks), run_id))
        if not asks:
            note_asks(workspace, changes)
            connection.execute("UPDATE runs SET state = 'done', ended_at = ? WHERE id = ?", (now(), run_id))
    return Work(
        run_id=run_id,
        condition_id=condition_id,
        file_ids=tuple(row.id for row in rows),
        asks=tuple(asks),
        kept=len(wanted) - len(asks) - len(failed),
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
) -> dict[int, frozenset[int]]:
    """For each photo's id the ids of the prompts that have an answer under a condition. Equal sets are one object."""
    where, values = "condition_id = ?", [condition_id]
    if strict is not None:
        where += " AND provenance_id = ? AND tiles = asked_tiles"
        values.append(provenance_id(workspace, strict))
    rows = workspace.connection.execute(
        f"SELECT photo_id, group_concat(prompt_id) FROM answers WHERE {where} GROUP BY photo_id", values
    )
    parsed: dict[str, frozenset[int]] = {}
    answered = {}
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
    identity = (condition.weights, condition.adapter, condition.decoding, condition.max_tiles)
    found = workspace.connection.execute(
        "INSERT INTO conditions (weights, adapter, decoding, max_tiles, model) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET model = excluded.model RETURNING id",
        (*identity, condition.model),
    )
    return int(found.fetchone()[0])


def _changed_asks(
    workspace: Workspace,
    wanted: Sequence[Wanted],
    rows: Sequence[FileRow],
    sets: PromptSets,
    condition_id: int,
    run_id: int,
) -> list[AskChange]:
    """What is asked of each file from this run on, where that is not what was asked before."""
    noted = {
        row[:3]: row[3:]
        for row in workspace.connection.execute(
            "SELECT file_id, recipe, language, prompt_set_id, condition_id FROM asks"
        )
    }
    changed: list[AskChange] = []
    for each, row in zip(wanted, rows, strict=True):
        for prompts in each.sets:
            set_id = sets.id(prompts)
            if noted.get((row.id, prompts.recipe.id, prompts.language)) != (set_id, condition_id):
                changed.append((row.id, prompts.recipe.id, prompts.language, set_id, condition_id, run_id))
    return changed


def _failures(workspace: Workspace, condition_id: int, settings: str) -> Mapping[tuple[int, Size], str]:
    """Why a file of this size and time failed, where trying again would be no different."""
    rows = workspace.connection.execute(
        "SELECT file_id, size_bytes, mtime_ns, error FROM failures"
        " WHERE condition_id = ? OR (condition_id IS NULL AND settings = ?) ORDER BY id",
        (condition_id, settings),
    )
    return {(row[0], (row[1], row[2])): row[3] for row in rows}
