"""From a workspace to described photos: what an export writes. Composes catalogue and budgets, and knows no format."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from carscribe.budgets.composing import compose
from carscribe.budgets.counting import Budget
from carscribe.catalog.reading import KeptPhoto, asked_recipes, kept_photos
from carscribe.catalog.workspace import Workspace
from carscribe.errors import InputError
from carscribe.records import DescribedPhoto, Description, JudgedAnswer, Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which answers to compose, and how. `model` None: that of the last run."""

    recipe: str
    language: Language
    budget: Budget
    prefix: str = ""
    suffix: str = ""
    trigger: str = ""
    force_language: bool = False
    approved_only: bool = False
    model: str | None = None


@dataclass(slots=True, kw_only=True)
class Counts:
    """What composing did to the photos so far. `unanswered` ones were never answered in full, and are left out."""

    described: int = 0
    shortened: int = 0
    unanswered: int = 0
    unapproved: int = 0
    without_language: int = 0
    fallbacks: set[str] = field(default_factory=set)


def wish_for(workspace: Workspace, recipe: str | None, language: str | None) -> tuple[str, str]:
    """The recipe and language to compose: those asked for, else the last recipe asked, in English if it has it.

    Raises: InputError when the workspace has no answers to such a recipe in such a language; WorkspaceError.
    """
    asked = asked_recipes(workspace)
    if not asked:
        raise InputError(
            f"Nothing was asked in {workspace.folder} yet: carscribe describe PHOTOS -w {workspace.folder}"
        )
    if recipe is not None and recipe not in asked:
        raise InputError(f"Recipe {recipe!r} was not asked in {workspace.folder}; {', '.join(asked)} were.")
    chosen = recipe or next(iter(asked))
    languages = asked[chosen]
    if language is not None and language not in languages:
        raise InputError(
            f"Recipe {chosen} was asked in {', '.join(languages)}, not in {language}. Ask it: carscribe describe "
            f"PHOTOS -w {workspace.folder} --recipe {chosen} --language {language}"
        )
    return chosen, language or ("en" if "en" in languages else languages[0])


def described_photos(workspace: Workspace, wish: Wish, counts: Counts) -> Iterator[DescribedPhoto]:
    """Every photo that can be described as wished, in the order in which photos came in; `counts` grows on the way.

    Raises: InputError when none can; WorkspaceError.
    """
    photos = _described(workspace, wish, counts)
    first = next(photos, None)  # a wish that no photo can fulfil is told before anything is written
    if first is None:
        raise _nothing(workspace, wish, counts)
    return chain([first], photos)


def _described(workspace: Workspace, wish: Wish, counts: Counts) -> Iterator[DescribedPhoto]:
    trouble: InputError | None = None
    for photo in kept_photos(workspace, recipe=wish.recipe, model=wish.model):
        answers = _approved(photo) if wish.approved_only else photo.answers
        if not answers or photo.sha256 is None or photo.width_px is None or photo.height_px is None:
            counts.unapproved += bool(photo.answers)
            counts.unanswered += not photo.answers
            continue
        try:
            description = describe_as(answers, wish)
        except InputError as error:
            counts.without_language += 1
            trouble = error
            continue
        counts.described += 1
        counts.shortened += bool(description.dropped)
        counts.fallbacks.update(description.fallbacks)
        yield DescribedPhoto(
            file=photo.file,
            sha256=photo.sha256,
            width_px=photo.width_px,
            height_px=photo.height_px,
            answers=photo.answers,
            description=description,
        )
    if not counts.described and trouble:
        raise trouble


def _nothing(workspace: Workspace, wish: Wish, counts: Counts) -> InputError:
    """Why there is nothing to export, and what to do."""
    if counts.unapproved:
        return InputError(
            f"None of the {counts.unapproved:,} photos with answers to {wish.recipe} has one that was approved or "
            f"edited. Approve some with carscribe correct {workspace.folder} FILE, or leave out --approved-only."
        )
    return InputError(
        f"None of the {counts.unanswered:,} photos of {workspace.folder} has an answer to {wish.recipe}"
        f"{f' by {wish.model}' if wish.model else ''} yet. Run the same carscribe describe command to go on."
    )


def describe_as(answers: tuple[JudgedAnswer, ...], wish: Wish) -> Description:
    """One photo's description. Raises: InputError as `compose`."""
    return compose(
        answers,
        wish.budget,
        language=wish.language,
        prefix=wish.prefix,
        suffix=wish.suffix,
        trigger=wish.trigger,
        force_language=wish.force_language,
    )


def _approved(photo: KeptPhoto) -> tuple[JudgedAnswer, ...]:
    return tuple(
        answer for answer in photo.answers if answer.verdict and answer.verdict.decision in {"approved", "edited"}
    )
