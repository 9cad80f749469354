"""transformers' `generate`: one photo at a time, as a script does that empties the cache after each, and in batches.

usage: python bench/versus/transformers_alone.py --model DIR --to FILE [--tiles 1 7 13]

One description of 96 tokens. Pixels are made up on the GPU: reading files is left out, in its favour.
"""

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

import torch
from transformers import InternVLForConditionalGeneration
from work import write

NEW_TOKENS, TEXT_TOKENS = 96, 60
BATCHES = {1: (64, 128), 7: (32, 64), 13: (8, 24)}


def inputs(model: Any, photos: int, tiles: int) -> dict[str, torch.Tensor]:
    """A prompt of about as many tokens as `brief` has."""
    image = [model.config.image_token_id] * 256 * tiles
    row = [*range(100, 120), *image, *range(200, 240)]
    ids = torch.tensor([row] * photos, device=model.device)
    pixels = torch.randn(photos * tiles, 3, 448, 448, device=model.device, dtype=model.dtype)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels}


@torch.no_grad()
def main() -> None:
    """All rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--tiles", type=int, nargs="+", default=[1, 7, 13])
    parser.add_argument("--loop-photos", type=int, default=12)
    options = parser.parse_args()
    model = InternVLForConditionalGeneration.from_pretrained(
        options.model, dtype=torch.bfloat16, device_map="cuda", attn_implementation="sdpa"
    ).eval()
    how = {"max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS, "do_sample": False, "pad_token_id": 0}
    figures: dict[str, Any] = {"contender": "transformers", "rows": []}

    def timed(name: str, photos: int, tiles: int, times: int) -> None:
        batch = inputs(model, photos, tiles)
        try:
            model.generate(**batch, **how)
            torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(times):
                model.generate(**batch, **how)
                if photos == 1:
                    gc.collect()
                    torch.cuda.empty_cache()
            torch.cuda.synchronize()
        except torch.OutOfMemoryError:
            print(name, photos, tiles, "out of memory", flush=True)
            return
        seconds = time.perf_counter() - start
        row = {"way": name, "tiles": tiles, "batch": photos, "photos_per_s": round(photos * times / seconds, 3)}
        figures["rows"].append({**row, "seconds": round(seconds, 1)})
        print(json.dumps(figures["rows"][-1]), flush=True)
        write(options.to, figures)

    for tiles in options.tiles:
        timed("one photo at a time", 1, tiles, options.loop_photos)
        for photos in BATCHES[tiles]:
            timed("batched", photos, tiles, 2)
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
