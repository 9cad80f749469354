"""The part of a training that needs torch: load, train, save, draw its curves."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from carscribe.engines.checkpoint import Checkpoint
from carscribe.engines.identity import DECIDING
from carscribe.engines.prompting import PromptEncoder
from carscribe.finetune.collator import Collator
from carscribe.finetune.models import load_for_training, lora_config
from carscribe.finetune.runs import ADAPTER, CHECKPOINTS, MODEL, SAMPLE_QUESTIONS, Data
from carscribe.finetune.samples import answers_of
from carscribe.finetune.settings import Settings
from carscribe.finetune.training import PhotoTrainer, trainer_config
from carscribe.pipeline import tiling_for
from carscribe.terminal.screen import duration

Say = Callable[[str], None]


def train(
    checkpoint: Checkpoint,
    data: Data,
    to: Path,
    settings: Settings,
    *,
    device: str,
    merge: bool,
    say: Say,
) -> dict[str, Any]:
    """Train and save; the last figures.

    Raises: CheckpointError, MissingExtraError, InputError.
    """
    encoder = PromptEncoder(checkpoint)
    model = load_for_training(checkpoint, settings, device=device)
    tiling = tiling_for(checkpoint.tiling, settings.max_tiles)
    collator = Collator(
        encoder,
        tiling,
        rows=settings.rows,
        most_pairs=settings.most_pairs,
        mirror=settings.mirror,
    )
    shown: dict[str, Any] = {"examples": data.shown, "questions": SAMPLE_QUESTIONS, "tiling": tiling}
    before = answers_of(model, checkpoint, encoder, **shown)
    trainer = PhotoTrainer(
        checkpoint=checkpoint,
        model=model,
        args=trainer_config(settings, to / CHECKPOINTS, device=device, measured=data.held is not None),
        data_collator=collator,
        train_dataset=data.learned,
        eval_dataset=data.held,
        processing_class=encoder.tokenizer,
        peft_config=lora_config(settings),
    )
    a_step = settings.batch_photos * settings.accumulate * trainer.args.world_size
    trainer.add_callback(_Curves(to / "curves.json", say, photos_a_step=a_step))
    trainer.remove_callback(PrinterCallback)
    stopped = get_last_checkpoint(str(to / CHECKPOINTS)) if (to / CHECKPOINTS).exists() else None
    trainer.train(resume_from_checkpoint=stopped)
    if not trainer.is_world_process_zero():
        return {}
    trained = trainer.model
    after = answers_of(_base(trained), checkpoint, encoder, **shown)
    _write_samples(to / "samples.json", data, before, after)
    if settings.train == "full":
        _save_checkpoint(trained, checkpoint, to / MODEL)
    else:
        trained.save_pretrained(to / ADAPTER)
        if merge:
            _save_checkpoint(trained.merge_and_unload(), checkpoint, to / MODEL)
    draw_curves(to)
    return {key: value for key, value in trainer.state.log_history[-1].items() if isinstance(value, int | float)}


def _base(model: Any) -> Any:
    """The model itself, adapters in place, without PEFT's shell around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _save_checkpoint(model: Any, checkpoint: Checkpoint, to: Path) -> None:
    """A whole checkpoint in bfloat16 that transformers and vLLM load: weights, and the small files of the first one."""
    model.to(torch.bfloat16)
    model.config.get_text_config()._attn_implementation = "sdpa"
    model.save_pretrained(to)
    for name in DECIDING:
        if (checkpoint.folder / name).exists() and name not in {"config.json", "model.safetensors.index.json"}:
            (to / name).write_bytes((checkpoint.folder / name).read_bytes())


def _write_samples(path: Path, data: Data, before: list[list[str]], after: list[list[str]]) -> None:
    rows = [
        {"photo": example.key, "question": pair.question, "right": pair.answer, "before": b, "after": a}
        for example, befores, afters in zip(data.shown, before, after, strict=True)
        for pair, b, a in zip(example.pairs, befores, afters, strict=False)
    ]
    path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n", "utf-8")


class _Curves(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Writes down each figure as it is logged, and says it."""

    def __init__(self, path: Path, say: Say, *, photos_a_step: int) -> None:
        self._path, self._say, self._photos_a_step = path, say, photos_a_step
        self._began, self._first_step = 0.0, 0

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Look at the clock."""
        self._began, self._first_step = time.monotonic(), state.global_step

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Append to curves.json; one line for people."""
        logs = logs or {}
        if not state.is_world_process_zero:
            return
        self._path.write_text(json.dumps(state.log_history, indent=1) + "\n", "utf-8")
        if "loss" in logs:
            steps_per_s = (state.global_step - self._first_step) / max(time.monotonic() - self._began, 1e-9)
            left = duration((state.max_steps - state.global_step) / steps_per_s) if steps_per_s else "unknown"
            self._say(
                f"step {state.global_step:,} of {state.max_steps:,}: loss {float(logs['loss']):.4f}, "
                f"{float(logs.get('mean_token_accuracy', 0)):.1%} of tokens right; "
                f"{steps_per_s * self._photos_a_step:.1f} photos/s, {left} left"
            )
        elif "eval_loss" in logs:
            accuracy = float(logs.get("eval_mean_token_accuracy", 0))
            self._say(f"held out: loss {float(logs['eval_loss']):.4f}, {accuracy:.1%} of tokens right")


def draw_curves(folder: Path) -> None:
    """curves.png from curves.json."""
    from matplotlib.figure import Figure

    history = json.loads((folder / "curves.json").read_text("utf-8"))
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for panel, key, label in ((left, "loss", "loss a token"), (right, "mean_token_accuracy", "tokens right")):
        for prefix, name in (("", "learned"), ("eval_", "held out")):
            points = [(row["step"], float(row[prefix + key])) for row in history if prefix + key in row]
            if points:
                panel.plot(*zip(*points, strict=True), label=name)
        panel.set_xlabel("step")
        panel.set_ylabel(label)
        if panel.has_data():
            panel.legend()
        panel.grid(alpha=0.3)
    figure.savefig(folder / "curves.png", dpi=130)
