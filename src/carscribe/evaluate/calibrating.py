"""Temperatures for the choices of a workspace, from labels; kept in its catalogue, so that scores become confidence."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from carscribe.catalog.calibration import Calibration, keep_calibration
from carscribe.catalog.workspace import Workspace
from carscribe.errors import InputError
from carscribe.evaluate.answers import Asked
from carscribe.evaluate.judging import Judged, scored_of
from carscribe.evaluate.scoring import COLDEST, HOTTEST, Fitted, Scored, fit_held_out
from carscribe.evaluate.vocabulary import Vocabulary

LEAST_PHOTOS = 50
"""Fewer labelled photos say too little: the error itself would be uncertain by more than what it is to show."""

_EDGE = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibratedChoice:
    """A choice question in one language with its temperature. `before` and `after` are of photos held out,
    and `ece_by_chance` is the error that so few of them have with perfect scores.

    `undecided`: the labels do not decide a temperature, for all answers are right, or none, or the best lies where the
    search ends.
    """

    attribute: str
    recipe: str
    question: str
    language: str
    photos: int
    temperature: float
    ece_before: float
    ece_after: float
    ece_by_chance: float
    brier_before: float
    brier_after: float
    undecided: bool
    fitted: Fitted
    answer_ids: tuple[int, ...]


def calibrate(judged: Sequence[Judged], vocabulary: Vocabulary) -> tuple[CalibratedChoice, ...]:
    """A temperature for each choice question, language and condition with at least 50 labelled photos.

    Raises: InputError when there is none.
    """
    groups: dict[tuple[str, Asked, int], list[Judged]] = defaultdict(list)
    for each in judged:
        if each.said_by.asked.choice:
            groups[each.attribute, each.said_by.asked, each.said_by.condition_id].append(each)
    scored = {key: scored_of(group, vocabulary.attributes[key[0]]) for key, group in groups.items()}
    enough = {key: answers for key, answers in scored.items() if len(answers) >= LEAST_PHOTOS}
    if not enough:
        most = max(map(len, scored.values()), default=0)
        raise InputError(
            f"Calibrating needs {LEAST_PHOTOS} labelled photos of one choice question, and there are {most}. Label "
            f"{LEAST_PHOTOS - most} more and give them with --labels, or leave out --calibrate."
        )
    return tuple(_choice(attribute, asked, answers) for (attribute, asked, _), answers in enough.items())


def keep_all(workspace: Workspace, calibrated: Sequence[CalibratedChoice]) -> None:
    """Keep temperatures in a workspace, save those that the labels did not decide. Raises: WorkspaceError."""
    for each in (each for each in calibrated if not each.undecided):
        keep_calibration(
            workspace,
            each.answer_ids,
            Calibration(
                temperature=each.temperature,
                photos=each.photos,
                ece_before=each.ece_before,
                ece_after=each.ece_after,
            ),
        )


def _choice(attribute: str, asked: Asked, scored: Sequence[Scored]) -> CalibratedChoice:
    fitted = fit_held_out(scored)
    return CalibratedChoice(
        attribute=attribute,
        recipe=asked.recipe,
        question=asked.question,
        language=asked.language,
        photos=len(scored),
        temperature=fitted.temperature,
        ece_before=fitted.before.ece,
        ece_after=fitted.after.ece,
        ece_by_chance=fitted.after.ece_by_chance,
        brier_before=fitted.before.brier,
        brier_after=fitted.after.brier,
        undecided=fitted.before.right.share in {0.0, 1.0} or not COLDEST * _EDGE < fitted.temperature < HOTTEST / _EDGE,
        fitted=fitted,
        answer_ids=tuple(each.answer_id for each in scored),
    )
