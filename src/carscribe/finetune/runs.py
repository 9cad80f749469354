"""A training from beginning to end, and the folder it leaves behind.

TO/
  run.json       settings, model, data, versions; how far it came
  curves.json    loss and accuracy of tokens, learned and held out; curves.png, the same as a picture
  samples.json   what the model said to held-out questions before and after
  checkpoints/   what a stopped training goes on from
  adapter/       the LoRA, for `describe --adapter TO`; or model/, a whole checkpoint
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carscribe.engines.checkpoint import Checkpoint, fetch_weights, open_checkpoint
from carscribe.engines.choosing import choose_model
from carscribe.engines.device import version_of
from carscribe.errors import InputError, MissingExtraError
from carscribe.finetune.data import divided
from carscribe.finetune.examples import Example
from carscribe.finetune.settings import NewModel, Settings

SAMPLES, SAMPLE_QUESTIONS = 6, 4
ADAPTER, MODEL, CHECKPOINTS = "adapter", "model", "checkpoints"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Rows to learn and rows to measure on, as `datasets.Dataset`s, and what is known of them.

    `shown` are held-out examples (learned ones where none is held out) to read answers to.
    """

    learned: Any
    held: Any
    shown: tuple[Example, ...]
    facts: dict[str, Any]
    texts: Callable[[], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a training: its folder, the part of it that `describe` takes, and its last figures."""

    folder: Path
    result: Path
    figures: dict[str, Any]


def finetune(
    source: Path,
    model: str | None,
    to: Path,
    settings: Settings,
    *,
    revision: str | None = None,
    device: str | None = None,
    recipes: Sequence[str] = (),
    languages: Sequence[str] = (),
    merge: bool = False,
    say: Say = lambda _: None,
) -> Outcome:
    """Train `model` (None with `settings.new_model`) on `source`; goes on where an equal training in `to` stopped.

    Each process of an `accelerate launch` calls this; the first one writes.

    Raises: InputError, CheckpointError, WorkspaceError, MissingExtraError.
    """
    _needs_extra()
    _check(model, settings, device)
    from accelerate import PartialState

    processes = PartialState(cpu=device == "cpu")  # one a GPU, where `accelerate launch` began them
    say = say if processes.is_main_process else lambda _: None
    with processes.main_process_first():
        data = collect(source, settings, recipes=recipes, languages=languages, say=say)
        plan = {"source": str(source), "model": model, "revision": revision, "settings": settings.model_dump()}
        _begin(to, plan | {"data": data.facts}, say)
        checkpoint = _checkpoint(model, revision, settings.new_model, to, data, say)
    from carscribe.finetune.training_run import train

    figures = train(checkpoint, data, to, settings, device=str(processes.device), merge=merge, say=say)
    if processes.is_main_process:
        _note(to, {"done": True, "figures": figures})
    result = to / (MODEL if merge or settings.train == "full" else ADAPTER)
    return Outcome(folder=to, result=result, figures=figures)


def collect(
    source: Path, settings: Settings, *, recipes: Sequence[str] = (), languages: Sequence[str] = (), say: Say
) -> Data:
    """Read, check and split what is to be learned.

    Raises: InputError, WorkspaceError.
    """
    from datasets import Dataset

    if tables := _tables(source):
        return _of_tables(tables, settings)
    sides = divided(source, recipes=recipes, languages=languages, held_out=settings.held_out, seed=settings.seed)
    learned, held = sides.learned, sides.held
    for key, why in sides.left_out:
        say(f"Left out: {key}: {why}")
    facts = {
        "photos": len(learned),
        "pairs": sum(len(example.pairs) for example in learned),
        "held_out_photos": len(held),
        "held_out_pairs": sum(len(example.pairs) for example in held),
        "left_out": [list(each) for each in sides.left_out],
    }
    say(
        f"{facts['photos']:,} photos with {facts['pairs']:,} pairs to learn, {facts['held_out_photos']:,} photos with "
        f"{facts['held_out_pairs']:,} held out"
    )
    return Data(
        learned=Dataset.from_list([example.to_row() for example in learned]),
        held=Dataset.from_list([example.to_row() for example in held]) if held else None,
        shown=(held or learned)[:SAMPLES],
        facts=facts,
        texts=lambda: [text for example in (*learned, *held) for p in example.pairs for text in (p.question, p.answer)],
    )


def _tables(source: Path) -> list[Path]:
    if source.is_dir() and not (source / "catalog.sqlite").exists():
        return sorted(source.glob("*.parquet"))
    return [source] if source.suffix == ".parquet" and source.is_file() else []


def _of_tables(tables: list[Path], settings: Settings) -> Data:
    """Rows that a program prepared, read from disk as they are needed: a million photos in flat memory."""
    from datasets import Dataset

    rows = Dataset.from_parquet([str(path) for path in tables])
    if not {"photo", "questions", "answers"} <= set(rows.column_names):
        raise InputError(
            f"{tables[0]} has the columns {', '.join(rows.column_names)}; photo, questions, answers are needed."
        )
    held = None
    if settings.held_out:
        sides = rows.train_test_split(settings.held_out, seed=settings.seed)
        rows, held = sides["train"], sides["test"]
    return Data(
        learned=rows,
        held=held,
        shown=(),
        facts={"photos": len(rows), "held_out_photos": len(held) if held else 0},
        texts=lambda: [
            text
            for row in rows.select(range(min(2000, len(rows)))).select_columns(["questions", "answers"])
            for text in (*row["questions"], *row["answers"])
        ],
    )


def _checkpoint(
    model: str | None, revision: str | None, new: NewModel | None, to: Path, data: Data, say: Say
) -> Checkpoint:
    if model is not None:
        return fetch_weights(choose_model(model, revision=revision).checkpoint)
    assert new is not None, "_check saw to it"
    folder = to / "new"
    if not (folder / "model.safetensors").exists():
        say("Making a new model, and a tokenizer from the texts of the data.")
        from carscribe.engines.new_checkpoint import Sizes, write_random_checkpoint

        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        write_random_checkpoint(folder, data.texts(), sizes=Sizes(**new.model_dump()), widened=False)
    return open_checkpoint(str(folder))


def _check(model: str | None, settings: Settings, device: str | None) -> None:
    """Refuse what cannot be begun before anything is read or written. Raises: InputError."""
    import torch

    if model is None and settings.new_model is None:
        raise InputError("Which model is to be trained? Name it with --model, or give [new_model] in --config.")
    if model is not None and settings.new_model is not None:
        raise InputError("--model and [new_model] in --config exclude each other: take one out.")
    if settings.new_model is not None and settings.train != "full":
        raise InputError('A new model is trained whole: set train = "full" in --config.')
    if device not in (None, "cpu", "cuda"):
        raise InputError(
            f"--device {device}: a training takes cpu or cuda. One GPU of several: CUDA_VISIBLE_DEVICES=1."
        )
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("torch sees no GPU here. See what carscribe doctor says, or train with --device cpu.")


def _begin(to: Path, plan: dict[str, Any], say: Say) -> None:
    """Make the folder, or find in it an equal training to go on with. Raises: InputError."""
    noted = read_run(to)
    if noted is None:
        if to.exists() and any(to.iterdir()):
            raise InputError(f"{to} is a folder with other things in it. Name a new one with --to.")
        to.mkdir(parents=True, exist_ok=True)
        versions = {name: version_of(name) for name in ("carscribe", "torch", "transformers", "trl", "peft")}
        _note(to, plan | {"versions": versions, "done": False})
        return
    if noted.get("done"):
        raise InputError(f"{to} holds a training that was done. Name a new folder with --to.")
    plain = json.loads(json.dumps(plan))
    if differing := sorted(key for key in plain if plain[key] != noted.get(key)):
        raise InputError(
            f"{to} holds a training with another {' and '.join(differing)} that was not done. "
            "Go on with the command it was begun with, or name a new folder with --to."
        )
    say(f"Going on with the training in {to}.")


def read_run(folder: Path) -> dict[str, Any] | None:
    """What is noted of a training; None in a folder without one."""
    path = folder / "run.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _note(to: Path, more: dict[str, Any]) -> None:
    noted = (read_run(to) or {}) | more
    beside = to / ".run.json"
    beside.write_text(json.dumps(noted, ensure_ascii=False, indent=1) + "\n", "utf-8")
    beside.replace(to / "run.json")


def _needs_extra() -> None:
    from importlib.util import find_spec

    if not all(map(find_spec, ("torch", "transformers", "trl", "peft", "datasets", "imagehash", "matplotlib"))):
        raise MissingExtraError("Fine-tuning", extra="train")
