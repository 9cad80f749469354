"""Attention over packed training rows: a causal prefix, and branches under a mask, in two calls of torch's kernels.

The prefix, most of a row, needs no mask, so it runs through the fastest kernel; a mask over the whole row would not.
"""

from typing import Any

import torch

from carscribe.engines.packed import folded, packed_attention

TRAINING_ATTENTION = "carscribe_training"
"""The name under which `training_attention` is known to transformers."""


def training_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    *,
    prefix_tokens: int,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """query [B, H, S, D], key and value [B, H_kv, S, D]; returns [B, S, H, D].

    The first `prefix_tokens` queries are causal among themselves. attention_mask bool [B, 1, H/H_kv · N, S] is for the
    other N, heads folded into the query axis as `packed_attention` takes it.
    """
    how: dict[str, Any] = {"scaling": scaling, "dropout": dropout}
    p = prefix_tokens
    prefix, _none = packed_attention(module, query[:, :, :p], key[:, :, :p], value[:, :, :p], None, **how)
    branches, _none = packed_attention(module, query[:, :, p:], key, value, attention_mask, **how)
    return torch.cat([prefix, branches], dim=1), None


def branch_mask(tree: torch.Tensor, own_prefix: torch.Tensor, *, prefix_tokens: int, heads_per_kv: int) -> torch.Tensor:
    """What each row's N branch tokens see of its S, for `training_attention`: bool [B, 1, heads_per_kv · N, S].

    tree bool [N, N] and own_prefix int64 [B] as in `layouts.Batch`. Made where they are: it is larger than the photos.
    """
    branch_tokens, rows = len(tree), len(own_prefix)
    seen = torch.arange(prefix_tokens, device=tree.device) < own_prefix[:, None]
    prefix = seen[:, None].expand(rows, branch_tokens, prefix_tokens)
    whole = torch.cat([prefix, tree.expand(rows, branch_tokens, branch_tokens)], dim=2)
    return folded(whole, heads_per_kv)


def register_training_attention() -> None:
    """Make `TRAINING_ATTENTION` known to transformers, before a model is loaded with it."""
    from transformers import AttentionInterface

    AttentionInterface.register(TRAINING_ATTENTION, training_attention)
