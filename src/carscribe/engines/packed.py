"""InternVL3 run on packed rows.

The vision tower is transformers' own, and so is the language model, whose layers run fused where `layers` knows their
kind, and through transformers' public seams otherwise: the attention function (an `AttentionInterface`), the cache (a
`Cache`), and the rotary embedding (a module, here a table). Masks and positions come from `carscribe.packing`. All
shapes of a batch are known before it starts, so that a decode step can be captured in a graph.

Shapes: B rows, P prefix tokens, N branch tokens, C columns decoded at once, M tokens of all rows, K slots of the cache,
H heads, V vocabulary.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers.cache_utils import Cache

from carscribe.engines.checkpoint import first_line
from carscribe.engines.device import sent
from carscribe.engines.layers import FusedLayer, PatchProjection, fused
from carscribe.memory import SCORED_ROWS, SLOT_QUANTUM, ModelShape, shape_of

Attend = Callable[..., torch.Tensor]
"""Attention: query [B, H, T, D], key and value [B, H_kv, K, D], `scaling`, to [B, T, H, D]."""

ATTENTION = "carscribe_packed"
"""The name under which `packed_attention` is known to transformers."""

MASKED = -65504.0
"""What is added to a masked score: the least of float16, next to which nothing is left of it."""

ALIGNED = 64
"""Matrix products with a side that is no multiple of 8 run several times slower on a GPU, and InternVL3's 151,674
tokens are none: the output layer gets rows of zeros up to a multiple of this."""

AMPERE = (8, 0)

MOST_STEP_QUERIES, LEAST_STEP_PROGRAMS = 64, 128
"""When a decode step has its own attention: so many queries that share a key/value head at most, and so many of these
heads in all rows at least. On an H100 it was as fast as torch's with 64 of them, and a quarter faster with 256."""

TRIED_TOKENS = 1031
"""Layers are compiled on so many: a number that no size of a model is, or compilers take the two to be one. On fewer
than twice a GPU's processors, inductor divides sums over long rows among them, in two kernels where one does."""


def packed_attention(
    _module: torch.nn.Module | None,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal without a mask; with one, the query heads that share a key/value head are folded into the query axis.

    query [B, H, T, D]; key and value [B, H_kv, K, D]; attention_mask [1 or B, 1, H/H_kv · T, K], folded alike: bool, or
    what is added to scores.
    Keys and values are never repeated. Returns [B, T, H, D].
    """
    if attention_mask is None:
        grouped = query.shape[1] != key.shape[1]
        causal = query.shape[2] > 1
        out = F.scaled_dot_product_attention(
            query, key, value, is_causal=causal, scale=scaling, dropout_p=dropout, enable_gqa=grouped
        )
    else:
        batch, heads, tokens, width = query.shape
        folded = query.reshape(batch, key.shape[1], heads // key.shape[1] * tokens, width)
        out = F.scaled_dot_product_attention(
            folded, key, value, attn_mask=attention_mask, scale=scaling, dropout_p=dropout
        ).reshape(batch, heads, tokens, width)
    return out.transpose(1, 2), None


def folded(mask: torch.Tensor, heads_per_kv: int) -> torch.Tensor:
    """A mask [b, T, K] as `packed_attention` takes it: [b, 1, heads_per_kv · T, K]."""
    return mask.repeat(1, heads_per_kv, 1)[:, None]


def _attend(
    mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scaling: float
) -> torch.Tensor:
    return packed_attention(None, query, key, value, mask, scaling=scaling)[0]


def step_attention_for(like: torch.Tensor, shape: ModelShape) -> Attend | None:
    """`step_attention` for a model of this shape, on the GPU and in the dtype of `like`; tried out. None where it is no
    use: before Ampere, whose matrix units are the first that triton compiles for, and in float32, in which answers are
    to be torch's own to the last bit.
    """
    heads, kv_heads, width = shape.heads, shape.kv_heads, shape.head_dim
    columns = MOST_STEP_QUERIES // (heads // kv_heads)
    if like.element_size() != 2 or width < 16 or width & (width - 1) or columns < 1:
        return None
    if torch.version.cuda and torch.cuda.get_device_capability(like.device) < AMPERE:
        return None
    try:
        if find_spec("triton") is None:
            return None
        from carscribe.engines.step_attention import step_attention

        query, cached = like.new_zeros((1, heads, columns, width)), like.new_zeros((1, kv_heads, SLOT_QUANTUM, width))
        seen = torch.ones((1, columns, SLOT_QUANTUM), dtype=torch.bool, device=like.device)
        slots = torch.arange(columns, device=like.device)
        step_attention(query, cached, cached, seen, seen[0, 0, :1], slots, slots[:1], scaling=1.0)
    except Exception as error:  # noqa: BLE001 - compilers fail in ways of their own, and torch's attention is there
        logging.getLogger(__name__).warning(
            "Answers are decoded with torch's attention, a little slower: triton does not work here (%s).",
            first_line(error),
        )
        return None
    return step_attention


class RotaryTable(torch.nn.Module):
    """cos and sin of every position, computed once by the model's own rotary embedding.

    InternVL3's text RoPE is `dynamic`: within the context length it equals this table, but its code looks at the data,
    which compilers and graphs cannot.
    """

    def __init__(self, rotary: torch.nn.Module, positions: int, like: torch.Tensor) -> None:
        super().__init__()
        cos, sin = rotary(like[:1], torch.arange(positions, device=like.device)[None])
        self.register_buffer("cos", cos[0], persistent=False)
        self.register_buffer("sin", sin[0], persistent=False)

    def forward(self, _hidden: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """cos, sin [B, T, D] at position_ids [B, T]."""
        return self.cos[position_ids], self.sin[position_ids]  # type: ignore[index]


class PackedCache(Cache):  # type: ignore[misc]  # transformers is untyped
    """Keys and values of all rows in one buffer of K slots a layer, written at `slots`.

    `visible` is how many slots, from the first, the next pass attends to. While `reading` the prefix, a pass attends
    to its own keys alone.
    """

    def __init__(self, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], generation: int = 0) -> None:
        """A tensor [B, H_kv, K, D] a layer, all of finite numbers: a masked slot counts nothing, but nothing times NaN
        is NaN. `generation` says which memory they lie in: see `CachePool`.
        """
        super().__init__(layers=[])
        self.keys, self.values = keys, values
        self.generation = generation
        self.reading = False
        self.slots = torch.empty(0, dtype=torch.long, device=keys[0].device)
        self.visible = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep [B, H_kv, T, D] at `slots` [T]; what to attend to."""
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        keys.index_copy_(2, self.slots, key_states)
        values.index_copy_(2, self.slots, value_states)
        if self.reading:
            return key_states, value_states
        return keys[:, :, : self.visible], values[:, :, : self.visible]

    def part(self, rows: slice) -> "PackedCache":
        """The cache of some of the rows, in the same memory."""
        return PackedCache([keys[rows] for keys in self.keys], [values[rows] for values in self.values])

    def get_seq_length(self, layer_idx: int = 0) -> int:  # noqa: ARG002
        """Slots in use."""
        return self.visible


class CachePool:
    """The memory of caches, one buffer a layer that is as large as the largest cache asked for so far.

    Caches of one shape lie at the same addresses, whatever other shapes come between, so that what was captured on one
    serves the next; only one is in use at a time. A larger one moves them all.
    """

    def __init__(self, *, layers: int, kv_heads: int, width: int, like: torch.Tensor) -> None:
        self._layers, self._kv_heads, self._width, self._like = layers, kv_heads, width, like
        self._buffers: list[torch.Tensor] = []
        self._generation = 0  # another one whenever the memory is; an address alone may come back

    @property
    def held_bytes(self) -> int:
        """What it takes, in use or not: the next cache lies in it, or comes when it is gone."""
        return sum(buffer.nbytes for buffer in self._buffers)

    def take(self, batch: int, slots: int) -> PackedCache:
        """A cache of `slots` for `batch` rows; what it holds is of earlier ones."""
        shape = (batch, self._kv_heads, slots, self._width)
        size = batch * self._kv_heads * slots * self._width
        if not self._buffers or self._buffers[0].numel() < size:
            self.free()  # first, so that old and new are never held together
            self._buffers = [self._like.new_zeros(size) for _ in range(2 * self._layers)]
        views = [buffer[:size].view(shape) for buffer in self._buffers]
        return PackedCache(views[: self._layers], views[self._layers :], self._generation)

    def free(self) -> None:
        """Give the memory back."""
        self._buffers = []
        self._generation += 1


class PackedModel:
    """An `InternVLForConditionalGeneration` whose language model runs packed rows."""

    def __init__(self, model: Any, *, positions: int) -> None:
        """`model` must have been loaded with `ATTENTION` for its text config; it is changed in place.

        `positions` is the longest row that can come.
        """
        self.model = model
        self.language = model.model.language_model
        self.text_config = model.config.get_text_config()
        embedding = self.language.get_input_embeddings()
        like = embedding.weight.new_zeros((1, 1, self.text_config.hidden_size))
        self.language.rotary_emb = RotaryTable(self.language.rotary_emb, positions, like)
        self.device = embedding.weight.device
        self.shape = shape = shape_of(model.config.to_dict())  # config.json may leave out what is default
        self.caches = CachePool(
            layers=shape.layers,
            kv_heads=shape.kv_heads,
            width=shape.head_dim,
            like=like,
        )
        self.heads_per_kv = shape.heads // shape.kv_heads
        self.vocabulary = len(model.lm_head.weight)
        pad_rows(model.lm_head, embedding)
        self.layers = fused(self.language.layers)
        self.step_attention: Attend | None = None
        if self.device.type == "cuda":
            if self.layers is not None:
                self.step_attention = step_attention_for(like, shape)
            patches = model.model.vision_tower.embeddings.patch_embeddings
            patches.projection = PatchProjection(patches.projection)
        self.before, self.after = FusedLayer.before, FusedLayer.after

    @property
    def compiled(self) -> bool:
        """Whether layers are compiled."""
        return self.before is not FusedLayer.before

    def compile(self, backend: Any = "inductor") -> None:
        """Compile what a layer does before and after attention, and the vision tower's layers: once for all shapes.

        It is done at once, on made-up tokens and tiles. What fails raises as the compiler does; all stays as it was.
        """
        how: dict[str, Any] = {"dynamic": True, "backend": backend}
        tiles = list(self.model.model.vision_tower.encoder.layer)
        try:
            self.before = torch.compile(FusedLayer.before, fullgraph=True, **how)
            self.after = torch.compile(FusedLayer.after, fullgraph=True, **how)
            for layer in tiles:
                layer.compile(**how)
            self._try_out()
        except Exception:
            self.before, self.after = FusedLayer.before, FusedLayer.after
            for layer in tiles:
                layer._compiled_call_impl = None
            raise

    @torch.inference_mode()
    def _try_out(self) -> None:
        """One layer over `TRIED_TOKENS`, and two tiles through the vision tower."""
        config = self.model.config
        side = config.vision_config.image_size
        height, width = side if isinstance(side, list | tuple) else (side, side)
        like = self.language.embed_tokens.weight
        self.model.get_image_features(pixel_values=like.new_zeros((2, 3, height, width)))
        if self.layers is None:
            return
        hidden = like.new_zeros((TRIED_TOKENS, self.text_config.hidden_size))
        turn = self.language.rotary_emb(hidden, torch.zeros(TRIED_TOKENS, dtype=torch.long, device=self.device))
        query, _, _ = self.before(self.layers[0], hidden, *turn)
        self.after(self.layers[0], hidden, query.flatten(1))

    def read(
        self,
        cache: PackedCache,
        prefix_ids: torch.Tensor,
        image: torch.Tensor,
        pixels: Iterator[torch.Tensor],
    ) -> None:
        """Fill the first P slots of the cache: prefix_ids [P] shared by its rows, the image's tokens at `image`.

        pixels [tiles, 3, px, px] a chunk. Nothing is looked at or fetched on the way, so that a GPU is not waited for.
        """
        rows = len(cache.keys[0])
        features = torch.cat([self._features(chunk) for chunk in pixels])
        hidden = self.language.embed_tokens(prefix_ids).expand(rows, -1, -1).clone()
        hidden[:, image] = features.reshape(rows, len(image), -1).to(hidden.dtype)
        positions = torch.arange(len(prefix_ids), device=self.device)
        cache.reading, cache.slots = True, positions
        self._forward(cache, hidden, positions[None], None)
        cache.reading = False

    def ask(
        self,
        cache: PackedCache,
        prefix_tokens: int,
        token_ids: torch.Tensor,
        position_ids: torch.Tensor,
        tree_mask: torch.Tensor,
        wanted: torch.Tensor,
    ) -> torch.Tensor:
        """Run all branches' tokens [B, N] behind the prefix; hidden states [W, hidden] of the places `wanted` [W].

        tree_mask bool [1 or B, N, N] says which branch tokens each may see; all see the prefix. A place is b · N + n.
        """
        tokens = token_ids.shape[1]
        cache.slots = torch.arange(prefix_tokens, prefix_tokens + tokens, device=self.device)
        cache.visible = prefix_tokens + tokens
        seen = torch.ones(tree_mask.shape[0], tokens, prefix_tokens, dtype=torch.bool, device=self.device)
        mask = self.fold(torch.cat([seen, tree_mask], dim=-1))
        return self._forward(cache, self.language.embed_tokens(token_ids), position_ids, mask, wanted)

    def step(
        self,
        cache: PackedCache,
        token_ids: torch.Tensor,
        position_ids: torch.Tensor,
        mask: torch.Tensor,
        cells: torch.Tensor | None,
        alive: torch.Tensor,
        common: torch.Tensor,
    ) -> torch.Tensor:
        """One token of M columns [M] of the B × C there are; hidden states [M, hidden].

        The cache's slots [C] say where they go, mask bool [1 or B, C, K] what they see. `cells` [M] says which of the
        B · C each is; None: all, in order. alive bool [B]: the rows that have any. common int64 [1]: how many slots,
        from the first, all see.
        """
        rows, columns = len(cache.keys[0]), len(cache.slots)
        hidden = self.language.embed_tokens(token_ids)
        if self.layers is None:
            grid = _grid(_spread(hidden, cells, rows * columns), (rows, columns))
            positions = _grid(_spread(position_ids, cells, rows * columns), (rows, columns))
            return self._forward(cache, grid, positions, self.fold(mask), cells)
        few = columns * self.heads_per_kv <= MOST_STEP_QUERIES
        if self.step_attention is not None and few and rows * self.shape.kv_heads >= LEAST_STEP_PROGRAMS:
            attend = partial(self.step_attention, seen=mask, alive=alive, slots=cache.slots, common=common)
        else:
            attend = partial(_attend, self.fold(mask))
        cos, sin = self.language.rotary_emb(hidden, position_ids)
        return self._run(self.layers, cache, hidden, (cos, sin), attend, (rows, columns), cells)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [..., V] of hidden states [..., hidden], in the model's dtype."""
        logits: torch.Tensor = self.model.lm_head(hidden)[..., : self.vocabulary]
        return logits

    def log_probability(self, hidden: torch.Tensor, scored: NDArray[np.int64]) -> torch.Tensor:
        """Float32 [M]: log P of token scored[:, 1] after what hidden [U, hidden] has at scored[:, 0]."""
        order = np.argsort(scored[:, 0], kind="stable")
        places, tokens = scored[order, 0], scored[order, 1]
        starts = range(0, len(hidden), SCORED_ROWS)
        ends = np.searchsorted(places, [start + SCORED_ROWS for start in starts]).tolist()
        at, token = sent(places, self.device), sent(tokens, self.device)
        found = torch.empty(len(scored), dtype=torch.float32, device=self.device)
        for start, first, end in zip(starts, [0, *ends], ends, strict=False):
            logits = self.logits(hidden[start : start + SCORED_ROWS]).float()
            row = at[first:end] - start
            found[first:end] = logits[row, token[first:end]] - logits.logsumexp(-1)[row]
        return torch.empty_like(found).index_copy_(0, sent(order, self.device), found)

    def fold(self, mask: torch.Tensor) -> torch.Tensor:
        """A mask bool [b, T, K] as `packed_attention` takes it: [b, 1, H/H_kv · T, K].

        On a GPU in numbers of the model's dtype: attention would make them of it in each layer. No row is masked whole.
        """
        if self.device.type == "cuda":
            like = self.language.embed_tokens.weight
            mask = torch.where(mask, like.new_zeros(()), like.new_full((), MASKED))
        return folded(mask, self.heads_per_kv)

    def _features(self, pixels: torch.Tensor) -> torch.Tensor:
        """What the language model sees of tiles [tiles, 3, px, px]: [tiles, tokens, hidden]."""
        tiles = len(pixels)
        if tiles == 1 and self.compiled:
            pixels = pixels.expand(2, -1, -1, -1)  # a single one would be compiled for apart
        features: torch.Tensor = self.model.get_image_features(pixel_values=pixels).pooler_output
        return features[:tiles]

    def _forward(
        self,
        cache: PackedCache,
        hidden: torch.Tensor,
        position_ids: torch.Tensor,
        mask: torch.Tensor | None,
        wanted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """A pass over hidden [B, T, hidden] at position_ids [1 or B, T]; what the last layer says, normed.

        Of the places `wanted` [W], or all B · T. Fused, the last layer makes no other; none while the cache is
        `reading`, when nobody looks at it.
        """
        if self.layers is not None:
            rows, tokens = hidden.shape[:2]
            cos, sin = self.language.rotary_emb(hidden, position_ids)
            turn = (cos.expand(rows, -1, -1).flatten(0, 1), sin.expand(rows, -1, -1).flatten(0, 1))
            attend = partial(_attend, mask)
            return self._run(self.layers, cache, hidden.flatten(0, 1), turn, attend, (rows, tokens), None, wanted)
        out: torch.Tensor = self.language(
            inputs_embeds=hidden,
            position_ids=position_ids,
            attention_mask=mask,  # of four axes: every model that transformers makes masks for takes it as it is
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state.flatten(0, 1)
        return out if wanted is None else out[wanted]

    def _run(
        self,
        layers: Sequence[FusedLayer],
        cache: PackedCache,
        hidden: torch.Tensor,
        turn: tuple[torch.Tensor, torch.Tensor],
        attend: Attend,
        grid: tuple[int, int],
        cells: torch.Tensor | None,
        wanted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """hidden [M, hidden] through all layers; attention and the cache see a `grid` of B rows and T tokens.

        `cells` [M] says where in the grid they are, `wanted` [W] which places of it the last layer is to make.
        """
        places = grid[0] * grid[1]
        for i, layer in enumerate(layers):
            last = i + 1 == len(layers)
            states = self._part(self.before, hidden)(layer, hidden, *turn)
            query, key, value = (_grid(_spread(x, cells, places), grid).transpose(1, 2) for x in states)
            key, value = cache.update(key, value, i)
            if cache.reading and last:
                return hidden
            flat = attend(query, key, value, scaling=layer.scaling).reshape(places, -1)
            if last and wanted is not None:
                flat, hidden = flat[wanted], hidden[wanted]
            elif cells is not None:
                flat = flat[cells]
            hidden = self._part(self.after, hidden)(layer, hidden, flat)
        out: torch.Tensor = self.language.norm(hidden)
        return out

    def _part(self, part: Callable[..., Any], hidden: torch.Tensor) -> Callable[..., Any]:
        """`before` or `after`, compiled where it is: a single token would be compiled for apart."""
        if len(hidden) > 1:
            return part
        return FusedLayer.before if part is self.before else FusedLayer.after


def pad_rows(layer: Any, embedding: Any) -> None:
    """Rows of zeros up to a multiple of `ALIGNED`; an embedding that shares the weight goes along."""
    weight = layer.weight
    more = -len(weight) % ALIGNED
    if not more:
        return
    tied = embedding.weight is weight
    kept, rows = weight.detach().cpu(), len(weight)  # a GPU that the weights just fit does not hold them twice
    layer.weight = None
    if tied:
        embedding.weight = None
    like = {"dtype": weight.dtype, "device": weight.device}
    del weight
    padded = torch.nn.Parameter(torch.zeros(rows + more, kept.shape[1], **like), requires_grad=False)
    padded[:rows] = kept
    if tied:
        embedding.weight = padded
    layer.weight, layer.out_features = padded, len(padded)


def _spread(values: torch.Tensor, cells: torch.Tensor | None, places: int) -> torch.Tensor:
    """[M, ...] at `cells` of [places, ...], zeros elsewhere."""
    if cells is None:
        return values
    return values.new_zeros(places, *values.shape[1:]).index_copy_(0, cells, values)


def _grid(values: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """[B · T, ...] as [B, T, ...]."""
    return values.view(*grid, *values.shape[1:])


def register_attention() -> None:
    """Make `ATTENTION` known to transformers, before a model is loaded with it."""
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, packed_attention)
