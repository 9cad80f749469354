"""The engine that runs a checkpoint on this machine: one reading of a photo, all its questions beside it.

A batch goes through three passes: `read` the prefixes (image and template), `ask` all questions and choices at once,
`decode` the open answers a token a step. Token ids come from `prompting`, their places from `carscribe.packing`, the
passes from `packed` and `decoding`.
"""

import gc
import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from carscribe import memory
from carscribe.engines.adapters import Adapter, merged
from carscribe.engines.checkpoint import Checkpoint, first_line
from carscribe.engines.decoding import Graphs, Sampler, answer_slots, decode, draws_of, not_finite
from carscribe.engines.device import (
    Result,
    computing_dtype,
    give_back,
    hardware_name,
    host_buffer,
    peak_host_bytes,
    sent,
    version_of,
    within_memory,
)
from carscribe.engines.device import free_bytes as free_bytes
from carscribe.engines.packed import ATTENTION, PackedCache, PackedModel, register_attention
from carscribe.engines.prompting import PromptEncoder
from carscribe.engines.quantising import quantisation, quantise
from carscribe.errors import CheckpointError, EngineError, NumericsError
from carscribe.packing import Branch, Layout, common_prefix, lay_out, round_up
from carscribe.plaintext import counted
from carscribe.records import Answer, EngineCard, Prompt, Request, Tiling

PREFIX_QUANTUM = 8
"""What questions share past the image is read with it in steps of this many tokens."""

COMPILE_AFTER_S = 20.0
"""Seconds of answering after which layers are compiled, which takes about as long and gains a fifth from then on."""

WIDER = 1.06
"""By so much are questions padded at most to a width that came before."""

MASK_PLACES = 2**27
"""Of the masks of a part's rows that are asked differently: 0.5 GB while attention makes numbers of them."""

MOST_POSITIONS = 65_536
"""Rows of the rotary table: 67 MB in float32 at 128 a head. A photo of 13 tiles and its questions take 4,000."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A batch as token ids: the prefix that all rows share and each row's branches."""

    prefix: tuple[int, ...]
    rows: tuple[tuple[Branch, ...], ...]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch laid out, before the device sees it: its requests, all with prompts, and the caps of its columns."""

    requests: list[Request]
    prefix: tuple[int, ...]
    layout: Layout
    caps: torch.Tensor
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Begun:
    """A batch whose questions were asked: its cache, and hidden states [·, hidden] of what comes next.

    `opens` are those that the open columns' questions end with [B · R], `scored` those of `Layout.source` [U].
    """

    cache: PackedCache
    opens: torch.Tensor
    scored: torch.Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Said:
    """What came of a batch: log-probabilities float64 [M] of `Layout.scored`, and tokens int64 [B, R, T]."""

    scores: np.ndarray | None
    tokens: torch.Tensor | None


class LocalEngine:
    """An `Engine` over a checkpoint folder. See `carscribe.engines.Engine`."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        device: str,
        dtype: str,
        notes: tuple[str, ...] = (),
        knows_renders_alone: bool = False,
        weights: str | None = None,
        adapter: Adapter | None = None,
        compiled: bool = True,
        say: Callable[[str], None] | None = None,
    ) -> None:
        """Load the weights onto `device` ("cpu", "cuda", "cuda:1", …) as `dtype` ("float32", "bfloat16", "float16").

        On a GPU layers are `compiled` once a run turns out long enough to gain by it; `say` is told when, and when they
        cannot be. Without it the log is told of the latter.

        As "fp8", "int8" or "int4" the projections of the language model's layers are quantised while they are read,
        and all else is in what the device computes in. An adapter is merged before that, in the host's memory.

        Raises: CheckpointError when the weights do not fit the config; OutOfMemoryError when they do not fit at all.
        """
        self._checkpoint, self._adapter, self._say = checkpoint, adapter, say
        self._device, self._dtype = torch.device(device), dtype
        self._prompts = PromptEncoder(checkpoint)
        cuda = self._device.type == "cuda"
        self._limits = memory.ON_GPU if cuda else memory.ON_CPU
        self._positions = min(checkpoint.context_tokens, MOST_POSITIONS)
        if cuda and self._device.index is not None:
            torch.cuda.set_device(self._device)  # graphs are captured on the current one
        self._packed = within_memory(f"the weights of {checkpoint.name}", self._load)
        self._end_ids = _end_ids(self._packed.model, self._prompts.end_of_turn_id)
        self._quantum, self._entries = (memory.SLOT_QUANTUM, 64) if cuda else (8, 1)
        self._widths = set[int]()
        self._graphs = Graphs() if cuda else None
        self._late = memory.short_step(self._packed.shape) if cuda else 0
        after_s = 0.0 if dtype == "fp8" else COMPILE_AFTER_S  # uncompiled it is slower than bfloat16, and takes more
        self._until_compiled_s = after_s if compiled and cuda else math.inf
        self._free_since_s = 0.0
        self._card = EngineCard(
            model=checkpoint.name,
            revision=checkpoint.revision,
            device=str(self._device),
            dtype=dtype,
            weights=weights,
            adapter=adapter.identity if adapter else "",
            adapter_folder=str(adapter.folder) if adapter else "",
            hardware=hardware_name(self._device),
            versions={name: version_of(name) for name in ("carscribe", "torch", "transformers", "pillow")},
            notes=notes,
            knows_renders_alone=knows_renders_alone,
        )
        if self._until_compiled_s <= 0:
            self._compile()

    @property
    def card(self) -> EngineCard:
        """What answers."""
        return self._card

    @property
    def tiling(self) -> Tiling:
        """How the checkpoint wants photos cut."""
        return self._checkpoint.tiling

    @property
    def reserved(self) -> frozenset[str]:
        """The checkpoint's special tokens."""
        return self._prompts.reserved

    @property
    def peak_bytes(self) -> int | None:
        """The most memory this process took of the device so far."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_reserved(self._device))
        return peak_host_bytes()

    def plan_batch(self, tiles: int, prompts: Sequence[Prompt]) -> memory.BatchPlan:
        """How many photos are expected to fit, by the arithmetic of `carscribe.memory`; at least 1."""
        row = self._row_shape(tiles, prompts)
        free = free_bytes(self._device) + self._packed.caches.held_bytes
        compiled = self._dtype == "fp8" and self._packed.compiled  # elsewhere a run begins without
        return memory.plan_batch(self._packed.shape, row, self._dtype, free, self._limits, compiled=compiled)

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        """Answer requests of equal tile count together.

        Raises: OutOfMemoryError, NumericsError, EngineError.
        """
        work = self.work(requests)
        work.begin()
        work.run()
        return work.answers()

    def work(self, requests: Sequence[Request]) -> "LocalWork":
        """Such a batch made ready: see `carscribe.engines.Work`. Raises: EngineError."""
        return LocalWork(self, requests)

    @property
    def overlaps(self) -> bool:
        """Whether a batch that has begun is worked on while this process does other things: on a GPU."""
        return self._device.type == "cuda"

    def _worked(self, began_s: float) -> None:
        """Compile when as much time was spent without as compiling takes: no run takes more than twice its best.

        A batch that began while another was worked on counts from the end of that.
        """
        now = time.perf_counter()
        self._until_compiled_s -= now - max(began_s, self._free_since_s)
        self._free_since_s = now
        if self._until_compiled_s <= 0:
            self._compile()

    def _compile(self) -> None:
        self._until_compiled_s = math.inf
        kept = Path.home() / ".cache" / "carscribe" / "compiled"  # torch's own choice, in /tmp, is gone the next day
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(kept))
        if self._say is not None:
            self._say("Compiling layers: up to a minute, kept for later runs; --no-compile goes without.")
        try:
            self._packed.compile()
        except Exception as error:  # noqa: BLE001 - compilers fail in ways of their own, and answers do not need them
            (self._say or logging.getLogger(__name__).warning)(
                f"Layers are not compiled on this machine ({first_line(error)}); going on as they are. --no-compile "
                "does not try."
            )
        if self._graphs is not None:
            self._graphs.clear()

    def release(self) -> None:
        """Free the caches, the graphs on them, and what the allocator holds."""
        self._packed.caches.free()
        if self._graphs is not None:
            self._graphs.clear()
        gc.collect()
        if self._device.type == "cuda":
            give_back()

    @torch.inference_mode()
    def _load(self) -> PackedModel:
        device, held = str(self._device), memory.held_of(self._dtype)
        dtype = computing_dtype(self._device) if held else self._dtype
        if self._adapter is None:
            model = _load_model(self._checkpoint, device, dtype, held)
        else:
            model = _load_model(self._checkpoint, "cpu" if held else device, dtype)
            model = merged(model, self._adapter).eval()
            if held:
                quantise(model, held, self._device)
        return PackedModel(model, positions=self._positions)

    def _prepare(self, requests: list[Request]) -> _Prepared:
        asked = self._encode(requests)
        layout = lay_out(
            asked.rows, prefix_tokens=len(asked.prefix), pad_id=self._prompts.pad_id, widened=self._widened
        )
        caps = _caps(requests, layout)
        steps = int(caps.max()) if caps.numel() else 0
        self._check_length(layout, steps)
        return _Prepared(requests, asked.prefix, layout, caps, steps)

    @torch.inference_mode()
    def _begin(self, batch: _Prepared) -> _Begun:
        """The prefixes' and the questions' passes, some rows at a time; on a GPU they wait for nothing."""
        layout, photos = batch.layout, len(batch.requests)
        slots = len(batch.prefix) + layout.token_ids.shape[1] + answer_slots(layout.open_branch.shape[1], batch.steps)
        cache = self._packed.caches.take(photos, round_up(slots, self._quantum))
        prefix = np.array(batch.prefix)
        image = np.flatnonzero(prefix == self._checkpoint.image_token_id)
        reading = self._tensor(prefix), self._tensor(image)
        shared = self._tensor(layout.tree_mask) if len(layout.tree_mask) == 1 else None
        for rows in parts_of(photos, memory.read_at_once(len(batch.requests[0].tiles), self._limits)):
            self._packed.read(cache.part(rows), *reading, self._pixels(batch.requests[rows]))
        opens, scored = [], []
        for rows in parts_of(photos, self._asked_at_once(layout)):
            mask = self._tensor(layout.tree_mask[rows]) if shared is None else shared
            asking = self._tensor(layout.token_ids[rows]), self._tensor(layout.position_ids[rows]), mask
            ends, places = self._wanted(layout, rows)
            hidden = self._packed.ask(cache.part(rows), len(prefix), *asking, places)
            opens.append(hidden[:ends])
            scored.append(hidden[ends:])
        return _Begun(cache=cache, opens=torch.cat(opens), scored=torch.cat(scored))

    def _asked_at_once(self, layout: Layout) -> int:
        """How many rows are asked in one part: fewer where each has a mask of its own."""
        tokens = layout.token_ids.shape[1]
        most = memory.asked_at_once(tokens, self._limits)
        if len(layout.tree_mask) == 1:
            return most
        places: int = self._packed.heads_per_kv * tokens * (layout.prefix_tokens + tokens)
        return max(1, min(most, MASK_PLACES // places))

    def _wanted(self, layout: Layout, rows: slice) -> tuple[int, torch.Tensor]:
        """The places of the rows whose hidden states are needed, and how many of them are ends of open questions."""
        tokens = layout.token_ids.shape[1]
        first = np.arange(rows.stop - rows.start)[:, None] * tokens
        ends = (first + layout.last_token[rows]).flatten()
        within = (layout.source[:, 0] >= rows.start) & (layout.source[:, 0] < rows.stop)
        scored = (layout.source[within] - (rows.start, 0)) @ (tokens, 1)
        return len(ends), self._tensor(np.concatenate([ends, scored]))

    @torch.inference_mode()
    def _run(self, batch: _Prepared, begun: _Begun) -> _Said:
        layout, scores, tokens = batch.layout, None, None
        if layout.leaves:
            scores = self._packed.log_probability(begun.scored, layout.scored)
        if batch.steps:
            tokens = decode(
                *(self._packed, begun.cache, begun.opens, layout, batch.caps, self._end_ids),
                quantum=self._entries,
                sampler=self._sampler(batch.requests, layout, batch.steps),
                graphs=self._graphs,
                late=self._late,
            )
        if scores is not None and not bool(torch.isfinite(scores).all()):
            raise not_finite(begun.scored.dtype)
        return _Said(scores=None if scores is None else scores.double().cpu().numpy(), tokens=tokens)

    def _finish(self, batch: _Prepared, said: _Said) -> list[tuple[Answer, ...]]:
        layout, requests = batch.layout, batch.requests
        answers = _choices(requests, layout, said.scores)
        if said.tokens is not None:
            tokens = said.tokens.tolist()
            columns = [(b, r, int(index)) for (b, r), index in np.ndenumerate(layout.open_branch) if index >= 0]
            opens = self._opens([requests[b].prompts[i] for b, _, i in columns], [tokens[b][r] for b, r, _ in columns])
            for (b, _, index), answer in zip(columns, opens, strict=True):
                answers[b][index] = answer
        return [tuple(row[i] for i in range(len(row))) for row in answers]

    def _guarded(self, what: str, work: Callable[[], Result]) -> Result:
        try:
            return within_memory(what, work)
        except NumericsError:
            self._packed.caches.free()  # a NaN in them would outlive its mask: nothing times NaN is NaN
            raise

    def _encode(self, requests: list[Request]) -> _Asked:
        tiles = len(requests[0].tiles)
        if any(len(request.tiles) != tiles for request in requests):
            raise ValueError("All photos of a batch must have the same number of tiles.")
        ids = {
            prompts: [self._prompts.ids(prompt.text, tiles) for prompt in prompts]
            for prompts in dict.fromkeys(request.prompts for request in requests)
        }
        image_end = self._prompts.image_end(requests[0].prompts[0].text, tiles)
        prefix = common_prefix([x for row in ids.values() for x in row], at_least=image_end, quantum=PREFIX_QUANTUM)
        if prefix < image_end:
            raise EngineError(
                f"{self._checkpoint.name}: its chat template puts a question before the photo, so that photos cannot "
                "be read once for all questions."
            )
        branches = {
            prompts: tuple(
                self._prompts.branch(prompt.text, prompt.choices, x, prefix)
                for prompt, x in zip(prompts, row, strict=True)
            )
            for prompts, row in ids.items()
        }
        rows = tuple(branches[request.prompts] for request in requests)
        return _Asked(next(iter(ids.values()))[0][:prefix], rows)

    def _widened(self, width: int) -> int:
        """On a GPU, a width that came before and is a little larger: cuDNN plans each one anew, in tens of ms."""
        if self._device.type != "cuda":
            return width
        near = [seen for seen in self._widths if width <= seen <= WIDER * width]
        self._widths.add(min(near, default=width))
        return min(near, default=width)

    def _check_length(self, layout: Layout, steps: int) -> None:
        longest = int(layout.position_ids.max()) + 1 + steps
        if longest > self._positions:
            raise EngineError(
                f"A question takes the conversation to {longest} tokens; {self._checkpoint.name} holds "
                f"{self._positions}. Shorten the question, or lower --max-tiles."
            )

    def _sampler(self, requests: list[Request], layout: Layout, steps: int) -> Sampler | None:
        """What draws the tokens; None when all are greedy."""
        if not any(request.temperature for request in requests):
            return None
        temperatures = torch.zeros(layout.open_branch.shape)
        draws = torch.zeros(*layout.open_branch.shape, steps)
        for (b, r), index in np.ndenumerate(layout.open_branch):
            if index >= 0 and requests[b].temperature:
                temperatures[b, r] = requests[b].temperature
                draws[b, r] = draws_of(requests[b].seed, requests[b].prompts[index].text, steps)
        return Sampler(temperatures=self._tensor(temperatures.numpy()), draws=self._tensor(draws.numpy()))

    def _opens(self, prompts: Sequence[Prompt], said: Sequence[list[int]]) -> list[Answer]:
        """The open answers to prompts from the tokens that were said; what follows an end or a cap is left out."""
        kept, finishes = list[list[int]](), list[Literal["length", "stop"]]()
        for prompt, tokens in zip(prompts, said, strict=True):
            allowed = tokens[: prompt.max_new_tokens]
            end = next((i for i, token in enumerate(allowed) if token in self._end_ids), None)
            kept.append(allowed if end is None else allowed[:end])
            finishes.append("length" if end is None else "stop")
        return [
            Answer(
                recipe_id=prompt.recipe_id,
                question_id=prompt.question_id,
                language=prompt.language,
                text=text,
                tokens=len(tokens),
                finish=finish,
            )
            for prompt, text, tokens, finish in zip(prompts, self._prompts.texts(kept), kept, finishes, strict=True)
        ]

    def _pixels(self, requests: list[Request]) -> Iterator[torch.Tensor]:
        """All tiles as the vision tower wants them, [tiles, 3, px, px], a chunk at a time."""
        mean, std = (self._tensor(np.array(x, np.float32)) for x in (self._checkpoint.mean, self._checkpoint.std))
        each = len(requests[0].tiles)
        for chunk in parts_of(each * len(requests), self._limits.read_tiles):
            held = range(chunk.start // each, -(-chunk.stop // each))
            parts = [requests[i].tiles[max(0, chunk.start - i * each) : chunk.stop - i * each] for i in held]
            # In pinned memory, the GPU fetches them while the next ones are put together.
            shape = (chunk.stop - chunk.start, *requests[0].tiles.shape[1:])
            tiles = host_buffer(shape, torch.uint8, pinned=self._device.type == "cuda")
            np.concatenate(parts, out=tiles.numpy())
            there = tiles.to(self._device, non_blocking=True)
            yield ((there.float() / self._checkpoint.divisor - mean) / std).permute(0, 3, 1, 2).contiguous()

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return sent(array, self._device)

    def _row_shape(self, tiles: int, prompts: Sequence[Prompt]) -> memory.RowShape:
        ids = [self._prompts.ids(prompt.text, tiles) for prompt in prompts]
        prefix = common_prefix(ids, at_least=self._prompts.image_end(prompts[0].text, tiles)) if ids else 0
        branches = [
            self._prompts.branch(prompt.text, prompt.choices, x, prefix) for prompt, x in zip(prompts, ids, strict=True)
        ]
        layout = lay_out([branches], prefix_tokens=prefix)
        caps = [prompt.max_new_tokens for prompt in prompts if not prompt.choices]
        return memory.RowShape(
            tiles=tiles,
            branch_tokens=layout.token_ids.shape[1],
            columns=layout.open_branch.shape[1],
            new_tokens=max(caps, default=0),
        )


class LocalWork:
    """One batch on its way through a `LocalEngine`. See `carscribe.engines.Work`."""

    def __init__(self, engine: LocalEngine, requests: Sequence[Request]) -> None:
        self._engine = engine
        self._count = len(requests)
        self._places = [i for i, request in enumerate(requests) if request.prompts]
        asked = [requests[i] for i in self._places]
        self._batch = engine._prepare(asked) if asked else None
        self._what = ""
        if asked:
            self._what = f"a batch of {counted(len(asked), 'photo')} of {counted(len(asked[0].tiles), 'tile')}"
        self._begun: _Begun | None = None
        self._said: _Said | None = None
        self._began_s = 0.0

    def begin(self) -> None:
        """Read and ask. Raises: OutOfMemoryError, NumericsError."""
        batch = self._batch
        if batch is not None:
            self._began_s = time.perf_counter()
            self._begun = self._engine._guarded(self._what, lambda: self._engine._begin(batch))

    def run(self) -> None:
        """Decode. Raises: OutOfMemoryError, NumericsError."""
        batch, begun, self._begun = self._batch, self._begun, None
        if batch is None or begun is None:
            return
        self._said = self._engine._guarded(self._what, lambda: self._engine._run(batch, begun))
        self._engine._worked(self._began_s)

    def answers(self) -> list[tuple[Answer, ...]]:
        """What was said, in the order of the requests."""
        found: list[tuple[Answer, ...]] = [()] * self._count
        if self._batch is not None and self._said is not None:
            for i, row in zip(self._places, self._engine._finish(self._batch, self._said), strict=True):
                found[i] = row
        return found


def _choices(requests: list[Request], layout: Layout, scores: np.ndarray | None) -> list[dict[int, Answer]]:
    """For each row, the answers to its choice questions by the index of their prompt."""
    rows: list[dict[int, Answer]] = [{} for _ in requests]
    if scores is None:
        return rows
    leaf_scores = np.zeros(len(layout.leaves))
    np.add.at(leaf_scores, layout.scored[:, 2], scores)
    leaf_tokens = np.bincount(layout.scored[:, 2])
    by_branch: dict[tuple[int, int], list[int]] = {}
    for i, leaf in enumerate(layout.leaves):
        by_branch.setdefault((leaf.row, leaf.branch), []).append(i)
    for (row, branch), leaves in by_branch.items():
        prompt = requests[row].prompts[branch]
        rows[row][branch] = _choice(prompt, leaf_scores[leaves], leaf_tokens[leaves])
    return rows


def _choice(prompt: Prompt, scores: np.ndarray, tokens: np.ndarray) -> Answer:
    """The answer to a choice: softmax of log P(choice and end of turn), and the sum of these probabilities."""
    highest = float(scores.max())
    shares = np.exp(scores - highest)
    best = int(scores.argmax())
    normalised = shares / shares.sum()
    return Answer(
        recipe_id=prompt.recipe_id,
        question_id=prompt.question_id,
        language=prompt.language,
        text=prompt.choices[best],
        tokens=int(tokens[best]) - 1,
        finish="choice",
        scores={choice: float(share) for choice, share in zip(prompt.choices, normalised, strict=True)},
        mass=math.exp(highest) * float(shares.sum()),
    )


def parts_of(total: int, most: int) -> list[slice]:
    """`total` things in as few parts of at most `most` as there can be, whose sizes differ by one at most.

    >>> parts_of(10, 4)
    [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
    """
    parts = -(-total // most)
    return [slice(i * total // parts, (i + 1) * total // parts) for i in range(parts)]


def _caps(requests: list[Request], layout: Layout) -> torch.Tensor:
    caps = np.zeros_like(layout.open_branch)
    for (b, r), index in np.ndenumerate(layout.open_branch):
        if index >= 0:
            caps[b, r] = requests[b].prompts[index].max_new_tokens
    return torch.from_numpy(caps)


def _end_ids(model: Any, end_of_turn_id: int) -> tuple[int, ...]:
    """All ids that end an answer: the template's end of turn and what the checkpoint's generation config says."""
    said = model.generation_config.eos_token_id
    said = said if isinstance(said, list) else [] if said is None else [said]
    return tuple(dict.fromkeys((end_of_turn_id, *said)))


def _load_model(checkpoint: Checkpoint, device: str, dtype: str, held: memory.Held | None = None) -> Any:
    from safetensors import SafetensorError
    from transformers import InternVLForConditionalGeneration
    from transformers.utils import logging

    register_attention()
    logging.disable_progress_bar()  # the caller shows its own
    try:
        model, report = InternVLForConditionalGeneration.from_pretrained(
            checkpoint.folder,
            dtype=getattr(torch, dtype),
            device_map=device,
            attn_implementation={"text_config": ATTENTION, "vision_config": "sdpa"},
            quantization_config=quantisation(held) if held else None,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except RuntimeError as error:
        if "mismatched" not in str(error):
            raise
        raise CheckpointError(
            f"{checkpoint.name} does not load: its weights have other sizes than its config.json says. Fetch it again."
        ) from error
    except (OSError, ValueError, KeyError, AttributeError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{checkpoint.name} does not load: {first_line(error)}. Fetch it again, or pick another."
        ) from error
    if lacking := sorted(report["missing_keys"]):
        raise CheckpointError(
            f"{checkpoint.name} lacks {len(lacking)} weights ({lacking[0]} …); its download is incomplete. "
            "Fetch it again."
        )
    layer_types = set(getattr(model.config.get_text_config(), "layer_types", None) or ["full_attention"])
    if layer_types != {"full_attention"}:
        raise CheckpointError(
            f"{checkpoint.name} has layers of type {', '.join(sorted(layer_types))}; only full attention can be packed."
        )
    return model.eval()
