"""What the catalogue holds, read in pages: a million photos in flat memory, and no lock held between pages."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from carscribe.catalog.calibration import temperatures_of
from carscribe.catalog.database import PAGE, has_column, marks, translated
from carscribe.catalog.entries import IMPORTED
from carscribe.catalog.text import writable
from carscribe.catalog.workspace import Workspace
from carscribe.records import Answer, JudgedAnswer, Language, Metadata, PhotoFile, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """How an answer came about. `answer_id` and `condition_id` are numbers in the catalogue.

    `temperature` makes a confidence of a choice's scores; None until it was calibrated on labels.
    """

    answer_id: int
    condition_id: int
    model: str
    weights: str
    dtype: str
    device: str
    versions: Mapping[str, str]
    tiles: int
    asked_tiles: int
    seconds: float | None
    answered_at: str
    temperature: float | None = None

    @property
    def is_imported(self) -> bool:
        """Whether no model answered: the text was there, and was taken over."""
        return self.weights.startswith(IMPORTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPhoto:
    """A file with all that is known of it. Size and hash are None when it was never read.

    `missing` names what is asked and has no answer: (recipe, question, language). `failure` says why, if it was tried.
    `origins` goes along with `answers`; None where a person wrote before the model did.
    """

    file_id: int
    file: PhotoFile
    sha256: str | None
    width_px: int | None
    height_px: int | None
    answers: tuple[JudgedAnswer, ...]
    origins: tuple[Origin | None, ...]
    missing: tuple[tuple[str, str, Language], ...]
    failure: str | None

    @property
    def tiles(self) -> int | None:
        """How many tiles the photo was cut into, thumbnail included; the most, if answers differ."""
        return max((origin.tiles for origin in self.origins if origin and not origin.is_imported), default=None)


@dataclass(frozen=True, slots=True)
class _Item:
    """One question of a prompt set."""

    recipe: str
    question: str
    language: Language
    priority: int
    prompt_id: int


def kept_photos(
    workspace: Workspace,
    *,
    file_ids: Sequence[int] | None = None,
    recipe: str | None = None,
    model: str | None = None,
) -> Iterator[KeptPhoto]:
    """Every file of the workspace with its answers, in the order in which files came in.

    Answers are those to what is asked now: an answer to a question that has changed since is kept and not shown.
    Where the model that is asked has none, a caption that was imported is the answer. `file_ids` takes only these
    files, `recipe` only that one's answers, `model` those of another model than the last, and nothing in their place.

    Raises: WorkspaceError.
    """
    with translated(workspace.path):
        reader = _Reader(workspace, recipe, model)
        if file_ids is not None:
            for start in range(0, len(file_ids), PAGE):
                yield from reader.photos(_files(workspace, "files.id IN", file_ids[start : start + PAGE]))
            return
        last = 0
        while rows := _files(workspace, "files.id >", [last]):
            yield from reader.photos(rows)
            last = rows[-1][0]


def count_files(workspace: Workspace) -> int:
    """How many files `kept_photos` goes through."""
    with translated(workspace.path):
        return int(workspace.connection.execute("SELECT count(*) FROM files").fetchone()[0])


def asked_recipes(workspace: Workspace) -> dict[str, tuple[Language, ...]]:
    """The recipes that are asked of files, the last asked first, each with its languages."""
    with translated(workspace.path):
        rows = workspace.connection.execute("SELECT DISTINCT recipe, language FROM asks ORDER BY language")
        found: dict[str, tuple[Language, ...]] = {}
        for recipe, language in rows:
            found[recipe] = (*found.get(recipe, ()), language)
        runs = workspace.connection.execute("SELECT recipes FROM runs WHERE state <> 'planned' ORDER BY id DESC")
        latest = dict.fromkeys(recipe for (recipes,) in runs for recipe in json.loads(recipes))
        return {recipe: found[recipe] for recipe in (*latest, *found) if recipe in found}


def asked_models(workspace: Workspace) -> tuple[str, ...]:
    """The names of the models that have answered, the last first."""
    with translated(workspace.path):
        rows = workspace.connection.execute(
            "SELECT conditions.model FROM runs JOIN conditions ON conditions.id = condition_id"
            " WHERE state <> 'planned' GROUP BY 1 ORDER BY max(runs.id) DESC"
        )
        return tuple(row[0] for row in rows)


def find_files(workspace: Workspace, name: str) -> list[tuple[int, str]]:
    """(id, key) of the files a person may mean by `name`: a key, a path, a hash's beginning, else a part of a key."""
    with translated(workspace.path):
        path: str | bytes = os.path.abspath(name)  # noqa: PTH100 - a name that is no path at all must pass too
        if writable(name) != name:  # a name of bytes that are no UTF-8
            path, name = os.fsencode(path), writable(name)
        exact = workspace.connection.execute("SELECT id, key FROM files WHERE key = ? OR path = ?", (name, path))
        if found := exact.fetchall():
            return found
        loose = workspace.connection.execute(
            "SELECT files.id, key FROM files LEFT JOIN photos ON photos.id = photo_id WHERE key LIKE ? ESCAPE '\\'"
            " OR (length(?) >= 6 AND substr(sha256, 1, length(?)) = lower(?)) ORDER BY files.id LIMIT 20",
            (f"%{_escaped(name)}%", name, name, name),
        )
        return loose.fetchall()


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _files(workspace: Workspace, where: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    places = f"({','.join('?' * len(values))})" if where.endswith("IN") else "?"
    return workspace.connection.execute(
        "SELECT files.id, path, key, name, kind, extra, photo_id, sha256, width_px, height_px FROM files"
        f" LEFT JOIN photos ON photos.id = photo_id WHERE {where} {places} ORDER BY files.id LIMIT {PAGE}",
        values,
    ).fetchall()


class _Reader:
    """Reads pages; remembers prompt sets, which most photos share."""

    def __init__(self, workspace: Workspace, recipe: str | None, model: str | None) -> None:
        self._connection = workspace.connection
        self._recipe, self._model = recipe, model
        self._items: dict[int, tuple[_Item, ...]] = {}
        self._models: dict[int, str] = {}
        self._weights: dict[int, str] = {}
        self._provenances: dict[int, tuple[str, str, Mapping[str, str]]] = {}
        self._temperatures = temperatures_of(workspace)
        self._remark = "remark" if has_column(workspace.connection, "answers", "remark") else "''"

    def photos(self, rows: Sequence[tuple[Any, ...]]) -> list[KeptPhoto]:
        photo_ids = [row[6] for row in rows if row[6] is not None]
        asks: dict[int, list[tuple[Any, ...]]] = {}
        file_ids = [row[0] for row in rows]
        for ask in self._rows("asks", "file_id", file_ids, "file_id, recipe, prompt_set_id, condition_id"):
            if self._recipe in {None, ask[1]}:
                asks.setdefault(ask[0], []).append(ask)
        answers = self._answers(photo_ids)
        verdicts = self._verdicts(photo_ids)
        failures = dict(self._rows("failures", "file_id", file_ids, "file_id, error", "ORDER BY id"))
        return [self._photo(row, asks.get(row[0], []), answers, verdicts, failures.get(row[0])) for row in rows]

    def _photo(
        self,
        row: tuple[Any, ...],
        asks: Sequence[tuple[Any, ...]],
        answers: Mapping[tuple[int, int, Any], tuple[Answer, Origin]],
        verdicts: Mapping[tuple[int, str, str, str], tuple[Verdict, int | None]],
        failure: str | None,
    ) -> KeptPhoto:
        judged: list[JudgedAnswer] = []
        origins: list[Origin | None] = []
        missing: list[tuple[str, str, Language]] = []
        for ask in asks:
            condition = self._model or ask[3]
            for item in self._set(ask[2]):
                kept = answers.get((row[6], item.prompt_id, condition))
                if self._model is None and (kept is None or kept[1].is_imported):
                    kept = answers.get((row[6], item.prompt_id, IMPORTED))
                verdict = verdicts.get((row[6], item.recipe, item.question, item.language))
                if kept is None and (verdict is None or verdict[0].text is None):
                    missing.append((item.recipe, item.question, item.language))
                    continue
                judged.append(_judged(item, kept, verdict))
                origins.append(kept[1] if kept else None)
        return KeptPhoto(
            file_id=row[0],
            file=PhotoFile(
                location=os.fsdecode(row[1]),
                key=row[2],
                metadata=Metadata(name=row[3], kind=row[4], extra=json.loads(row[5])),
            ),
            sha256=row[7],
            width_px=row[8],
            height_px=row[9],
            answers=tuple(judged),
            origins=tuple(origins),
            missing=tuple(missing),
            failure=failure if missing else None,
        )

    def _set(self, set_id: int) -> tuple[_Item, ...]:
        if set_id not in self._items:
            rows = self._connection.execute(
                "SELECT name, question, language, priority, prompt_id FROM prompt_set_items"
                " JOIN prompt_sets ON prompt_sets.id = prompt_set_id JOIN recipes ON recipes.id = recipe_id"
                " WHERE prompt_set_id = ? ORDER BY place",
                (set_id,),
            )
            self._items[set_id] = tuple(_Item(*row) for row in rows)
        return self._items[set_id]

    def _answers(self, photo_ids: Sequence[int]) -> dict[tuple[int, int, Any], tuple[Answer, Origin]]:
        """By (photo, prompt, condition), the newest of each; with a model asked for, by its name for the condition.

        Imported captions are one condition besides, called `IMPORTED`: the newest counts, wherever it is from.
        """
        columns = (
            "photo_id, prompt_id, condition_id, id, provenance_id, tiles, asked_tiles, text, scores, mass, tokens,"
            f" finish, seconds, answered_at, {self._remark}"
        )
        found: dict[tuple[int, int, Any], tuple[Answer, Origin]] = {}
        rows = self._rows("answers", "photo_id", photo_ids, columns, "ORDER BY run_id, id")
        self._learn({row[2] for row in rows}, {row[4] for row in rows})
        for row in rows:
            condition = row[2] if self._model is None else self._models[row[2]]
            answer = Answer(
                recipe_id="",
                question_id="",
                language="",
                text=row[7],
                tokens=row[10],
                finish=row[11],
                scores=None if row[8] is None else json.loads(row[8]),
                mass=row[9],
                remark=row[14],
            )
            dtype, device, versions = self._provenances[row[4]]
            origin = Origin(
                answer_id=row[3],
                condition_id=row[2],
                model=self._models[row[2]],
                weights=self._weights[row[2]],
                dtype=dtype,
                device=device,
                versions=versions,
                tiles=row[5],
                asked_tiles=row[6],
                seconds=row[12],
                answered_at=row[13],
                temperature=self._temperatures.get((row[2], row[1])),
            )
            found[row[0], row[1], condition] = (answer, origin)
            if origin.is_imported:
                found[row[0], row[1], IMPORTED] = (answer, origin)
        return found

    def _learn(self, conditions: set[int], provenances: set[int]) -> None:
        """Look up those that are new; a run that began since the last page may have brought some."""
        for row in self._rows("conditions", "id", list(conditions - self._models.keys()), "id, model, weights"):
            self._models[row[0]], self._weights[row[0]] = row[1], row[2]
        new = list(provenances - self._provenances.keys())
        for row in self._rows("provenances", "id", new, "id, dtype, device, versions"):
            self._provenances[row[0]] = (row[1], row[2], json.loads(row[3]))

    def _verdicts(self, photo_ids: Sequence[int]) -> dict[tuple[int, str, str, str], tuple[Verdict, int | None]]:
        """By (photo, recipe, question, language) the newest verdict, and the id of the answer that was judged."""
        columns = "photo_id, recipe, question, language, decision, text, author, note, judged_at, answer_id"
        return {
            (row[0], row[1], row[2], row[3]): (
                Verdict(decision=row[4], text=row[5], author=row[6], note=row[7], judged_at=row[8]),
                row[9],
            )
            for row in self._rows("verdicts", "photo_id", photo_ids, columns, "ORDER BY id")
        }

    def _rows(
        self, table: str, column: str, ids: Sequence[int], columns: str, order: str = ""
    ) -> list[tuple[Any, ...]]:
        return self._connection.execute(
            f"SELECT {columns} FROM {table} WHERE {column} IN ({marks(len(ids))}) {order}", list(ids)
        ).fetchall()


def _judged(item: _Item, kept: tuple[Answer, Origin] | None, judged: tuple[Verdict, int | None] | None) -> JudgedAnswer:
    """An answer with the verdict that counts. A rejection is of one answer: another one since is not judged yet."""
    answer = None
    if kept is not None:
        answer = replace(kept[0], recipe_id=item.recipe, question_id=item.question, language=item.language)
    verdict = judged[0] if judged else None
    if judged and judged[0].decision == "rejected" and kept and judged[1] != kept[1].answer_id:
        verdict = None
    return JudgedAnswer(
        recipe_id=item.recipe,
        question_id=item.question,
        language=item.language,
        priority=item.priority,
        text=verdict.text if verdict else answer.text if answer else None,
        answer=answer,
        verdict=verdict,
    )
