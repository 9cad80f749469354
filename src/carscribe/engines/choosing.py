"""From what the user asked for, or did not, to a loaded engine: model, device, dtype, each choice with its reason."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from carscribe.errors import CheckpointError, InputError, MissingExtraError
from carscribe.memory import FAMILY, GIB, RowShape, largest_that_fits

if TYPE_CHECKING:
    from carscribe.engines.local import LocalEngine

DTYPES = ("auto", "bfloat16", "float16", "float32")
DEMO = "demo"
SMALLEST = "OpenGVLab/InternVL3-1B-hf"

TYPICAL_ROW = RowShape(tiles=13, branch_tokens=512, columns=8, new_tokens=40)
"""One photo of the most tiles, asked the default recipe: what a model must hold besides its weights to be picked."""


def open_engine(
    model: str | None = None,
    *,
    demo_texts: Iterable[str] = (),
    revision: str | None = None,
    device: str | None = None,
    dtype: str = "auto",
    say: Callable[[str], None] = lambda _: None,
) -> "LocalEngine":
    """Load what answers. `demo_texts` train the stand-in's tokenizer; `say` is told each choice as it is made.

    Raises: MissingExtraError without torch; InputError for an unknown device or dtype; CheckpointError;
        OutOfMemoryError when the weights do not fit.
    """
    try:
        import torch
        import transformers  # noqa: F401
    except ImportError:
        raise MissingExtraError("Running a model", extra="local") from None
    notes: list[str] = []

    def note(text: str) -> None:
        notes.append(text)
        say(text)

    where = _device(device)
    if dtype not in DTYPES:
        raise InputError(f"No dtype {dtype!r}. Give one of: {', '.join(DTYPES)}.")
    kind = _dtype(dtype, where, note)
    if model is None:
        model = _model(where, kind, note)
    from carscribe.engines.checkpoint import open_checkpoint
    from carscribe.engines.local import LocalEngine

    if model == DEMO:  # a folder of that name is ./demo
        if revision:
            raise InputError("--revision is for models of a hub; the demo model has none. Leave it out.")
        from carscribe.engines.demo_model import demo_checkpoint

        note("The demo model is a small InternVL3 with random weights: its words mean nothing.")
        checkpoint = replace(open_checkpoint(str(demo_checkpoint(demo_texts))), name=DEMO)
    else:
        checkpoint = open_checkpoint(model, revision=revision)
    return LocalEngine(
        checkpoint, device=str(torch.device(where)), dtype=kind, notes=tuple(notes), words_mean_nothing=model == DEMO
    )


def _device(asked: str | None) -> str:
    import torch

    from carscribe.engines.checkpoint import first_line

    if asked is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
        torch.zeros(1, device=device).item()  # the device named "meta" holds no values
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"No device {asked!r} here ({first_line(error)}). Give cpu, cuda or cuda:N, or leave --device out."
        ) from None
    return asked


def _dtype(asked: str, device: str, note: Callable[[str], None]) -> str:
    import torch

    if asked != "auto":
        return asked
    if not device.startswith("cuda"):
        return "float32"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16"
    note(
        f"{torch.cuda.get_device_name(device)} has no bfloat16, so float16 is used, and its output checked: the "
        "7B backbone may overflow in it."
    )
    return "float16"


def _model(device: str, dtype: str, note: Callable[[str], None]) -> str:
    """The largest of the family up to 8B that the device holds; on a CPU the smallest, for its speed."""
    import torch

    from carscribe.engines.local import free_bytes

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
