"""On a GPU: packed answers against the real AutoProcessor and `generate`, then 64 photos through an 8B-size model.

1. exact: small random checkpoints in float32 (and bfloat16, reported), Qwen2 and Qwen3 backbones, 1 to 13 tiles. Ids
   against `AutoProcessor`, tokens of every branch against `generate` on that question alone, fed the same pixels; and
   how far the processor's torchvision pixels are from ours.
2. run: `carscribe.describe` with the `designer` recipe over 64 photos at 1, 7 and 13 tiles, random weights of the 8B's
   size in bfloat16: all answered, peak memory, photos/s.
3. memory: the same with the process held to a fraction of the GPU, so that memory truly runs out.

Photos are those of --photos, cropped to 4:3 and mirrored until there are 64, or drawn placeholders.

usage: python bench/gpu_proof.py [--photos FOLDER] [--tokenizer tokenizer.json] [--size 8B] [--device cuda]
"""

import argparse
import itertools
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from transformers import AutoProcessor, InternVLForConditionalGeneration

import carscribe
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.choosing import open_engine
from carscribe.engines.local import LocalEngine
from carscribe.engines.new_checkpoint import train_bpe, write_random_checkpoint
from carscribe.errors import OutOfMemoryError
from carscribe.photos.decode import read_photo
from carscribe.records import Prompt, Request, Tiling
from checkpoints import recipe_texts, write_sized_checkpoint
from recording import record

# width and height that give the tile count with the grid limit
SHAPES = {1: ((900, 600), 1), 3: ((1000, 500), 2), 7: ((1200, 800), 12), 9: ((1920, 1080), 12), 10: ((1800, 1800), 9)}
SHAPES[13] = ((1600, 1200), 12)
QUESTIONS = (
    "Wheels?",
    "\nnew line first",
    " space first",
    "3 digits",
    '"quoted"',
    "휠은 어떤가요?",
    "Describe the grille.",
)


def prompts() -> tuple[Prompt, ...]:
    """Open questions of 12 new tokens."""
    return tuple(
        Prompt(recipe_id="proof", question_id=str(i), language="en", text=text, max_new_tokens=12)
        for i, text in enumerate(QUESTIONS)
    )


class Recording(LocalEngine):
    """Keeps the token ids of the open answers, row by row."""

    said: list[list[int]]

    def _opens(self, prompts: Sequence[Prompt], said: Sequence[list[int]]) -> Any:
        answers = super()._opens(prompts, said)
        for answer, tokens in zip(answers, said, strict=True):
            self.said.append(tokens[: answer.tokens + (answer.finish == "stop")])
        return answers


@torch.inference_mode()
def exact(device: str, photo: Image.Image, folder: Path, backbone: str, dtype: str, tiles: int) -> dict[str, Any]:
    """One comparison: a photo resized to give `tiles`, all questions packed and each alone."""
    size, max_tiles = SHAPES[tiles]
    path = folder / f"photo-{tiles}.png"
    photo.resize(size).save(path)
    checkpoint = open_checkpoint(str(folder))
    engine = Recording(checkpoint, device=device, dtype=dtype)
    cut = read_photo(path, Tiling(tile_px=checkpoint.tiling.tile_px, max_tiles=max_tiles))
    engine.said = []
    request = Request(tiles=cut.tiles, prompts=prompts())
    engine.answer([request])
    pixels = torch.cat(list(engine._pixels([request])))
    processor = AutoProcessor.from_pretrained(folder)
    model = InternVLForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).to(device).eval()
    ids_equal = tokens_equal = own_pixels_equal = 0
    gap = 0.0
    for prompt, said in zip(request.prompts, engine.said, strict=True):
        content = [{"type": "image", "image": Image.open(path)}, {"type": "text", "text": prompt.text}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"max_patches": max_tiles},
        ).to(device)
        ids_equal += inputs["input_ids"][0].tolist() == list(engine._prompts.ids(prompt.text, tiles))
        gap = max(gap, float((inputs["pixel_values"].float() - pixels).abs().max()))
        start = inputs["input_ids"].shape[1]
        ask = {"max_new_tokens": 12, "do_sample": False}
        theirs = model.generate(**inputs, **ask)[0, start:].tolist()
        ours = model.generate(**(dict(inputs) | {"pixel_values": pixels}), **ask)[0, start:].tolist()
        tokens_equal += ours == said
        own_pixels_equal += theirs == said
    row = {
        "backbone": backbone,
        "dtype": dtype,
        "tiles": len(cut.tiles),
        "questions": len(QUESTIONS),
        "ids_equal": ids_equal,
        "tokens_equal": tokens_equal,
        "tokens_equal_with_torchvision_pixels": own_pixels_equal,
        "largest_pixel_gap_to_torchvision": round(gap, 4),
        "distinct_answers": len({tuple(said) for said in engine.said}),
    }
    print(row, flush=True)
    return row


def make_photos(source: Path | None, folder: Path, count: int = 64) -> Path:
    """`count` different JPEGs of 4:3, the source's photos cropped, then mirrored, then shifted."""
    folder.mkdir()
    if source is None:
        sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))
        from placeholder_cars import draw_all

        source = draw_all(folder.parent / "drawn").parent / "images"
    files = sorted(path for path in source.iterdir() if path.suffix in {".jpg", ".png", ".webp"})
    for i, path in zip(range(count), itertools.cycle(files), strict=False):
        image = Image.open(path).convert("RGB")
        shift = 0.5 + 0.1 * (i // (2 * len(files)))
        width, height = image.size
        crop = (min(width, height * 4 // 3), min(height, width * 3 // 4))
        image = ImageOps.fit(image, crop, centering=(shift, shift))
        if i // len(files) % 2:
            image = ImageOps.mirror(image)
        image.save(folder / f"{i:03}.jpg", quality=92)
    return folder


def run(photos: Path, engine: LocalEngine, max_tiles: int, *, limit: int | None = None) -> dict[str, Any]:
    """Describe the folder with the shipped recipe; the figures."""
    torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    results = list(carscribe.describe(photos, engine=engine, max_tiles=max_tiles, limit=limit))
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    answers = [answer for result in results for answer in result.answers]
    return {
        "photos": len(results),
        "answered": sum(bool(result.answers) for result in results),
        "errors": sorted({result.error for result in results if result.error}),
        "tiles": dict(Counter(str(result.tiles) for result in results)),
        "answers": len(answers),
        "new_tokens": sum(answer.tokens for answer in answers if answer.finish != "choice"),
        "seconds": round(seconds, 2),
        "photos_per_s": round(len(results) / seconds, 2),
        "peak_allocated_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        "peak_reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 2),
    }


class Counting:
    """An engine seen from outside: the batches it was given and those it could not hold."""

    def __init__(self, engine: LocalEngine) -> None:
        self._engine = engine
        self.batches: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def answer(self, requests: Any) -> Any:
        """Answer, noting photos × tiles and whether memory ran out."""
        size = f"{len(requests)}x{len(requests[0].tiles)}"
        try:
            answers = self._engine.answer(requests)
        except OutOfMemoryError:
            self.batches.append(f"{size} out of memory")
            raise
        self.batches.append(size)
        return answers


def main() -> None:
    """All three parts, into one JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--size", default="8B")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only-exact", action="store_true")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="carscribe-proof-"))
    photos = make_photos(options.photos, work / "photos")
    figures: dict[str, Any] = {"exact": [], "run": [], "memory": []}
    picture = Image.open(photos / "000.jpg").convert("RGB")
    for backbone, rope in (("qwen2", "dynamic"), ("qwen3", "default")):
        folder = work / backbone
        folder.mkdir()
        write_random_checkpoint(folder, train_bpe(recipe_texts()), backbone=backbone, rope=rope)
        for dtype, tiles in itertools.product(("float32", "bfloat16"), SHAPES):
            if dtype == "float32" or tiles in (1, 13):
                figures["exact"].append(exact(options.device, picture, folder, backbone, dtype, tiles))
    if not options.only_exact:
        big(options, work, photos, figures)
    command = f"python bench/gpu_proof.py --size {options.size}"
    print(record("gpu_proof", figures, command=command))


def big(options: argparse.Namespace, work: Path, photos: Path, figures: dict[str, Any]) -> None:
    """Parts 2 and 3."""
    folder = work / options.size
    wrote = write_sized_checkpoint(folder, options.size, device=options.device, tokenizer_json=options.tokenizer)
    torch.cuda.empty_cache()
    start = time.perf_counter()
    engine = open_engine(str(folder), device=options.device)
    torch.cuda.synchronize()
    figures["load"] = {"written_s": round(wrote, 1), "loaded_s": round(time.perf_counter() - start, 1)}
    figures["load"] |= {"dtype": engine.card.dtype, "weights_gib": round(torch.cuda.memory_allocated() / 2**30, 2)}
    print(figures["load"], flush=True)
    run(photos, engine, 1, limit=4)  # the first kernels
    for grid in (1, 6, 12):
        counting = Counting(engine)
        figures["run"].append({"max_tiles": grid, **run(photos, counting, grid), "batches": counting.batches})
        print(figures["run"][-1], flush=True)
        engine.release()
    total = torch.cuda.get_device_properties(0).total_memory
    for left_gib in (6.0, 2.5, 1.0):
        engine.release()
        torch.cuda.set_per_process_memory_fraction(min(1.0, (torch.cuda.memory_allocated() + left_gib * 2**30) / total))
        counting = Counting(engine)
        row = {"beside_the_weights_gib": left_gib, "max_tiles": 12, **run(photos, counting, 12, limit=24)}
        figures["memory"].append({**row, "batches": counting.batches})
        print(figures["memory"][-1], flush=True)


if __name__ == "__main__":
    main()
