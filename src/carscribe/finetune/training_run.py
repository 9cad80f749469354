"""The part of a training that needs torch: load, train, save, say what changed."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from transformers import PrinterCallback, TrainerCallback

from carscribe.engines.adapters import open_adapter
from carscribe.engines.checkpoint import Checkpoint
from carscribe.engines.device import within_memory
from carscribe.engines.prompting import PromptEncoder
from carscribe.errors import EngineError, OutOfMemoryError, OutputError, PhotoError
from carscribe.finetune.collator import Collator
from carscribe.finetune.curves import Curves, draw_curves
from carscribe.finetune.models import load_for_training, lora_config
from carscribe.finetune.rows import Data
from carscribe.finetune.run_folder import ADAPTER, CHECKPOINTS, MODEL, last_checkpoint, write_json
from carscribe.finetune.samples import answers_of
from carscribe.finetune.saving import write_adapter, write_checkpoint
from carscribe.finetune.settings import Settings
from carscribe.finetune.training import PhotoTrainer, trainer_config
from carscribe.pipeline import tiling_for

SAMPLE_QUESTIONS = 4
"""Questions a photo whose answers are shown before and after."""

Say = Callable[[str], None]
Listening = Callable[[], AbstractContextManager[Callable[[], bool]]]
"""While its block runs, the function it gives says whether the training is to stop: see `interrupts.finish_first`."""


def train(
    checkpoint: Checkpoint,
    data: Data,
    to: Path,
    settings: Settings,
    *,
    device: str,
    merge: bool,
    say: Say,
    listening: Listening,
) -> dict[str, Any] | None:
    """Train and save; the last figures, or None when it was asked to stop before its end.

    Raises: CheckpointError, MissingExtraError, InputError, OutOfMemoryError, PhotoError, OutputError.
    """
    run = _Run(checkpoint, data, to, settings, device=device, merge=merge, say=say, listening=listening)
    with failures_told(to, settings):
        return within_memory("the training", run)


class _Run:
    """One call of `train`, its steps apart."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        data: Data,
        to: Path,
        settings: Settings,
        *,
        device: str,
        merge: bool,
        say: Say,
        listening: Listening,
    ) -> None:
        self._checkpoint, self._data, self._to, self._settings = checkpoint, data, to, settings
        self._device, self._merge, self._say, self._listening = device, merge, say, listening
        self._encoder = PromptEncoder(checkpoint)
        self._tiling = tiling_for(checkpoint.tiling, settings.max_tiles)

    def __call__(self) -> dict[str, Any] | None:
        """Load, train, save."""
        model = load_for_training(self._checkpoint, self._settings, device=self._device)
        before = self._answers(model)
        trainer = self._trainer(model)
        with self._listening() as asked:
            trainer.add_callback(_StopWhenAsked(asked, trainer.accelerator))
            with suppress(_NothingLeftError):
                trainer.train(resume_from_checkpoint=last_checkpoint(self._to))
        if trainer.state.global_step < trainer.state.max_steps:
            return None
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # of all processes, where each has a part
        if not trainer.is_world_process_zero():
            return {}
        whole = not self._settings.gives_adapter
        if whole:
            write_checkpoint(self._checkpoint, self._to / MODEL, state=state)
        else:
            write_adapter(trainer.model, state, self._to / ADAPTER)
        after = None if _is_in_parts(trainer) else self._answers(_base(trainer.model))
        _write_samples(self._to / "samples.json", self._data, before, after)
        if self._merge and not whole:
            write_checkpoint(self._checkpoint, self._to / MODEL, adapter=open_adapter(self._to / ADAPTER))
        draw_curves(self._to)
        return {key: value for key, value in trainer.state.log_history[-1].items() if isinstance(value, int | float)}

    def _trainer(self, model: Any) -> PhotoTrainer:
        settings, measured = self._settings, self._data.held is not None
        how: dict[str, Any] = {"rows": settings.rows, "most_pairs": settings.most_pairs}
        trainer = PhotoTrainer(
            checkpoint=self._checkpoint,
            model=model,
            args=trainer_config(settings, self._to / CHECKPOINTS, device=self._device, measured=measured),
            data_collator=Collator(self._encoder, self._tiling, mirror=settings.mirror, **how),
            measured_collator=Collator(self._encoder, self._tiling, drawn=False, **how),
            train_dataset=self._data.learned,
            eval_dataset=self._data.held,
            processing_class=self._encoder.tokenizer,
            peft_config=lora_config(settings),
        )
        a_step = settings.batch_photos * settings.accumulate * trainer.args.world_size
        trainer.add_callback(Curves(self._to / "curves.json", self._say, photos_a_step=a_step))
        trainer.add_callback(_StopWhenDone())
        trainer.remove_callback(PrinterCallback)
        return trainer

    def _answers(self, model: Any) -> list[list[str]]:
        return answers_of(
            model,
            self._checkpoint,
            self._encoder,
            self._data.shown,
            questions=SAMPLE_QUESTIONS,
            tiling=self._tiling,
        )


class _NothingLeftError(Exception):
    """All steps are done: the checkpoint that is gone on from is the last."""


class _StopWhenDone(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Ends a training that was only not saved, its weights loaded: transformers takes one more step otherwise."""

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        """Look whether a step is left. Raises: _NothingLeftError."""
        if state.global_step >= state.max_steps:
            raise _NothingLeftError


class _StopWhenAsked(TrainerCallback):  # type: ignore[misc]  # transformers is untyped
    """Ends a training after the step that is under way, with a checkpoint; all processes at the same step."""

    def __init__(self, asked: Callable[[], bool], accelerator: Any) -> None:
        self._asked, self._accelerator = asked, accelerator

    def on_step_end(self, _args: Any, _state: Any, control: Any, **_: Any) -> None:
        """Look whether somebody asked."""
        asked = self._asked()
        if self._accelerator.num_processes > 1:
            if asked:
                self._accelerator.set_trigger()
            asked = self._accelerator.check_trigger()
        if asked:
            control.should_save = control.should_training_stop = True


@contextmanager
def failures_told(to: Path, settings: Settings) -> Iterator[None]:
    """What fails on the way said in one line, with what to do; checkpoints are kept."""
    on = f"The same command goes on from the last checkpoint in {to}."
    try:
        yield
    except OutOfMemoryError as error:
        raise OutOfMemoryError(
            f"{error} Of {settings.batch_photos} photos at a time: lower --batch-photos and raise accumulate as much; "
            "or lower --max-tiles or most_pairs."
        ) from None
    except (PhotoError, EngineError) as error:
        last = str(error).strip().splitlines()[-1]  # a loader's worker puts its traceback in front
        raise PhotoError(f"{last.partition('Error: ')[2] or last} Put it right. {on}") from None
    except (OSError, SafetensorError) as error:
        raise OutputError(f"The training stopped: {error}. {on}") from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise OutputError(
            f"A process that reads photos was ended from outside, for want of memory or of shared memory: lower "
            f"workers in --config. {on}"
        ) from error


def _is_in_parts(trainer: Any) -> bool:
    """Whether no process has the whole model (FSDP, DeepSpeed's third stage), so that none can answer by itself."""
    plugin = trainer.accelerator.state.deepspeed_plugin
    return bool(trainer.is_fsdp_enabled or (plugin is not None and plugin.zero_stage == 3))


def _base(model: Any) -> Any:
    """The model itself, adapters in place, without PEFT's shell around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _write_samples(path: Path, data: Data, before: list[list[str]], after: list[list[str]] | None) -> None:
    rows = [
        {
            "photo": example.key,
            "question": pair.question,
            "right": pair.answer,
            "before": before[i][j],
            "after": after[i][j] if after else None,
        }
        for i, example in enumerate(data.shown)
        for j, pair in enumerate(example.pairs[:SAMPLE_QUESTIONS])
    ]
    write_json(path, rows)
