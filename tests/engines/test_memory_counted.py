"""What `carscribe.memory` says of a batch is what the engine's passes allocate, counted at the real sizes.

The passes run on meta tensors, which have sizes and no values: every storage counts while it lives, rounded to 512
bytes as CUDA's allocator does. Attention is stood in for by what a flash kernel allocates.
"""

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import InternVLConfig, InternVLForConditionalGeneration

from carscribe.engines.local import parts_of
from carscribe.engines.packed import ATTENTION, PackedModel, register_attention
from carscribe.memory import (
    FAMILY,
    ON_GPU,
    ModelShape,
    RowShape,
    asked_at_once,
    batch_bytes,
    read_at_once,
    shape_of,
    short_step,
    weight_bytes,
)

ROW = RowShape(tiles=1, branch_tokens=400, columns=8, new_tokens=40)
META = torch.device("meta")


class Live(TorchDispatchMode):
    """Bytes of all storages that operations made and that live, and the most of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._sizes: dict[int, int] = {}

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self.note(tensor)
        return out

    def note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._sizes:
            return
        self._sizes[key] = -(-storage.nbytes() // 512) * 512
        self.now += self._sizes[key]
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._gone, key)

    def most(self, work: Callable[[], Any]) -> int:
        """The most that is held at once during `work`, beside what was before."""
        before = self.peak = self.now
        work()
        return self.peak - before

    def _gone(self, key: int) -> None:
        self.now -= self._sizes.pop(key)


def flash(query: torch.Tensor, *_: Any, attn_mask: torch.Tensor | None = None, **__: Any) -> torch.Tensor:
    """What attention allocates: its output, a float32 sum a query, and a mask as numbers."""
    rows, heads, tokens, width = query.shape
    held = [torch.empty(rows, heads, tokens, dtype=torch.float32, device=META)]
    if attn_mask is not None:
        held.append(torch.empty(attn_mask.shape, dtype=query.dtype, device=META))
    return torch.empty(rows, tokens, heads, width, dtype=query.dtype, device=META).transpose(1, 2)


def model_of(shape: ModelShape) -> Any:
    """An InternVL3 of these sizes on no device, its vocabulary aligned already."""
    text = {
        "model_type": "qwen2",
        "hidden_size": shape.hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "intermediate_size": shape.mlp,
        "vocab_size": 151_680,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    }
    vision = {
        "hidden_size": shape.vision_hidden,
        "num_hidden_layers": shape.vision_layers,
        "num_attention_heads": 16,
        "intermediate_size": shape.vision_mlp,
        "attention_bias": True,
        "image_size": [448, 448],
        "patch_size": [14, 14],
    }
    config = InternVLConfig(
        text_config=text, vision_config=vision, image_token_id=5, image_seq_length=256, tie_word_embeddings=False
    )
    register_attention()
    config._attn_implementation = {"text_config": ATTENTION, "vision_config": "sdpa", "": "sdpa"}
    config.text_config._attn_implementation, config.vision_config._attn_implementation = ATTENTION, "sdpa"
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with META:
            return InternVLForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(default)


def pixels(tiles: int) -> Iterator[torch.Tensor]:
    """Tiles as the engine makes them ready, a chunk at a time."""
    for part in parts_of(tiles, ON_GPU.read_tiles):
        yield torch.empty(part.stop - part.start, 3, 448, 448, device=META)


@pytest.mark.parametrize(("size", "tiles", "photos"), [("8B", 1, 64), ("8B", 7, 128), ("8B", 13, 20), ("1B", 13, 68)])
def test_a_batch_takes_what_its_plan_says(size: str, tiles: int, photos: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "scaled_dot_product_attention", flash)
    row = RowShape(**{name: getattr(ROW, name) for name in ("branch_tokens", "columns", "new_tokens")}, tiles=tiles)
    with torch.inference_mode(), Live() as live:
        model = model_of(FAMILY[f"OpenGVLab/InternVL3-{size}-hf"])
        packed = PackedModel(model, positions=32_768)
        shape = shape_of(model.config.to_dict())
        assert live.now == pytest.approx(weight_bytes(shape, "bfloat16"), rel=0.03)
        expected = batch_bytes(shape, row, "bfloat16", ON_GPU, photos=photos)
        before = live.now
        cache = packed.caches.take(photos, row.slots(shape))
        assert live.now - before == pytest.approx(expected.prefix_cache + expected.branch_cache, rel=0.01)
        prefix = torch.zeros(row.prefix_tokens(shape), dtype=torch.long, device=META)
        image = torch.zeros(tiles * shape.tile_tokens, dtype=torch.long, device=META)

        def read() -> None:
            for rows in parts_of(photos, read_at_once(tiles, ON_GPU)):
                packed.read(cache.part(rows), prefix, image, pixels((rows.stop - rows.start) * tiles))

        def ask() -> None:
            tokens = row.branch_tokens
            mask = torch.zeros(1, tokens, tokens, dtype=torch.bool, device=META)
            for rows in parts_of(photos, asked_at_once(tokens, ON_GPU)):
                ids = torch.zeros(rows.stop - rows.start, tokens, dtype=torch.long, device=META)
                wanted = torch.zeros(len(ids) * 40, dtype=torch.long, device=META)
                packed.ask(cache.part(rows), len(prefix), ids, ids, mask, wanted)

        assert live.most(read) == pytest.approx(max(expected.vision, expected.reading), rel=0.06)
        assert live.most(ask) == pytest.approx(expected.asking, rel=0.06)
        replayed = min(photos * row.columns, short_step(shape))
        hidden = torch.empty(replayed, shape.hidden, dtype=torch.bfloat16, device=META)
        assert live.most(lambda: packed.logits(hidden)) == pytest.approx(expected.graphs, rel=0.01)
        assert np.isclose(live.now - before + expected.passes + expected.graphs, expected.total, rtol=0.01), (
            "what stays is the caches alone"
        )
