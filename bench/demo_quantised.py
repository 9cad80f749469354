"""The demo model with quantised weights, on renders it never saw: how much is right, and how much is as in float32?

usage: python bench/demo_quantised.py [--photos 200] [--processes 2] [--device cpu]

Asked are `designer` and `brief` in English and Korean. Three checkpoints: the demo model; a copy of it with activation
outliers (`outliers.py`), whose answers in float32 must be the same to the bit; a copy that overflows in float16, which
must say so instead of answering. Quantised weights compute in float32 on a CPU and in bfloat16 on a GPU. A difference
from float32 in what is right comes with its interval of 95 %, by photos.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import torch

import carscribe
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.errors import NumericsError
from carscribe.records import PhotoResult
from held_against import agreement, differences, right
from measure import write_photos
from outliers import BEYOND_FLOAT16, LIKE_A_LARGE_MODEL, with_outliers
from recording import record
from render_set import LANGUAGES, UNSEEN_FROM

FIRST_SEED = UNSEEN_FROM + 500_000
RECIPES = ("designer", "brief")
DTYPES = ("float32", "bfloat16", "fp8", "int8", "int4")
OVERFLOW_DTYPES = ("float32", "bfloat16", "float16")
OVERFLOW_PHOTOS = 8

Answered = list[PhotoResult] | str
"""What was answered, or why nothing was."""


def answered(photos: Sequence[Path], model: Path, dtype: str, device: str) -> Answered:
    """All photos asked everything, or the error that there is no number."""
    torch.set_num_threads(1)
    asked = carscribe.describe(
        list(photos), model=str(model), recipes=RECIPES, languages=LANGUAGES, device=device, dtype=dtype
    )
    try:
        return list(asked)
    except NumericsError as error:
        return str(error)


def same(first: Answered, second: Answered) -> bool:
    """Whether two models said the same of all photos, scores to the last bit."""
    if isinstance(first, str) or isinstance(second, str):
        return False
    return all(one.answers == other.answers for one, other in zip(first, second, strict=True))


def held_against(reference: Answered, found: Answered) -> dict[str, Any]:
    """What is right, by language and aspect; how much is said as in float32; by how much less is right than there."""
    if isinstance(reference, str) or isinstance(found, str):
        return {"error": found}
    return {
        "right": right(found),
        "as_in_float32": agreement(reference, found),
        "against_float32": differences(reference, found),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="carscribe-quantised-"))
    seeds = range(FIRST_SEED, FIRST_SEED + options.photos)
    photos = sorted(write_photos(work / "photos", seeds).iterdir())
    models = {
        "demo": demo_checkpoint(),
        "outliers": with_outliers(demo_checkpoint(), work / "outliers", LIKE_A_LARGE_MODEL),
        "overflow": with_outliers(demo_checkpoint(), work / "overflow", BEYOND_FLOAT16),
    }
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        runs: dict[tuple[str, str], Future[Answered]] = {
            (model, dtype): pool.submit(
                answered,
                photos[:OVERFLOW_PHOTOS] if model == "overflow" else photos,
                models[model],
                dtype,
                options.device,
            )
            for model in models
            for dtype in (OVERFLOW_DTYPES if model == "overflow" else DTYPES)
        }
        found = {key: run.result() for key, run in runs.items()}
    plain = found["demo", "float32"]
    unchanged = {
        "outliers": same(plain, found["outliers", "float32"]),
        "overflow": same(plain[:OVERFLOW_PHOTOS], found["overflow", "float32"]),
    }
    told: dict[str, Any] = {
        "photos": options.photos,
        "recipes": RECIPES,
        "device": options.device,
        "float32_answers_are_the_demo_models": unchanged,
        **{
            model: {dtype: held_against(found[model, "float32"], found[model, dtype]) for dtype in DTYPES}
            for model in ("demo", "outliers")
        },
        "overflow": {dtype: _told(found["overflow", dtype]) for dtype in OVERFLOW_DTYPES},
    }
    print(record("demo_quantised", told, command=f"python bench/demo_quantised.py --photos {options.photos}"))
    if not all(unchanged.values()):
        raise SystemExit(f"Outliers changed what float32 answers: {unchanged}")


def _told(found: Answered) -> str:
    return found if isinstance(found, str) else f"answered {len(found)} photos"


if __name__ == "__main__":
    main()
