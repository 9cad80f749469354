"""What people say of answers: taken from rows, checked all together, appended, never changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

from carscribe.catalog.database import translated
from carscribe.catalog.planning import now
from carscribe.catalog.reading import KeptPhoto, find_files, kept_photos
from carscribe.catalog.text import writable
from carscribe.catalog.workspace import Workspace
from carscribe.errors import VerdictsError
from carscribe.plaintext import plain_line
from carscribe.records import JudgedAnswer

Decision = Literal["approved", "edited", "rejected"]
DECISIONS: Mapping[str, Decision] = {
    "approved": "approved",
    "approve": "approved",
    "ok": "approved",
    "승인": "approved",
    "edited": "edited",
    "edit": "edited",
    "수정": "edited",
    "rejected": "rejected",
    "reject": "rejected",
    "반려": "rejected",
}
COLUMNS = ("photo", "question", "verdict", "text", "language", "recipe", "author", "note")
PROBLEMS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """One row of a file of verdicts, as it was written. `where` says where it stands."""

    where: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """What became of a file of verdicts. `same` rows said what counts already."""

    taken: Mapping[Decision, int]
    same: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Checked:
    """A row that can be taken."""

    sha256: str
    answer: JudgedAnswer
    answer_id: int | None
    decision: Decision
    text: str | None
    author: str | None
    note: str | None


def correct(workspace: Workspace, rows: Sequence[VerdictRow], *, author: str | None = None) -> Corrected:
    """Take verdicts, all of them or none.

    A row names a photo (its key, a path, or its hash), a question, and a verdict: approved, edited or rejected; with a
    text and no verdict it is edited. The language and the recipe are needed only where the question has several.

    Raises: VerdictsError with what is wrong, line by line; WorkspaceError.
    """
    photos: dict[str, list[KeptPhoto]] = {}
    checked: list[_Checked] = []
    problems: list[str] = []
    for row in rows:
        try:
            checked.append(_check(workspace, row, photos, author))
        except VerdictsError as error:
            problems.append(f"{row.where}: {error}")
    if problems:
        more = f"\n… and {len(problems) - PROBLEMS_SHOWN} more" if len(problems) > PROBLEMS_SHOWN else ""
        shown = "\n".join(problems[:PROBLEMS_SHOWN])
        raise VerdictsError(f"No verdict was taken, for {len(problems)} of {len(rows)} rows are wrong:\n{shown}{more}")
    return _append(workspace, checked)


def _check(workspace: Workspace, row: VerdictRow, photos: dict[str, list[KeptPhoto]], author: str | None) -> _Checked:
    values = {key: value.strip() for key, value in row.values.items()}
    if unknown := sorted(key for key, value in values.items() if value and key not in COLUMNS):
        raise VerdictsError(f"no column {unknown[0]!r}; columns are {', '.join(COLUMNS)}")
    if lacking := [name for name in ("photo", "question") if not values.get(name)]:
        raise VerdictsError(f"names no {lacking[0]}")
    named = values["photo"]
    if named not in photos:
        found = find_files(workspace, named)
        kept = list(kept_photos(workspace, file_ids=[file_id for file_id, _ in found]))
        if len({photo.sha256 for photo in kept}) > 1:
            names = ", ".join(key for _, key in found[:3])
            raise VerdictsError(f"several photos answer to {named!r}: {names}; write the whole path")
        photos[named] = kept
    if not photos[named] or photos[named][0].sha256 is None:
        raise VerdictsError(f"no photo {named!r} with answers in this workspace")
    photo = photos[named][0]
    answer, answer_id = _answer(photo, values)
    decision = _decision(values, answer)
    text = None
    if decision != "rejected":
        text = answer.answer.text if decision == "approved" and answer.answer else values["text"]
    return _Checked(
        sha256=cast(str, photo.sha256),
        answer=answer,
        answer_id=answer_id,
        decision=decision,
        text=text,
        author=values.get("author") or author,
        note=values.get("note") or None,
    )


def _answer(photo: KeptPhoto, values: Mapping[str, str]) -> tuple[JudgedAnswer, int | None]:
    """The answer that a row means, and its number; an answer that is still missing has none."""
    recipe, dot, question = values["question"].rpartition(".")
    recipe = values.get("recipe") or (recipe if dot else "")
    there = [
        (answer, None if origin is None else origin.answer_id)
        for answer, origin in zip(photo.answers, photo.origins, strict=True)
    ]
    missing = [
        JudgedAnswer(recipe_id=of, question_id=asked, language=language, priority=0, text=None, answer=None)
        for of, asked, language in photo.missing
    ]
    found = [
        (answer, answer_id)
        for answer, answer_id in (*there, *((answer, None) for answer in missing))
        if answer.question_id in {question, values["question"]}
        and recipe in {"", answer.recipe_id}
        and values.get("language", "") in {"", answer.language}
    ]
    if not found:
        has = ", ".join(dict.fromkeys(f"{answer.question_id} ({answer.language})" for answer, _ in there))
        raise VerdictsError(f"{photo.file.key} has no answer to {values['question']!r}; it has {has or 'none'}")
    if len(found) > 1:
        which = ", ".join(f"{answer.recipe_id}.{answer.question_id} in {answer.language}" for answer, _ in found)
        raise VerdictsError(f"{photo.file.key} has several answers to {values['question']!r}: {which}; name one")
    return found[0]


def _decision(values: Mapping[str, str], answer: JudgedAnswer) -> Decision:
    said, text = values.get("verdict", "").casefold(), values.get("text", "")
    if not said and not text:
        raise VerdictsError("says neither a verdict (approved, edited, rejected) nor a text")
    decision = DECISIONS.get(said) if said else "edited"
    if decision is None:
        raise VerdictsError(f"no verdict {values['verdict']!r}; it is approved, edited or rejected")
    if decision == "edited" and not text:
        raise VerdictsError("is edited and has no text")
    model_text = answer.answer.text if answer.answer else None
    if model_text is None and decision != "edited":
        raise VerdictsError(f"{answer.question_id} has no answer yet that could be {decision}")
    if decision == "approved" and text and plain_line(text) != plain_line(model_text or ""):
        raise VerdictsError(f"approves {text!r} where the answer is {model_text!r}; to put it in its place say edited")
    return decision


def _append(workspace: Workspace, checked: Sequence[_Checked]) -> Corrected:
    taken: dict[Decision, int] = {}
    same = 0
    counts: dict[tuple[str, str, str, str], tuple[Decision, str | None]] = {}  # a later row counts, not an earlier
    with workspace.transaction():
        for each in checked:
            answer, said = each.answer, (each.decision, each.text)
            question = (each.sha256, answer.recipe_id, answer.question_id, answer.language)
            before = answer.verdict and (answer.verdict.decision, answer.verdict.text)
            if counts.get(question, before) == said:
                same += 1
                continue
            _insert(workspace, each)
            counts[question] = said
            taken[each.decision] = taken.get(each.decision, 0) + 1
    return Corrected(taken=taken, same=same)


def _insert(workspace: Workspace, each: _Checked) -> None:
    answer = each.answer
    with translated(workspace.path):
        workspace.connection.execute(
            "INSERT INTO verdicts (photo_id, recipe, question, language, decision, text, answer_id, author, note,"
            " judged_at) SELECT id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM photos WHERE sha256 = ?",
            (
                *(answer.recipe_id, answer.question_id, answer.language, each.decision),
                _writable(each.text),
                *(each.answer_id, _writable(each.author), _writable(each.note), now(), each.sha256),
            ),
        )


def _writable(text: str | None) -> str | None:
    return None if text is None else writable(text)
