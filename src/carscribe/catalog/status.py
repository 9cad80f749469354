"""How far a workspace is: counted over a million answers in a second."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from carscribe.catalog.database import adapter_of_run, translated
from carscribe.catalog.entries import weights_and_held
from carscribe.catalog.planning import answered_prompts
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
        targets, incomplete = _targets(workspace)
        return Status(
            files=count[0],
            photos=count[1],
            unread=count[2],
            answers=count[3],
            catalog_bytes=sum(file.stat().st_size for file in workspace.folder.glob(f"{workspace.path.name}*")),
            targets=targets,
            failed=_failed(workspace, incomplete),
            verdicts=_verdicts(workspace),
            runs=count[4],
            last_run=last_run(workspace),
        )


def last_run(workspace: Workspace) -> RunEntry | None:
    """The newest run that had an engine to ask, or nothing to ask it; None in a workspace without one."""
    adapter = adapter_of_run(workspace.connection)
    row = workspace.connection.execute(
        "SELECT started_at, ended_at, state, host, pid, runs.model, weights, max_tiles, photos, to_ask, figures,"
        f" {adapter} FROM runs"
        " JOIN conditions ON conditions.id = condition_id WHERE state <> 'planned' ORDER BY runs.id DESC LIMIT 1"
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


def _targets(workspace: Workspace) -> tuple[tuple[Target, ...], set[int]]:
    """The targets, and the ids of files that lack an answer."""
    connection = workspace.connection
    sets: dict[int, frozenset[int]] = {}
    names: dict[int, tuple[str, int, str]] = {}
    for set_id, name, version, language, prompts in connection.execute(
        "SELECT prompt_sets.id, name, version, language, group_concat(prompt_id) FROM prompt_sets"
        " JOIN recipes ON recipes.id = recipe_id JOIN prompt_set_items ON prompt_set_id = prompt_sets.id GROUP BY 1"
    ):
        sets[set_id] = frozenset(map(int, prompts.split(",")))
        names[set_id] = (name, version, language)
    models = dict(connection.execute("SELECT id, model FROM conditions"))
    used = [row[0] for row in connection.execute("SELECT DISTINCT condition_id FROM asks")]
    answered = {condition: answered_prompts(workspace, condition) for condition in used}
    nothing: frozenset[int] = frozenset()
    # Most files share a set of questions and a set of answers: count such pairs, then look at each pair once.
    pairs: Counter[tuple[int, int, int]] = Counter()
    alive: dict[int, frozenset[int]] = {}
    incomplete: set[int] = set()
    for file_id, photo_id, set_id, condition in connection.execute(
        "SELECT file_id, photo_id, prompt_set_id, condition_id FROM asks JOIN files ON files.id = file_id"
    ):
        there = answered[condition].get(photo_id, nothing)
        alive[id(there)] = there
        pairs[set_id, condition, id(there)] += 1
        if not sets[set_id] <= there:
            incomplete.add(file_id)
    sums: dict[tuple[str, int, str, str], list[int]] = {}
    for (set_id, condition, there_id), photos in pairs.items():
        found = len(sets[set_id] & alive[there_id])
        row = sums.setdefault((*names[set_id], models[condition]), [0, 0, 0, 0])
        row[0] += photos
        row[1] += photos * (found == len(sets[set_id]))
        row[2] += photos * len(sets[set_id])
        row[3] += photos * found
    targets = tuple(
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
    return targets, incomplete


def _failed(workspace: Workspace, incomplete: set[int]) -> tuple[tuple[str, str], ...]:
    rows = workspace.connection.execute(
        "SELECT file_id, key, error FROM failures JOIN files ON files.id = file_id ORDER BY failures.id"
    )
    return tuple({file_id: (key, error) for file_id, key, error in rows if file_id in incomplete}.values())


def _verdicts(workspace: Workspace) -> dict[str, int]:
    rows = workspace.connection.execute(
        "SELECT decision, count(*) FROM (SELECT max(id) AS newest FROM verdicts"
        " GROUP BY photo_id, recipe, question, language) JOIN verdicts ON verdicts.id = newest GROUP BY decision"
    )
    return dict(rows)
