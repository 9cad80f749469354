"""Does a checkpoint say here, packed, what it says alone? And what do its answers look like?

    files ─> packed answers (the engine) ─> the same questions alone (transformers) ─> float16 ─> report

One copy of the weights at a time: what fits for `carscribe describe` fits here. Records of what was seen; `judging`
makes findings of them, `page` a page to post.
"""

import gc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from carscribe.doctor.comparing import ChoiceComparison, TokenComparison, compare_choice, compare_tokens
from carscribe.doctor.expected import Comparison, compare_files, compare_processing, family_member
from carscribe.doctor.shots import Shot, Shots, ask_packed, picture_of, read_shots, with_prompts
from carscribe.engines.checkpoint import first_line
from carscribe.engines.hub import Progress, unseen
from carscribe.errors import CarscribeError, EngineError, InputError, NumericsError
from carscribe.memory import held_of
from carscribe.recipes.loading import load_recipe
from carscribe.records import Description, EngineCard, JudgedAnswer, Recipe, Request, Tiling

if TYPE_CHECKING:
    from PIL import Image

    from carscribe.engines.checkpoint import Checkpoint
    from carscribe.engines.choosing import ModelChoice

RECIPES = ("designer", "brief")
COMPARED_PX, SHOWN_PX = 896, 360
"""Long side of the picture whose tiles and pixels are compared, and of those on the page."""

CPU_FLOAT16_PARAMETERS = 300_000_000
"""A larger model takes a CPU minutes a photo in float16, which says nothing about a GPU."""

Say = Callable[[str], None]
Compose = Callable[[Sequence[JudgedAnswer]], Description]


@dataclass(frozen=True, slots=True, kw_only=True)
class Float16:
    """Whether the model's output is finite in float16; None when it was not tried to its end. `said` is why, or how."""

    finite: bool | None
    said: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenPhoto:
    """A photo as the page shows it: a small picture, the `brief` answer, and the description that was composed."""

    name: str
    picture: "Image.Image"
    tiles: int
    brief: str
    description: Description


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FidelityReport:
    """All that was seen. `member` is the InternVL3 that has the checkpoint's sizes, None for any other model.

    `versions` are of the libraries, `set_aside` why photos were left out, `unfinished` why not all was compared.
    """

    model: str
    revision: str | None
    member: str | None
    language: str
    facts: tuple[Comparison, ...]
    processing: tuple[Comparison, ...]
    hardware: str = ""
    dtype: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    tokens: tuple[TokenComparison, ...] = ()
    choices: tuple[ChoiceComparison, ...] = ()
    float16: Float16 = Float16(finite=None, said="not tried")
    photos: tuple[SeenPhoto, ...] = ()
    set_aside: tuple[str, ...] = ()
    unfinished: str | None = None

    @property
    def noise(self) -> float:
        """The most, in logits, that the plain model's own two ways differ: see `alone.Said`."""
        return max((compared.noise for compared in self.tokens), default=0.0)


def examine(
    model: str,
    photos: str | Path | Sequence[str | Path],
    *,
    compose_description: Compose,
    device: str | None = None,
    dtype: str = "auto",
    revision: str | None = None,
    language: str = "en",
    max_tiles: int | None = None,
    limit: int = 10,
    say: Say = lambda _: None,
    progress: Progress = unseen,
) -> FidelityReport:
    """Ask up to `limit` photos the recipes `designer` and `brief`, packed and alone, and compare.

    `compose_description` makes of a photo's `designer` answers what the page shows beside the `brief` one. `say` is
    told each step, `progress` how far a download is.

    Raises: PhotosError when no photo can be read; CheckpointError, MissingExtraError, InputError as for `describe`.
    """
    from carscribe.engines.choosing import choose_model

    if held_of(dtype):
        raise InputError(
            f"The trial holds packed answers against transformers' generate, which has no {dtype} of Carscribe's. "
            "Give --dtype bfloat16 or float32, or leave it out."
        )
    choice = choose_model(model, revision=revision, device=device, dtype=dtype, say=say)
    found = read_shots(photos, _tiling(choice.checkpoint.tiling, max_tiles), limit)
    report = _look_at_files(choice.checkpoint, found, language)
    recipes = tuple(load_recipe(name) for name in RECIPES)
    engine = choice.load(say=say, progress=progress)
    card = engine.card
    report = replace(report, hardware=card.hardware, dtype=card.dtype, versions=card.versions)
    try:
        shots = ask_packed(engine, [with_prompts(shot, recipes, language, engine) for shot in found.read], say)
    except EngineError as error:
        return _stopped(report, error)
    finally:
        del engine  # its weights make room for the plain model's
        _free()
    report = replace(report, photos=tuple(_seen(shot, recipes, compose_description) for shot in shots))
    report = _compare(report, choice.checkpoint, card.device, shots, say)
    _free()
    return replace(report, float16=_try_float16(choice, card, shots[0], say))


def public_name(name: str) -> str:
    """A model's name without the folders of this machine.

    >>> public_name("OpenGVLab/InternVL3-8B-hf"), public_name("/home/kim/models/mine/"), public_name("./models/mine")
    ('OpenGVLab/InternVL3-8B-hf', 'mine', 'mine')
    """
    path = Path(name).expanduser()
    is_folder = path.is_dir() or name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
    return (path.resolve().name or "a folder") if is_folder else name


def _tiling(tiling: Tiling, max_tiles: int | None) -> Tiling:
    if max_tiles is None:
        return tiling
    return replace(tiling, max_tiles=max_tiles, min_tiles=min(tiling.min_tiles, max_tiles))


def _look_at_files(checkpoint: "Checkpoint", found: Shots, language: str) -> FidelityReport:
    """The report as far as it goes without weights: before they are fetched, the files and the preparation."""
    return FidelityReport(
        model=public_name(checkpoint.name),
        revision=checkpoint.revision,
        member=family_member(checkpoint),
        language=language,
        facts=tuple(compare_files(checkpoint)),
        processing=tuple(compare_processing(checkpoint, picture_of(found.read[0], COMPARED_PX))),
        set_aside=found.set_aside,
    )


def _stopped(report: FidelityReport, error: EngineError) -> FidelityReport:
    """The report when the engine itself could not answer."""
    overflown = isinstance(error, NumericsError) and report.dtype == "float16"
    float16 = Float16(finite=False, said="not finite") if overflown else report.float16
    return replace(report, unfinished=str(error), float16=float16)


def _compare(
    report: FidelityReport, checkpoint: "Checkpoint", device: str, shots: Sequence[Shot], say: Say
) -> FidelityReport:
    """Ask everything once more, alone, and put it beside. Out of memory ends it early, with what was compared."""
    import torch

    from carscribe.doctor.alone import Alone

    tokens: list[TokenComparison] = []
    choices: list[ChoiceComparison] = []
    unfinished = None
    try:
        alone = Alone(checkpoint, device=device, dtype=report.dtype)
        for number, shot in enumerate(shots, 1):
            say(f"Alone: photo {number} of {len(shots)}, {len(shot.prompts)} questions one at a time")
            for prompt, answer, packed in zip(shot.prompts, shot.answers, shot.packed, strict=True):
                if packed is None:
                    choices.append(compare_choice(alone, shot, prompt, answer))
                else:
                    tokens.append(compare_tokens(alone, shot, prompt, packed))
    except (torch.OutOfMemoryError, MemoryError) as error:
        compared = f"{len(tokens) + len(choices)} answers were compared before"
        unfinished = f"transformers' own way ran out of memory ({first_line(error)}); {compared}."
    return replace(report, tokens=tuple(tokens), choices=tuple(choices), unfinished=unfinished)


def _try_float16(choice: "ModelChoice", card: EngineCard, shot: Shot, say: Say) -> Float16:
    """One photo in float16, all questions: is its output finite?"""
    from carscribe.memory import shape_of

    if card.dtype == "float16":
        return Float16(finite=True, said="finite: everything here ran in it")
    if card.device == "cpu" and shape_of(choice.checkpoint.config).parameters > CPU_FLOAT16_PARAMETERS:
        return Float16(finite=None, said="not tried: on a CPU it takes long and says nothing about a GPU")
    say("float16: one photo")
    try:
        engine = replace(choice, dtype="float16").load()
        engine.answer([Request(tiles=shot.photo.tiles, prompts=shot.prompts)])
    except NumericsError:
        return Float16(finite=False, said="not finite")
    except (EngineError, RuntimeError) as error:
        return Float16(finite=None, said=f"not tried to its end: {first_line(error)}")
    return Float16(
        finite=True, said=f"finite on one photo, {len(shot.photo.tiles)} × {len(shot.prompts)} (tiles × questions)"
    )


def _seen(shot: Shot, recipes: Sequence[Recipe], compose: Compose) -> SeenPhoto:
    priority = {(recipe.id, question.id): question.priority for recipe in recipes for question in recipe.questions}
    judged = [
        JudgedAnswer(
            recipe_id=answer.recipe_id,
            question_id=answer.question_id,
            language=answer.language,
            priority=priority[answer.recipe_id, answer.question_id],
            text=answer.text,
            answer=answer,
        )
        for answer in shot.answers
        if answer.recipe_id == RECIPES[0]
    ]
    try:
        description = compose(judged)
    except CarscribeError as error:  # nothing that could be said of this photo: the page says so, and goes on
        description = Description(text=f"({error})", budget="no budget", tokens=None)
    return SeenPhoto(
        name=shot.name,
        picture=picture_of(shot, SHOWN_PX),
        tiles=len(shot.photo.tiles),
        brief=" ".join(answer.text for answer in shot.answers if answer.recipe_id == RECIPES[1]),
        description=description,
    )


def _free() -> None:
    """Give back what the last copy of the weights held."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
