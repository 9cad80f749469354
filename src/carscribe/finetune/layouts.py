"""How a batch of photos with their questions and answers becomes the arrays a model is trained on. Pure numpy.

Three ways. `packed`: all pairs of a photo are branches of one row behind one reading of it, laid out by
`carscribe.packing` as the engine lays out questions, so a pair is learned as it will be asked. `plain`: a row a pair,
the photo in each. `turns`: the pairs of a photo as one conversation, where a later answer sees the earlier ones.

Shapes: B rows, P prefix tokens, N branch tokens, S tokens of a row. A label is the token id to learn, `IGNORED` where
nothing is; as everywhere in transformers it stands at the token's own place, and is predicted from the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from carscribe.packing import Bools, Branch, Ints, common_prefix, lay_out, round_up

Way = Literal["packed", "plain", "turns"]

IGNORED = -100
"""The label of a token that is not learned. Source: torch.nn.CrossEntropyLoss, ignore_index."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """One pair as token ids: the prompt whole, image included, up to `image_end`; the answer, end of turn last."""

    prompt: tuple[int, ...]
    image_end: int
    answer: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Arrays of a batch: token_ids, position_ids and labels int64 [B, S].

    Packed: `prefix_tokens` is P, and the prefix is causal; `mask` bool [N, N] says which of them a branch's token sees,
    in every row alike, and of the prefix it sees the photo's own part, `own_prefix` int64 [B] tokens.
    Otherwise `prefix_tokens` is 0, `own_prefix` None and `mask` int64 [B, S], 1 for a token, 0 for padding at the end.
    """

    token_ids: Ints
    position_ids: Ints
    labels: Ints
    mask: Bools | Ints
    prefix_tokens: int
    own_prefix: Ints | None = None


def pack(rows: Sequence[Sequence[Tokens]], *, pad_id: int, quantum: int = 8) -> Batch:
    """All pairs of each photo beside one reading of it. Photos may differ in tiles.

    Where a photo has fewer tiles than another, its prefix is padded at the end: padding is in the future of the prefix
    and hidden from the branches, whose positions go on from where the photo's own prefix ends.
    """
    image_ends = [row[0].image_end for row in rows]
    tails = [tuple(pair.prompt[end:]) for row, end in zip(rows, image_ends, strict=True) for pair in row]
    shared = common_prefix(tails, quantum=8)
    own = [end + shared for end in image_ends]
    prefix_tokens = round_up(max(own), quantum)
    # Long ones first: the j-th branches of all rows share a stretch as wide as the longest of them.
    ordered = [sorted(row, key=lambda pair: -len(pair.prompt) - len(pair.answer)) for row in rows]
    branches = [
        [Branch(tokens=(*pair.prompt[length:], *pair.answer)) for pair in row]
        for row, length in zip(ordered, own, strict=True)
    ]
    # No heads: two pairs of one question would begin alike past it, and a head is learned by none.
    layout = lay_out(branches, prefix_tokens=prefix_tokens, pad_id=pad_id, quantum=quantum, head_tokens=0)
    width = layout.token_ids.shape[1]
    token_ids = np.full((len(rows), prefix_tokens + width), pad_id, np.int64)
    token_ids[:, prefix_tokens:] = layout.token_ids
    labels = np.full_like(token_ids, IGNORED)
    position_ids = np.empty_like(token_ids)
    position_ids[:, :prefix_tokens] = np.arange(prefix_tokens)
    position_ids[:, prefix_tokens:] = layout.position_ids
    for b, (row, length) in enumerate(zip(ordered, own, strict=True)):
        token_ids[b, :length] = row[0].prompt[:length]
        position_ids[b, prefix_tokens:] -= prefix_tokens - length
        for column, pair in enumerate(row):
            end = prefix_tokens + int(layout.last_token[b, column]) + 1
            labels[b, end - len(pair.answer) : end] = pair.answer
    return Batch(
        token_ids=token_ids,
        position_ids=position_ids,
        labels=labels,
        mask=layout.tree_mask[0],  # the same for all: no branch has leaves
        prefix_tokens=prefix_tokens,
        own_prefix=np.array(own, np.int64),
    )


def pad_rows(rows: Sequence[Sequence[tuple[tuple[int, ...], bool]]], *, pad_id: int, quantum: int = 8) -> Batch:
    """Rows of their own, each a run of (token ids, whether they are learned), padded at the end."""
    lengths = [sum(len(ids) for ids, _ in row) for row in rows]
    width = round_up(max(lengths), quantum)
    token_ids = np.full((len(rows), width), pad_id, np.int64)
    labels = np.full_like(token_ids, IGNORED)
    for b, row in enumerate(rows):
        at = 0
        for ids, learned in row:
            token_ids[b, at : at + len(ids)] = ids
            if learned:
                labels[b, at : at + len(ids)] = ids
            at += len(ids)
    positions: NDArray[np.int64] = np.arange(width, dtype=np.int64)
    return Batch(
        token_ids=token_ids,
        position_ids=np.repeat(positions[None], len(rows), axis=0),
        labels=labels,
        mask=(positions < np.array(lengths)[:, None]).astype(np.int64),
        prefix_tokens=0,
    )
