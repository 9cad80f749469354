"""The curves of a training: written down as they come, said to people, drawn at the end."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from carscribe.finetune.run_folder import write_json
from carscribe.terminal.screen import duration

MISCOUNTED = frozenset({"num_tokens", "eval_num_tokens"})
"""TRL adds up the attention mask, which of packed rows has a number for each pair of tokens."""


class Curves(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Writes down each figure as it is logged, and says it. The last step is logged whatever its number."""

    def __init__(self, path: Path, say: Callable[[str], None], *, photos_a_step: int) -> None:
        self._path, self._say, self._photos_a_step = path, say, photos_a_step
        self._began, self._first_step = 0.0, 0

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Look at the clock."""
        self._began, self._first_step = time.monotonic(), state.global_step

    def on_step_end(self, _args: Any, state: Any, control: Any, **_: Any) -> None:
        """A training of fewer steps than `log_every` has a curve too."""
        control.should_log |= state.global_step == state.max_steps

    def on_log(self, _args: Any, state: Any, _control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        """Write curves.json; one line for people."""
        logs = logs or {}
        if not state.is_world_process_zero:
            return
        rows = [{key: value for key, value in row.items() if key not in MISCOUNTED} for row in state.log_history]
        write_json(self._path, rows)
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
                panel.plot(*zip(*points, strict=True), marker=".", label=name)
        panel.set_xlabel("step")
        panel.set_ylabel(label)
        if panel.has_data():
            panel.legend()
        panel.grid(alpha=0.3)
    figure.savefig(folder / "curves.png", dpi=130)
