"""Plans: what a model of some shape needs of memory, before anything is loaded. Arithmetic only.

All figures are bytes. Estimates, not measurements: the engine starts from them and steps down when they were too rosy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from carscribe.packing import round_up

GIB = 2**30
BYTES_PER_VALUE: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "float16": 2}
Held = Literal["fp8", "int8", "int4"]
"""How the projections of the language model's layers are held where they are quantised; all else is in what the device
computes in: 16 bits on a GPU, float32 on a CPU."""

QUANTISED: tuple[Held, ...] = ("fp8", "int8", "int4")

LARGEST_GROUP, SMALLEST_GROUP = 128, 16
"""Inputs of an int4 weight that share a scale and a zero."""

RUNTIME_BYTES = int(0.75 * GIB)
"""What a process has of a GPU beside torch's allocator: a CUDA context and libraries. Measured on an H100."""

TEMPLATE_TOKENS = 8
"""What a chat template puts before a photo, and a question's beginning that is read with it."""

SLOT_QUANTUM = 64
"""A cache has a multiple of so many slots, so that batches of other questions share its shape."""

SCORED_ROWS = 256
"""Places whose logits are made at once when choices are scored, in the model's dtype and in float32."""

PAGE_BYTES = 20 * 2**20
"""What torch's allocator, its segments growing, takes of a GPU at a time where tensors have more than a MiB."""

RESTING_PAGES = 5
"""That much beside the weights cannot go back where no layer is quantised, be they many or few."""

BETWEEN_BYTES = 150 * 2**20
"""What lies between a batch's tensors and is too small for others. Seen on an H200 and an H100, as `RESTING_PAGES`."""

SHORT_OPERATIONS = 3.6e11
"""Of a layer in a decode step: half a millisecond on an H100, thrice what a host takes to launch its kernels. A slower
GPU takes longer, and could do with less."""

USED_SHARE = 0.9
"""Of what is free beside the weights, how much is planned with: the rest is for what the allocator cannot use. Where
that is more, it gives back what lies idle before it gives up, which takes time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a device is given at once at most, however much memory it has.

    A batch has so many `photos`, and `tiles` of them together. It is read in parts of `read_tiles`, by the vision tower
    and the language model, and asked in parts of `asked_tokens`: no pass holds activations of more. `computing` is what
    it computes in where weights are quantised; with `graphs`, as on a GPU, short decode steps have memory of their own
    beside the rest, and torch's allocator is in between.
    """

    photos: int
    tiles: int
    read_tiles: int
    asked_tokens: int
    computing: str
    graphs: bool


ON_GPU = Limits(photos=384, tiles=1792, read_tiles=64, asked_tokens=16_384, computing="bfloat16", graphs=True)
"""A pass of 64 tiles, 16,384 tokens, keeps a GPU's matrix units busy. Decoding reads all weights a step, and shares
that among the answers of a batch."""

ON_CPU = Limits(photos=16, tiles=32, read_tiles=8, asked_tokens=4096, computing="float32", graphs=False)
"""A CPU gains nothing from more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """The sizes of an InternVL3, as its config.json has them."""

    vision_hidden: int
    vision_layers: int
    vision_mlp: int
    vision_tokens: int
    """Patches of one tile, before the pixel shuffle."""
    tile_tokens: int
    """Tokens of one tile in the language model."""
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    mlp: int
    vocabulary: int
    tied: bool = False

    @property
    def parameters(self) -> int:
        """How many weights there are, biases and norms left out (they are one in a thousand).

        >>> round(FAMILY["OpenGVLab/InternVL3-8B-hf"].parameters / 1e9, 2)
        7.94
        """
        body = self.vision_parameters + self.projector_parameters + self.layer_parameters
        return body + self.head_parameters * (1 if self.tied else 2)

    @property
    def vision_parameters(self) -> int:
        """Those of the vision tower."""
        return self.vision_layers * (4 * self.vision_hidden**2 + 2 * self.vision_hidden * self.vision_mlp)

    @property
    def projector_parameters(self) -> int:
        """Those between the vision tower and the language model."""
        shuffled = self.vision_hidden * self.vision_tokens // self.tile_tokens
        return shuffled * self.hidden + self.hidden**2

    @property
    def projections(self) -> tuple[tuple[int, int], ...]:
        """(outputs, inputs) of a layer's projections: query, key and value as one, output, gate and up as one, down."""
        attended = self.heads * self.head_dim
        return (
            (attended + 2 * self.kv_heads * self.head_dim, self.hidden),
            (self.hidden, attended),
            (2 * self.mlp, self.hidden),
            (self.hidden, self.mlp),
        )

    @property
    def layer_parameters(self) -> int:
        """Those of the language model's layers, all of which every token passes."""
        return self.layers * sum(outputs * inputs for outputs, inputs in self.projections)

    @property
    def head_parameters(self) -> int:
        """Those that make logits; the embedding has as many, or is the same when they are `tied`."""
        return self.vocabulary * self.hidden


@dataclass(frozen=True, slots=True, kw_only=True)
class RowShape:
    """One photo's row: `tiles`, `branch_tokens` beside the prefix, `columns` decoded at once for `new_tokens` each."""

    tiles: int
    branch_tokens: int
    columns: int
    new_tokens: int

    def prefix_tokens(self, shape: ModelShape) -> int:
        """Tokens of the photo, and the template's own words around it."""
        return self.tiles * shape.tile_tokens + TEMPLATE_TOKENS

    def slots(self, shape: ModelShape) -> int:
        """Tokens whose keys and values are kept: an answer's last one is not, and all are rounded up."""
        answers = self.columns * max(0, self.new_tokens - 1)
        return round_up(self.prefix_tokens(shape) + self.branch_tokens + answers, SLOT_QUANTUM)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchBytes:
    """What a batch takes besides the weights, in bytes, by what it is for.

    The caches stay for the whole batch. Passes come one after another: `vision` are the activations of a part's tiles,
    `reading` those of its prefixes, `asking` those of a part's questions with their masks, `choosing` the logits that
    tokens are chosen from, beside the one projection that is dequantised where weights are quantised. `graphs` is what
    decode steps that are replayed hold once more. `idle` is what torch's allocator has of a GPU and cannot use between
    tensors of other sizes, those of the weights too; where there is no room for it, it has less.
    """

    prefix_cache: int
    branch_cache: int
    vision: int
    reading: int
    asking: int
    choosing: int
    graphs: int
    idle: int

    @property
    def passes(self) -> int:
        """The most that a pass needs."""
        return max(self.vision, self.reading, self.asking, self.choosing)

    @property
    def total(self) -> int:
        """The most that is held at once by tensors."""
        return self.prefix_cache + self.branch_cache + self.passes + self.graphs

    @property
    def reserved(self) -> int:
        """The most that is held at once, with what lies idle."""
        return self.total + self.idle


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPlan:
    """What a batch of `photos` with `tiles` each is expected to take, in bytes: the weights, and all that comes on top.

    `free_bytes` is what was free, on top of the weights, when the plan was made.
    """

    photos: int
    tiles: int
    weight_bytes: int
    batch_bytes: int
    free_bytes: int

    @property
    def fits(self) -> bool:
        """Whether there is room for it; without it, a plan is of one photo all the same."""
        return self.batch_bytes <= int(USED_SHARE * self.free_bytes)


def _family(hidden: int, layers: int, heads: int, kv_heads: int, mlp: int) -> ModelShape:
    return ModelShape(
        vision_hidden=1024,
        vision_layers=24,
        vision_mlp=4096,
        vision_tokens=1024,
        tile_tokens=256,
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        mlp=mlp,
        vocabulary=151_674,
    )


FAMILY: Mapping[str, ModelShape] = {
    "OpenGVLab/InternVL3-1B-hf": _family(896, 24, 14, 2, 4864),
    "OpenGVLab/InternVL3-2B-hf": _family(1536, 28, 12, 2, 8960),
    "OpenGVLab/InternVL3-8B-hf": _family(3584, 28, 28, 4, 18944),
}
"""The siblings that Carscribe picks from by itself, smallest first. Source: the checkpoints' config.json."""

NAMED_ONLY: Mapping[str, ModelShape] = {
    "OpenGVLab/InternVL3-14B-hf": _family(5120, 48, 40, 8, 13824),
    "OpenGVLab/InternVL3-38B-hf": replace(
        _family(5120, 64, 40, 8, 27648), vision_hidden=3200, vision_layers=45, vision_mlp=12800
    ),
}
"""Siblings that run when they are named, smallest first. The 38B has InternViT-6B. Source: as for `FAMILY`."""


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """The shape in a config.json. Raises: KeyError when a size is missing."""
    vision, text = config["vision_config"], config["text_config"]
    image = vision["image_size"][0] if isinstance(vision["image_size"], list) else vision["image_size"]
    patch = vision["patch_size"][0] if isinstance(vision["patch_size"], list) else vision["patch_size"]
    patches = (image // patch) ** 2
    return ModelShape(
        vision_hidden=vision["hidden_size"],
        vision_layers=vision["num_hidden_layers"],
        vision_mlp=vision["intermediate_size"],
        vision_tokens=patches,
        tile_tokens=int(patches * config.get("downsample_ratio", 0.5) ** 2),
        hidden=text["hidden_size"],
        layers=text["num_hidden_layers"],
        heads=text["num_attention_heads"],
        kv_heads=text["num_key_value_heads"],
        head_dim=text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"],
        mlp=text["intermediate_size"],
        vocabulary=text["vocab_size"],
        tied=bool(config.get("tie_word_embeddings", True)),
    )


def held_of(dtype: str) -> Held | None:
    """How projections are held in `dtype`; None where they are not quantised.

    >>> held_of("int8"), held_of("bfloat16")
    ('int8', None)
    """
    return next((held for held in QUANTISED if held == dtype), None)


def kv_bytes_per_token(*, layers: int, kv_heads: int, head_dim: int, bytes_per_value: int = 2) -> int:
    """Bytes of key/value cache one token takes, all layers (the 2 is one key and one value).

    >>> kv_bytes_per_token(layers=28, kv_heads=4, head_dim=128)
    57344
    """
    return 2 * layers * kv_heads * head_dim * bytes_per_value


def weight_bytes(shape: ModelShape, dtype: str, computing: str = ON_GPU.computing) -> int:
    """Bytes of the weights; `computing` is what all but the layers' projections is in where those are quantised.

    >>> eight = FAMILY["OpenGVLab/InternVL3-8B-hf"]
    >>> [round(weight_bytes(eight, dtype) / GIB, 1) for dtype in ("bfloat16", "fp8", "int8", "int4")]
    [14.8, 8.7, 8.7, 5.9]
    """
    others = shape.parameters - shape.layer_parameters
    return layer_bytes(shape, dtype, computing) + others * value_bytes(dtype, computing)


def short_step(shape: ModelShape) -> int:
    """Answers up to which a decode step may be over before its kernels are launched, so that it is worth a graph.

    >>> [short_step(shape) for shape in FAMILY.values()]
    [12072, 3846, 772]
    """
    return int(SHORT_OPERATIONS * shape.layers / (2 * shape.layer_parameters))


def layer_bytes(shape: ModelShape, dtype: str, computing: str = ON_GPU.computing) -> int:
    """Bytes of the projections of all layers, with the scales and zeros of quantised ones."""
    return shape.layers * sum(
        projection_bytes(outputs, inputs, dtype, computing) for outputs, inputs in shape.projections
    )


def projection_bytes(outputs: int, inputs: int, dtype: str, computing: str = ON_GPU.computing) -> int:
    """Bytes of one projection's weight: a scale in float32 an output in fp8, one in `computing` an output in int8; in
    int4 half a byte a weight, and a scale and a zero in `computing` a group.

    >>> [projection_bytes(3584, 18944, dtype) for dtype in ("bfloat16", "fp8", "int8", "int4")]
    [135790592, 67909632, 67902464, 36069376]
    """
    value = value_bytes(dtype, computing)
    match dtype:
        case "fp8":
            return outputs * (inputs + 4)
        case "int8":
            return outputs * (inputs + value)
        case "int4":
            return outputs * inputs // 2 + outputs * (inputs // int4_group(inputs)) * 2 * value
        case _:
            return outputs * inputs * value


def int4_group(inputs: int) -> int:
    """How many inputs of an int4 weight share a scale: 128, or the largest power of two that divides them.

    Raises: ValueError when that is less than 16.

    >>> int4_group(3584), int4_group(448), int4_group(48)
    (128, 64, 16)
    """
    group = min(LARGEST_GROUP, inputs & -inputs)
    if group < SMALLEST_GROUP:
        raise ValueError(f"int4 needs projections of a multiple of {SMALLEST_GROUP} inputs; one has {inputs}.")
    return group


def value_bytes(dtype: str, computing: str = ON_GPU.computing) -> int:
    """Bytes of an activation, of a cached key or value, and of a weight that is not quantised."""
    return BYTES_PER_VALUE[computing if dtype in QUANTISED else dtype]


def dequantised_bytes(shape: ModelShape, dtype: str, computing: str = ON_GPU.computing) -> int:
    """Bytes of the largest projection while it is multiplied with, as it was before it was quantised.

    int4 holds it once more in a byte a weight, before it is scaled; fp8 is multiplied as it is, save on a CPU.
    """
    largest = max(outputs * inputs for outputs, inputs in shape.projections)
    match dtype:
        case "int4":
            return largest * (value_bytes(dtype, computing) + 1)
        case "int8":
            return largest * value_bytes(dtype, computing)
        case "fp8" if computing == ON_CPU.computing:
            return largest * value_bytes(dtype, computing)
        case _:
            return 0


def batch_bytes(
    shape: ModelShape, row: RowShape, dtype: str, limits: Limits, *, photos: int, compiled: bool | None = None
) -> BatchBytes:
    """What a batch of `photos` such rows takes where the device has these `limits`.

    `compiled`: whether layers are. Without it, in fp8 on a GPU alone, which is from the start; elsewhere a run begins
    without. Rows are taken to be asked alike, so that they share a mask.
    """
    value = value_bytes(dtype, limits.computing)
    if compiled is None:
        compiled = dtype == "fp8" and limits.graphs
    prefix, slots = row.prefix_tokens(shape), row.slots(shape)
    per_slot = kv_bytes_per_token(
        layers=shape.layers, kv_heads=shape.kv_heads, head_dim=shape.head_dim, bytes_per_value=value
    )
    of_mlp, of_hidden, idle_mlp = _vectors_a_token(dtype, compiled=compiled)
    attended = 2 * (shape.kv_heads + 1) * shape.head_dim  # keys and values as they are put together
    per_token = int((of_mlp * shape.mlp + of_hidden * shape.hidden + attended) * value)
    masks = (shape.heads // shape.kv_heads + 1) * row.branch_tokens * (prefix + row.branch_tokens)
    read = largest_part(photos, read_at_once(row.tiles, limits))
    asked = largest_part(photos, asked_at_once(row.branch_tokens, limits))
    answers, dequantised = photos * row.columns, dequantised_bytes(shape, dtype, limits.computing)
    step = answers * shape.vocabulary * value + dequantised
    replayed = min(answers, short_step(shape)) * shape.vocabulary * value + dequantised
    found = BatchBytes(
        prefix_cache=photos * prefix * per_slot,
        branch_cache=photos * (slots - prefix) * per_slot,
        vision=vision_bytes(
            shape, largest_part(read * row.tiles, limits.read_tiles), dtype, limits.computing, compiled=compiled
        ),
        reading=read * prefix * per_token,
        asking=asked * row.branch_tokens * per_token + masks,
        choosing=max(step, SCORED_ROWS * shape.vocabulary * 8),
        graphs=replayed if limits.graphs else 0,
        idle=0,
    )
    if not limits.graphs:
        return found
    resting = resting_bytes(shape, dtype, limits.computing)
    reading = found.reading + int(read * prefix * idle_mlp * shape.mlp * value)
    return replace(found, idle=resting + BETWEEN_BYTES + max(0, reading - found.passes))


def resting_bytes(shape: ModelShape, dtype: str, computing: str = ON_GPU.computing) -> int:
    """Bytes beside the weights that torch's allocator has of a GPU once they are loaded, and cannot use.

    What a quantised weight was made of leaves places that weights of the vision tower, loaded later, come to lie in.
    They stay when a layer's are gathered, and pages around them are not whole. Counted as one a layer, or as much
    as the layer has where that is less; 0.2 to 1.4 were seen, of 16 sizes and dtypes.

    >>> eight = FAMILY["OpenGVLab/InternVL3-8B-hf"]
    >>> [resting_bytes(eight, dtype) // PAGE_BYTES for dtype in ("bfloat16", "int4")]
    [5, 28]
    """
    if held_of(dtype) is None:
        return RESTING_PAGES * PAGE_BYTES
    return min(shape.layers * PAGE_BYTES, layer_bytes(shape, dtype, computing))


def _vectors_a_token(dtype: str, *, compiled: bool) -> tuple[float, int, float]:
    """What a token of a pass holds: vectors of the MLP (gate and up, what activates them, their product) and of the
    hidden size; and of the MLP's once more, what lies idle beside a pass.

    Counted for 16 bits as they are (`tests/engines/test_memory_counted.py`); the rest was seen on a GPU
    (`bench/gpu_memory.py`). Compiled, gate and up are activated where their product goes, in fp8 at half its size.
    """
    if compiled:
        return (2.5 if dtype == "fp8" else 3.0), 5, 0.0
    return (5.5 if dtype == "fp8" else 4.0), 6, 1.25


def largest_part(count: int, most: int) -> int:
    """Of `count` things in as few equal parts of at most `most` as there can be, how many the largest has.

    >>> largest_part(64, 29), largest_part(9, 9)
    (22, 9)
    """
    return -(-count // -(-count // most))


def read_at_once(tiles: int, limits: Limits) -> int:
    """How many photos of so many tiles are read in one part.

    >>> [read_at_once(tiles, ON_GPU) for tiles in (1, 7, 13, 100)]
    [64, 9, 4, 1]
    """
    return max(1, limits.read_tiles // tiles)


def asked_at_once(branch_tokens: int, limits: Limits) -> int:
    """How many photos are asked questions of so many tokens in one part.

    >>> [asked_at_once(tokens, ON_GPU) for tokens in (400, 1032, 20_000)]
    [40, 15, 1]
    """
    return max(1, limits.asked_tokens // max(1, branch_tokens))


def vision_bytes(
    shape: ModelShape, tiles: int, dtype: str, computing: str = ON_GPU.computing, *, compiled: bool = False
) -> int:
    """Bytes of the vision tower's activations over `tiles` at once: two vectors of the MLP and seven of the hidden
    size a patch; one of each less where layers are `compiled`.
    """
    of_mlp, of_hidden = (1, 6) if compiled else (2, 7)
    per_token = (of_mlp * shape.vision_mlp + of_hidden * shape.vision_hidden) * value_bytes(dtype, computing)
    return tiles * (shape.vision_tokens + 1) * per_token


def rows_that_fit(
    shape: ModelShape, row: RowShape, dtype: str, free_bytes: int, limits: Limits, *, compiled: bool | None = None
) -> int:
    """How many such rows fit in `free_bytes` beside the weights, a tenth kept back, and within `limits`; or 0."""
    most = max(1, min(limits.photos, limits.tiles // row.tiles))
    budget = int(USED_SHARE * free_bytes)
    fitting = (
        photos
        for photos in range(most, 0, -1)  # one more may take less: parts are of equal size
        if batch_bytes(shape, row, dtype, limits, photos=photos, compiled=compiled).total <= budget
    )
    return next(fitting, 0)


def plan_batch(
    shape: ModelShape, row: RowShape, dtype: str, free_bytes: int, limits: Limits, *, compiled: bool | None = None
) -> BatchPlan:
    """As many photos as fit in `free_bytes` beside the weights, at most what `limits` allows and at least 1.

    `compiled` as for `batch_bytes`.

    >>> row = RowShape(tiles=13, branch_tokens=512, columns=8, new_tokens=40)
    >>> plan_batch(FAMILY["OpenGVLab/InternVL3-8B-hf"], row, "bfloat16", 60 * GIB, ON_GPU).photos
    137
    """
    photos = max(1, rows_that_fit(shape, row, dtype, free_bytes, limits, compiled=compiled))
    return BatchPlan(
        photos=photos,
        tiles=row.tiles,
        weight_bytes=weight_bytes(shape, dtype, limits.computing),
        batch_bytes=batch_bytes(shape, row, dtype, limits, photos=photos, compiled=compiled).total,
        free_bytes=free_bytes,
    )


def largest_that_fits(free_bytes: int, dtype: str, row: RowShape) -> str | None:
    """The largest of the family whose weights and one photo fit in `free_bytes`; None when not even the smallest.

    >>> row = RowShape(tiles=13, branch_tokens=400, columns=8, new_tokens=40)
    >>> largest_that_fits(24 * GIB, "bfloat16", row), largest_that_fits(8 * GIB, "bfloat16", row)
    ('OpenGVLab/InternVL3-8B-hf', 'OpenGVLab/InternVL3-2B-hf')
    >>> largest_that_fits(1 * GIB, "bfloat16", row) is None
    True
    """
    for name, shape in reversed(list(FAMILY.items())):
        left = free_bytes - RUNTIME_BYTES - weight_bytes(shape, dtype)
        if rows_that_fit(shape, row, dtype, left, ON_GPU):
            return name
    return None
