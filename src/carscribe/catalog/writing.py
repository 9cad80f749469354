"""A run, as it is written down: answers and failures in one transaction a batch, the sums at the end."""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from carscribe.catalog.database import PAGE, marks
from carscribe.catalog.entries import Provenance
from carscribe.catalog.files import size_of
from carscribe.catalog.planning import note_asks, now, provenance_id
from carscribe.catalog.prompt_sets import find_prompt, prompt_identity
from carscribe.catalog.text import compact_json, writable
from carscribe.catalog.work import Work
from carscribe.catalog.workspace import Workspace
from carscribe.errors import WorkspaceError
from carscribe.records import Answer, PhotoResult, Prompt

REMEMBERED = 4096
"""Tuples of prompts whose ids are remembered: with names in the prompts, every photo has its own."""

BEGINNING_DIGITS = 6
"""Hexadecimal digits of a hash that are remembered: of a million known photos, one in sixteen new ones begins like one
of them, which costs a look into the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A result on its way into the catalogue.

    `asked` are the prompts its answers answer, in their order. `asked_tiles` is how many tiles the photo would have
    been cut into had memory allowed. `reading_failed` says that the photo itself was at fault, not the model.
    """

    result: PhotoResult
    file_id: int
    asked: tuple[Prompt, ...]
    asked_tiles: int = 0
    reading_failed: bool = False


class RunWriter:
    """Writes one run. Every method but `missing` is a transaction of its own.

    Two files with the same bytes are one photo: what is asked of one of them is not asked of the other, whether it was
    answered before or is on its way.
    """

    def __init__(
        self, workspace: Workspace, work: Work, provenance: Provenance, *, settings: str = "", strict: bool = False
    ) -> None:
        """`settings` as in `plan_work`; `strict` takes no answer of another provenance, or of too few tiles, as there.

        Raises: WorkspaceError.
        """
        self._workspace, self._connection = workspace, workspace.connection
        self._work, self._settings, self._strict = work, settings, strict
        self._prompt_ids: dict[Prompt, int] = {}
        self._ids_of: dict[int, tuple[int, ...]] = {}
        self._alive: list[tuple[Prompt, ...]] = []  # an object's id is its own only while it lives
        self._under_way: dict[str, set[int]] = {}
        self._seen = bytearray(16**BEGINNING_DIGITS)
        for (sha256,) in self._connection.execute("SELECT sha256 FROM photos"):
            self._seen[_beginning(sha256)] = True
        self.seconds = 0.0
        """What the catalogue took of the run, in seconds."""
        with workspace.transaction():
            self._provenance_id = provenance_id(workspace, provenance)
            self._connection.execute(
                "UPDATE runs SET state = 'running', provenance_id = ? WHERE id = ?", (self._provenance_id, work.run_id)
            )
            note_asks(workspace, work.changes)

    def missing(self, sha256: str, prompts: tuple[Prompt, ...]) -> tuple[Prompt, ...]:
        """Which prompts still have to be asked of these bytes; they count as under way from now on."""
        started = time.perf_counter()
        ids = self._ids(prompts)
        settled = self._answered(sha256) | self._under_way.get(sha256, set())
        left = prompts
        if settled:
            left = tuple(prompt for prompt, prompt_id in zip(prompts, ids, strict=True) if prompt_id not in settled)
        if left:
            self._under_way.setdefault(sha256, set()).update(self._ids(left))
        self.seconds += time.perf_counter() - started
        return left

    def keep(self, outcomes: Sequence[Outcome]) -> None:
        """Write what became of some photos: all of it is on disk when this returns. Raises: WorkspaceError."""
        started = time.perf_counter()
        failed = [outcome for outcome in outcomes if outcome.result.error is not None]
        answered = [outcome for outcome in outcomes if outcome.result.error is None]
        if not self._workspace.path.exists():  # SQLite would go on, into a file that nobody can open any more
            raise WorkspaceError(f"{self._workspace.path} was removed meanwhile. Run the same command again.")
        with self._workspace.transaction():
            photo_ids = self._keep_photos(outcomes)
            self._keep_failures(failed)
            self._keep_answers(answered, photo_ids)
            there = list({photo_ids[o.result.sha256 or ""] for o in answered if o.result.answers})
            note_answered(self._connection, there, self._work.condition_id)
        for outcome in outcomes:
            self._forget(outcome)
        self.seconds += time.perf_counter() - started

    def close(self, state: str, figures: Mapping[str, object]) -> None:
        """Note how the run ended: "done", "stopped" or "failed", and its sums. Raises: WorkspaceError."""
        with self._workspace.transaction():
            self._connection.execute(
                "UPDATE runs SET ended_at = ?, state = ?, figures = ? WHERE id = ?",
                (now(), state, json.dumps(figures, ensure_ascii=False), self._work.run_id),
            )

    def _answered(self, sha256: str) -> set[int]:
        if not self._seen[_beginning(sha256)]:
            return set()
        photo = self._connection.execute("SELECT id FROM photos WHERE sha256 = ?", (sha256,)).fetchone()
        if photo is None:
            return set()
        rows = self._connection.execute(
            "SELECT prompt_id FROM answers WHERE photo_id = ? AND (condition_id = ?"
            " AND (NOT ? OR run_id = ? OR (provenance_id = ? AND tiles = asked_tiles))"
            f" OR condition_id IN ({','.join(map(str, self._work.imported))}))",
            (photo[0], self._work.condition_id, self._strict, self._work.run_id, self._provenance_id),
        )
        return {row[0] for row in rows}

    def _ids(self, prompts: tuple[Prompt, ...]) -> tuple[int, ...]:
        """The ids of some prompts; most photos are asked one and the same tuple of them."""
        if id(prompts) not in self._ids_of:
            if len(self._alive) >= REMEMBERED:
                self._ids_of.clear()
                self._alive.clear()
                self._prompt_ids.clear()
            self._alive.append(prompts)
            self._ids_of[id(prompts)] = tuple(map(self._prompt_id, prompts))
        return self._ids_of[id(prompts)]

    def _prompt_id(self, prompt: Prompt) -> int:
        if prompt not in self._prompt_ids:
            self._prompt_ids[prompt] = find_prompt(self._connection, prompt_identity(prompt))
        return self._prompt_ids[prompt]

    def _keep_photos(self, outcomes: Sequence[Outcome]) -> dict[str, int]:
        """The photos' ids by their hashes, made where they are new, and noted with the files that hold them.

        A statement for all of them: between two statements other threads of this process may want their turn.
        """
        read = {outcome.result.sha256: outcome.result for outcome in outcomes if outcome.result.sha256 is not None}
        self._connection.executemany(
            "INSERT INTO photos (sha256, width_px, height_px) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
            [(sha256, result.width_px, result.height_px) for sha256, result in read.items()],
        )
        photo_ids: dict[str, int] = {}
        for start in range(0, len(read), PAGE):
            some = list(read)[start : start + PAGE]
            photo_ids |= self._connection.execute(
                f"SELECT sha256, id FROM photos WHERE sha256 IN ({marks(len(some))})", some
            )
        self._connection.executemany(
            "UPDATE files SET photo_id = ? WHERE id = ?",
            [(photo_ids[o.result.sha256], o.file_id) for o in outcomes if o.result.sha256 is not None],
        )
        for sha256 in read:
            self._seen[_beginning(sha256)] = True
        return photo_ids

    def _keep_failures(self, outcomes: Sequence[Outcome]) -> None:
        self._connection.executemany(
            "INSERT INTO failures (file_id, run_id, condition_id, settings, size_bytes, mtime_ns, error, failed_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    outcome.file_id,
                    self._work.run_id,
                    None if outcome.reading_failed else self._work.condition_id,
                    self._settings,
                    *size_of(outcome.result.file.location),
                    writable(outcome.result.error or ""),
                    now(),
                )
                for outcome in outcomes
            ],
        )

    def _keep_answers(self, outcomes: Sequence[Outcome], photo_ids: Mapping[str, int]) -> None:
        at, rows = now(), []
        for outcome in outcomes:
            result = outcome.result
            share = result.seconds / len(result.answers) if result.seconds is not None and result.answers else None
            how = (self._work.condition_id, self._provenance_id, self._work.run_id, result.tiles, outcome.asked_tiles)
            photo_id = photo_ids[result.sha256 or ""]
            for prompt_id, answer in zip(self._ids(outcome.asked), result.answers, strict=True):
                rows.append((prompt_id, photo_id, *how, *_answer(answer), share, at))
        self._connection.executemany(
            "INSERT INTO answers (prompt_id, photo_id, condition_id, provenance_id, run_id, tiles, asked_tiles,"
            " text, scores, score, mass, tokens, finish, remark, seconds, answered_at)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT DO UPDATE SET run_id = excluded.run_id, text = excluded.text, scores = excluded.scores,"
            " score = excluded.score, mass = excluded.mass, tokens = excluded.tokens, finish = excluded.finish,"
            " remark = excluded.remark, seconds = excluded.seconds, answered_at = excluded.answered_at",
            rows,
        )

    def _forget(self, outcome: Outcome) -> None:
        """What was under way has arrived, or never will."""
        under_way = self._under_way.get(outcome.result.sha256 or "", set())
        under_way.difference_update(self._ids(outcome.asked))
        if not under_way:
            self._under_way.pop(outcome.result.sha256 or "", None)


def note_answered(connection: sqlite3.Connection, photo_ids: Sequence[int], condition_id: int) -> None:
    """Write down what photos have answers to by now."""
    for start in range(0, len(photo_ids), PAGE):
        some = photo_ids[start : start + PAGE]
        connection.execute(
            "INSERT INTO answered SELECT photo_id, condition_id, group_concat(DISTINCT prompt_id) FROM answers"
            f" WHERE photo_id IN ({marks(len(some))}) AND condition_id = ? GROUP BY photo_id"
            " ON CONFLICT DO UPDATE SET prompts = excluded.prompts",
            (*some, condition_id),
        )


def _beginning(sha256: str) -> int:
    """Enough of a hash to know of most photos that they are new."""
    return int(sha256[:BEGINNING_DIGITS], 16)


def _answer(answer: Answer) -> tuple[str, str | None, float | None, float | None, int, str, str]:
    scores = None if answer.scores is None else compact_json(answer.scores)
    best = None if answer.scores is None else max(answer.scores.values())
    return writable(answer.text), scores, best, answer.mass, answer.tokens, answer.finish, answer.remark
