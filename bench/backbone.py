"""A swapped language model brought to life: the demo model's vision tower, a language model that never saw a car.

usage: python bench/backbone.py --work DIR [--count 24000] [--last lora|full] [--name backbone]

1. Renders with questions and answers (demo/render_set.py).
2. A small Llama of another width and with another tokenizer and template, trained on the texts alone (text_model.py).
3. `carscribe backbone swap demo` with it: how much is right on renders it never saw. Expected: nothing.
4. `carscribe finetune --stage projector`: language and vision frozen. Measured again.
5. `carscribe finetune`, a LoRA on the language layers and the projector (or --last full). Measured again.

The commands are those that a person types. What is there already is not made again, so a run that was stopped goes on.
On a CPU, to see that it runs: --count 16 --photos 2 --text-steps 3 --projector-steps 2 --last-steps 2 --batch 4
--max-tiles 1 --workers 0. A piece of it that a CPU does: --aspects colour body --languages en and small sizes.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

import pyarrow.parquet
import torch

import carscribe
from measure import judged, write_photos
from recording import record
from render_set import LANGUAGES, UNSEEN_FROM, write_set
from rendered.attributes import ASPECTS, ATTRIBUTES
from text_model import TextSizes, asked_places, describe_sizes, write_text_model

COMMON: Mapping[str, Any] = {
    "schedule": "cosine",
    "accumulate": 1,
    "most_pairs": 8,
    "checkpointing": False,
    "held_out": 0.0,
    "keep_checkpoints": 1,
}
PROJECTOR: Mapping[str, Any] = {"learning_rate": 2e-3}
LAST: Mapping[str, Mapping[str, Any]] = {
    "lora": {"learning_rate": 1e-3, "projector": True, "lora_rank": 128, "lora_alpha": 256},
    "full": {"learning_rate": 5e-4, "projector": True, "weight_decay": 0.01, "beta2": 0.98},
}


class Demonstration:
    """The folder it happens in, and the seconds each step took."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.work = options, options.work
        self.places = asked_places(options.languages, options.aspects)
        self.cuda = torch.cuda.is_available()
        self._clock = self.work / "seconds.json"  # of a run that was stopped too
        self.seconds: dict[str, int] = json.loads(self._clock.read_text("utf-8")) if self._clock.exists() else {}

    def step(self, name: str, result: Path, make: Callable[[], object]) -> Path:
        """Make `result` unless it is there."""
        if not result.exists():
            print(f"\n== {name}", flush=True)
            started = time.perf_counter()
            make()
            self.seconds[name] = round(time.perf_counter() - started)
            self._clock.write_text(json.dumps(self.seconds), "utf-8")
        return result

    def run(self, *arguments: str | Path) -> None:
        """Type a command."""
        print("$ carscribe", *arguments, flush=True)
        subprocess.run([sys.executable, "-m", "carscribe", *map(str, arguments)], check=True)

    def finetune(self, model: Path, to: Path, stage: str, steps: int, settings: Mapping[str, Any]) -> Path:
        """A stage's whole checkpoint."""
        options = self.options
        values = {**COMMON, **settings, "steps": steps, "batch_photos": options.batch, "workers": options.workers}
        values |= {"log_every": max(1, steps // 20), "save_every": max(2, steps // 2)}
        config = self.work / f"{to.name}.toml"
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()), "utf-8")
        more = ["--max-tiles", str(options.max_tiles)] if options.max_tiles else []
        more += ["--merge"] if stage == "lora" else []
        command = ("finetune", self.work / "asked", "--model", model, "--stage", stage, "--config", config, "--to", to)
        return self.step(to.name, to / "model", lambda: self.run(*command, *more))

    def write_asked(self, tables: Sequence[Path]) -> Path:
        """The renders with those questions alone that are asked."""
        folder = self.work / "asked"
        folder.mkdir(exist_ok=True)
        for path in tables:
            rows = pyarrow.parquet.read_table(path).to_pylist()
            for row in rows:
                for key in ("questions", "answers"):
                    row[key] = [row[key][place] for place in self.places]
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / path.name, row_group_size=100)
        return folder

    def measure(self, model: str | Path) -> dict[str, Any]:
        """Shares of attributes right on renders that nobody learned from: of both languages, and by aspect."""
        kept = self.work / f"right-{Path(model).parent.name if Path(model).name == 'model' else Path(model).name}.json"
        self.step(f"measure {kept.stem}", kept, lambda: kept.write_text(json.dumps(self._measured(model)), "utf-8"))
        found: dict[str, Any] = json.loads(kept.read_text("utf-8"))
        print(f"{model}: {found['right']:.1%} of attributes right", flush=True)
        return found

    def _measured(self, model: str | Path) -> dict[str, Any]:
        options = self.options
        seeds = range(UNSEEN_FROM, UNSEEN_FROM + options.photos)
        folder = self.step("photos", self.work / "photos", lambda: write_photos(self.work / "photos", seeds))
        results = carscribe.describe(
            folder, model=str(model), recipes=("designer",), languages=options.languages, max_tiles=options.max_tiles
        )
        asked = options.aspects or [question for question in ASPECTS if question not in ATTRIBUTES]
        opens = {key: count for key, count in judged(results).items() if key[2] in asked}
        aspects: dict[str, Counter[str]] = {}
        for (language, _, aspect, _), count in opens.items():
            aspects.setdefault(f"{language} {aspect}", Counter()).update(count)
        whole = sum(aspects.values(), Counter())
        shares = {name: round(count["right"] / count.total(), 4) for name, count in aspects.items()}
        return {"right": round(whole["right"] / whole.total(), 4), "judgements": whole.total(), "by_aspect": shares}

    def __call__(self) -> dict[str, Any]:
        """All steps; the figures."""
        options, work = self.options, self.work
        tables = write_set(work / "set", options.count, shard=min(500, options.count))
        self.step("questions", work / "asked", lambda: self.write_asked(tables))
        llm = work / "llm"
        text_sizes = TextSizes.of(hidden=options.hidden, layers=options.layers)
        sizes = {
            "places": self.places,
            "sizes": text_sizes,
            "steps": options.text_steps,
            "batch": options.text_batch,
        }
        how = {**sizes, "workers": options.workers, "cuda": self.cuda}
        self.step("language model", llm, lambda: write_text_model(llm, tables, **how))
        right = {"demo": self.measure("demo")}
        swapped = work / "swapped"
        self.step("swap", swapped, lambda: self.run("backbone", "swap", "demo", llm, "--to", swapped))
        right["swapped"] = self.measure(swapped)
        projector = self.finetune(swapped, work / "projector", "projector", options.projector_steps, PROJECTOR)
        right["projector"] = self.measure(projector)
        last = self.finetune(projector, work / options.last, options.last, options.last_steps, LAST[options.last])
        right[options.last] = self.measure(last)
        return {
            "language_model": describe_sizes(llm),
            "renders": options.count,
            "asked": {"languages": options.languages, "aspects": options.aspects or "all"},
            "photos_measured": options.photos,
            "steps": {"text": options.text_steps, "projector": options.projector_steps, "last": options.last_steps},
            "batch": options.batch,
            "last": options.last,
            "seconds": self.seconds,
            "right": right,
        }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--count", type=int, default=24_000, help="renders to learn from")
    parser.add_argument("--photos", type=int, default=300, help="renders to measure on")
    parser.add_argument("--languages", nargs="+", choices=LANGUAGES, default=list(LANGUAGES))
    parser.add_argument("--aspects", nargs="+", choices=ASPECTS, default=[], help="of designer alone, these; else all")
    parser.add_argument("--hidden", type=int, default=320, help="width of the language model, a multiple of 32")
    parser.add_argument("--layers", type=int, default=4, help="of the language model")
    parser.add_argument("--text-steps", type=int, default=4000)
    parser.add_argument("--text-batch", type=int, default=128)
    parser.add_argument("--projector-steps", type=int, default=1500)
    parser.add_argument("--last-steps", type=int, default=2500)
    parser.add_argument("--last", choices=sorted(LAST), default="lora")
    parser.add_argument("--batch", type=int, default=128, help="photos a step")
    parser.add_argument("--max-tiles", type=int, default=None)
    parser.add_argument("--workers", type=int, default=max(0, (os.cpu_count() or 1) - 2))
    parser.add_argument("--name", default="backbone", help="of the result")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    path = record(options.name, Demonstration(options)(), command=" ".join(["python bench/backbone.py", *sys.argv[1:]]))
    print(f"Written: {path}")


if __name__ == "__main__":
    main()
