"""Photos to be compared: read, given their prompts, asked packed. Knows nothing of the plain way to ask."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from carscribe.errors import OutOfMemoryError, PhotoError, PhotosError
from carscribe.photos.decode import read_photo
from carscribe.photos.sources import find_photos
from carscribe.recipes.rendering import render
from carscribe.records import Answer, PhotoFile, Prompt, Recipe, Request, TiledPhoto, Tiling

if TYPE_CHECKING:
    from carscribe.engines.local import LocalEngine


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """A photo that was read, and what was asked of it: `answers` and `packed` in the order of `prompts`.

    The prompts are objects of its own, so that one tells its photo. `packed` holds the token ids of each open answer,
    the end of turn included, and None for a choice.
    """

    file: PhotoFile
    photo: TiledPhoto
    prompts: tuple[Prompt, ...] = ()
    answers: tuple[Answer, ...] = ()
    packed: tuple[tuple[int, ...] | None, ...] = ()

    @property
    def name(self) -> str:
        """The file's name without its folders."""
        return Path(self.file.key).name


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shots:
    """The photos that were read, and why others were set aside."""

    read: tuple[Shot, ...]
    set_aside: tuple[str, ...]


def read_shots(photos: str | Path | Sequence[str | Path], tiling: Tiling, limit: int) -> Shots:
    """Up to `limit` photos, spread evenly over what was given. Raises: PhotosError when none can be read."""
    sources = [Path(photos)] if isinstance(photos, str | Path) else [Path(source) for source in photos]
    files = find_photos(sources[0] if len(sources) == 1 else sources).files
    step = max(1, len(files) // limit)
    shots: list[Shot] = []
    set_aside: list[str] = []
    spread = (files[i] for i in range(0, len(files), step))
    for file in chain(spread, (file for i, file in enumerate(files) if i % step)):
        if len(shots) == limit:
            break
        try:
            shots.append(Shot(file=file, photo=read_photo(file.path, tiling)))
        except (PhotoError, MemoryError) as error:
            set_aside.append(f"{Path(file.key).name}: {str(error) or 'out of memory'}")
    if not shots:
        raise PhotosError(f"None of the {len(files)} photos can be read. The first: {set_aside[0]}.")
    return Shots(read=tuple(shots), set_aside=tuple(set_aside))


def picture_of(shot: Shot, long_side_px: int) -> Image.Image:
    """The photo as a picture of its own aspect, read anew from its file."""
    square = read_photo(shot.file.path, Tiling(tile_px=long_side_px, max_tiles=1)).tiles[0]
    width, height = shot.photo.width_px, shot.photo.height_px
    scale = long_side_px / max(width, height)
    return Image.fromarray(square).resize((max(1, round(width * scale)), max(1, round(height * scale))))


def with_prompts(shot: Shot, recipes: Sequence[Recipe], language: str, engine: "LocalEngine") -> Shot:
    """The photo with the prompts of all recipes. Raises: RecipeError when a recipe lacks the language."""
    rendered = (render(recipe, shot.file.metadata, [language], reserved=engine.reserved) for recipe in recipes)
    return replace(shot, prompts=tuple(replace(prompt) for prompts in rendered for prompt in prompts))


def ask_packed(engine: "LocalEngine", shots: Sequence[Shot], say: Callable[[str], None]) -> list[Shot]:
    """The photos with all answers, asked in batches as a run makes them. Raises: EngineError."""
    tokens = _keep_tokens(engine)
    answered: dict[int, tuple[Answer, ...]] = {}
    by_tiles: dict[int, list[int]] = {}
    for i, shot in enumerate(shots):
        by_tiles.setdefault(len(shot.photo.tiles), []).append(i)
    for tiles, group in by_tiles.items():
        size = engine.plan_batch(tiles, shots[group[0]].prompts).photos
        for batch in (group[start : start + size] for start in range(0, len(group), size)):
            say(f"Packed: {len(batch)} photos of {tiles} tiles")
            requests = [Request(tiles=shots[i].photo.tiles, prompts=shots[i].prompts) for i in batch]
            answered.update(zip(batch, _answer(engine, requests), strict=True))
    return [
        replace(shot, answers=answered[i], packed=tuple(tokens.get(id(prompt)) for prompt in shot.prompts))
        for i, shot in enumerate(shots)
    ]


def _answer(engine: "LocalEngine", requests: list[Request]) -> list[tuple[Answer, ...]]:
    """Together, or one by one when that takes too much memory."""
    try:
        return engine.answer(requests)
    except OutOfMemoryError:
        if len(requests) == 1:
            raise
    engine.release()
    return [engine.answer([request])[0] for request in requests]


def _keep_tokens(engine: "LocalEngine") -> dict[int, tuple[int, ...]]:
    """A table that fills with the token ids of each open answer, by the identity of its prompt.

    The engine's answers are text, and text does not tell at which token two of them part; so this looks over the
    engine's shoulder, at the one place where ids become text.
    """
    tokens: dict[int, tuple[int, ...]] = {}
    inner: Any = engine
    turn_into_text = inner._opens

    def keep(prompts: Sequence[Prompt], said: Sequence[list[int]]) -> list[Answer]:
        answers: list[Answer] = turn_into_text(prompts, said)
        for prompt, ids, answer in zip(prompts, said, answers, strict=True):
            tokens[id(prompt)] = tuple(ids[: answer.tokens + (answer.finish == "stop")])
        return answers

    inner._opens = keep
    return tokens
