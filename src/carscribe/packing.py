"""One row per photo: the prefix read once, and beside it every question as a branch of a tree.

    prefix ─┬─ head ─┬─ question 1 ── answer 1             open: the answer is decoded
            │        └─ question 2 ── answer 2
            └─ question 3 ─┬─ choice a                     choice: the leaves are scored, nothing is decoded
                           └─ choice b

A branch sees the prefix, itself and, when it is a leaf, its stem; never its sisters. A head is what several questions
begin with, an instruction say, computed once for all of them. Positions go on from where what is seen ends. So each
branch computes what it would compute alone.

This module is arithmetic on token ids and lengths. It knows nothing of torch, of models, of images or of words; the
engines and the trainer give its arrays to a model. Shapes: B rows, P prefix tokens, N branch tokens, R open branches.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """What follows the prefix for one question: `tokens`, at least one.

    With `leaves` it is a choice: each leaf is one choice's tokens, the end of turn last, at least two in all.
    """

    tokens: tuple[int, ...]
    leaves: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """Where a score belongs: row of the batch, branch of that row, choice of that branch."""

    row: int
    branch: int
    choice: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """The arrays of one packed batch. "1 or B" on a first axis: 1 when all rows share it, B where they must differ.

    Questions' pass:
        token_ids, position_ids: int64 [B, N].
        tree_mask: bool [1 or B, N, N]; query n may see branch token m. Every query sees the whole prefix besides.
    Open branches, column r of row b (a column without a branch has branch -1):
        open_branch: int64 [B, R], index of the branch in its row; R is a bucket.
        last_token: int64 [B, R], where on the N axis the question ends: its output is the answer's first token.
        answer_position: int64 [B, R], position of the answer's first token.
        stem_mask: bool [1 or B, R, N]; the branch tokens that the answer may see.
    Leaves, U distinct places whose output is needed and M scored tokens:
        source: int64 [U, 2], (row, n).
        scored: int64 [M, 3], (index into source, token id to score, index into leaves).
        leaves: one entry per choice.
    """

    prefix_tokens: int
    token_ids: Ints
    position_ids: Ints
    tree_mask: Bools
    open_branch: Ints
    last_token: Ints
    answer_position: Ints
    stem_mask: Bools
    source: Ints
    scored: Ints
    leaves: tuple[Leaf, ...]


TOKEN_QUANTUM = 8
"""The tokens of all branches are padded to a multiple of this."""

HEAD_TOKENS = 8
"""So many tokens must questions begin with alike to share a head."""


def common_prefix(prompts: Sequence[tuple[int, ...]], *, at_least: int = 0, quantum: int = 1) -> int:
    """Length of the longest token run that all `prompts` start with, leaving each at least one token.

    What they share past `at_least` (the end of the image) is rounded down to a multiple of `quantum`, so that a
    changing name in the prompts changes the shape seldom. Less than `at_least` in common gives what is in common.

    >>> common_prefix([(1, 2, 3, 4), (1, 2, 3, 5, 6)])
    3
    >>> common_prefix([(1, 2, 3), (1, 2, 3)])
    2
    >>> common_prefix([(1, 2, 3, 4, 5, 6), (1, 2, 3, 4, 5, 7)], at_least=2, quantum=2)
    4
    """
    shortest, longest = min(prompts), max(prompts)  # the least and the greatest differ first where any two differ
    limit = min(len(prompt) for prompt in prompts) - 1
    shared = next((i for i in range(limit) if shortest[i] != longest[i]), limit)
    if shared <= at_least:
        return shared
    return at_least + (shared - at_least) // quantum * quantum


def bucket_branches(count: int) -> int:
    """The number of open columns that `count` open branches are padded to: 0, 1, 2, 4, then multiples of 8.

    >>> [bucket_branches(n) for n in (0, 1, 2, 3, 5, 8, 9, 17)]
    [0, 1, 2, 4, 8, 8, 16, 24]
    """
    if count <= 2:
        return count
    return 4 if count <= 4 else round_up(count, 8)


def round_up(count: int, quantum: int) -> int:
    """The next multiple of `quantum`.

    >>> round_up(17, 8), round_up(16, 8)
    (24, 16)
    """
    return -(-count // quantum) * quantum


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A row's branches without their heads: `heads`, and for each branch which one it goes on from, -1 for none."""

    heads: tuple[tuple[int, ...], ...]
    head_of: tuple[int, ...]
    branches: tuple[Branch, ...]

    def head_tokens(self, index: int) -> int:
        """The length of a branch's head."""
        return len(self.heads[self.head_of[index]]) if self.head_of[index] >= 0 else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Slot:
    """A stretch of the N axis that holds one branch of every row: a stem, then its leaves' inputs one after another."""

    start: int
    stem_width: int
    leaf_widths: tuple[int, ...] = ()

    @property
    def leaf_starts(self) -> tuple[int, ...]:
        ends = np.cumsum((self.start + self.stem_width, *self.leaf_widths))
        return tuple(int(end) for end in ends[:-1])

    @property
    def width(self) -> int:
        return self.stem_width + sum(self.leaf_widths)


def lay_out(
    rows: Sequence[Sequence[Branch]],
    *,
    prefix_tokens: int,
    pad_id: int = 0,
    quantum: int = TOKEN_QUANTUM,
    head_tokens: int = HEAD_TOKENS,
    widened: Callable[[int], int] = lambda width: width,
) -> Layout:
    """Place the branches of every row on one axis and say who sees whom.

    Rows may hold different branches, in number, length and kind: the j-th open branches of all rows share a slot as
    wide as the longest, and so do the j-th choices, and the j-th heads. N is rounded up to a multiple of `quantum`,
    then `widened`, the open columns to a bucket, so that batches of a run share few shapes. Branches that begin with
    the same `head_tokens` tokens or more share a head; 0 for none. Rows that are one object are worked out once.

    Raises: ValueError for a branch without tokens, or a leaf without an end.
    """
    distinct = {id(row): row for row in rows}
    places = {key: d for d, key in enumerate(distinct)}
    order = np.array([places[id(row)] for row in rows])
    _check(list(distinct.values()))
    split = [_split(row, head_tokens) for row in distinct.values()]
    opens = [[i for i, branch in enumerate(row.branches) if not branch.leaves] for row in split]
    choices = [[i for i, branch in enumerate(row.branches) if branch.leaves] for row in split]
    heads = _head_slots(split)
    slots, open_slots = _place(split, opens, choices, start=sum(slot.width for slot in heads))
    held = [_indices(opens[d], choices[d], open_slots, len(slots)) for d in range(len(split))]
    width = widened(round_up(sum(slot.width for slot in (*heads, *slots)), quantum))
    token_ids = np.full((len(split), width), pad_id, np.int64)
    position_ids = np.full((len(split), width), prefix_tokens, np.int64)
    for d, row in enumerate(split):
        for slot, head in zip(heads, row.heads, strict=False):
            _fill(slot, Branch(tokens=head), token_ids[d], position_ids[d], prefix_tokens)
        for slot, index in zip(slots, held[d], strict=True):
            if index >= 0:
                after = prefix_tokens + row.head_tokens(index)
                _fill(slot, row.branches[index], token_ids[d], position_ids[d], after)
    open_branch, last_token, answer_position = _open_columns(split, opens, slots, prefix_tokens)
    tree_mask = _tree_mask(split, held, heads, slots, open_slots, width)
    stem_mask = _stem_mask(split, opens, heads, slots, open_branch.shape[1], width)
    scored_rows = [_scored(row, indices, slots[open_slots:]) for row, indices in zip(split, choices, strict=True)]
    source, scored, leaves = _of_all_rows([scored_rows[d] for d in order])
    return Layout(
        prefix_tokens=prefix_tokens,
        token_ids=token_ids[order],
        position_ids=position_ids[order],
        tree_mask=tree_mask if len(tree_mask) == 1 else tree_mask[order],
        open_branch=open_branch[order],
        last_token=last_token[order],
        answer_position=answer_position[order],
        stem_mask=stem_mask if len(stem_mask) == 1 else stem_mask[order],
        source=source,
        scored=scored,
        leaves=leaves,
    )


def _split(row: Sequence[Branch], head_tokens: int) -> _Row:
    """Take the heads off: each the longest run that the branches with the same first tokens have in common."""
    groups: dict[tuple[int, ...], list[int]] = {}
    if head_tokens:
        for i, branch in enumerate(row):
            if len(branch.tokens) > head_tokens:
                groups.setdefault(branch.tokens[:head_tokens], []).append(i)
    heads: list[tuple[int, ...]] = []
    head_of = [-1] * len(row)
    for members in groups.values():
        if len(members) > 1:
            length = common_prefix([row[i].tokens for i in members])
            for i in members:
                head_of[i] = len(heads)
            heads.append(row[members[0]].tokens[:length])
    branches = tuple(
        Branch(tokens=branch.tokens[len(heads[j]) if j >= 0 else 0 :], leaves=branch.leaves)
        for branch, j in zip(row, head_of, strict=True)
    )
    return _Row(heads=tuple(heads), head_of=tuple(head_of), branches=branches)


def _head_slots(rows: Sequence[_Row]) -> list[_Slot]:
    slots: list[_Slot] = []
    start = 0
    for j in range(max((len(row.heads) for row in rows), default=0)):
        width = max(len(row.heads[j]) for row in rows if j < len(row.heads))
        slots.append(_Slot(start=start, stem_width=width))
        start += width
    return slots


def _check(rows: Sequence[Sequence[Branch]]) -> None:
    for branch in (branch for row in rows for branch in row):
        if not branch.tokens:
            raise ValueError("A branch needs at least one token past the prefix.")
        if any(len(leaf) < 2 for leaf in branch.leaves):
            raise ValueError("A leaf needs at least one token and the end of turn.")


def _place(
    rows: Sequence[_Row], opens: list[list[int]], choices: list[list[int]], *, start: int
) -> tuple[list[_Slot], int]:
    """All slots along the axis, open ones first, and how many of them are open."""
    slots: list[_Slot] = []
    for members in (opens, choices):
        for j in range(max(map(len, members), default=0)):
            held = [row.branches[indices[j]] for row, indices in zip(rows, members, strict=True) if j < len(indices)]
            widest = max(len(branch.leaves) for branch in held)
            leaf_widths = tuple(
                max(len(branch.leaves[k]) - 1 for branch in held if k < len(branch.leaves)) for k in range(widest)
            )
            stem_width = max(len(branch.tokens) for branch in held)
            slots.append(_Slot(start=start, stem_width=stem_width, leaf_widths=leaf_widths))
            start += slots[-1].width
    return slots, max(map(len, opens), default=0)


def _indices(opens: list[int], choices: list[int], open_slots: int, slots: int) -> list[int]:
    """Which branch of a row stands in each slot; -1 for none."""
    padding = [-1] * (open_slots - len(opens))
    return [*opens, *padding, *choices, *[-1] * (slots - open_slots - len(choices))]


def _fill(slot: _Slot, branch: Branch, token_ids: Ints, position_ids: Ints, after: int) -> None:
    """One branch of one row; `after` is the position it goes on from."""
    stem = len(branch.tokens)
    token_ids[slot.start : slot.start + stem] = branch.tokens
    position_ids[slot.start : slot.start + slot.stem_width] = after + np.arange(slot.stem_width)
    for start, leaf in zip(slot.leaf_starts, branch.leaves, strict=False):
        inputs = len(leaf) - 1
        token_ids[start : start + inputs] = leaf[:-1]
        position_ids[start : start + inputs] = after + stem + np.arange(inputs)


def _open_columns(
    rows: Sequence[_Row], opens: list[list[int]], slots: list[_Slot], prefix_tokens: int
) -> tuple[Ints, Ints, Ints]:
    columns = bucket_branches(max(map(len, opens), default=0))
    branch = np.full((len(rows), columns), -1, np.int64)
    last, position = np.zeros_like(branch), np.full_like(branch, prefix_tokens)
    for b, indices in enumerate(opens):
        for r, index in enumerate(indices):
            length = len(rows[b].branches[index].tokens)
            last[b, r] = slots[r].start + length - 1
            position[b, r] += rows[b].head_tokens(index) + length
            branch[b, r] = index
    return branch, last, position


def _tree_mask(
    rows: Sequence[_Row],
    held: list[list[int]],
    heads: list[_Slot],
    slots: list[_Slot],
    open_slots: int,
    width: int,
) -> Bools:
    """Causal inside each head, stem and leaf; a stem and its leaves see the head, a leaf the real part of its stem.

    Padding at the end of a stem lies in the future of all its real tokens, so that the causal triangle alone serves
    rows of any question length. Only what comes after the padding, a leaf or what goes on from a head, needs to know
    the true length: the mask is per row when the rows differ in one.
    """
    shared = np.zeros((width, width), np.bool_)
    for slot in (*heads, *slots):
        for start, length in zip((slot.start, *slot.leaf_starts), (slot.stem_width, *slot.leaf_widths), strict=True):
            shared[start : start + length, start : start + length] = np.tri(length, dtype=np.bool_)
    sights = [tuple(_sights(row, indices, open_slots)) for row, indices in zip(rows, held, strict=True)]
    distinct = sights[:1] if len(set(sights)) == 1 else sights
    masks = np.repeat(shared[None], len(distinct), axis=0)
    for mask, seen in zip(masks, distinct, strict=True):
        for slot, (head, head_tokens, stem_tokens) in zip(slots, seen, strict=True):
            end = slot.start + slot.width
            if head >= 0:
                mask[slot.start : end, heads[head].start : heads[head].start + head_tokens] = True
            mask[slot.start + slot.stem_width : end, slot.start : slot.start + stem_tokens] = True
    return masks


def _sights(row: _Row, indices: list[int], open_slots: int) -> Iterator[tuple[int, int, int]]:
    """For each slot: the head seen there and its length, and the length of the stem that leaves see."""
    for place, index in enumerate(indices):
        if index < 0:
            yield -1, 0, 0
        else:
            stem = len(row.branches[index].tokens) if place >= open_slots else 0
            yield row.head_of[index], row.head_tokens(index), stem


def _stem_mask(
    rows: Sequence[_Row], opens: list[list[int]], heads: list[_Slot], slots: list[_Slot], columns: int, width: int
) -> Bools:
    """Bool [1 or B, R, N]: the answer of column r sees the real tokens of slot r, and of its head."""
    masks = np.zeros((len(rows), columns, width), np.bool_)
    for mask, row, indices in zip(masks, rows, opens, strict=True):
        for r, index in enumerate(indices):
            start, head = slots[r].start, row.head_of[index]
            mask[r, start : start + len(row.branches[index].tokens)] = True
            if head >= 0:
                mask[r, heads[head].start : heads[head].start + row.head_tokens(index)] = True
    return masks[:1] if bool((masks == masks[:1]).all()) else masks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scored:
    """One row's `source` [U] on the N axis, `scored` [M, 3], and the (branch, choice) of each of its leaves."""

    source: Ints
    scored: Ints
    leaves: tuple[tuple[int, int], ...]


def _scored(row: _Row, indices: list[int], slots: list[_Slot]) -> _Scored:
    source: dict[int, int] = {}
    scored: list[tuple[int, int, int]] = []
    leaves: list[tuple[int, int]] = []
    for slot, index in zip(slots, indices, strict=False):
        branch = row.branches[index]
        stem_end = slot.start + len(branch.tokens) - 1
        for k, (start, leaf) in enumerate(zip(slot.leaf_starts, branch.leaves, strict=False)):
            for i, token in enumerate(leaf):
                place = stem_end if i == 0 else start + i - 1
                scored.append((source.setdefault(place, len(source)), token, len(leaves)))
            leaves.append((index, k))
    return _Scored(
        source=np.array(list(source), np.int64),
        scored=np.array(scored, np.int64).reshape(-1, 3),
        leaves=tuple(leaves),
    )


def _of_all_rows(rows: Sequence[_Scored]) -> tuple[Ints, Ints, tuple[Leaf, ...]]:
    """What is scored in each row, one after another, with indices into the whole."""
    sources, scored, leaves = [], [], list[Leaf]()
    places = 0
    for b, row in enumerate(rows):
        sources.append(np.column_stack([np.full(len(row.source), b), row.source]))
        scored.append(row.scored + np.array([places, 0, len(leaves)]))
        leaves += [Leaf(row=b, branch=branch, choice=choice) for branch, choice in row.leaves]
        places += len(row.source)
    return np.concatenate(sources).astype(np.int64), np.concatenate(scored), tuple(leaves)
