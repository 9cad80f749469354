"""What torch's allocator has of a GPU beside a model's weights once they are loaded, reckoned without a GPU.

usage: python bench/idle_memory.py [--sizes 1B 2B 8B 14B] [--dtypes fp8 int8 int4 bfloat16] [--tower]

Weights are loaded, quantised, fused and gathered as the engine does it, on tensors without values; what lives is placed
as torch's caching allocator would with `expandable_segments:True` (c10/cuda/CUDACachingAllocator.cpp, torch 2.11): best
fit, pages of 20 MiB, of 2 MiB for tensors of a MiB and less, and whole free pages given back in the end. Held against
`resting_gib` and `loading_gib` of results/memory. Quantised, weights are read one after another, as here; in 16 bits
transformers reads several at once. --tower gathers the vision tower's layers first, which the engine does not.
"""

import argparse
import json
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import InternVLConfig, InternVLForConditionalGeneration
from transformers.core_model_loading import dot_natural_key

from carscribe.engines.layers import FusedLayer, gathered
from carscribe.engines.packed import ALIGNED, RotaryTable
from carscribe.engines.quantised import QuantisedLinear
from carscribe.engines.quantising import _projections
from carscribe.memory import PAGE_BYTES, held_of, projection_bytes
from carscribe.packing import round_up
from checkpoints import SIZES, config_of
from gpu_bytes import MIB, gib
from recording import RESULTS

LEAST, ROOM, POSITIONS = 512, 2**42, 32_768
WORKSPACE_BYTES = 32 * MIB
"""What cuBLAS asks for with the first product on a GPU of that kind."""

META = torch.device("meta")


@dataclass(slots=True)
class Block:
    """A stretch of addresses: in use, free (of pages that the allocator has), or without pages."""

    start: int
    size: int
    used: bool = False
    has_pages: bool = False

    @property
    def free(self) -> bool:
        """Whether a tensor can come to lie here."""
        return self.has_pages and not self.used


class Pool:
    """One growing segment, of tensors that share a size of pages."""

    def __init__(self, page: int) -> None:
        self.page = page
        self.blocks = [Block(0, ROOM)]

    def take(self, size: int) -> Block:
        """The smallest free block that is large enough; without one, pages for the lowest place that is."""
        size = round_up(max(size, LEAST), LEAST)
        fitting = [(each.size, each.start, i) for i, each in enumerate(self.blocks) if each.free and each.size >= size]
        if fitting:
            fitting.sort()
            chosen = fitting[0]
            for each, following in pairwise(fitting):  # one that could grow is spared, while the next could less
                if self._could_be(following[2]) >= self._could_be(each[2]):
                    break
                chosen = following
            place = chosen[2]
        else:
            place = self._grown(size)
        block = self.blocks[place]
        if block.size > size:
            self.blocks.insert(place + 1, Block(block.start + size, block.size - size, has_pages=True))
            block.size = size
        block.used = True
        return block

    def leave(self, block: Block) -> None:
        """What is free on both sides joins it."""
        block.used = False
        self._join()

    def give_back(self) -> None:
        """Whole pages in which nothing lies."""
        for block in [each for each in self.blocks if each.free]:
            start, end = round_up(block.start, self.page), (block.start + block.size) // self.page * self.page
            if start < end:
                place = self.blocks.index(block)
                after = Block(end, block.start + block.size - end, has_pages=True)
                block.size = start - block.start
                self.blocks[place + 1 : place + 1] = [Block(start, end - start), after]
        self._join()

    def bytes_of(self, *, used: bool) -> int:
        """In use, or all that it has pages for."""
        return sum(each.size for each in self.blocks if each.used or (each.has_pages and not used))

    def _could_be(self, place: int) -> int:
        after = self.blocks[place + 1 : place + 2]
        return self.blocks[place].size + sum(each.size for each in after if not each.has_pages)

    def _grown(self, size: int) -> int:
        for place, block in enumerate(self.blocks):
            if block.used or (block.has_pages and self._could_be(place) == block.size):
                continue
            room, last = 0, place
            while room < size and not self.blocks[last].used:
                room += self.blocks[last].size
                last += 1
            if room >= size:
                start = block.start
                for each in self.blocks[place:last]:
                    missing = size - (each.start - start)
                    if not each.has_pages and missing < each.size:
                        pages = min(each.size, round_up(missing, self.page))
                        rest = Block(each.start + pages, each.size - pages)
                        each.size = pages
                        self.blocks.insert(self.blocks.index(each) + 1, rest)
                    each.has_pages = True
                self._join()
                return next(i for i, each in enumerate(self.blocks) if each.start == start)
        raise MemoryError

    def _join(self) -> None:
        joined: list[Block] = []
        for each in self.blocks:
            if not each.size:
                continue
            if joined and not each.used and not joined[-1].used and each.has_pages == joined[-1].has_pages:
                joined[-1].size += each.size
            else:
                joined.append(each)
        self.blocks = joined


class Placed(TorchDispatchMode):
    """All storages that operations make, placed while they live."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = Pool(PAGE_BYTES), Pool(2 * MIB)
        self.most = 0
        self._places: dict[int, tuple[Pool, Block]] = {}

    def __torch_dispatch__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return out

    @property
    def reserved(self) -> int:
        """What the allocator has."""
        return self.large.bytes_of(used=False) + self.small.bytes_of(used=False)

    @property
    def allocated(self) -> int:
        """What of it is in use."""
        return self.large.bytes_of(used=True) + self.small.bytes_of(used=True)

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._places or not storage.nbytes():
            return
        pool = self.small if storage.nbytes() <= MIB else self.large
        self._places[key] = pool, pool.take(storage.nbytes())
        self.most = max(self.most, self.reserved)
        weakref.finalize(storage, self._gone, key)

    def _gone(self, key: int) -> None:
        pool, block = self._places.pop(key)
        pool.leave(block)


def model_of(size: str) -> Any:
    """A model of the size on no device."""
    config = config_of(size, {"<|endoftext|>": 0, "<|im_end|>": 1, "<IMG_CONTEXT>": 2})
    config["text_config"]["rope_parameters"] = {"rope_type": "default", "rope_theta": 1e6}  # others look at values
    torch.set_default_dtype(torch.bfloat16)
    try:
        with META:
            return InternVLForConditionalGeneration(InternVLConfig(**config)).eval()
    finally:
        torch.set_default_dtype(torch.float32)


def in_file(name: str) -> Any:
    """Where a weight comes in the order of loading, by its name in the checkpoint."""
    if name.startswith("lm_head."):
        name = f"language_model.{name}"
    name = name.removeprefix("model.").replace("language_model.", "language_model.model.", 1)
    return dot_natural_key(name.replace(".model.lm_head.", ".lm_head."))


def loaded(model: Any, dtype: str) -> None:
    """transformers' way: so much as all weights take is asked for and left, then one after another is read."""
    held = held_of(dtype)
    weights = dict(model.named_parameters())
    quantised = {f"{name}.weight" for name, _ in _projections(model)} if held else set()
    sizes = (projection_bytes(*w.shape, dtype) if name in quantised else w.nbytes for name, w in weights.items())
    torch.empty(sum(sizes) // 2, dtype=torch.float16, device=META)
    names = sorted(weights, key=in_file)
    del weights
    for name in names:
        path, _, own = name.rpartition(".")
        module = model.get_submodule(path)
        read = torch.empty(getattr(module, own).shape, dtype=torch.bfloat16, device=META)
        if held and name in quantised:
            model.set_submodule(path, QuantisedLinear.of(held, read, module.bias))
        else:
            setattr(module, own, torch.nn.Parameter(read, requires_grad=False))
        del module, read


def rest_of(size: str, dtype: str, *, tower: bool) -> dict[str, float]:
    """What is reserved at most while a model is loaded, and allocated and reserved when it is, in GiB."""
    model, placed = model_of(size), Placed()
    with torch.inference_mode(), placed:
        loaded(model, dtype)
        head, text = model.lm_head, model.model.language_model
        kept: list[Any] = [torch.empty(WORKSPACE_BYTES, dtype=torch.uint8, device=META)]
        kept.append(RotaryTable(text.rotary_emb, POSITIONS, head.weight.new_zeros((1, 1, head.in_features))))
        head.weight = None
        rows = torch.zeros(round_up(head.out_features, ALIGNED), head.in_features, dtype=torch.bfloat16, device=META)
        head.weight = torch.nn.Parameter(rows, requires_grad=False)
        del rows
        if tower:
            for each in model.model.vision_tower.encoder.layer:
                gathered(each)
        kept += [gathered(own) for own in map(FusedLayer, text.layers)]
        most = placed.most
        placed.large.give_back()
        placed.small.give_back()
    return {"most": gib(most), "allocated": gib(placed.allocated), "reserved": gib(placed.reserved)}


def measured_of(size: str, dtype: str) -> dict[str, float]:
    """The same as it was measured; nothing where it was not."""
    path = RESULTS / "memory" / f"{size}-{dtype}-1.json"
    row = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return {"most": row["loading_gib"]["reserved"], **row["resting_gib"]} if "resting_gib" in row else {}


def main() -> None:
    """All sizes and dtypes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--dtypes", nargs="+", default=["fp8", "int8", "int4", "bfloat16"])
    parser.add_argument("--tower", action="store_true")
    options = parser.parse_args()
    for size in options.sizes:
        for dtype in options.dtypes:
            for name, found in (
                ("reckoned", rest_of(size, dtype, tower=options.tower)),
                ("measured", measured_of(size, dtype)),
            ):
                if found:
                    idle = found["reserved"] - found["allocated"]
                    print(f"{size} {dtype} {name}: at rest {idle:.3f} GiB idle, {found}", flush=True)


if __name__ == "__main__":
    main()
