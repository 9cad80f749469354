"""How much a model gets right on renders it never saw: by aspect, attribute and language, through the packed engine.

usage: python demo/measure.py --model demo [--count 1000] [--device cuda] [--dtype float32] [--photos DIR] [--to FILE]

Renders are those of the seeds from `UNSEEN_FROM` on, which no training set holds. An aspect is judged by the answers to
its open question of `designer`, each of its attributes that can be seen being one judgement; the choices, `brief` and
`detailed` are judged beside it.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import carscribe
from carscribe.records import PhotoResult
from render_set import LANGUAGES, UNSEEN_FROM
from rendered.attributes import ATTRIBUTES, CarRecord, draw_record
from rendered.reading import judge
from rendered.render import render_jpeg

Counts = Mapping[str, int]


def write_photo(folder: Path, seed: int) -> Path:
    """One render as a file named after its seed."""
    path = folder / f"{seed}.jpg"
    path.write_bytes(render_jpeg(draw_record(seed)))
    return path


def write_photos(folder: Path, seeds: Iterable[int]) -> Path:
    """Renders as files, on all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(partial(write_photo, folder), seeds, chunksize=8))
    return folder


def write_labels(path: Path, records: Mapping[str, CarRecord]) -> None:
    """What is true of renders, by file name, as `carscribe evaluate --labels` reads it."""
    labels = {name: dict(record.visible) for name, record in records.items()}
    path.write_text(json.dumps(labels, indent=1) + "\n", "utf-8")


def judged(results: Iterable[PhotoResult]) -> dict[tuple[str, str, str, str], Counter[str]]:
    """Judgements counted by language, recipe, question and attribute."""
    counts: dict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
    for result in results:
        record = draw_record(int(Path(result.file.key).stem))
        for language in LANGUAGES:
            texts = {
                (answer.recipe_id, answer.question_id): answer.text
                for answer in result.answers
                if answer.language == language
            }
            for (recipe, question, attribute), judgement in judge(record, language, texts).items():  # type: ignore[arg-type]
                counts[language, recipe, question, attribute][judgement] += 1
    return counts


def figures(counts: Mapping[tuple[str, str, str, str], Counter[str]]) -> dict[str, Any]:
    """Shares right: by language the aspects (from `designer`'s open questions), attributes, and each recipe whole."""
    found: dict[str, Any] = {}
    for language in sorted({key[0] for key in counts}):
        own = {key[1:]: count for key, count in counts.items() if key[0] == language}
        opens = {key: count for key, count in own.items() if key[0] == "designer" and key[1] not in ATTRIBUTES}
        aspects: dict[str, Counter[str]] = defaultdict(Counter)
        for (_, _, attribute), count in opens.items():
            aspects[ATTRIBUTES[attribute].aspect] += count
        whole: dict[str, Counter[str]] = defaultdict(Counter)
        for (recipe, question, _), count in own.items():
            whole[f"{recipe}.{question}" if question in ATTRIBUTES else recipe] += count
        found[language] = {
            "aspects": {aspect: _share(count) for aspect, count in aspects.items()},
            "attributes": {attribute: _share(count) for (_, _, attribute), count in opens.items()},
            "recipes": {name: _share(count) for name, count in whole.items()},
        }
    return found


def _share(count: Counter[str]) -> float:
    return round(count["right"] / count.total(), 4)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--device", default=None)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--photos", type=Path, default=None, help="keep the renders here, or take them from here")
    parser.add_argument("--labels", type=Path, default=None, help="also write what is true of them, for evaluate")
    parser.add_argument("--to", type=Path, default=None)
    options = parser.parse_args()
    folder = options.photos or Path(tempfile.mkdtemp(prefix="carscribe-measure-"))
    seeds = range(UNSEEN_FROM, UNSEEN_FROM + options.count)
    if not (folder / f"{seeds[-1]}.jpg").exists():
        write_photos(folder, seeds)
    if options.labels:
        write_labels(options.labels, {f"{seed}.jpg": draw_record(seed) for seed in seeds})
    results = carscribe.describe(
        folder,
        model=options.model,
        recipes=("designer", "brief", "detailed"),
        languages=LANGUAGES,
        device=options.device,
        dtype=options.dtype,
    )
    found = {"model": options.model, "photos": options.count, "dtype": options.dtype, **figures(judged(results))}
    print(json.dumps(found, indent=1))
    if options.to:
        options.to.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
