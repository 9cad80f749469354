"""Decoding of all open branches of a batch, one token of each a step; greedy, unless a sampler draws the tokens.

A step's shapes depend on the number of columns alone. Columns whose branch has ended are dropped when those left fit a
smaller bucket; keys and values stay where they are, only the mask is gathered.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from carscribe.engines.packed import PackedCache, PackedModel
from carscribe.errors import NumericsError
from carscribe.packing import Layout, bucket_branches

LARGEST_DRAW = 1 - 1e-6
"""So that a draw lies below the sum of all shares, which is rounded, and no token without a share is taken."""


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

    def take(self, logits: torch.Tensor, columns: torch.Tensor, step: int) -> torch.Tensor:
        """Tokens int64 [B, C] of logits [B, C, V]; columns int64 [B, C] says which of the R each is."""
        temperature = self.temperatures.gather(1, columns)[..., None]
        drawn = temperature > 0
        shares = (logits.float() / temperature.where(drawn, 1.0)).softmax(-1).cumsum(-1)
        place = self.draws[:, :, step].gather(1, columns)[..., None] * shares[..., -1:]
        tokens = torch.searchsorted(shares, place, right=True).clamp_(max=logits.shape[-1] - 1)
        return torch.where(drawn, tokens, logits.argmax(-1, keepdim=True))[..., 0]


def draws_of(seed: str, text: str, count: int) -> torch.Tensor:
    """`count` random numbers float32 [count] of a seed and a prompt's text; more of them begin with the same ones."""
    digest = hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big"))
    return torch.rand(count, generator=generator).clamp_(max=LARGEST_DRAW)


def decode(
    packed: PackedModel,
    cache: PackedCache,
    hidden: torch.Tensor,
    layout: Layout,
    caps: torch.Tensor,
    end_ids: Sequence[int],
    *,
    check_every: int = 1,
    sampler: Sampler | None = None,
) -> torch.Tensor:
    """The answers' token ids, int64 [B, R, T] on the CPU, T the largest cap; what follows an end or a cap is noise.

    hidden [B, N, hidden] is the questions' pass; caps int64 [B, R] the most new tokens of each column, 0 for none.
    Whether all have ended is looked at every `check_every` steps: on a GPU a look waits for the queue to drain.
    Without a `sampler` the likeliest token is taken.

    Raises: NumericsError when a logit is not finite.
    """
    decoding = _Decoding(packed, cache, hidden, layout, caps, end_ids, sampler)
    for step in range(decoding.steps):
        decoding.write_down(step)
        if step + 1 == decoding.steps:
            break
        if step % check_every == check_every - 1 and not decoding.compact():
            break
        decoding.advance(step)
    if not bool(decoding.finite):
        raise not_finite(hidden.dtype)
    return decoding.out.cpu()


class _Decoding:
    def __init__(
        self,
        packed: PackedModel,
        cache: PackedCache,
        hidden: torch.Tensor,
        layout: Layout,
        caps: torch.Tensor,
        end_ids: Sequence[int],
        sampler: Sampler | None,
    ) -> None:
        device = hidden.device
        self.packed, self.cache, self.sampler = packed, cache, sampler
        self.caps = caps.to(device)
        self.steps = int(caps.max())
        self.end_ids = torch.tensor(list(end_ids), device=device)
        last = torch.from_numpy(layout.last_token).to(device)
        self.positions = torch.from_numpy(layout.answer_position).to(device)
        logits = packed.logits(hidden.gather(1, last[..., None].expand(-1, -1, hidden.shape[-1])))
        self.finite = torch.isfinite(logits).all()
        rows, columns = logits.shape[:2]
        self.columns = torch.arange(columns, device=device).expand(rows, -1)
        self.tokens = self._take(logits, 0)
        self.done = self.caps == 0
        self.out = torch.zeros(rows, columns, self.steps, dtype=torch.long, device=device)
        self.next_slot = layout.prefix_tokens + layout.token_ids.shape[1]
        self._see(torch.from_numpy(layout.stem_mask).to(device), layout.prefix_tokens)

    def write_down(self, step: int) -> None:
        """Keep the tokens and note which columns ended with them."""
        self.out[:, :, step].scatter_(1, self.columns, self.tokens)
        self.done = self.done | torch.isin(self.tokens, self.end_ids) | (step + 1 >= self.caps)

    def compact(self) -> bool:
        """Drop ended columns when the rest fit a smaller bucket; False when all have ended."""
        left = int((~self.done).sum(1).max())
        fitting = bucket_branches(left)
        if fitting < self.done.shape[1] and left:
            order = self.done.to(torch.int8).argsort(dim=1, stable=True)[:, :fitting]
            self.tokens, self.columns, self.done, self.caps, self.positions = (
                field.gather(1, order) for field in (self.tokens, self.columns, self.done, self.caps, self.positions)
            )
            mask = self.folded[:, 0, : self.own.shape[0]].expand(len(order), -1, -1)
            self._fold(mask.gather(1, order[..., None].expand(-1, -1, mask.shape[-1])))
        return left > 0

    def advance(self, step: int) -> None:
        """Feed the last tokens and take the next."""
        columns = self.tokens.shape[1]
        slots = torch.arange(self.next_slot, self.next_slot + columns, device=self.tokens.device)
        self.cache.slots = slots
        self.folded.index_copy_(3, slots, self.own_folded.expand(len(self.folded), -1, -1, -1))
        self.next_slot += columns
        hidden = self.packed.step(self.cache, self.tokens, self.positions + step, self.folded)
        logits = self.packed.logits(hidden)
        self.finite = self.finite & torch.isfinite(logits).all()  # looked at in the end: here nothing is waited for
        self.tokens = self._take(logits, step + 1)

    def _take(self, logits: torch.Tensor, step: int) -> torch.Tensor:
        return logits.argmax(-1) if self.sampler is None else self.sampler.take(logits, self.columns, step)

    def _see(self, stem_mask: torch.Tensor, prefix_tokens: int) -> None:
        """What the answers see before their first step: the prefix and their own question."""
        shape = (*stem_mask.shape[:2], self.cache.keys[0].shape[2])
        mask = torch.zeros(shape, dtype=torch.bool, device=stem_mask.device)
        mask[..., :prefix_tokens] = True
        mask[..., prefix_tokens : prefix_tokens + stem_mask.shape[-1]] = stem_mask
        self.cache.visible = shape[-1]
        self._fold(mask)

    def _fold(self, mask: torch.Tensor) -> None:
        self.folded = self.packed.fold(mask)
        self.own = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        self.own_folded = self.packed.fold(self.own[None])


def not_finite(dtype: torch.dtype) -> NumericsError:
    """The error for NaN or infinite output of a model that runs in `dtype`."""
    return NumericsError(
        f"The model's output in {str(dtype).removeprefix('torch.')} is not finite. The Qwen2.5-7B backbone is reported "
        "to overflow in float16: use --dtype bfloat16 (or float32 where the GPU has no bfloat16). In these dtypes "
        "already, the weights are damaged: fetch the checkpoint again."
    )
