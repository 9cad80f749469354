"""The pipeline, one page: from what the user gave to one result a photo.

    find photos -> match metadata -> render prompts -> read ahead -> batch by tiles -> answer -> put in order
    └────────── plan_run ────────┘  └─────────────────────────── run ─────────────────────────────────────┘

Each stage is its own package and knows none of the others; only this module knows them all.
"""

import json
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields, replace
from itertools import islice
from pathlib import Path

from carscribe.batching import LOOK_AHEAD_TILES, Ladder, Pending, group_by_tiles
from carscribe.catalog.entries import PromptSet
from carscribe.check.skipping import without_flagged
from carscribe.collector import collector_paused
from carscribe.engines import Engine, overlapping
from carscribe.engines.choosing import ModelChoice, choose_model
from carscribe.errors import InputError, OutputError, PhotoError, PhotosError
from carscribe.flags import with_flags
from carscribe.found import PhotoList, Photos
from carscribe.photos.decode import photo_size, read_photo
from carscribe.photos.imagefolders import imagefolder_rows
from carscribe.photos.metadata import MetadataMatch, match_metadata
from carscribe.photos.rows import read_rows
from carscribe.photos.sources import find_photos, same_bytes
from carscribe.photos.tiles import choose_grid
from carscribe.reading_ahead import READ_AHEAD, read_ahead
from carscribe.recipes.loading import load_recipe, shipped_recipes
from carscribe.recipes.rendering import render, uses_metadata
from carscribe.records import PIXEL_LIMIT, Metadata, PhotoFile, PhotoResult, Prompt, Recipe, TiledPhoto, Tiling

SAMPLE = 64
"""Photos whose size is looked at for the plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """How photos are read: the largest grid, the largest photo, and whether shrink-on-load is off."""

    max_tiles: int | None = None
    pixel_limit: int = PIXEL_LIMIT
    exact_decode: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchedPhotos:
    """Photos that were found, with their metadata. `match` is None where there was none."""

    files: Photos
    ignored: Mapping[str, int]
    match: MetadataMatch | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunPlan:
    """What is to be asked of what, known before a model is loaded.

    `leader` maps a photo's index to that of an earlier one with the same bytes and the same metadata: it is not asked
    again. `metadata_match` is None where there was no metadata. `skipped` counts by fault the photos that
    `carscribe check` had flagged and that are left out; None when none were to be.
    """

    files: Photos
    ignored: Mapping[str, int]
    recipes: tuple[Recipe, ...]
    languages: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    leader: Mapping[int, int]
    metadata_match: MetadataMatch | None
    read: ReadSettings
    skipped: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """Which model a user asked for, and how to run it; None where it is left to Carscribe."""

    model: str | None = None
    revision: str | None = None
    device: str | None = None
    dtype: str = "auto"
    adapter: Path | None = None
    compiled: bool = True

    def choose(self, say: Callable[[str], None] = lambda _: None) -> ModelChoice:
        """The model with its configuration, its weights neither fetched nor loaded. Raises: as `choose_model`."""
        return choose_model(
            self.model,
            revision=self.revision,
            device=self.device,
            dtype=self.dtype,
            adapter=self.adapter,
            compiled=self.compiled,
            say=say,
        )

    def open(self) -> Engine:
        """The engine. Raises: as `choose_model`, and OutOfMemoryError when the weights do not fit."""
        return self.choose().load()


@collector_paused()
def plan_run(
    photos: str | Path | Sequence[str | Path],
    *,
    metadata: str | Path | None = None,
    metadata_keys: Mapping[str, str] | None = None,
    skip_flagged: str | Path | None = None,
    recipes: Sequence[str | Path] = ("designer",),
    languages: Sequence[str] = ("en",),
    limit: int | None = None,
    read: ReadSettings | None = None,
    compare_bytes: bool = True,
) -> RunPlan:
    """Find photos, attach metadata, load recipes. Without `compare_bytes` no photo is read to look for its twins.

    `skip_flagged` is a report of `carscribe check`: the photos that it wants skipped are left out.

    Raises: InputError with everything that stands in the way.
    """
    read = read or ReadSettings()
    if read.max_tiles is not None and read.max_tiles < 1:
        raise InputError(f"--max-tiles must be at least 1, not {read.max_tiles}.")
    if limit is not None and limit < 1:
        raise InputError(f"--limit must be at least 1, not {limit}.")
    loaded = load_recipes(recipes, languages)
    matched = match_photos(photos, metadata=metadata, metadata_keys=metadata_keys)
    files, skipped = matched.files, None
    if skip_flagged is not None:
        wanted = without_flagged(files, Path(skip_flagged))
        files, skipped = wanted.files, wanted.skipped
    if limit is not None:
        files = PhotoList(islice(files, limit))
    duplicates = same_bytes(files) if compare_bytes else ()
    return RunPlan(
        files=files,
        ignored=matched.ignored,
        recipes=loaded,
        languages=tuple(dict.fromkeys(languages)),
        duplicates=duplicates,
        leader=_leaders(files, duplicates),
        metadata_match=matched.match,
        read=read,
        skipped=skipped,
    )


def match_photos(
    photos: str | Path | Sequence[str | Path],
    *,
    metadata: str | Path | None = None,
    metadata_keys: Mapping[str, str] | None = None,
) -> MatchedPhotos:
    """Find photos and attach metadata: an imagefolder's own where none is given.

    Raises: InputError when there is no photo, or the metadata cannot be read.
    """
    sources = [Path(photos)] if isinstance(photos, str | Path) else [Path(source) for source in photos]
    found = find_photos(sources[0] if len(sources) == 1 else sources, keys=metadata_keys)
    if not any(file.path.exists() for file in found.files):
        raise PhotosError(
            f"None of the {len(found.files)} photos listed in {', '.join(map(str, sources))} is there; the first would "
            f"be {found.files[0].path}. Give the photos' folder, and the list as --metadata."
        )
    rows = None
    if metadata is not None:
        rows = read_rows(Path(metadata), keys=metadata_keys)
    elif len(sources) == 1 and sources[0].is_dir():
        rows = imagefolder_rows(sources[0], metadata_keys)
    if rows is None:
        return MatchedPhotos(files=found.files, ignored=found.ignored)
    match = match_metadata(found.files, rows)
    return MatchedPhotos(files=PhotoList(match.files), ignored=found.ignored, match=match)


def run(
    plan: RunPlan,
    engine: Engine,
    say: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[PhotoResult]:
    """Ask the engine everything in the plan; results in the plan's order, as they are ready.

    `say` is told when memory runs out and what is done about it. When `stopped` says so, the batch that is being
    answered is the last one.
    """
    prompter = Prompter(plan.recipes, plan.languages, engine.reserved)
    to_ask = ((i, file, prompter.prompts(file.metadata)) for i, file in enumerate(plan.files) if i not in plan.leader)
    settled = ask(to_ask, engine, plan.read, say=say, stopped=stopped)
    return _in_order(plan, (with_flags(result) for results in settled for result in results))


class Prompter:
    """Renders recipes for metadata. What has been rendered is given again: most photos of a run are asked the same."""

    def __init__(self, recipes: Sequence[Recipe], languages: Sequence[str], reserved: frozenset[str]) -> None:
        """`reserved` are the model's special tokens. Raises: RecipeError for what no metadata can mend."""
        self._recipes, self._languages, self._reserved = tuple(recipes), tuple(languages), reserved
        self._sets: dict[tuple[str | None, str | None], tuple[PromptSet, ...]] = {}
        self._plain = not any(uses_metadata(question) for recipe in recipes for question in recipe.questions)
        self.sets(Metadata())

    def sets(self, metadata: Metadata) -> tuple[PromptSet, ...]:
        """One set for each recipe and language; one and the same tuple for the same questions."""
        names = (None, None) if self._plain else (metadata.name, metadata.kind)
        if names not in self._sets:
            self._sets[names] = tuple(
                PromptSet(
                    recipe=recipe,
                    language=language,
                    prompts=render(recipe, metadata, [language], reserved=self._reserved),
                )
                for recipe in self._recipes
                for language in self._languages
            )
        return self._sets[names]

    def prompts(self, metadata: Metadata) -> tuple[Prompt, ...]:
        """All prompts, in the order of recipes, languages and questions."""
        return tuple(prompt for each in self.sets(metadata) for prompt in each.prompts)


def ask(
    to_ask: Iterable[tuple[int, PhotoFile, tuple[Prompt, ...]]],
    engine: Engine,
    settings: ReadSettings,
    *,
    say: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
    admit: Callable[[Pending], Pending | PhotoResult] = lambda pending: pending,
) -> Generator[list[PhotoResult], None, None]:
    """Read photos ahead, batch them, answer them: results as they are settled, those of a batch together.

    `admit` sees each photo once it is read: it may ask less of it, or settle it.
    """

    def cut(file: PhotoFile, max_tiles: int | None) -> TiledPhoto:
        tiling = tiling_for(engine.tiling, max_tiles)
        return read_photo(file.path, tiling, pixel_limit=settings.pixel_limit, exact=settings.exact_decode)

    ladder = Ladder(engine, lambda pending, max_tiles: cut(pending.file, max_tiles), say)

    def read(item: tuple[int, PhotoFile, tuple[Prompt, ...]]) -> Pending | PhotoResult:
        index, file, prompts = item
        limits = [limit for limit in (settings.max_tiles, ladder.most_grid_tiles) if limit is not None]
        try:
            return Pending(index=index, file=file, photo=cut(file, min(limits, default=None)), prompts=prompts)
        except (PhotoError, MemoryError) as error:
            return PhotoResult(index=index, file=file, error=str(error) or "Out of memory while reading it.")

    a_batch = 0
    most_tiles = tiling_for(engine.tiling, settings.max_tiles).max_tiles + 1
    tiles_of_latest = deque([most_tiles] * READ_AHEAD, READ_AHEAD)  # until they are seen, photos are taken to be large

    def admitted(stream: Iterable[Pending | PhotoResult]) -> Iterator[Pending | PhotoResult]:
        nonlocal a_batch
        for item in stream:
            if stopped():
                return
            found = admit(item) if isinstance(item, Pending) else item
            if isinstance(found, Pending):
                tiles_of_latest.append(found.tiles)
                a_batch = min(ladder.size(found), LOOK_AHEAD_TILES * READ_AHEAD // sum(tiles_of_latest))
            yield found

    def until_stopped(stream: Iterable[Pending | PhotoResult]) -> Iterator[list[Pending] | PhotoResult]:
        for batch in group_by_tiles(admitted(stream), ladder.size):
            if not isinstance(batch, PhotoResult) and stopped():
                return
            yield batch

    # A GPU takes a whole batch at once, and would wait for what is not read while it works on the one before. Where few
    # and many tiles are mixed, a batch of the former's number would be more than the host's memory is meant to hold.
    feeding = overlapping(engine) is not None
    with closing(read_ahead(to_ask, read, taken_at_once=lambda: a_batch, sparing=feeding)) as stream:
        yield from ladder.answer_all(until_stopped(stream))


def count_tiles(files: Iterable[PhotoFile], tiling: Tiling, settings: ReadSettings) -> dict[int, int]:
    """How many of some photos will be cut into how many tiles; from their headers alone."""
    sizes = [size for file in files if (size := photo_size(file.path))]
    return dict(Counter(choose_grid(*size, tiling_for(tiling, settings.max_tiles)).tiles for size in sizes))


def write_report(path: Path, plan: RunPlan) -> None:
    """Write all that was found before the run, as one JSON object. Raises: OutputError."""
    found: dict[str, object] = {
        "photos": len(plan.files),
        "ignored": dict(plan.ignored),
        "skipped": plan.skipped,
        "same_bytes": plan.duplicates,
        "metadata": plan.metadata_match
        and {f.name: getattr(plan.metadata_match, f.name) for f in fields(plan.metadata_match) if f.name != "files"},
    }
    try:
        path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n", "utf-8", "backslashreplace")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}. Name another file with --report.") from None


def load_recipes(recipes: Sequence[str | Path], languages: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes, each once. Raises: InputError, RecipeError when one cannot be asked in all of the languages."""
    if not recipes:
        raise InputError(f"No recipe was asked for. Shipped: {', '.join(shipped_recipes())}.")
    loaded = tuple(load_recipe(name) for name in dict.fromkeys(recipes))
    for recipe in loaded:
        render(recipe, Metadata(), languages)
    ids = [recipe.id for recipe in loaded]
    if twice := sorted({id_ for id_ in ids if ids.count(id_) > 1}):
        raise InputError(f"Two recipes have the id {twice[0]!r}: their answers could not be told apart. Rename one.")
    return loaded


def _leaders(files: Photos, duplicates: Sequence[Sequence[str]]) -> dict[int, int]:
    """The earlier twin of each photo whose bytes and metadata were seen before."""
    index = {file.key: i for i, file in enumerate(files)} if duplicates else {}
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


def tiling_for(tiling: Tiling, max_tiles: int | None) -> Tiling:
    """A checkpoint's tiling with at most `max_tiles` in the grid; as it is for None."""
    if max_tiles is None:
        return tiling
    return replace(tiling, max_tiles=max_tiles, min_tiles=min(tiling.min_tiles, max_tiles))


def _in_order(plan: RunPlan, answered: Generator[PhotoResult, None, None]) -> Iterator[PhotoResult]:
    """Results in the plan's order, a follower's made from its leader's. Ends early when `answered` does."""
    leaders = set(plan.leader.values())
    done: dict[int, PhotoResult] = {}
    kept: dict[int, PhotoResult] = {}
    with closing(answered) as stream:
        for index, file in enumerate(plan.files):
            if index in plan.leader:
                yield replace(kept[plan.leader[index]], index=index, file=file)
                continue
            while index not in done:
                if (settled := next(stream, None)) is None:  # stopped
                    return
                done[settled.index] = settled
            result = done.pop(index)
            if index in leaders:
                kept[index] = result
            yield result
