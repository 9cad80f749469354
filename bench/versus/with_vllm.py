"""vLLM offline: as its documentation shows it, or as an expert tunes it; the same photos, questions and lengths.

usage: python bench/versus/with_vllm.py --model DIR --work DIR --to FILE [--documented] [--sequences 256] [--fp8]
           [--rows 1:eight 7:one:600] [--ways photo question json]

DIR needs no weights: they are made up (load_format="dummy"). Tuned: files shrunk on load by threads, resized to the
canvas, its image processor on the GPU, prefix caching by the photo's name, and reading is taken to overlap wholly with
generating: a row's time is the longer of the two. Ways: photo by photo, the first question of every photo and then the
rest, and one JSON answer that holds all of them.
"""

import argparse
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", VLLM_NO_USAGE_STATS="1", TOKENIZERS_PARALLELISM="false")
os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
sys.path.insert(0, str(Path(__file__).parent))

from PIL import Image
from work import CANVAS_PX, GRID_TILES, Question, lasting, make_files, parser, questions, read, take, together, write

LEAST_S = 30.0


def prompt(question: Question) -> str:
    """The chat template's text with the image's place."""
    return f"<|im_start|>user\n<IMG_CONTEXT>\n{question.text}<|im_end|>\n<|im_start|>assistant\n"


class Contender:
    """One vLLM engine."""

    def __init__(self, options: argparse.Namespace) -> None:
        from vllm import LLM

        self.documented = options.documented
        self.runs = 0  # a photo of another run is another one to its cache
        self.llm = LLM(
            model=options.model,
            load_format="dummy",
            dtype="bfloat16",
            quantization="fp8" if options.fp8 else None,
            max_model_len=8192,
            max_num_seqs=options.sequences,
            max_num_batched_tokens=16_384,
            limit_mm_per_prompt={"image": 1, "video": 0},
            gpu_memory_utilization=0.9 if options.documented else 0.85,
            mm_processor_cache_gb=4 if options.documented else 0,
            seed=0,
        )

    def run(self, files: list[Path], asked: tuple[Question, ...], tiles: int, way: str) -> dict[str, Any]:
        """One row: seconds of reading and of generating."""
        from vllm import SamplingParams

        self.runs += 1
        start = time.perf_counter()
        if self.documented:
            pictures = [Image.open(file).convert("RGB") for file in files]
        else:
            with ThreadPoolExecutor(14) as pool:
                pictures = list(pool.map(lambda file: read(file, CANVAS_PX[tiles]), files))
        reading = time.perf_counter() - start
        settings: dict[str, Any] = {"crop_to_patches": tiles > 1, "max_patches": GRID_TILES[tiles]}
        if not self.documented:
            settings["device"] = "cuda"
        requests, sampling = [], []
        for i, (file, picture) in enumerate(zip(files, pictures, strict=True)):
            for at, question in enumerate(asked):
                request = {
                    "prompt": prompt(question),
                    "multi_modal_data": {"image": picture},
                    "mm_processor_kwargs": settings,
                }
                if not self.documented:
                    request["multi_modal_uuids"] = {"image": [f"{self.runs} {file}"]}
                tokens = question.tokens(i, at)
                requests.append(request)
                sampling.append(SamplingParams(temperature=0, max_tokens=tokens, min_tokens=tokens, ignore_eos=True))
        if way == "question":
            order = [at + i * len(asked) for at in range(len(asked)) for i in range(len(files))]
            requests, sampling = [requests[i] for i in order], [sampling[i] for i in order]
        start = time.perf_counter()
        outputs = self.llm.generate(requests, sampling, use_tqdm=False)
        generating = time.perf_counter() - start
        seconds = reading + generating if self.documented else max(reading, generating)
        return {
            "photos": len(files),
            "seconds": round(seconds, 2),
            "reading_s": round(reading, 2),
            "generating_s": round(generating, 2),
            "photos_per_s": round(len(files) / seconds, 2),
            "prompt_tokens": len(outputs[0].prompt_token_ids),
        }


def main() -> None:
    """All rows of one engine."""
    options_of = parser(__doc__, seconds=LEAST_S)
    options_of.add_argument("--documented", action="store_true")
    options_of.add_argument("--sequences", type=int, default=256)
    options_of.add_argument("--fp8", action="store_true")
    options_of.add_argument("--ways", nargs="+", default=["photo", "question", "json"])
    options = options_of.parse_args()
    start = time.perf_counter()
    contender = Contender(options)
    figures: dict[str, Any] = {
        "contender": "vLLM as documented" if options.documented else "vLLM tuned",
        "dtype": "fp8" if options.fp8 else "bfloat16",
        "sequences": options.sequences,
        "load_s": round(time.perf_counter() - start, 1),
        "rows": [],
    }
    for tiles, work, count in options.rows:
        files = make_files(options.work, tiles, count + options.warm if count else options.photos)
        for way in options.ways if len(questions(work)) > 1 else ["photo"]:
            asked = (together(work),) if way == "json" else questions(work)
            warm = contender.run(take(files, 0, min(len(files), options.warm)), asked, tiles, way)
            wanted = count or max(24, round(options.seconds * 1.2 * warm["photos_per_s"]))
            measured = partial(contender.run, asked=asked, tiles=tiles, way=way)
            row = lasting(measured, files, wanted, seconds=options.seconds)
            figures["rows"].append({"work": work, "way": way, "tiles": tiles, **row})
            print(json.dumps(figures["rows"][-1]), flush=True)
            write(options.to, figures, "vllm")


if __name__ == "__main__":
    main()
