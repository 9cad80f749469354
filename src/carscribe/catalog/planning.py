"""What a run has to ask: what is wanted, less what is known. A million photos in a few seconds, and little memory.

A file that has not changed (path, size, time of change) is known by its bytes without being read. One that was touched
or copied is compared by its bytes (`noting`). Of one that is new, everything is asked, until its bytes turn out to be
known: see `writing.RunWriter.missing`.
"""

import os
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from carscribe.catalog.comparing import AnswersThatCount
from carscribe.catalog.database import imported_conditions
from carscribe.catalog.entries import Condition, PromptSet, Provenance
from carscribe.catalog.files import Size
from carscribe.catalog.noting import FileNotes
from carscribe.catalog.prompt_sets import PromptSets
from carscribe.catalog.text import compact_json
from carscribe.catalog.work import AskChanges, Asks, Work
from carscribe.catalog.workspace import Workspace
from carscribe.collector import collector_paused
from carscribe.found import Photos
from carscribe.records import Metadata


def plan_work(
    workspace: Workspace,
    photos: Photos,
    wanted: Callable[[Metadata], tuple[PromptSet, ...]],
    condition: Condition,
    *,
    settings: str = "",
    retry_failed: bool = False,
    strict: Provenance | None = None,
    ask_imported: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Work:
    """Note what is wanted of files, and find what of it is missing. Begins a run; all or nothing.

    `wanted` gives the prompt sets for a photo's metadata, one and the same tuple for the same questions.
    `settings` says how photos are read: one that could not be read is tried again when it changes. With `strict`, an
    answer of another provenance, or of fewer tiles than asked for, counts as missing. A caption that was imported is an
    answer, save with `ask_imported`. `say` is told when files have to be read.

    Raises: WorkspaceError.
    """
    with workspace.transaction(), collector_paused():
        condition_id = note_condition(workspace, condition)
        run_id = begin_run(workspace, condition, condition_id, len(photos))
        answers = AnswersThatCount(
            condition_id=condition_id,
            provenance_id=None if strict is None else provenance_id(workspace, strict),
            imported=() if ask_imported else imported_conditions(workspace.connection),
        )
        failures = {} if retry_failed else _failures(workspace, condition_id, settings)
        sets = PromptSets(workspace)
        notes = FileNotes(workspace, photos, answers, say)
        changes = AskChanges(run_id=run_id, condition_id=condition_id)
        asks = Asks(photos)
        failed: dict[str, str] = {}
        for file in notes.open_files(lambda metadata: sets.wanted(wanted(metadata))):
            if not file.is_asked:
                changes.add(file.file_id, file.wanted.asked)
            missing = file.wanted.missing(file.answered)
            reason = failures.get((file.file_id, file.files.size(file.number))) if missing and failures else None
            if reason is not None:
                failed[file.files.key(file.number)] = reason
            elif missing:
                asks.add(file.place, file.file_id, missing)
        recipes = list(dict.fromkeys(each.recipe.id for each in wanted(photos[0].metadata))) if photos else []
        workspace.connection.execute(
            "UPDATE runs SET to_ask = ?, recipes = ? WHERE id = ?", (len(asks), compact_json(recipes), run_id)
        )
        if not asks:
            note_asks(workspace, changes)
            workspace.connection.execute("UPDATE runs SET state = 'done', ended_at = ? WHERE id = ?", (now(), run_id))
    return Work(
        run_id=run_id,
        condition_id=condition_id,
        imported=answers.imported,
        asks=asks,
        kept=len(photos) - len(asks) - len(failed),
        moved=notes.moved,
        failed=failed,
        changes=changes,
        paths=notes.paths,
    )


def note_asks(workspace: Workspace, changes: AskChanges) -> None:
    """Note what is asked of files from now on, where it is not noted yet."""
    workspace.connection.executemany(
        "INSERT INTO asks (file_id, recipe, language, prompt_set_id, condition_id, run_id) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET prompt_set_id = excluded.prompt_set_id, condition_id = excluded.condition_id,"
        " run_id = excluded.run_id WHERE (prompt_set_id, condition_id) <> (excluded.prompt_set_id,"
        " excluded.condition_id)",
        changes,
    )


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


def note_condition(workspace: Workspace, condition: Condition) -> int:
    """The id of a condition, made when it is new; by the name that it has now."""
    identity = (condition.held_weights, condition.adapter, condition.decoding, condition.max_tiles)
    found = workspace.connection.execute(
        "INSERT INTO conditions (weights, adapter, decoding, max_tiles, model) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET model = excluded.model RETURNING id",
        (*identity, condition.label),
    )
    return int(found.fetchone()[0])


def begin_run(workspace: Workspace, condition: Condition, condition_id: int, photos: int) -> int:
    """The id of a new run, which is planned."""
    begun = workspace.connection.execute(
        "INSERT INTO runs (started_at, state, host, pid, model, adapter, condition_id, photos, to_ask)"
        " VALUES (?, 'planned', ?, ?, ?, ?, ?, ?, 0) RETURNING id",
        (
            now(),
            socket.gethostname(),
            os.getpid(),
            condition.model,
            condition.adapter_folder,
            condition_id,
            photos,
        ),
    )
    return int(begun.fetchone()[0])


def _failures(workspace: Workspace, condition_id: int, settings: str) -> Mapping[tuple[int, Size], str]:
    """Why a file of this size and time failed, where trying again would be no different."""
    rows = workspace.connection.execute(
        "SELECT file_id, size_bytes, mtime_ns, error FROM failures"
        " WHERE condition_id = ? OR (condition_id IS NULL AND settings = ?) ORDER BY id",
        (condition_id, settings),
    )
    return {(row[0], (row[1], row[2])): row[3] for row in rows}
