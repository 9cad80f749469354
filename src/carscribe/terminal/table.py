"""The table of results: a photo a line, as many answers beside it as fit."""

from collections.abc import Sequence

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from carscribe.pipeline import RunPlan
from carscribe.plaintext import plain_line
from carscribe.question_names import question_name
from carscribe.records import PhotoResult
from carscribe.terminal.flagged import MARK

HEAD_CELLS, ANSWER_CELLS, GAP_CELLS = 28, 17, 2
"""The widest a photo or name column gets, the narrowest an answer column, and what is between two, in terminal cells:
two choices with their scores stand whole beside a photo and its name at 80."""


def results_table(plan: RunPlan, shown: Sequence[PhotoResult], width: int) -> Table:
    """Photo and name as wide as they need, then as many answers of the first language as fit.

    Choices come first, then open questions by priority; one column always, however narrow the terminal.
    """
    questions = [(recipe, question) for recipe in plan.recipes for question in recipe.questions]
    columns = sorted(questions, key=lambda asked: (not asked[1].choices, asked[1].priority))
    asked = {(recipe.id, question.id) for recipe, question in questions}
    heads = {"photo": [plain_line(result.file.key) for result in shown]}
    if any(result.file.metadata.name for result in shown):
        heads["name (kind)"] = [_name(result) for result in shown]
    table = Table(box=None, pad_edge=False, header_style="bold", expand=True)
    room = width
    for head, cells in heads.items():
        needed = min(HEAD_CELLS, max(cell_len(text) for text in (head, *cells)), max(6, width * 9 // 40))
        table.add_column(head, overflow="ellipsis", no_wrap=True, width=needed)
        room -= needed + GAP_CELLS
    columns = columns[: max(1, (room + GAP_CELLS) // (ANSWER_CELLS + GAP_CELLS))]
    for recipe, question in columns:
        table.add_column(question_name(recipe.id, question.id, asked), overflow="ellipsis", no_wrap=True, ratio=1)
    for result, *texts in zip(shown, *heads.values(), strict=True):
        cells = [_cell(result, (r.id, q.id, plan.languages[0])) for r, q in columns]
        table.add_row(*map(Text, (*texts, *cells)))
    return table


def _cell(result: PhotoResult, asked: tuple[str, str, str]) -> str:
    """The answer to (recipe, question, language), a choice with its score; marked when it is flagged."""
    answer = next((a for a in result.answers if (a.recipe_id, a.question_id, a.language) == asked), None)
    if answer is None:
        return ""
    flagged = any((flag.recipe_id, flag.question_id, flag.language) == asked for flag in result.flags)
    score = f" {max(answer.scores.values()):.2f}" if answer.scores else ""
    return f"{MARK} " * flagged + plain_line(answer.text) + score


def _name(result: PhotoResult) -> str:
    metadata = result.file.metadata
    return plain_line((metadata.name or "") + (f" ({metadata.kind})" if metadata.kind else ""))
