"""How answers were asked for, by their numbers in the catalogue: what answered, and the words it was asked in."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from carscribe.catalog.database import PAGE, adapter_of_run, translated
from carscribe.catalog.entries import Condition, weights_and_held
from carscribe.catalog.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedChoice:
    """A choice as it was asked: the question's words, the choices in their order, the tiles its photo was cut into."""

    text: str
    choices: tuple[str, ...]
    tiles: int


def conditions_of(workspace: Workspace, condition_ids: Collection[int]) -> dict[int, Condition]:
    """The conditions with these numbers, that of the newest run first. Raises: WorkspaceError."""
    with translated(workspace.path):
        adapter = adapter_of_run(workspace.connection)
        rows = workspace.connection.execute(
            f"SELECT condition_id, runs.model, weights, max_tiles, conditions.adapter, decoding, {adapter} FROM runs"
            " JOIN conditions ON conditions.id = condition_id"
            f" WHERE state <> 'planned' AND condition_id IN ({','.join('?' * len(condition_ids))})"
            " ORDER BY runs.id DESC",
            list(condition_ids),
        )
        found: dict[int, Condition] = {}
        for row in rows:
            weights, held = weights_and_held(row[2])
            newest = Condition(
                model=row[1],
                weights=weights,
                held=held,
                max_tiles=row[3],
                adapter=row[4],
                decoding=row[5],
                adapter_folder=row[6],
            )
            found.setdefault(row[0], newest)
        return found


def asked_choices(workspace: Workspace, answer_ids: Sequence[int]) -> dict[int, AskedChoice]:
    """How each of these answers was asked for. Raises: WorkspaceError."""
    found: dict[int, AskedChoice] = {}
    with translated(workspace.path):
        for start in range(0, len(answer_ids), PAGE):
            some = answer_ids[start : start + PAGE]
            rows = workspace.connection.execute(
                "SELECT answers.id, prompts.text, choices, tiles FROM answers JOIN prompts ON prompts.id = prompt_id"
                f" WHERE answers.id IN ({','.join('?' * len(some))})",
                list(some),
            )
            found |= {row[0]: AskedChoice(text=row[1], choices=tuple(json.loads(row[2])), tiles=row[3]) for row in rows}
    return found


def most_pixels(workspace: Workspace) -> int:
    """Pixels of the largest photo that was read; 0 in a workspace without photos. Raises: WorkspaceError."""
    with translated(workspace.path):
        return int(workspace.connection.execute("SELECT max(width_px * height_px) FROM photos").fetchone()[0] or 0)
