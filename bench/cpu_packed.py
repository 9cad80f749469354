"""Ten questions a photo on this CPU: packed behind one reading of the photo, against one `generate` call each.

Both run the same small random checkpoint in float32 on the same tiles, with the same questions and token counts, in
one process, in turn; the checkpoint never ends a turn early by itself in both or in neither, since they say the same.

usage: python bench/cpu_packed.py [--photos 8] [--tiles 7] [--rounds 3]
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
from carscribe.engines.local import LocalEngine
from carscribe.engines.new_checkpoint import train_bpe, write_random_checkpoint
from carscribe.records import Prompt, Request
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


def main() -> None:
    """Time both in turn and record the ratio of the medians, with each round's."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("photos", 8), ("tiles", 7), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="carscribe-bench-"))
    write_random_checkpoint(folder, train_bpe(recipe_texts()))
    checkpoint = open_checkpoint(str(folder))
    engine = LocalEngine(checkpoint, device="cpu", dtype="float32")
    plain = InternVLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    asked = requests(options.photos, options.tiles, checkpoint.tiling.tile_px)

    @torch.inference_mode()
    def one_call_each() -> list[list[str]]:
        said = []
        for request in asked:
            pixels = torch.cat(list(engine._pixels([request])))
            row = []
            for prompt in request.prompts:
                ids = torch.tensor([engine._prompts.ids(prompt.text, options.tiles)])
                out = plain.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    pixel_values=pixels,
                    max_new_tokens=20,
                    do_sample=False,
                )
                row.append(engine._prompts.text(out[0, ids.shape[1] :].tolist()))
            said.append(row)
        return said

    def packed() -> list[list[str]]:
        limit = engine.plan_batch(options.tiles, asked[0].prompts).photos
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
    figures = {"photos": options.photos, "tiles": options.tiles, "questions": len(ASPECTS), "new_tokens": 20}
    path = record(
        "cpu_packed",
        {**figures, "same_answers": same, "rounds": rounds, "ratio_median": round(ratio, 2)},
        command=f"python bench/cpu_packed.py --photos {options.photos} --tiles {options.tiles}",
    )
    print(f"same answers: {same}; packed is {ratio:.1f} times as fast (median of {len(rounds)} rounds); {path}")


if __name__ == "__main__":
    main()
