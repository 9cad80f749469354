"""Brings captions that were found into a workspace, as answers to one question of a recipe."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from carscribe.catalog.entries import PromptSet
from carscribe.catalog.imported import Caption, CaptionKeeper, CaptionsWanted, PhotoIdentity, Taken
from carscribe.catalog.text import writable
from carscribe.catalog.workspace import Workspace
from carscribe.errors import InputError
from carscribe.importing.captions import (
    CaptionSource,
    FoundCaption,
    LeftOut,
    TableRows,
    language_of,
    read_captions,
    why_none_matched,
)
from carscribe.photos.decode import photo_size
from carscribe.pipeline import Prompter
from carscribe.reading_ahead import read_ahead
from carscribe.recipes.loading import load_recipe
from carscribe.recipes.rendering import check_languages
from carscribe.records import Language, Metadata, PhotoFile, Question, Recipe

BATCH = 1000
"""Captions in one transaction."""

_ORIGIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionRequest:
    """Where captions are, and what they are to become.

    `origin` takes the place of the format's name ("kohya") in what is said of where they are from. `language` None:
    each caption's own, by its letters. `column` and `keys` are those of a table.
    """

    source: CaptionSource
    recipe: str | Path = "brief"
    question: str | None = None
    language: Language | None = None
    origin: str | None = None
    column: str | None = None
    keys: Mapping[str, str] | None = None
    replace: bool = False
    approved: bool = False
    author: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedCaptions:
    """What became of the captions: those that are in the workspace, and those that were left out.

    `rows` are those of a table, `none_matched` says what to do where no photo of any row is there.
    """

    origin: str
    recipe: str
    question: str
    taken: Taken
    left_out: LeftOut
    rows: TableRows | None
    none_matched: str | None
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionsAhead:
    """Captions about to be taken. The first batch of them was read, so that what cannot be taken at all is known.

    `captions` are all of them, `some` says whether there is one; `left_out` and `rows` grow as they are read.
    """

    request: CaptionRequest
    origin: str
    recipe: Recipe
    question: Question
    captions: Iterator[Caption]
    some: bool
    left_out: LeftOut
    rows: TableRows

    def none_taken(self) -> ImportedCaptions:
        """What is to be said where none is there: no workspace needs to be made for it."""
        return self._became(Taken(), finished=True)

    def _became(self, taken: Taken, *, finished: bool) -> ImportedCaptions:
        return ImportedCaptions(
            origin=self.origin,
            recipe=self.recipe.id,
            question=self.question.id,
            taken=taken,
            left_out=self.left_out,
            rows=None if self.request.source.table is None else self.rows,
            none_matched=why_none_matched(self.request.source, self.rows),
            finished=finished,
        )


def look_ahead(request: CaptionRequest) -> CaptionsAhead:
    """Look for the captions, before there is a workspace for them.

    Raises: InputError, RecipeError, MetadataError.
    """
    origin = request.origin or request.source.origin
    if not _ORIGIN.fullmatch(origin):
        raise InputError(
            f"--from {origin!r} is to be a short name in small letters, such as kohya, taggui, joycaption."
        )
    recipe = load_recipe(request.recipe)
    if request.language:
        check_languages(recipe, [request.language])
    question = _question(recipe, request.question)
    left_out, rows = LeftOut(), TableRows()
    found = read_captions(request.source, left_out, column=request.column, keys=request.keys, rows=rows)
    captions = (_caption(each, request.language or _language(each.text, recipe)) for each in found)
    first = list(islice(captions, BATCH))
    if not first and left_out == LeftOut():
        raise InputError(f"{request.source.table or request.source.folder} has no caption of any of the photos.")
    return CaptionsAhead(
        request=request,
        origin=origin,
        recipe=recipe,
        question=question,
        captions=chain(first, captions),
        some=bool(first),
        left_out=left_out,
        rows=rows,
    )


def take_captions(
    workspace: Workspace,
    request: CaptionRequest | CaptionsAhead,
    *,
    seen: Callable[[int], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> ImportedCaptions:
    """Take captions in, a transaction a batch. The same again changes nothing, and goes on after a kill.

    `seen` is told how many were looked at since it was last told; when `stopped` says so, the batch is the last one.

    Raises: as `look_ahead`, before the first batch; MetadataError, WorkspaceError later: what came before stays.
    """
    ahead = look_ahead(request) if isinstance(request, CaptionRequest) else request
    asked = ahead.request
    prompters: dict[Language, Prompter] = {}

    def sets(metadata: Metadata, language: Language) -> tuple[PromptSet, ...]:
        if language not in prompters:
            prompters[language] = Prompter([ahead.recipe], [language], frozenset())
        return prompters[language].sets(metadata)

    wanted = CaptionsWanted(
        source=ahead.origin,
        recipe=ahead.recipe.id,
        question=ahead.question.id,
        sets=sets,
        identify=_identified,
        replace=asked.replace,
        approved=asked.approved,
        author=asked.author,
    )
    keeper = CaptionKeeper(workspace, wanted)
    finished = False
    try:
        while batch := list(islice(ahead.captions, BATCH)):
            keeper.keep(batch)
            seen(len(batch))
            if stopped():
                break
        else:
            finished = True
    finally:
        keeper.close()
    return ahead._became(keeper.taken, finished=finished)


def _caption(found: FoundCaption, language: Language) -> Caption:
    return Caption(file=found.file, language=language, text=writable(found.text), where=found.where)


def _question(recipe: Recipe, named: str | None) -> Question:
    """The question that captions answer. Raises: InputError when it has to be named, is none, or is a choice."""
    ids = ", ".join(question.id for question in recipe.questions if not question.choices)
    if named is None and len(recipe.questions) > 1:
        raise InputError(
            f"Recipe {recipe.id} has several questions; say which the captions answer: --question, of {ids}."
        )
    found = [question for question in recipe.questions if named in {None, question.id}]
    if not found:
        raise InputError(f"Recipe {recipe.id} has no question {named!r}. It has {ids}.")
    if found[0].choices:
        raise InputError(
            f"{recipe.id}.{found[0].id} is a choice, and a caption is a text. Take choices with: carscribe correct"
        )
    return found[0]


def _language(text: str, recipe: Recipe) -> Language:
    """The caption's language, if the recipe has it; else the recipe's first."""
    language = language_of(text)
    return language if language in recipe.languages else recipe.languages[0]


def _identified(files: Sequence[PhotoFile]) -> Iterator[PhotoIdentity | str]:
    """Photos by their bytes, in order, read in threads; a reason for one that cannot be."""
    return read_ahead(files, _identify)


def _identify(file: PhotoFile) -> PhotoIdentity | str:
    try:
        with file.path.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        return f"cannot be read: {getattr(error, 'strerror', None) or error}"
    size = photo_size(file.path)
    if size is None:
        return "is no photo that can be read"
    return PhotoIdentity(sha256=sha256, width_px=size[0], height_px=size[1])
