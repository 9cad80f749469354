"""A training from beginning to end: what is to be learned, from what, into which folder (see `run_folder`)."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from carscribe.engines.checkpoint import Checkpoint, fetch_weights, open_checkpoint
from carscribe.engines.choosing import DEMO, choose_model
from carscribe.engines.device import version_of
from carscribe.errors import InputError, MissingExtraError
from carscribe.finetune.rows import Data, collect
from carscribe.finetune.run_folder import ADAPTER, MODEL, NEW, begin, note, read_run, sole_training, whole_folder
from carscribe.finetune.settings import NewModel, Settings

if TYPE_CHECKING:
    from carscribe.finetune.training_run import Listening

PATIENCE = timedelta(hours=12)
"""So long processes wait for the first one, which reads all photos and, in the end, merges."""

Say = Callable[[str], None]


def _unasked() -> nullcontext[Callable[[], bool]]:
    return nullcontext(lambda: False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a training: its folder, the part of it that `describe` takes, and its last figures.

    `finished` is False for one that was asked to stop: there is no result yet. `tells` is whether this is the process
    that tells people.
    """

    folder: Path
    result: Path
    figures: dict[str, Any]
    finished: bool = True
    tells: bool = True


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
    checked: Path | None = None,
    say: Say = lambda _: None,
    listening: "Listening" = _unasked,
) -> Outcome:
    """Train `model` (None with `settings.new_model`) on `source`; goes on where an equal training in `to` stopped.

    Each process of an `accelerate launch` calls this; the first one writes. A training that is done is merged, when
    that is asked for and was not. `checked` is a report of `carscribe check`, whose groups stay together. `listening`
    says when to stop: after the step under way, with a checkpoint.

    Raises: InputError, CheckpointError, WorkspaceError, MissingExtraError, PhotoError, OutputError, OutOfMemoryError.
    """
    _needs_extra()
    _check(model, settings, device)
    check_deepspeed(os.environ)
    from accelerate import PartialState

    processes = PartialState(cpu=device == "cpu", timeout=PATIENCE)  # one a GPU, where `accelerate launch` began them
    check_fsdp(settings, os.environ, on_gpu=processes.device.type == "cuda")
    first = processes.is_main_process
    say = say if first else lambda _: None
    result = to / (MODEL if merge or not settings.gives_adapter else ADAPTER)
    with ExitStack() as stack:
        with processes.main_process_first():
            noted = read_run(to) or {}
            named = _named(model, revision, noted)
            if merge and named and _is_done(noted, named) and not result.exists():
                if first:
                    say(f"{to} holds a training that was done: merging it.")
                    _merge(named, to)
                return Outcome(folder=to, result=result, figures=noted["figures"], tells=first)
            if first:
                stack.enter_context(sole_training(to))
            data = collect(source, settings, recipes=recipes, languages=languages, checked=checked, say=say)
            if first:
                begin(to, _plan(source, named, recipes, languages, settings, data), _more(data), say)
            checkpoint = fetch_weights(named) if named else _new_checkpoint(settings.new_model, to / NEW, data, say)
        from carscribe.finetune.training_run import train

        where = str(processes.device) if processes.device.type == "cuda" else "cpu"
        figures = train(checkpoint, data, to, settings, device=where, merge=merge, say=say, listening=listening)
        if first and figures is not None:
            note(to, {"done": True, "figures": figures})
        processes.wait_for_everyone()  # one that ends early may fail on its way out, and the first is ended with it
    return Outcome(folder=to, result=result, figures=figures or {}, finished=figures is not None, tells=first)


def _plan(
    source: Path,
    named: Checkpoint | None,
    recipes: Sequence[str],
    languages: Sequence[str],
    settings: Settings,
    data: Data,
) -> dict[str, Any]:
    """All that decides what is learned: a training goes on with an equal one alone."""
    return {
        "source": str(source.absolute()),
        "model": named and _model_name(named),
        "commit": named and named.revision,
        "recipes": sorted(recipes),
        "languages": sorted(languages),
        "settings": settings.model_dump(),
        "data": data.facts,
    }


def _is_done(noted: dict[str, Any], named: Checkpoint) -> bool:
    """Whether what is noted is a training of this model that came to its end."""
    return bool(noted.get("done")) and noted.get("model") == _model_name(named)


def _model_name(named: Checkpoint) -> str:
    """How the model is found again, from another folder too."""
    return named.name if named.revision or named.name == DEMO else str(named.folder.absolute())


def _merge(named: Checkpoint, to: Path) -> None:
    from carscribe.engines.adapters import open_adapter
    from carscribe.finetune.saving import write_checkpoint

    write_checkpoint(fetch_weights(named), to / MODEL, adapter=open_adapter(to / ADAPTER))


def _more(data: Data) -> dict[str, Any]:
    """What is noted besides."""
    versions = {name: version_of(name) for name in ("carscribe", "torch", "transformers", "trl", "peft")}
    return {"versions": versions, "left_out": [list(each) for each in data.left_out]}


def _named(model: str | None, revision: str | None, noted: dict[str, Any]) -> Checkpoint | None:
    """The checkpoint to train; of a training that goes on the same commit, whatever is newer by now."""
    if model is None:
        return None
    if revision is None and noted.get("model") == model:
        revision = noted.get("commit")
    return choose_model(model, revision=revision).checkpoint


def _new_checkpoint(new: NewModel | None, folder: Path, data: Data, say: Say) -> Checkpoint:
    """A model made from nothing; made once. Raises: InputError for sizes that do not go together."""
    assert new is not None, "_check saw to it"
    if not folder.exists():
        from carscribe.engines.new_checkpoint import Sizes, bpe_of, train_bpe, write_random_checkpoint

        if new.tokenizer is None:
            say("Making a new model, and a tokenizer from the texts of the data.")
            bpe = train_bpe(data.texts(), new.vocabulary)
        else:
            say(f"Making a new model with the tokenizer of {new.tokenizer}.")
            bpe = bpe_of(choose_model(new.tokenizer).checkpoint.folder)
        sizes = Sizes(**new.model_dump(exclude={"tokenizer", "vocabulary"}))
        with whole_folder(folder) as beside:
            write_random_checkpoint(beside, bpe, sizes=sizes, widened=False)
    return open_checkpoint(str(folder))


def _check(model: str | None, settings: Settings, device: str | None) -> None:
    """Refuse what cannot be begun before anything is read or written.

    Raises: InputError; MissingExtraError for qlora without bitsandbytes.
    """
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
    if settings.train == "qlora":
        if device == "cpu" or not torch.cuda.is_available():
            raise InputError('train = "qlora" (--stage qlora) needs a GPU. On a CPU take lora.')
        if find_spec("bitsandbytes") is None:
            raise MissingExtraError("Training beside weights of 4 bits", extra="qlora")


def check_fsdp(settings: Settings, environment: Mapping[str, str], *, on_gpu: bool) -> None:
    """Refuse an FSDP that accelerate passes over, or that loses an adapter. Raises: InputError.

    `environment` is what `accelerate launch` made of its config. PEFT 0.21 does not find an adapter in layers that
    FSDP's first version wrapped: checkpoints and adapter would be empty.
    """
    if environment.get("ACCELERATE_USE_FSDP", "").lower() != "true":
        return
    if not on_gpu:
        raise InputError("FSDP divides a model among GPUs, not on a CPU: take it out of accelerate's config.")
    if settings.gives_adapter and environment.get("FSDP_VERSION", "1") == "1":
        raise InputError(
            f'With train = "{settings.train}" FSDP\'s first version saves an empty adapter: set fsdp_version: 2 in '
            "accelerate's config."
        )


def check_deepspeed(environment: Mapping[str, str]) -> None:
    """Refuse DeepSpeed's third stage where it is not to put the weights together in the end: then nothing can be saved.

    `environment` is as `accelerate launch` sets it; what a configuration of DeepSpeed's own says, but "auto", wins.

    Raises: InputError.
    """
    if environment.get("ACCELERATE_USE_DEEPSPEED", "").lower() != "true":
        return
    stage: object = environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    gathers: object = environment.get("ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL", "false")
    says = "zero3_save_16bit_model: true under deepspeed_config in accelerate's configuration"
    file = environment.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", "none")
    if file != "none":
        from accelerate.utils.deepspeed import HfDeepSpeedConfig

        try:
            own = HfDeepSpeedConfig(file)
        except (OSError, ValueError) as error:
            raise InputError(f"DeepSpeed's configuration {file} cannot be read: {error}") from None
        own_stage = own.get_value("zero_optimization.stage", "0")
        own_gathers = own.get_value("zero_optimization.stage3_gather_16bit_weights_on_model_save", "false")
        stage = stage if own_stage == "auto" else own_stage
        if own_gathers != "auto":
            gathers = own_gathers
            says = f"stage3_gather_16bit_weights_on_model_save: true under zero_optimization in {file}"
    if str(stage) == "3" and str(gathers).lower() != "true":
        raise InputError(
            "DeepSpeed's third stage divides the model, and is not set to put it together in the end: nothing that was "
            f"learned could be saved. Set {says}."
        )


def _needs_extra() -> None:
    if not all(map(find_spec, ("torch", "transformers", "trl", "peft", "datasets", "matplotlib"))):
        raise MissingExtraError("Fine-tuning", extra="train")
