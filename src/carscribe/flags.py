"""Choices that a person should look at: those that disagree with the crawled kind, and those that are unsure.

What kinds and choices mean is in the vocabulary that evaluation reads answers by; one that it does not know disagrees
with nothing. Open answers have no flags, and neither have those that a person judged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from carscribe.catalog.calibration import best_confidence
from carscribe.catalog.flagged import Doubt
from carscribe.catalog.reading import KeptPhoto, kept_photos
from carscribe.catalog.workspace import Workspace
from carscribe.evaluate.vocabulary import Attribute, shipped_vocabulary
from carscribe.records import Answer, Flag, Language, PhotoFile, PhotoResult

LEAST_SURE = 0.5
"""A choice of which a figure is under this is unsure. Under one half, what stands against it is the likelier: against
the best score (or confidence) all other choices, against the mass all that is no choice."""

_REMEMBERED = 65_536
"""Kinds with a choice's text, as they come in a crawl of a hundred thousand photos."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedPhoto:
    """A photo of a workspace that has flags."""

    file: PhotoFile
    sha256: str | None
    flags: tuple[Flag, ...]


def with_flags(result: PhotoResult) -> PhotoResult:
    """A result with the flags of its answers, none of which was judged or calibrated."""
    kind = result.file.metadata.kind
    return replace(result, flags=tuple(flag for answer in result.answers for flag in flags_of(answer, kind)))


def flags_of_photo(photo: KeptPhoto) -> tuple[Flag, ...]:
    """The flags of a workspace's photo: of the answers that nobody has judged."""
    kind = photo.file.metadata.kind
    return tuple(
        flag
        for judged, origin in zip(photo.answers, photo.origins, strict=True)
        if judged.answer and not judged.verdict
        for flag in flags_of(judged.answer, kind, origin.temperature if origin else None)
    )


def flagged_photos(
    workspace: Workspace,
    file_ids: Sequence[int],
    *,
    recipe: str | None = None,
    language: Language | None = None,
    model: str | None = None,
) -> Iterator[FlaggedPhoto]:
    """Those of some files that have flags, of one recipe, language and model where these are named.

    Raises: WorkspaceError.
    """
    for photo in kept_photos(workspace, file_ids=file_ids, recipe=recipe, model=model):
        flags = tuple(flag for flag in flags_of_photo(photo) if language in {None, flag.language})
        if flags:
            yield FlaggedPhoto(file=photo.file, sha256=photo.sha256, flags=flags)


def flags_of(answer: Answer, kind: str | None, temperature: float | None = None) -> tuple[Flag, ...]:
    """Why a person should look at an answer about a photo of this crawled kind; nothing of an open answer.

    `temperature` makes a confidence of its scores; None until the choice is calibrated.
    """
    if not answer.scores:
        return ()
    flag = Flag(
        recipe_id=answer.recipe_id,
        question_id=answer.question_id,
        language=answer.language,
        why="unsure",
        answered=answer.text,
    )
    flags: list[Flag] = []
    if kind is not None and states_kind(answer.recipe_id, answer.question_id) and contradicts(kind, answer.text):
        flags.append(replace(flag, why="kind", kind=kind))
    best = max(answer.scores.values())
    sure = None if temperature is None else best_confidence(answer.scores.values(), temperature)
    unsure = replace(
        flag,
        score=_low(best) if sure is None else None,
        confidence=_low(sure),
        mass=_low(answer.mass),
    )
    return (*flags, unsure) if unsure != flag else tuple(flags)


def _low(figure: float | None) -> float | None:
    return figure if figure is not None and figure < LEAST_SURE else None


def _kinds() -> Attribute:
    """What a crawled kind is one of."""
    return shipped_vocabulary().attributes["body_type"]


def states_kind(recipe: str, question: str) -> bool:
    """Whether a question states what a crawled kind says."""
    return _kinds() in shipped_vocabulary().stated_by(recipe, question)


@lru_cache(maxsize=_REMEMBERED)
def contradicts(kind: str, text: str) -> bool:
    """Whether a choice is nothing that a crawled kind means. What is not known contradicts nothing.

    >>> [contradicts(kind, "SUV") for kind in ("세단", "중형 SUV", "RV", "세단/SUV", "화물")]
    [True, False, False, False, False]
    """
    said, meant = _kinds().value_of(text), _kinds().values_of(kind)
    return said is not None and bool(meant) and said not in meant


DOUBT = Doubt(least=LEAST_SURE, states_kind=states_kind, contradicts=contradicts)
"""The same for the database, which finds flagged photos among a hundred thousand."""
