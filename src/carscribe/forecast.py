"""What a run on a GPU would take, before the GPU is rented: memory, photos at once, photos an hour.

Composes the arithmetic of `memory` and `speed` with the table of `gpus`. Fetches nothing, loads no model and imports no
torch, so how many tokens a question has is counted in characters.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from carscribe.doctor.machine import Machine
from carscribe.doctor.smi import QUERY_GPUS, Gpu, parse_gpus
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.choosing import DEMO, SMALLEST, TYPICAL_ROW
from carscribe.engines.hub import Hub
from carscribe.errors import CheckpointError, InputError
from carscribe.gpus import BFLOAT16_FROM, DRIVER_BYTES, FP8_FROM, DataSheet, data_sheets, matching
from carscribe.memory import (
    BYTES_PER_VALUE,
    FAMILY,
    NAMED_ONLY,
    ON_GPU,
    QUANTISED,
    RUNTIME_BYTES,
    BatchBytes,
    BatchPlan,
    ModelShape,
    RowShape,
    batch_bytes,
    largest_that_fits,
    plan_batch,
    shape_of,
    weight_bytes,
)
from carscribe.packing import HEAD_TOKENS, TOKEN_QUANTUM, bucket_branches, common_prefix, round_up
from carscribe.pipeline import load_recipes
from carscribe.recipes.rendering import render
from carscribe.records import Metadata, Prompt, Recipe
from carscribe.speed import batch_seconds, batch_work

KNOWN: Mapping[str, ModelShape] = {**FAMILY, **NAMED_ONLY}
"""The siblings whose sizes are known without their files, smallest first."""

TILES = (1, 7, 13)
"""Of a photo that is not cut, of one of 3:2, of one of 4:3."""

BRANCH_TOKENS = 5
"""What the chat template puts behind a question, to end the turn and begin the answer."""

LATIN_CHARACTERS = 4.2
"""Characters a token in English. Korean has a token a syllable. Measured with Qwen's tokenizer on the shipped recipes:
4.2 to 5.1, and 1.0 to 1.1 tokens a syllable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A GPU to run on. `free_bytes` is what a process finds before it has begun; `sheet` is None for an unknown one."""

    name: str
    total_bytes: int
    free_bytes: int
    bfloat16: bool
    fp8: bool
    sheet: DataSheet | None
    is_here: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedShape:
    """A model by its name and its sizes."""

    name: str
    shape: ModelShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What each photo is asked: recipes by id, languages, and the row it makes of a photo of one tile."""

    recipes: tuple[str, ...]
    languages: tuple[str, ...]
    questions: int
    row: RowShape


@dataclass(frozen=True, slots=True, kw_only=True)
class TilesForecast:
    """Photos of one tile count: the batch, what it takes by what it is for, and how fast it goes.

    `photos_per_hour` is None where it does not fit or there is nothing to estimate it from.
    """

    batch: BatchPlan
    parts: BatchBytes
    photos_per_hour: float | None

    @property
    def idle_bytes(self) -> int:
        """What torch's allocator is expected to have of the GPU in vain: at most what the batch leaves free."""
        return max(0, min(self.parts.idle, self.batch.free_bytes - self.batch.batch_bytes))

    @property
    def total_bytes(self) -> int:
        """All that the process takes of the GPU."""
        return RUNTIME_BYTES + self.batch.weight_bytes + self.batch.batch_bytes + self.idle_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """A model on a GPU. Where its largest photos do not fit: what would fit there, and where it would."""

    place: Place
    model: NamedShape
    dtype: str
    tiles: tuple[TilesForecast, ...]
    fitting_model: str | None = None
    holding_gpus: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether photos of the most tiles fit."""
        return self.tiles[-1].batch.fits

    @property
    def quantised_bytes(self) -> Mapping[str, int | None]:
        """Bytes of the weights in each dtype that quantises them; None where the GPU or the model cannot have it."""
        return {held: quantised_bytes(self.place, self.model.shape, held) for held in QUANTISED}


def place_of(sheet: DataSheet) -> Place:
    """The GPU of a data sheet with nothing else on it."""
    return Place(
        name=sheet.name,
        total_bytes=sheet.memory_bytes,
        free_bytes=sheet.memory_bytes - DRIVER_BYTES,
        bfloat16=sheet.bfloat16,
        fp8=sheet.fp8,
        sheet=sheet,
        is_here=False,
    )


def place_here(machine: Machine) -> Place | None:
    """The GPU of this machine with the most free memory, by nvidia-smi; None where it shows none."""
    ran = machine.run(*QUERY_GPUS)
    gpus = [gpu for gpu in parse_gpus(ran.out if ran else "") if gpu.free_bytes is not None and not gpu.mig]
    return max(map(_place, gpus), key=lambda place: place.free_bytes, default=None)


def _place(gpu: Gpu) -> Place:
    found = matching(gpu.name)
    return Place(
        name=gpu.name,
        total_bytes=gpu.total_bytes or 0,
        free_bytes=gpu.free_bytes or 0,
        bfloat16=gpu.capability is None or gpu.capability >= BFLOAT16_FROM,
        fp8=gpu.capability is None or gpu.capability >= FP8_FROM,
        sheet=found[0] if len(found) == 1 else None,
        is_here=True,
    )


def asking(recipes: Sequence[str | Path], languages: Sequence[str]) -> Asking:
    """What a photo without metadata is asked. Raises: RecipeError, InputError."""
    loaded: tuple[Recipe, ...] = load_recipes(recipes, languages)
    prompts = [prompt for recipe in loaded for prompt in render(recipe, Metadata(), languages)]
    return Asking(
        recipes=tuple(recipe.id for recipe in loaded),
        languages=tuple(dict.fromkeys(languages)),
        questions=len(prompts),
        row=_row(prompts),
    )


def about_tokens(text: str) -> int:
    """About how many tokens a text has, by its characters.

    >>> about_tokens("Describe this car's wheels."), about_tokens("휠 디자인"), about_tokens("SUV")
    (6, 4, 1)
    """
    latin = sum(character < "\u1100" for character in text)
    return max(1, round(latin / LATIN_CHARACTERS) + len(text) - latin)


def _row(prompts: Sequence[Prompt]) -> RowShape:
    asked = sum(about_tokens(prompt.text) + BRANCH_TOKENS for prompt in prompts) - _said_once([p.text for p in prompts])
    choices = sum(about_tokens(choice) for prompt in prompts for choice in prompt.choices)
    caps = [prompt.max_new_tokens for prompt in prompts if not prompt.choices]
    return RowShape(
        tiles=1,
        branch_tokens=round_up(asked + choices, TOKEN_QUANTUM),
        columns=bucket_branches(len(caps)),
        new_tokens=max(caps, default=0),
    )


def _said_once(texts: Sequence[str]) -> int:
    """About how many tokens are saved by reading once what several texts begin with, as `carscribe.packing` does.

    >>> alike = "Answer in one short phrase, in English: its {}?"
    >>> _said_once([alike.format("colour"), alike.format("wheels"), "Is it new?"])
    10
    """
    alike: dict[str, list[str]] = {}
    for text in texts:
        begins = next((n for n in range(1, len(text)) if about_tokens(text[:n]) >= HEAD_TOKENS), len(text))
        alike.setdefault(text[:begins], []).append(text)
    saved = 0
    for each in alike.values():
        common = common_prefix([tuple(map(ord, text)) for text in each])
        saved += (len(each) - 1) * about_tokens(each[0][:common])
    return saved


def named_shape(model: str) -> NamedShape:
    """A sibling by its name or a part of it ("8B"), a checkpoint's folder, or a hub's model that was fetched before.

    Raises: CheckpointError when it is none of these, or its config.json lacks a size; InputError for the demo model.
    """
    if model == DEMO:
        raise InputError("The demo model takes 11 MB and is made for a CPU: there is nothing to plan.")
    for name, shape in KNOWN.items():
        short = name.rpartition("/")[2].removesuffix("-hf")
        if model.lower() in {spelt.lower() for spelt in (name, f"{short}-hf", short, short.rpartition("-")[2])}:
            return NamedShape(name=name, shape=shape)
    try:
        hub = None if Path(model).expanduser().is_dir() else replace(Hub.of_environment(), offline=True)
        checkpoint = open_checkpoint(model, hub=hub)
    except CheckpointError as error:
        if Path(model).exists() or "HF_HUB_OFFLINE" not in str(error):
            raise
        raise CheckpointError(
            f"{model} was not fetched yet, and a plan fetches nothing. Give a folder, {', '.join(map(_short, KNOWN))}, "
            f"or first: carscribe pull {model}"
        ) from None
    try:
        return NamedShape(name=checkpoint.name, shape=shape_of(checkpoint.config))
    except KeyError as error:
        raise CheckpointError(f"{model}: its config.json does not say {error}, so its memory cannot be told.") from None


def tile_counts(max_tiles: int | None) -> tuple[int, ...]:
    """Tile counts to forecast: 1, 7 and 13, or what a photo has at most under `--max-tiles`, the thumbnail with it.

    >>> tile_counts(None), tile_counts(6), tile_counts(1)
    ((1, 7, 13), (7,), (1,))
    """
    if max_tiles is None:
        return TILES
    return (max_tiles + 1 if max_tiles > 1 else 1,)


def dtype_on(place: Place, dtype: str) -> str:
    """What `auto` is on a GPU. Raises: InputError for bfloat16 or fp8 on one that does not compute in it."""
    if dtype == "auto":
        return "bfloat16" if place.bfloat16 else "float16"
    if dtype not in (*BYTES_PER_VALUE, *QUANTISED):
        raise InputError(f"No dtype {dtype!r}. Give one of: auto, {', '.join((*BYTES_PER_VALUE, *QUANTISED))}.")
    if dtype == "bfloat16" and not place.bfloat16:
        raise InputError(f"{place.name} has no bfloat16. Give --dtype float16, or float32 at twice the memory.")
    if dtype == "fp8" and not place.fp8:
        raise InputError(f"{place.name} does not multiply in fp8. Give --dtype int8, which takes as little memory.")
    return dtype


def sheets_with(dtype: str) -> tuple[DataSheet, ...]:
    """The GPUs of the table that compute in `dtype`, as the user gave it; smallest memory first."""
    match dtype:
        case "bfloat16":
            return tuple(sheet for sheet in data_sheets() if sheet.bfloat16)
        case "fp8":
            return tuple(sheet for sheet in data_sheets() if sheet.fp8)
        case _:
            return data_sheets()


def picked_model(place: Place, dtype: str) -> NamedShape:
    """What `describe` picks by itself there; the smallest of the family where nothing fits."""
    name = largest_that_fits(place.free_bytes, dtype, TYPICAL_ROW) or SMALLEST
    return NamedShape(name=name, shape=FAMILY[name])


def forecast(
    place: Place, model: NamedShape | None, asked: Asking, *, dtype: str = "auto", tiles: Sequence[int] = TILES
) -> Forecast:
    """A model on a GPU; without a model, the one that `describe` would pick there.

    Raises: InputError for a dtype that the GPU or the model cannot have.
    """
    kind = dtype_on(place, dtype)
    chosen = model or picked_model(place, kind)
    if kind in QUANTISED and quantised_bytes(place, chosen.shape, kind) is None:
        raise InputError(f"{chosen.name} has projections of sizes that {kind} cannot hold. Give --dtype int8.")
    found = tuple(_tiles(place, chosen.shape, kind, replace(asked.row, tiles=count)) for count in tiles)
    whole = Forecast(place=place, model=chosen, dtype=kind, tiles=found)
    if whole.fits:
        return whole
    row = replace(asked.row, tiles=tiles[-1])
    return replace(
        whole, fitting_model=fitting_model(place, row, kind), holding_gpus=holding_gpus(chosen.shape, row, dtype)
    )


def fitting_model(place: Place, row: RowShape, dtype: str) -> str | None:
    """The largest sibling of which such rows fit on a GPU; None when not even the smallest."""
    fitting = (name for name, shape in reversed(list(KNOWN.items())) if _batch(place, shape, dtype, row).fits)
    return next(fitting, None)


def holding_gpus(shape: ModelShape, row: RowShape, dtype: str) -> tuple[str, ...]:
    """The GPUs of the table that hold a model and such rows, smallest first; `dtype` as the user gave it."""
    places = [place_of(sheet) for sheet in sheets_with(dtype)]
    return tuple(place.name for place in places if _batch(place, shape, dtype_on(place, dtype), row).fits)


def quantised_bytes(place: Place, shape: ModelShape, held: str) -> int | None:
    """Bytes of weights held so; None where the GPU has no fp8, or a projection too few inputs for int4."""
    if held == "fp8" and not place.fp8:
        return None
    try:
        return weight_bytes(shape, held)
    except ValueError:
        return None


def _batch(place: Place, shape: ModelShape, dtype: str, row: RowShape) -> BatchPlan:
    left = place.free_bytes - RUNTIME_BYTES - weight_bytes(shape, dtype)
    return plan_batch(shape, row, dtype, left, ON_GPU)


def _tiles(place: Place, shape: ModelShape, dtype: str, row: RowShape) -> TilesForecast:
    batch = _batch(place, shape, dtype, row)
    parts = batch_bytes(shape, row, dtype, ON_GPU, photos=batch.photos)
    return TilesForecast(batch=batch, parts=parts, photos_per_hour=_photos_per_hour(place, shape, dtype, row, batch))


def _photos_per_hour(place: Place, shape: ModelShape, dtype: str, row: RowShape, batch: BatchPlan) -> float | None:
    """None in float32 too: data sheets' matrix rates are of 16-bit floats."""
    if place.sheet is None or dtype == "float32" or not batch.fits:
        return None
    work = batch_work(shape, row, batch.photos, dtype=dtype)
    return 3600 * batch.photos / batch_seconds(work, place.sheet)


def _short(name: str) -> str:
    """A sibling's size, as a person types it.

    >>> _short("OpenGVLab/InternVL3-8B-hf")
    '8B'
    """
    return name.removesuffix("-hf").rpartition("-")[2]
