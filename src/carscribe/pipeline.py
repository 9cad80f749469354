"""The pipeline, one page: from what the user gave to one result a photo.

    find photos -> match metadata -> render prompts -> read ahead -> batch by tiles -> answer -> put in order
    └────────── plan_run ────────┘  └─────────────────────────── run ─────────────────────────────────────┘

Each stage is its own package and knows none of the others; only this module knows them all.
"""

import json
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from carscribe.batching import Ladder, Pending, group_by_tiles
from carscribe.engines import Engine
from carscribe.engines.choosing import open_engine
from carscribe.errors import InputError, OutputError, PhotoError, PhotosError
from carscribe.photos.decode import read_photo
from carscribe.photos.metadata import MetadataMatch, match_metadata
from carscribe.photos.rows import read_rows
from carscribe.photos.sources import find_photos, same_bytes
from carscribe.recipes.loading import load_recipe, shipped_recipes
from carscribe.recipes.rendering import render
from carscribe.records import PIXEL_LIMIT, Metadata, PhotoFile, PhotoResult, Prompt, Recipe, TiledPhoto, Tiling

READ_AHEAD = 96
"""Photos read and cut before they are asked for."""

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """How photos are read: the largest grid, the largest photo, and whether shrink-on-load is off."""

    max_tiles: int | None = None
    pixel_limit: int = PIXEL_LIMIT
    exact_decode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What is to be asked of what, known before a model is loaded.

    `leader` maps a photo's index to that of an earlier one with the same bytes and the same metadata: it is not asked
    again. `metadata_match` is None when no metadata file was given.
    """

    files: tuple[PhotoFile, ...]
    ignored: Mapping[str, int]
    recipes: tuple[Recipe, ...]
    languages: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    leader: Mapping[int, int]
    metadata_match: MetadataMatch | None
    read: ReadSettings


def describe(
    photos: str | Path | Sequence[str | Path],
    *,
    metadata: str | Path | None = None,
    metadata_keys: Mapping[str, str] | None = None,
    model: str | None = None,
    recipes: Sequence[str | Path] = ("designer",),
    languages: Sequence[str] = ("en",),
    max_tiles: int | None = None,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    limit: int | None = None,
    exact_decode: bool = False,
    pixel_limit: int = PIXEL_LIMIT,
    engine: Engine | None = None,
) -> Iterator[PhotoResult]:
    """Describe photographs of cars: one result a photo, in the order given, as they are ready.

    The arguments are those of `carscribe describe`; `engine`, when given, is used instead of loading `model`.

    Raises: InputError, CheckpointError, MissingExtraError before the first photo; EngineError later. A photo that
        cannot be read raises nothing: its result has an `error`.
    """
    plan = plan_run(
        photos,
        metadata=metadata,
        metadata_keys=metadata_keys,
        recipes=recipes,
        languages=languages,
        limit=limit,
        read=ReadSettings(max_tiles=max_tiles, pixel_limit=pixel_limit, exact_decode=exact_decode),
    )
    if engine is None:
        engine = open_engine(model, demo_texts=demo_texts(), revision=revision, device=device, dtype=dtype)
    return run(plan, engine)


def plan_run(
    photos: str | Path | Sequence[str | Path],
    *,
    metadata: str | Path | None = None,
    metadata_keys: Mapping[str, str] | None = None,
    recipes: Sequence[str | Path] = ("designer",),
    languages: Sequence[str] = ("en",),
    limit: int | None = None,
    read: ReadSettings | None = None,
) -> RunPlan:
    """Find photos, attach metadata, load recipes. Raises: InputError with everything that stands in the way."""
    read = read or ReadSettings()
    if read.max_tiles is not None and read.max_tiles < 1:
        raise InputError(f"--max-tiles must be at least 1, not {read.max_tiles}.")
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1, not {limit}.")
    loaded = _load_recipes(recipes, languages)
    sources = [Path(photos)] if isinstance(photos, str | Path) else [Path(source) for source in photos]
    found = find_photos(sources[0] if len(sources) == 1 else sources, keys=metadata_keys)
    files, match = found.files, None
    if not any(file.path.exists() for file in files):
        raise PhotosError(
            f"None of the {len(files)} photos listed in {', '.join(map(str, sources))} is there; the first would be "
            f"{files[0].path}. Give the photos' folder, and the list as --metadata."
        )
    if metadata is not None:
        match = match_metadata(files, read_rows(Path(metadata), keys=metadata_keys))
        files = match.files
    files = files[:limit]
    duplicates = same_bytes(files)
    return RunPlan(
        files=files,
        ignored=found.ignored,
        recipes=loaded,
        languages=tuple(dict.fromkeys(languages)),
        duplicates=duplicates,
        leader=_leaders(files, duplicates),
        metadata_match=match,
        read=read,
    )


def run(plan: RunPlan, engine: Engine, say: Callable[[str], None] = lambda _: None) -> Iterator[PhotoResult]:
    """Ask the engine everything in the plan; results in the plan's order, as they are ready.

    `say` is told when memory runs out and what is done about it.
    """
    for recipe in plan.recipes:  # what no metadata can mend is said before the first photo
        render(recipe, Metadata(), plan.languages, reserved=engine.reserved)

    def prompts(metadata: Metadata) -> tuple[Prompt, ...]:
        return tuple(
            prompt
            for recipe in plan.recipes
            for prompt in render(recipe, metadata, plan.languages, reserved=engine.reserved)
        )

    def cut(file: PhotoFile, max_tiles: int | None) -> TiledPhoto:
        tiling = _tiling(engine.tiling, max_tiles)
        return read_photo(file.path, tiling, pixel_limit=plan.read.pixel_limit, exact=plan.read.exact_decode)

    ladder = Ladder(engine, lambda pending, max_tiles: cut(pending.file, max_tiles), say)

    def read(numbered: tuple[int, PhotoFile]) -> Pending | PhotoResult:
        index, file = numbered
        limits = [limit for limit in (plan.read.max_tiles, ladder.most_grid_tiles) if limit is not None]
        try:
            photo = cut(file, min(limits, default=None))
            return Pending(index=index, file=file, photo=photo, prompts=prompts(file.metadata))
        except (PhotoError, MemoryError) as error:
            return PhotoResult(index=index, file=file, error=str(error) or "Out of memory while reading it.")

    def answered() -> Generator[PhotoResult, None, None]:
        to_ask = ((i, file) for i, file in enumerate(plan.files) if i not in plan.leader)
        with closing(_read_ahead(to_ask, read)) as stream:
            for batch in group_by_tiles(stream, ladder.size):
                if isinstance(batch, PhotoResult):
                    yield batch
                else:
                    yield from ladder.answer(batch)

    return _in_order(plan, answered())


def write_report(path: Path, plan: RunPlan) -> None:
    """Write all that was found before the run, as one JSON object. Raises: OutputError."""
    found: dict[str, object] = {
        "photos": len(plan.files),
        "ignored": dict(plan.ignored),
        "same_bytes": plan.duplicates,
        "metadata": plan.metadata_match
        and {f.name: getattr(plan.metadata_match, f.name) for f in fields(plan.metadata_match) if f.name != "files"},
    }
    try:
        path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8", "backslashreplace")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}. Name another file with --report.") from None


def demo_texts() -> list[str]:
    """What the stand-in model's tokenizer is trained on: all prompts and choices that are shipped."""
    questions = [question for name in shipped_recipes() for question in load_recipe(name).questions]
    texts = [text for question in questions for text in question.text.values()]
    return texts + [choice for question in questions for row in question.choices.values() for choice in row]


def _load_recipes(recipes: Sequence[str | Path], languages: Sequence[str]) -> tuple[Recipe, ...]:
    if not recipes:
        raise InputError(f"No recipe was asked for. Shipped: {', '.join(shipped_recipes())}.")
    loaded = tuple(load_recipe(name) for name in dict.fromkeys(recipes))
    for recipe in loaded:
        render(recipe, Metadata(), languages)
    ids = [recipe.id for recipe in loaded]
    if twice := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise InputError(f"Two recipes have the id {twice[0]!r}: their answers could not be told apart. Rename one.")
    return loaded


def _leaders(files: Sequence[PhotoFile], duplicates: Iterable[Sequence[str]]) -> dict[int, int]:
    """The earlier twin of each photo whose bytes and metadata were seen before."""
    index = {file.key: i for i, file in enumerate(files)}
    leader: dict[int, int] = {}
    for group in duplicates:
        first: dict[tuple[str | None, str | None], int] = {}
        for i in sorted(index[key] for key in group):
            names = (files[i].metadata.name, files[i].metadata.kind)
            if names in first:
                leader[i] = first[names]
            else:
                first[names] = i
    return leader


def _tiling(tiling: Tiling, max_tiles: int | None) -> Tiling:
    if max_tiles is None:
        return tiling
    return replace(tiling, max_tiles=max_tiles, min_tiles=min(tiling.min_tiles, max_tiles))


def _read_ahead(items: Iterable[Item], read: Callable[[Item], Found]) -> Generator[Found, None, None]:
    """`read` over items in threads (Pillow lets go of the interpreter while it decodes), in order, a window ahead."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-photo")
    ahead: deque[Future[Found]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(read, item))
            if len(ahead) >= READ_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _in_order(plan: RunPlan, answered: Generator[PhotoResult, None, None]) -> Iterator[PhotoResult]:
    """Results in the plan's order, a follower's made from its leader's."""
    leaders = set(plan.leader.values())
    done: dict[int, PhotoResult] = {}
    kept: dict[int, PhotoResult] = {}
    with closing(answered) as stream:
        for index, file in enumerate(plan.files):
            if index in plan.leader:
                yield replace(kept[plan.leader[index]], index=index, file=file)
                continue
            while index not in done:
                result = next(stream)
                done[result.index] = result
            result = done.pop(index)
            if index in leaders:
                kept[index] = result
            yield result
