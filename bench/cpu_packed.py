"""All questions of a photo on this CPU: packed behind one reading of the photo, against one `generate` call each.

Both run the same checkpoint in float32 on the same tiles, with the same questions and token limits, in one process, in
turn: a small random one, ten questions of 20 tokens; or with --demo the demo model on the renders that come along, the
open questions of `designer`.

usage: python bench/cpu_packed.py [--demo] [--photos 8] [--tiles 7] [--rounds 3]
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import InternVLForConditionalGeneration

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.engines.local import LocalEngine
from carscribe.engines.new_checkpoint import train_bpe, write_random_checkpoint
from carscribe.photos.decode import read_photo
from carscribe.recipes.loading import load_recipe
from carscribe.recipes.rendering import render
from carscribe.records import Metadata, Prompt, Request, Tiling
from checkpoints import recipe_texts
from recording import record

ASPECTS = (
    *("body type", "proportions", "surface", "lighting", "grille", "wheels", "colour and finish", "unique elements"),
    *("stance", "roofline"),
)


def requests(photos: int, tiles: int, tile_px: int) -> list[Request]:
    """Random photos, each asked ten questions of 20 new tokens."""
    rng = np.random.default_rng(0)
    prompts = tuple(
        Prompt(
            recipe_id="bench",
            question_id=aspect,
            language="en",
            text=f"Describe this car's {aspect}. Reply in at most 12 words, only short phrases.",
            max_new_tokens=20,
        )
        for aspect in ASPECTS
    )
    shape = (tiles, tile_px, tile_px, 3)
    return [Request(tiles=rng.integers(0, 256, shape, dtype=np.uint8), prompts=prompts) for _ in range(photos)]


def demo_requests(photos: int, tiling: Tiling) -> list[Request]:
    """Shipped renders, asked the open questions of `designer` in English."""
    prompts = tuple(prompt for prompt in render(load_recipe("designer"), Metadata(), ["en"]) if not prompt.choices)
    files = sorted((Path(__file__).parents[1] / "demo" / "photos" / "images").iterdir())
    return [Request(tiles=read_photo(file, tiling).tiles, prompts=prompts) for file in files[:photos]]


def main() -> None:
    """Time both in turn and record the ratio of the medians, with each round's."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("photos", 8), ("tiles", 7), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--demo", action="store_true")
    options = parser.parse_args()
    folder = demo_checkpoint() if options.demo else Path(tempfile.mkdtemp(prefix="carscribe-bench-"))
    if not options.demo:
        write_random_checkpoint(folder, train_bpe(recipe_texts()))
    checkpoint = open_checkpoint(str(folder))
    engine = LocalEngine(checkpoint, device="cpu", dtype="float32")
    plain = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    if options.demo:
        asked = demo_requests(options.photos, checkpoint.tiling)
    else:
        asked = requests(options.photos, options.tiles, checkpoint.tiling.tile_px)
    tiles = len(asked[0].tiles)

    @torch.inference_mode()
    def one_call_each() -> list[list[str]]:
        said = []
        for request in asked:
            pixels = torch.cat(list(engine._pixels([request])))
            row = []
            for prompt in request.prompts:
                ids = torch.tensor([engine._prompts.ids(prompt.text, tiles)])
                out = plain.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    pixel_values=pixels,
                    max_new_tokens=prompt.max_new_tokens,
                    do_sample=False,
                )
                row.append(engine._prompts.text(out[0, ids.shape[1] :].tolist()))
            said.append(row)
        return said

    def packed() -> list[list[str]]:
        limit = engine.plan_batch(tiles, asked[0].prompts).photos
        batches = [asked[i : i + limit] for i in range(0, len(asked), limit)]
        return [[answer.text for answer in row] for batch in batches for row in engine.answer(batch)]

    same = packed() == one_call_each()  # also the warm-up of both
    rounds = []
    for _ in range(options.rounds):
        seconds = []
        for way in (packed, one_call_each):
            start = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - start)
        rounds.append({"packed_s": seconds[0], "generate_s": seconds[1], "ratio": seconds[1] / seconds[0]})
        print({key: round(value, 2) for key, value in rounds[-1].items()}, flush=True)
    ratio = statistics.median(row["ratio"] for row in rounds)
    prompts = asked[0].prompts
    figures = {"photos": len(asked), "tiles": tiles, "questions": len(prompts), "new_tokens": prompts[0].max_new_tokens}
    photos_per_s = {
        way: round(len(asked) / statistics.median(row[f"{way}_s"] for row in rounds), 2)
        for way in ("packed", "generate")
    }
    how = "--demo" if options.demo else f"--tiles {options.tiles}"
    path = record(
        "cpu_packed_demo" if options.demo else "cpu_packed",
        {
            **figures,
            "same_answers": same,
            "photos_per_s": photos_per_s,
            "rounds": rounds,
            "ratio_median": round(ratio, 2),
        },
        command=f"python bench/cpu_packed.py --photos {options.photos} {how}",
    )
    print(f"same answers: {same}; packed is {ratio:.1f} times as fast (median of {len(rounds)} rounds); {path}")


if __name__ == "__main__":
    main()
