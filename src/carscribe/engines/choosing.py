"""From what the user asked for, or did not, to a loaded engine: model, device, dtype, each choice with its reason.

A model is chosen before it is fetched or loaded, and without torch when the user named it.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from carscribe.engines.adapters import Adapter, open_adapter
from carscribe.engines.checkpoint import Checkpoint, fetch_weights, first_line, open_checkpoint, weights_identity
from carscribe.engines.hub import Hub, Progress, unseen
from carscribe.errors import CheckpointError, InputError, MissingExtraError
from carscribe.memory import FAMILY, GIB, QUANTISED, RowShape, held_of, largest_that_fits

if TYPE_CHECKING:
    from carscribe.engines.local import LocalEngine

DTYPES = ("auto", "bfloat16", "float16", "float32", *QUANTISED)
DEMO = "demo"
SMALLEST = "OpenGVLab/InternVL3-1B-hf"
NEEDED = ("torch", "transformers", "accelerate")

ALLOCATOR_SETTINGS = ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF")
"""Where torch reads how its allocator is to behave: the name since 2.9, and the one before."""

TYPICAL_ROW = RowShape(tiles=13, branch_tokens=512, columns=8, new_tokens=40)
"""One photo of the most tiles, asked the default recipe: what a model must hold besides its weights to be picked."""

Say = Callable[[str], None]


def _unheard(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model that will answer, known before its weights are loaded, or even here.

    `device` and `dtype` are as asked for, or as they were resolved when the model had to be picked by them. `notes`
    say what was chosen and why. `hub` is where the weights are fetched from, None for the environment's. `adapter` is
    merged into the weights as they are loaded. `compiled`: layers may be, on a GPU in a long run.
    """

    checkpoint: Checkpoint
    device: str | None
    dtype: str
    notes: tuple[str, ...] = ()
    hub: Hub | None = None
    adapter: Adapter | None = None
    compiled: bool = True

    @property
    def name(self) -> str:
        """The model as the user named it."""
        return self.checkpoint.name

    @property
    def is_demo(self) -> bool:
        """Whether this is the demo model."""
        return self.name == DEMO

    def load(self, *, say: Say = _unheard, progress: Progress = unseen) -> "LocalEngine":
        """Fetch what is missing of the weights and load them. `say` is told each choice, `progress` of the download.

        Raises: InputError for a device that is not there, or has no fp8; CheckpointError; OutOfMemoryError.
        """
        notes = list(self.notes)

        def note(text: str) -> None:
            if text not in notes:  # it was said when the model was picked
                notes.append(text)
                say(text)

        where = _device(self.device)
        kind = _dtype(self.dtype, where, note)
        checkpoint = fetch_weights(self.checkpoint, progress, hub=self.hub)
        import torch

        from carscribe.engines.local import LocalEngine

        return LocalEngine(
            checkpoint,
            device=str(torch.device(where)),
            dtype=kind,
            notes=tuple(notes),
            knows_renders_alone=self.is_demo,
            weights=weights_identity(checkpoint) if checkpoint.revision else None,  # of a folder it may take long
            adapter=self.adapter,
            compiled=self.compiled,
            say=say,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """A checkpoint whose weights are on this machine; `was_here` when none of them had to be fetched for that."""

    checkpoint: Checkpoint
    was_here: bool


def choose_model(
    model: str | None = None,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    adapter: Path | None = None,
    compiled: bool = True,
    say: Say = _unheard,
    hub: Hub | None = None,
) -> ModelChoice:
    """What will answer: the model asked for, or the largest that fits. Only its small files are fetched.

    `say` is told each choice as it is made. torch is imported only when there is a model to pick. On a GPU, layers may
    be `compiled` in a long run.

    Raises: MissingExtraError without torch or transformers; InputError for what no device or dtype is called;
        CheckpointError.
    """
    if not all(map(find_spec, NEEDED)):
        raise MissingExtraError("Running a model", extra="local")
    _prefer_growing_segments()
    if dtype not in DTYPES:
        raise InputError(f"No dtype {dtype!r}. Give one of: {', '.join(DTYPES)}.")
    if device is not None and not re.fullmatch(r"[a-z]+(:\d+)?", device):
        raise _no_device(device, "no name of a device")
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        say(text)

    opened = None if adapter is None else open_adapter(adapter)
    if opened is not None and model is None:
        raise InputError("--adapter goes with the model it was trained on: name that with --model.")
    if model is None:
        device = _device(device)
        dtype = _dtype(dtype, device, note)
        model = _model(device, dtype, note)
    named_demo = model == DEMO  # a folder of that name is ./demo
    checkpoint = _demo(revision, note) if named_demo else open_checkpoint(model, revision, hub=hub)
    return ModelChoice(
        checkpoint=checkpoint,
        device=device,
        dtype=dtype,
        notes=tuple(notes),
        hub=hub,
        adapter=opened,
        compiled=compiled,
    )


def open_engine(
    model: str | None = None,
    *,
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    say: Say = _unheard,
) -> "LocalEngine":
    """`choose_model` and load it at once.

    Raises: MissingExtraError without torch; InputError for an unknown device or dtype; CheckpointError;
        OutOfMemoryError when the weights do not fit.
    """
    choice = choose_model(model, revision=revision, device=device, dtype=dtype, say=say)
    return choice.load(say=say)


def pull(model: str, revision: str | None = None, progress: Progress = unseen, *, hub: Hub | None = None) -> Pulled:
    """Fetch a hub's model whole: the small files, then, when it is one that can be run, its weights.

    Raises: InputError for what need not be fetched; CheckpointError; MissingExtraError.
    """
    if model == DEMO:
        raise InputError("The demo model comes with Carscribe: there is nothing to fetch.")
    if Path(model).expanduser().is_dir():
        raise InputError(f"{model} is a folder: there is nothing to fetch. Use it with --model {model}.")
    checkpoint = open_checkpoint(model, revision, hub=hub)
    was_here = checkpoint.has_weights
    return Pulled(checkpoint=fetch_weights(checkpoint, progress, hub=hub), was_here=was_here)


def _prefer_growing_segments() -> None:
    """Have CUDA's allocator grow its segments, so that batches of many shapes leave no gaps that nothing fits in.

    It looks when it first allocates. What the user set stays.
    """
    if not any(name in os.environ for name in ALLOCATOR_SETTINGS):
        os.environ[ALLOCATOR_SETTINGS[0]] = "expandable_segments:True"


def _demo(revision: str | None, note: Say) -> Checkpoint:
    if revision:
        raise InputError("--revision is for models of a hub; the demo model has none. Leave it out.")
    from carscribe.engines.demo_model import DISCLAIMER, demo_checkpoint

    note(DISCLAIMER)
    return replace(open_checkpoint(str(demo_checkpoint())), name=DEMO)


def _device(asked: str | None) -> str:
    import torch

    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
        torch.zeros(1, device=device).item()  # the device named "meta" holds no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise _no_device(asked, first_line(error)) from None
    return asked


def _no_device(asked: str, reason: str) -> InputError:
    return InputError(f"No device {asked!r} here ({reason}). Give cpu, cuda or cuda:N, or leave --device out.")


def _dtype(asked: str, device: str, note: Say) -> str:
    import torch

    from carscribe.engines.device import computing_dtype, refuse_without_fp8

    held = held_of(asked)
    if asked != "auto" and held is None:
        return asked
    where = torch.device(device)
    if held == "fp8":
        refuse_without_fp8(where)
    computing = computing_dtype(where)
    if computing == "float16":
        note(
            f"{torch.cuda.get_device_name(where)} has no bfloat16, so float16 is used, and its output checked: the "
            "7B backbone may overflow in it."
        )
    if held is None:
        return computing
    note(f"{held} quantises the language model's layers: fewer bytes, other answers. Not measured on real weights yet.")
    return held


def _model(device: str, dtype: str, note: Say) -> str:
    """The largest of the family up to 8B that the device holds; on a CPU the smallest, for its speed."""
    import torch

    from carscribe.engines.device import free_bytes

    free = free_bytes(torch.device(device))
    fitting = largest_that_fits(free, dtype, TYPICAL_ROW)
    if fitting is None:
        raise CheckpointError(
            f"{free / GIB:.1f} GiB is free on {device}, too little for {SMALLEST} in {dtype} with one photo. "
            "Free some, use another device, or see how it all works with --model demo."
        )
    if not device.startswith("cuda"):
        note(f"{SMALLEST}, the smallest of the family, since there is no GPU. Another: --model, e.g. --model demo.")
        return SMALLEST
    largest = list(FAMILY)[-1]
    why = "the largest Carscribe picks by itself" if fitting == largest else "the largest that fits"
    note(f"{fitting}, {why}: {free / GIB:.1f} GiB is free on {torch.cuda.get_device_name(device)} ({dtype}).")
    return fitting
