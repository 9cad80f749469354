"""Which photos have a choice that a person should look at: found by the database, in two seconds of a million.

What makes a choice doubtful is the caller's to say. What a person judged is not doubtful any more, and of the answers
to one question only the newest counts: as `reading` has it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from carscribe.catalog.calibration import best_confidence, has_calibrations
from carscribe.catalog.database import has_column, translated
from carscribe.catalog.workspace import Workspace
from carscribe.records import FlagCounts, Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """What makes a choice doubtful: a crawled kind that its text contradicts, or a figure under `least`.

    `states_kind` tells of a recipe's and a question's id whether the question states what a kind says; `contradicts` of
    a kind and the text of an answer whether they do not go together. Figures are the best score, in its place the
    confidence of a calibrated choice, and the mass.
    """

    least: float
    states_kind: Callable[[str, str], bool]
    contradicts: Callable[[str, str], bool]


def count_flagged(workspace: Workspace, doubt: Doubt) -> FlagCounts:
    """How many files have a doubtful choice, of all recipes and languages. Raises: WorkspaceError."""
    ((photos, kind, unsure),) = _doubtful(
        workspace, doubt, "SELECT count(*), coalesce(sum(by_kind), 0), coalesce(sum(unsure), 0) FROM doubtful", {}
    )
    return FlagCounts(photos=photos, kind=kind, unsure=unsure)


def flagged_files(
    workspace: Workspace,
    doubt: Doubt,
    *,
    recipe: str | None = None,
    language: Language | None = None,
    model: str | None = None,
) -> list[int]:
    """The ids of the files that have a doubtful choice, in the order in which they came in.

    Of one recipe and one language where they are named, and of another model than the last. Raises: WorkspaceError.
    """
    among = {"recipe": recipe, "language": language, "model": model}
    return [row[0] for row in _doubtful(workspace, doubt, "SELECT file_id FROM doubtful ORDER BY file_id", among)]


def sure_from(*, choices: int, temperature: float, least: float) -> float:
    """The best score from which on its confidence is `least` or more, whatever the other choices' scores are.

    They weigh most in even shares above a temperature of 1, and below it when one choice has all that is left.

    >>> [round(sure_from(choices=11, temperature=at, least=0.5), 3) for at in (0.5, 1.0, 2.0)]
    [0.5, 0.5, 0.909]
    """
    odds: float = (least / (1 - least)) ** temperature * (choices - 1) ** max(0.0, temperature - 1)
    return odds / (1 + odds)


def _doubtful(
    workspace: Workspace, doubt: Doubt, select: str, among: Mapping[str, str | None]
) -> list[tuple[int, ...]]:
    """The rows of a SELECT from the table `doubtful` (file_id, by_kind, unsure), which has a row for each such file."""

    def sure(choices: int, temperature: float) -> float:
        return sure_from(choices=choices, temperature=temperature, least=doubt.least)

    connection = workspace.connection
    for name, function in (
        ("states_kind", doubt.states_kind),
        ("contradicts", doubt.contradicts),
        ("best_confidence", _best_confidence),
        ("sure_from", sure),
    ):
        connection.create_function(name, 2, function, deterministic=True)
    with translated(workspace.path):
        query = _DOUBTFUL.format(
            by_kind=_BY_KIND,
            unsure=_UNSURE.format(score="score" if has_column(connection, "answers", "score") else _SCORE_AS_READ),
            temperatures=_TEMPERATURES if has_calibrations(workspace) else "JOIN (SELECT NULL AS temperature)",
            by=_OF_MODEL if among.get("model") else "= asks.condition_id",
        )
        values = {"recipe": None, "language": None, **among, "least": doubt.least}
        return connection.execute(query + select, values).fetchall()


@lru_cache(maxsize=64)
def _best_confidence(scores: str, temperature: float) -> float:
    """Of scores as JSON; remembered, since a row is asked for it more than once."""
    return best_confidence(json.loads(scores).values(), temperature)


# Answers to choices all have scores: to say so lets the database take the index of those alone.
# CASE, since both sides of an AND or OR would be computed: a confidence is, only where the score does not settle it. In
# WHERE, SQLite keeps subqueries for last: they are made for the doubtful alone.
_BY_KIND = "CASE WHEN states AND kind IS NOT NULL THEN contradicts(kind, answers.text) ELSE 0 END"
_UNSURE = """CASE WHEN mass < :least THEN 1 WHEN temperature IS NULL THEN {score} < :least
    WHEN {score} >= sure_from(number, temperature) THEN 0 ELSE best_confidence(scores, temperature) < :least END"""
_SCORE_AS_READ = "(SELECT max(value) FROM json_each(scores))"
"""Of a workspace of an older form, which a reader finds as it is."""
_OF_MODEL = "IN (SELECT id FROM conditions WHERE model = :model)"
_TEMPERATURES = """LEFT JOIN calibrations ON calibrations.condition_id = answers.condition_id
    AND calibrations.prompt_id = answers.prompt_id"""
_DOUBTFUL = """
WITH choice AS MATERIALIZED (
    SELECT prompt_set_id, prompt_id, question, states_kind(recipes.name, question) AS states,
        json_array_length(choices) AS number
    FROM prompt_set_items JOIN prompts ON prompts.id = prompt_id JOIN prompt_sets ON prompt_sets.id = prompt_set_id
    JOIN recipes ON recipes.id = recipe_id WHERE choices <> '[]'
), doubtful AS (
    SELECT file_id, max(by_kind) AS by_kind, max(unsure) AS unsure FROM (
        SELECT file_id, {by_kind} AS by_kind, {unsure} AS unsure
        FROM asks CROSS JOIN files ON files.id = file_id CROSS JOIN choice ON choice.prompt_set_id = asks.prompt_set_id
        CROSS JOIN answers ON answers.photo_id = files.photo_id AND answers.prompt_id = choice.prompt_id
            AND answers.condition_id {by} AND answers.scores IS NOT NULL
        {temperatures}
        WHERE ({by_kind} OR {unsure}) AND (:recipe IS NULL OR asks.recipe = :recipe)
            AND (:language IS NULL OR asks.language = :language)
            AND NOT coalesce((
                SELECT decision <> 'rejected' OR answer_id IS answers.id FROM verdicts
                WHERE verdicts.photo_id = answers.photo_id AND verdicts.recipe = asks.recipe
                    AND verdicts.question = choice.question AND verdicts.language = asks.language
                ORDER BY verdicts.id DESC LIMIT 1), 0)
            AND NOT EXISTS (
                SELECT 1 FROM answers AS newer WHERE newer.photo_id = answers.photo_id
                    AND newer.prompt_id = answers.prompt_id AND newer.condition_id {by} AND newer.scores IS NOT NULL
                    AND newer.id <> answers.id AND (newer.run_id, newer.id) > (answers.run_id, answers.id))
    ) GROUP BY file_id
)
"""
