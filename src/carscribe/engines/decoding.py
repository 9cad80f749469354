"""Decoding of all open branches of a batch, one token of each a step; greedy, unless a sampler draws the tokens.

The answers are M entries of a grid of B rows and C columns. Ended ones are dropped in two ways when it pays: entries,
so that the layers' multiplications get fewer tokens, and whole columns, so that attention does; keys and values stay
where they are, only the mask is gathered. A step's shapes depend on (M, C) alone, and all that changes from step to
step lies in tensors, so that a step can be captured in a CUDA graph and replayed.
"""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from carscribe.engines.device import host_buffer, out_of_memory, sent
from carscribe.engines.packed import PackedCache, PackedModel
from carscribe.errors import NumericsError
from carscribe.packing import Layout, bucket_branches, round_up

LARGEST_DRAW = 1 - 1e-6
"""So that a draw lies below the sum of all shares, which is rounded, and no token without a share is taken."""


DRAWN_ROWS = 256
"""Of which shares are made at once: four float32 values a token of the vocabulary, 0.6 GB."""

LASTING = 2
"""Steps of one shape behind which a first batch captures it: those that last less are captured when they come again."""

MOST_GRAPHS = 128
"""More come of many tile counts and questions; then all are forgotten, and those in use are captured again."""

SMALL_STEP = 256
"""Answers in a step up to which it takes as long as reading the weights does: fewer of them gain little."""

LEVELS = 32
"""In so many sizes come steps of more that are captured: each has a graph of its own."""


def answer_slots(columns: int, new_tokens: int) -> int:
    """Cache slots the answers may take: a column's first token comes with the question, its last is never fed.

    >>> answer_slots(8, 20)
    152
    """
    return columns * max(0, new_tokens - 1)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sampler:
    """Draws the next tokens, each column by its own numbers: what else is in the batch does not matter.

    temperatures float32 [B, R], 0 where a column is greedy; draws float32 [B, R, T] in [0, 1), one a step.
    """

    temperatures: torch.Tensor
    draws: torch.Tensor

    def take(self, logits: torch.Tensor, entries: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
        """Tokens int64 [M] of logits [M, V]; entries int64 [M] says which of the B · R each is, step int64 [1]."""
        temperatures = self.temperatures.flatten()[entries][:, None]
        draws = self.draws.flatten(0, 1)[entries].index_select(1, step)
        parts = (slice(start, start + DRAWN_ROWS) for start in range(0, len(logits), DRAWN_ROWS))
        return torch.cat([_drawn(logits[part], temperatures[part], draws[part]) for part in parts])


def _drawn(logits: torch.Tensor, temperature: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    drawn = temperature > 0
    shares = (logits.float() / temperature.where(drawn, 1.0)).softmax(-1).cumsum(-1)
    tokens = torch.searchsorted(shares, draw * shares[:, -1:], right=True).clamp_(max=logits.shape[-1] - 1)
    return torch.where(drawn, tokens, logits.argmax(-1, keepdim=True))[:, 0]


def draws_of(seed: str, text: str, count: int) -> torch.Tensor:
    """`count` random numbers float32 [count] of a seed and a prompt's text; more of them begin with the same ones."""
    digest = hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
    return torch.rand(count, generator=generator).clamp_(max=LARGEST_DRAW)


@dataclass(slots=True, kw_only=True, eq=False)
class _State:
    """What a step reads and writes, M entries of a grid of B rows and C columns, K slots. Written in place.

    entry int64 [M]: which of the layout's B · R columns; cell int64 [M]: which of the grid's B · C. tokens, positions,
    caps int64 [M], done bool [M]; said int64 [M, T], what was said up to `step` int64 [1]. slots int64 [C]: where the
    next keys and values go; mask bool [1 or B, C, K]: what they see; own bool [1, C, C]: each itself; common int64 [1]:
    how many slots, from the first, all see; alive bool [B]: the rows with an entry. ends int64 [E]: what ends an
    answer; finite: whether all was. A graph may use nothing else that belongs to a batch.
    """

    entry: torch.Tensor
    cell: torch.Tensor
    tokens: torch.Tensor
    positions: torch.Tensor
    caps: torch.Tensor
    done: torch.Tensor
    said: torch.Tensor
    step: torch.Tensor
    slots: torch.Tensor
    mask: torch.Tensor
    own: torch.Tensor
    alive: torch.Tensor
    common: torch.Tensor
    ends: torch.Tensor
    finite: torch.Tensor

    @property
    def shape(self) -> Hashable:
        """What a graph is captured for."""
        return (self.said.shape, self.slots.shape, self.mask.shape)

    def load(self, other: "_State") -> None:
        """Take over another's values, in place."""
        for field in fields(self):
            getattr(self, field.name).copy_(getattr(other, field.name))


class Graphs:
    """CUDA graphs of decode steps: captured when a shape comes again, or has lasted for some steps, then replayed.

    They hold as long as the caches' memory stays where it is. `captured` counts them, for tests and benches.
    """

    def __init__(self) -> None:
        self.captured = 0
        self._generation = 0
        self._seen: set[Hashable] = set()
        self._refused: set[Hashable] = set()
        self._graphs: dict[Hashable, tuple[Any, _State]] = {}
        self._pool: Any = None
        self._stream: Any = None

    def find(self, state: _State, columns: "_Columns", lasted: int) -> tuple[Any, _State] | None:
        """A graph of this shape and the state it works on, which takes over what `state` holds.

        `lasted`: steps of this shape without a graph just before. None the first time, until it has lasted, and where
        there is no memory for one.
        """
        cache = columns.cache
        if cache.generation != self._generation:
            self.clear()
            self._generation = cache.generation
        key = (cache.keys[0].shape, state.shape)
        if key not in self._seen:
            self._seen.add(key)
            return None
        if key in self._refused or 0 < lasted < LASTING:
            return None
        if key not in self._graphs:
            if len(self._graphs) >= MOST_GRAPHS:
                self.clear()
                self._seen.add(key)
            try:
                own = _State(**{field.name: getattr(state, field.name).clone() for field in fields(state)})
                self._graphs[key] = self.capture(lambda: columns.advance(own)), own
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._refused.add(key)
                return None
            self.captured += 1
        graph, own = self._graphs[key]
        own.load(state)
        return graph, own

    def clear(self) -> None:
        """Forget all: the memory they work on is another."""
        self._seen.clear()
        self._refused.clear()
        self._graphs.clear()
        self._pool = None  # torch forgets a pool with the last graph in it

    def capture(self, step: Callable[[], None]) -> Any:
        """What replays the kernels of `step` on the tensors it used; all share the memory of what lies between.

        `torch.cuda.graph` does the same, but gives all unused memory back to the driver each time. Here that is done
        when there is too little without: a capture cannot.
        """
        try:
            return self._captured(step)
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
        torch.cuda.empty_cache()
        return self._captured(step)

    def _captured(self, step: Callable[[], None]) -> Any:
        self._pool = self._pool or torch.cuda.graph_pool_handle()
        self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        try:
            with torch.cuda.stream(self._stream):
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                try:
                    step()
                except BaseException:
                    with suppress(RuntimeError):  # the first error is the one that counts
                        graph.capture_end()
                    raise
                graph.capture_end()
        except BaseException:
            if not self._graphs:
                self._pool = None  # torch forgets a pool with the last graph in it, and takes its handle no more
            raise
        return graph


def decode(
    packed: PackedModel,
    cache: PackedCache,
    hidden: torch.Tensor,
    layout: Layout,
    caps: torch.Tensor,
    end_ids: Sequence[int],
    *,
    quantum: int = 1,
    sampler: Sampler | None = None,
    graphs: Graphs | None = None,
    late: int = 0,
) -> torch.Tensor:
    """The answers' token ids, int64 [B, R, T] on the CPU, T the largest cap; what follows an end or a cap is noise.

    hidden [B · R, hidden] is what the columns' questions end with; caps int64 [B, R] the most new tokens of each, 0 for
    none. After each step ended entries are dropped down to a multiple of `quantum`. A step of at most `late` entries is
    over sooner than the host has the next one ready: it is replayed from `graphs`, which must be of this cache, and
    what ended in it is dropped once the next one is under way, so that it waits for nobody. Without a `sampler` the
    likeliest token is taken.

    Raises: NumericsError when the logit of a likeliest token is not finite.
    """
    columns = _Columns(packed, cache, layout, caps, end_ids, sampler)
    state = columns.begin(hidden, layout)
    todo, graph, lasted = columns.steps - 1, None, 0
    look: _Look | None = None
    smaller = columns.compact(state, caps.numpy().flatten() == 0 if late else state.done.cpu().numpy(), quantum, late)
    if smaller is None:
        todo = 0
    else:
        state = smaller
    for _ in range(todo):
        short = len(state.done) <= late
        if graph is None and short and graphs is not None and sampler is None:
            graph, state = graphs.find(state, columns, lasted) or (None, state)
        if graph is None:
            columns.advance(state)
            lasted += 1
        else:
            graph.replay()
        look = look if short else _Look(state.done)
        if look is not None:
            smaller = columns.compact(state, look.seen(), quantum, late)
            if smaller is None:
                break
            if smaller is not state:
                graph, state, lasted = None, smaller, 0
        look = _Look(state.done) if short else None
    columns.write_down(state)
    if not bool(state.finite):
        raise not_finite(hidden.dtype)
    return columns.out.cpu()


class _Look:
    """Which entries are done by now, read when it has come from the device; what is queued behind it goes on."""

    def __init__(self, done: torch.Tensor) -> None:
        cuda = done.is_cuda
        self._there = host_buffer(done.shape, done.dtype, pinned=cuda).copy_(done, non_blocking=cuda)
        self._event = torch.cuda.Event(blocking=True) if cuda else None  # type: ignore[no-untyped-call]
        if self._event is not None:
            self._event.record()

    def seen(self) -> NDArray[np.bool_]:
        """Bool [M]."""
        if self._event is not None:
            self._event.synchronize()
        found: NDArray[np.bool_] = self._there.numpy()
        return found


class _Columns:
    """The open columns of a batch and how they are advanced."""

    def __init__(
        self,
        packed: PackedModel,
        cache: PackedCache,
        layout: Layout,
        caps: torch.Tensor,
        end_ids: Sequence[int],
        sampler: Sampler | None,
    ) -> None:
        device = packed.device
        self.packed, self.cache, self.sampler = packed, cache, sampler
        self.rows, self.caps, self.steps = len(caps), sent(caps.numpy(), device).flatten(), int(caps.max())
        self.end_ids = list(end_ids)
        self.cells = np.empty(0, np.int64)  # of the state, as the host knows them
        self.out = torch.zeros(*layout.open_branch.shape, self.steps, dtype=torch.long, device=device)

    def begin(self, hidden: torch.Tensor, layout: Layout) -> _State:
        """All columns, with the first token of each."""
        device = hidden.device
        columns = layout.open_branch.shape[1]
        count = self.rows * columns
        first_slot = layout.prefix_tokens + layout.token_ids.shape[1]
        every = torch.arange(count, device=device)
        self.cells = np.arange(count)
        state = _State(
            entry=every,
            cell=every.clone(),
            tokens=torch.zeros_like(every),
            positions=sent(layout.answer_position, device).flatten().clone(),
            caps=self.caps.clone(),
            done=self.caps == 0,
            said=torch.zeros(count, self.steps, dtype=torch.long, device=device),
            step=torch.zeros(1, dtype=torch.long, device=device),
            slots=torch.arange(first_slot, first_slot + columns, device=device),
            mask=self._seen(sent(layout.stem_mask, device), layout.prefix_tokens),
            own=self._own(columns),
            alive=torch.ones(self.rows, dtype=torch.bool, device=device),
            common=torch.full((1,), layout.prefix_tokens, dtype=torch.long, device=device),
            ends=sent(np.array(self.end_ids, np.int64), device),
            finite=torch.ones((), dtype=torch.bool, device=device),
        )
        self._take(state, self.packed.logits(hidden))
        return state

    def advance(self, state: _State) -> None:
        """Feed the last tokens and take the next. Looks at no value: it is what a graph captures."""
        state.mask.index_copy_(2, state.slots, state.own.expand(len(state.mask), -1, -1))
        self.cache.slots = state.slots
        cells = None if len(state.cell) == self.rows * len(state.slots) else state.cell
        fed = state.tokens, state.positions, state.mask, cells, state.alive, state.common
        hidden = self.packed.step(self.cache, *fed)
        state.step.add_(1)
        state.slots.add_(len(state.slots))
        state.positions.add_(1)
        self._take(state, self.packed.logits(hidden))

    def compact(self, state: _State, done: NDArray[np.bool_], quantum: int, late: int) -> _State | None:
        """The entries that go on, and some ended ones to fill up the last `quantum`; None when all are `done`.

        Of at most `late`, which are captured, there are few sizes.
        """
        alive = np.flatnonzero(~done)
        if not len(alive):
            return None
        columns = len(state.slots)
        cells = self.cells
        rows = cells[alive] // columns
        fitting = min(columns, bucket_branches(int(np.bincount(rows).max())))
        coarse = max(quantum, round_up(len(self.caps) // LEVELS, quantum))
        if len(alive) > SMALL_STEP and round_up(len(alive), coarse) <= late:
            quantum = coarse
        keep = min(round_up(len(alive), quantum), self.rows * fitting, len(done))
        if keep == len(done) and fitting == columns:
            return state
        self.write_down(state)
        entries = np.concatenate([alive, np.flatnonzero(done)[: keep - len(alive)]])
        if fitting == columns:
            return self._kept(state, entries, cells[entries], state.slots, state.mask)
        places, sources = _regrouped(cells, entries, len(alive), self.rows, columns, fitting)
        mask = state.mask.expand(self.rows, -1, -1)
        order = sent(sources, mask.device)[..., None].expand(-1, -1, mask.shape[-1])
        return self._kept(state, entries, places, state.slots[:fitting], mask.gather(1, order))

    def write_down(self, state: _State) -> None:
        """Keep what was said up to now."""
        self.out.view(-1, self.steps)[state.entry] = state.said

    def _kept(
        self,
        state: _State,
        entries: NDArray[np.int64],
        cells: NDArray[np.int64],
        slots: torch.Tensor,
        mask: torch.Tensor,
    ) -> _State:
        if len(cells) == self.rows * len(slots):  # a full grid is fed in its own order
            order = np.argsort(cells)
            entries, cells = entries[order], cells[order]
        self.cells = cells
        at = sent(entries, slots.device)
        return _State(
            entry=state.entry[at],
            cell=sent(cells, slots.device),
            tokens=state.tokens[at],
            positions=state.positions[at],
            caps=state.caps[at],
            done=state.done[at],
            said=state.said[at],
            step=state.step,
            slots=slots,
            mask=mask,
            own=self._own(len(slots)),
            alive=sent(np.bincount(cells // len(slots), minlength=self.rows) > 0, slots.device),
            common=state.common,
            ends=state.ends,
            finite=state.finite,
        )

    def _take(self, state: _State, logits: torch.Tensor) -> None:
        """The next token of each entry, written down, and which ended with it."""
        likeliest = logits.argmax(-1)  # of a NaN, or of what is infinite, where there is one
        highest = logits.gather(1, likeliest[:, None])
        state.finite.logical_and_(torch.isfinite(highest).all())  # looked at in the end: here nothing is waited for
        sampler = self.sampler
        tokens = likeliest if sampler is None else sampler.take(logits, state.entry, state.step)
        state.tokens.copy_(tokens)
        state.said.index_copy_(1, state.step, tokens[:, None])
        ended = (tokens[:, None] == state.ends).any(-1)
        state.done.logical_or_(ended).logical_or_(state.step + 1 >= state.caps)

    def _seen(self, stem_mask: torch.Tensor, prefix_tokens: int) -> torch.Tensor:
        """What the answers see before their first step: the prefix and their own question."""
        shape = (*stem_mask.shape[:2], self.cache.keys[0].shape[2])
        mask = torch.zeros(shape, dtype=torch.bool, device=stem_mask.device)
        mask[..., :prefix_tokens] = True
        mask[..., prefix_tokens : prefix_tokens + stem_mask.shape[-1]] = stem_mask
        self.cache.visible = shape[-1]
        return mask

    def _own(self, columns: int) -> torch.Tensor:
        return torch.eye(columns, dtype=torch.bool, device=self.packed.device)[None]


def _regrouped(
    cells: NDArray[np.int64], entries: NDArray[np.int64], alive: int, rows: int, columns: int, fitting: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The cells of `entries` in a grid of fewer columns, the `alive` ones first, and which column each cell was [B, C].

    An entry keeps its row while it is alive; what has ended fills what is left, and what it computes there is noise.
    """
    of_row, column = np.divmod(cells[entries[:alive]], columns)
    order = np.argsort(of_row, kind="stable")
    taken = np.bincount(of_row, minlength=rows)
    place = np.empty(alive, np.int64)  # within its row
    place[order] = np.arange(alive) - np.repeat(np.cumsum(taken) - taken, taken)
    sources = np.zeros((rows, fitting), np.int64)
    sources[of_row, place] = column
    places = np.empty(len(entries), np.int64)
    places[:alive] = of_row * fitting + place
    free = (np.arange(fitting) >= taken[:, None]).flatten()
    places[alive:] = np.flatnonzero(free)[: len(entries) - alive]
    return places, sources


def not_finite(dtype: torch.dtype) -> NumericsError:
    """The error for NaN or infinite output of a model that runs in `dtype`."""
    return NumericsError(
        f"The model's output in {str(dtype).removeprefix('torch.')} is not finite. The Qwen2.5-7B backbone is reported "
        "to overflow in float16: use --dtype bfloat16 (or float32 where the GPU has no bfloat16). In these dtypes "
        "already, the weights are damaged: fetch the checkpoint again."
    )
