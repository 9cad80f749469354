"""The demo model packed and alone, in float32 and in bfloat16: is it the same answers, and where not, how near a tie?

Renders that the model never saw are asked everything of `designer` and `brief`, in English and Korean: packed by the
engine, and each question alone by transformers' `generate`. Where two answers part, `gaps` are how many logits (for a
choice: log P) the plain way puts its own above the packed one. An attribute is the same when both answers state the
same of it. Beside that, packed bfloat16 is held against packed float32.

usage: python bench/demo_precision.py [--photos 100] [--processes 1] [--device cuda] [--model demo]
"""

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import torch

from carscribe.doctor.alone import Alone
from carscribe.doctor.comparing import compare_choice, compare_tokens
from carscribe.doctor.shots import Shot, ask_packed, read_shots, with_prompts
from carscribe.engines.choosing import choose_model
from carscribe.recipes.loading import load_recipe
from carscribe.records import Language, Prompt
from measure import write_photos
from recording import record
from render_set import LANGUAGES, UNSEEN_FROM
from rendered.reading import values_stated
from rendered.words import ATTRIBUTES_ASKED

DTYPES = ("float32", "bfloat16")
RECIPES = ("designer", "brief")
FIRST_SEED = UNSEEN_FROM + 400_000
END = "<|im_end|>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """An answer packed, beside the plain one. `gap` None: the same, or one of them merely goes on longer."""

    key: tuple[str, str, str, str]  # photo, recipe, question, language
    packed: str
    plain: str
    same: bool
    gap: float | None


def compared(photos: Sequence[Path], *, model: str, device: str, dtype: str) -> list[Compared]:
    """Everything asked twice, of these photos in this dtype."""
    torch.set_num_threads(1)
    choice = choose_model(model, device=device, dtype=dtype)
    engine = choice.load()
    shots: list[Shot] = []
    for language in LANGUAGES:
        read = read_shots(photos, choice.checkpoint.tiling, len(photos)).read
        recipes = [load_recipe(name) for name in RECIPES]
        asked = [with_prompts(shot, recipes, language, engine) for shot in read]
        shots += ask_packed(engine, asked, lambda _: None)
    alone = Alone(choice.checkpoint, device=device, dtype=dtype)
    return [one for shot in shots for one in _of_shot(alone, shot)]


@torch.inference_mode()
def _of_shot(alone: Alone, shot: Shot) -> Iterable[Compared]:
    for prompt, answer, packed in zip(shot.prompts, shot.answers, shot.packed, strict=True):
        key = (shot.name, prompt.recipe_id, prompt.question_id, prompt.language)
        if packed is None:
            choice = compare_choice(alone, shot, prompt, answer)
            plain, same = choice.plain_choice, choice.plain_choice == choice.packed_choice
            yield Compared(key=key, packed=answer.text, plain=plain, same=same, gap=None if same else choice.gap)
        else:
            tokens = compare_tokens(alone, shot, prompt, packed)
            same = tokens.first_difference is None
            plain = answer.text if same else _plain_text(alone, shot, prompt)
            yield Compared(key=key, packed=answer.text, plain=plain, same=same, gap=tokens.gap)


def _plain_text(alone: Alone, shot: Shot, prompt: Prompt) -> str:
    return alone.text(alone.say(shot.photo.tiles, prompt).tokens).removesuffix(END).strip()


def stated(key: tuple[str, str, str, str], text: str) -> dict[str, frozenset[str]]:
    """What an answer says of each attribute it is asked for."""
    _, recipe, question, language = key
    return {name: values_stated(text, name, _language(language)) for name in ATTRIBUTES_ASKED[recipe, question]}


def _language(said: str) -> Language:
    return next(language for language in LANGUAGES if language == said)


def figures(pairs: Iterable[tuple[tuple[str, str, str, str], str, str]]) -> dict[str, Any]:
    """Shares of answers and of attributes that are the same."""
    answers, attributes, differing = Counter[bool](), Counter[bool](), defaultdict[str, int](int)
    for key, first, second in pairs:
        answers[first == second] += 1
        one, other = stated(key, first), stated(key, second)
        for name in one:
            attributes[one[name] == other[name]] += 1
            differing[name] += one[name] != other[name]
    return {
        "answers": answers.total(),
        "answers_same": round(answers[True] / answers.total(), 5),
        "attributes": attributes.total(),
        "attributes_same": round(attributes[True] / attributes.total(), 5),
        "attributes_differing": {name: count for name, count in sorted(differing.items()) if count},
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--photos", type=int, default=100)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    folder = write_photos(
        Path(tempfile.mkdtemp(prefix="carscribe-precision-")), range(FIRST_SEED, FIRST_SEED + options.photos)
    )
    photos = sorted(folder.iterdir())
    parts = [photos[start :: options.processes] for start in range(options.processes)]
    found: dict[str, Any] = {"model": options.model, "photos": options.photos, "recipes": RECIPES}
    packed: dict[str, dict[tuple[str, str, str, str], str]] = {}
    with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
        for dtype in DTYPES:
            ask = partial(compared, model=options.model, device=options.device, dtype=dtype)
            rows = [row for part in pool.map(ask, parts) for row in part]
            packed[dtype] = {row.key: row.packed for row in rows}
            gaps = sorted((row.gap for row in rows if row.gap is not None), reverse=True)
            longer = sum(not row.same and row.gap is None for row in rows)
            own = figures((row.key, row.packed, row.plain) for row in rows)
            found[f"packed_against_alone_{dtype}"] = {
                **own,
                "largest_gaps": [round(gap, 4) for gap in gaps[:10]],
                "one_goes_on_longer": longer,
            }
            print(dtype, found[f"packed_against_alone_{dtype}"], flush=True)
    first, second = (packed[dtype] for dtype in DTYPES)
    found["packed_bfloat16_against_float32"] = figures((key, first[key], second[key]) for key in first)
    print(found["packed_bfloat16_against_float32"])
    print(record("demo_precision", found, command=f"python bench/demo_precision.py --photos {options.photos}"))


if __name__ == "__main__":
    main()
