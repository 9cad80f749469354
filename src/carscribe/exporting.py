"""From a workspace to described photos: what an export writes. Composes catalogue and budgets, and knows no format."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Literal

from carscribe.budgets.composing import Shuffle, compose, parts_given
from carscribe.budgets.counting import Budget
from carscribe.budgets.spellings import HANGUL, in_latin
from carscribe.budgets.unnaming import Unnaming, unnaming
from carscribe.catalog.reading import KeptPhoto, asked_recipes, kept_photos
from carscribe.catalog.workspace import Workspace
from carscribe.errors import InputError
from carscribe.records import DescribedPhoto, Description, JudgedAnswer, Language, Metadata

NameMode = Literal["keep", "drop", "first"]
"""What becomes of a car's name in its caption: as the answers have it, taken out of them, or put before all."""

NAME_MODES: tuple[NameMode, ...] = ("keep", "drop", "first")

_NAME_KEYS = frozenset(
    {"brand", "make", "maker", "manufacturer", "marque", "model", "modelname", "name", "nameen", "nameko"}
    | {"브랜드", "제조사", "메이커", "모델", "모델명", "차명"}
)
"""Other columns of metadata that hold a part of a car's name, without case, blanks, `_` and `-`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Which answers to compose, and how. `model` None: that of the last run.

    With `shuffle`, phrases are in an order drawn by `seed` and photo, but for the first `keep_parts` parts between
    commas; what was given (trigger, prefix) and a name that stands first stay in any case.
    """

    recipe: str
    language: Language
    budget: Budget
    prefix: str = ""
    suffix: str = ""
    trigger: str = ""
    force_language: bool = False
    approved_only: bool = False
    model: str | None = None
    names: NameMode = "keep"
    shuffle: bool = False
    keep_parts: int = 0
    seed: int = 0

    @property
    def fixed_parts(self) -> int:
        """How many parts between commas a trainer that shuffles has to keep in front."""
        opening = "name" if self.names == "first" else ""
        return max(self.keep_parts, parts_given(trigger=self.trigger, prefix=self.prefix, opening=opening))


@dataclass(slots=True, kw_only=True)
class Counts:
    """What composing did to the photos so far. `unanswered` ones were never answered in full, and are left out.

    `nameless` ones have no name to put first, or none that the encoder can read.
    """

    described: int = 0
    shortened: int = 0
    unanswered: int = 0
    unapproved: int = 0
    without_language: int = 0
    nameless: int = 0
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
        raise InputError(f"Recipe {recipe!r} was not asked in {workspace.folder}, only {', '.join(asked)}.")
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
            description = describe_as(answers, wish, metadata=photo.file.metadata, photo=photo.sha256)
        except InputError as error:
            counts.without_language += 1
            trouble = error
            continue
        counts.described += 1
        counts.shortened += bool(description.dropped)
        counts.nameless += wish.names == "first" and not _opening(photo.file.metadata, wish)
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


def describe_as(
    answers: tuple[JudgedAnswer, ...], wish: Wish, *, metadata: Metadata | None = None, photo: str = ""
) -> Description:
    """One photo's description; `photo` (its SHA-256) and the seed say how it is shuffled.

    Raises: InputError as `compose`.
    """
    about = metadata or Metadata()
    return compose(
        answers,
        wish.budget,
        language=wish.language,
        prefix=wish.prefix,
        suffix=wish.suffix,
        trigger=wish.trigger,
        force_language=wish.force_language,
        opening=_opening(about, wish) if wish.names == "first" else "",
        unnaming=_unnaming(about) if wish.names == "drop" else None,
        shuffle=Shuffle(seed=f"{wish.seed} {photo}", keep_parts=wish.keep_parts) if wish.shuffle else None,
    )


def _opening(metadata: Metadata, wish: Wish) -> str:
    """The car's name as the encoder reads it; "" when there is none."""
    name = (metadata.name or "").strip()
    if HANGUL.search(name) and not wish.budget.knows("ko") and not wish.force_language:
        return in_latin(name) or ""
    return name


def _unnaming(metadata: Metadata) -> Unnaming:
    """What takes the car's names out: its name, and other columns that hold a part of it."""
    others = (value for key, value in metadata.extra.items() if _plain_key(key) in _NAME_KEYS)
    return unnaming(tuple(dict.fromkeys(name for name in (metadata.name, *others) if name)))


def _plain_key(key: str) -> str:
    return key.casefold().replace("_", "").replace("-", "").replace(" ", "")


def _approved(photo: KeptPhoto) -> tuple[JudgedAnswer, ...]:
    return tuple(
        answer for answer in photo.answers if answer.verdict and answer.verdict.decision in {"approved", "edited"}
    )
