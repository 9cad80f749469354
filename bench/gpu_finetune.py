"""LoRA on an InternVL3 of the 8B's size: all pairs of a photo beside one reading of it, against a row a pair.

usage: python bench/gpu_finetune.py [--size 8B] [--out FILE] [--seconds 270]

Random weights of the real size give true times and memory. Every way runs in TRL's SFTTrainer with PEFT (r = 16 on the
language layers), bfloat16, non-reentrant checkpointing, TRL's own loss (its head runs on learned tokens alone); batches
are tokenised and cut beforehand for all ways alike, so the plain rows are spared what TRL's own collator costs. Eight
pairs a photo, of about 50 and 20 tokens. A case is two steps to warm up, then timed ones; it is written when it ends.
"""

import argparse
import gc
import io
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from PIL import Image

from carscribe.engines.checkpoint import Checkpoint, open_checkpoint
from carscribe.engines.prompting import PromptEncoder
from carscribe.examples import Example, Pair
from carscribe.finetune.collator import Collator
from carscribe.finetune.models import load_for_training, lora_config
from carscribe.finetune.settings import Settings
from carscribe.finetune.training import PhotoTrainer, trainer_config
from carscribe.recipes.loading import load_recipe
from checkpoints import write_sized_checkpoint
from recording import record

ANSWER = "shape, size, pattern and trim, headlamps, wheel arches, panels, and any cladding, hood length"
SIZES_PX = {1: (448, 448), 7: (1344, 896)}
CASES = (
    *(("packed", 1, 8), ("plain", 1, 1), ("plain", 1, 4), ("turns", 1, 8)),
    *(("packed", 7, 4), ("plain", 7, 1), ("plain", 7, 2), ("turns", 7, 4), ("packed", 1, 16), ("packed", 1, 1)),
)
"""(rows, tiles, photos in a batch)."""
GIB = 2**30


def examples(tiles: int, photos: int) -> list[dict[str, Any]]:
    """Photos of noise with the eight open questions of `designer`."""
    questions = [q.text["en"] for q in load_recipe("designer").questions if not q.choices]
    rows = []
    for seed in range(photos):
        width, height = SIZES_PX[tiles]
        out = io.BytesIO()
        noise = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(noise).save(out, "JPEG")
        pairs = tuple(Pair(question=question, answer=ANSWER) for question in questions)
        rows.append(Example(photo=out.getvalue(), pairs=pairs, key=str(seed)).to_row())
    return rows


def measure(checkpoint: Checkpoint, way: str, tiles: int, photos: int, device: str) -> dict[str, Any]:
    """Pairs a second and peak memory of one way; an error where it does not fit."""
    settings = Settings(rows=way, batch_photos=photos, accumulate=1, held_out=0.0, workers=0)  # type: ignore[arg-type]
    encoder = PromptEncoder(checkpoint)
    rows = examples(tiles, photos)
    batch = Collator(encoder, checkpoint.tiling, rows=settings.rows)(rows)
    case: dict[str, Any] = {
        "rows": way,
        "tiles": tiles,
        "photos": photos,
        "pairs": 8 * photos,
        "row_tokens": list(batch["input_ids"].shape),
        "learned_tokens": int((batch["labels"] != -100).sum()),
    }
    try:
        return case | _steps(checkpoint, settings, encoder, rows, batch, device)
    except torch.OutOfMemoryError as error:
        return case | {"error": str(error).splitlines()[0][:120]}


def _steps(
    checkpoint: Checkpoint,
    settings: Settings,
    encoder: PromptEncoder,
    rows: list[dict[str, Any]],
    batch: dict[str, Any],
    device: str,
) -> dict[str, Any]:
    trainer = PhotoTrainer(
        checkpoint=checkpoint,
        model=load_for_training(checkpoint, settings, device=device),
        args=trainer_config(settings, Path(tempfile.mkdtemp()), device=device, measured=False),
        data_collator=lambda rows: rows,
        train_dataset=Dataset.from_list(rows),
        processing_class=encoder.tokenizer,
        peft_config=lora_config(settings),
    )
    model = trainer.model.train()
    if settings.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    seconds: list[float] = []
    cuda = device.startswith("cuda")
    for _ in range(5):
        if cuda:
            torch.cuda.synchronize()
        started = time.perf_counter()
        inputs = trainer._prepare_inputs(dict(batch))
        with trainer.compute_loss_context_manager():
            loss = trainer.compute_loss(model, inputs)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
        if len(seconds) > 2 and sum(seconds) > 20:
            break
    step_s = min(seconds[2:])
    pairs = 8 * settings.batch_photos
    return {
        "step_s": round(step_s, 4),
        "pairs_per_s": round(pairs / step_s, 2),
        "loss": round(float(loss.detach()), 3),
        "peak_gib": round(torch.cuda.max_memory_allocated() / GIB, 2) if cuda else None,
        "reserved_gib": round(torch.cuda.max_memory_reserved() / GIB, 2) if cuda else None,
    }


def free(device: str) -> None:
    """Let go of the last case."""
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def cases(checkpoint: Checkpoint, device: str) -> Iterator[dict[str, Any]]:
    """Every case, then what fits a smaller card."""
    for way, tiles, photos in CASES:
        yield measure(checkpoint, way, tiles, photos, device)
        free(device)
    if device.startswith("cuda"):
        whole = torch.cuda.get_device_properties(0).total_memory
        for card_gib in (24, 48):
            torch.cuda.set_per_process_memory_fraction(card_gib * GIB / whole)
            for tiles in (1, 7):
                yield {"card_gib": card_gib} | measure(checkpoint, "packed", tiles, 1, device)
                free(device)


def main() -> None:
    """All cases in one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="8B")
    parser.add_argument("--checkpoint", type=Path, default=None, help="a checkpoint that is there, instead of --size")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=1e9, help="no new case is begun after so long")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    started = time.perf_counter()
    folder = options.checkpoint
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="carscribe-finetune-"))
        print("checkpoint written in", write_sized_checkpoint(folder, options.size, device=options.device), flush=True)
        free(options.device)
    checkpoint = open_checkpoint(str(folder))
    found: list[dict[str, Any]] = []
    for case in cases(checkpoint, options.device):
        found.append(case)
        print(f"{time.perf_counter() - started:.0f} s", json.dumps(case), flush=True)
        if options.out:
            options.out.write_text(json.dumps(found, indent=1))
        if time.perf_counter() - started > options.seconds:
            print("out of time: the other cases were not run", flush=True)
            break
    command = f"python bench/gpu_finetune.py --size {options.size}"
    print(record("gpu_finetune", {"size": options.size, "lora_rank": 16, "cases": found}, command=command))


if __name__ == "__main__":
    main()
