"""A LoRA as `carscribe finetune` (or PEFT) leaves it: found, checked, told from any other, merged into a model."""

import hashlib
import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carscribe.errors import CheckpointError, InputError, MissingExtraError

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
INSIDE = "adapter"
"""Where the folder of a training keeps it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter's folder, and what tells it from any other: a hash of what it is made of."""

    folder: Path
    identity: str


def open_adapter(folder: Path) -> Adapter:
    """The adapter in a folder, or in the folder of the training that made it. Imports neither torch nor peft.

    Raises: InputError when there is none; CheckpointError when it is damaged, or could run code when loaded.
    """
    at = folder / INSIDE if (folder / INSIDE / CONFIG).exists() else folder
    if not (at / CONFIG).is_file():
        whole = " It holds a whole checkpoint: use it with --model." if (folder / "config.json").exists() else ""
        raise InputError(f"No adapter in {folder}: it has no {CONFIG}.{whole} Name the folder of a training.")
    if not (at / WEIGHTS).is_file():
        raise CheckpointError(f"{at} lacks {WEIGHTS}. Only safetensors are loaded: anything else could run code.")
    digest = hashlib.sha256()
    try:
        config = json.loads((at / CONFIG).read_text("utf-8"))
        digest.update(json.dumps(_deciding(config), sort_keys=True).encode())
        with (at / WEIGHTS).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{at} cannot be read: {error}. Copy it again.") from None
    return Adapter(folder=at.absolute(), identity=f"files:{digest.hexdigest()}")


def merged(model: Any, adapter: Adapter) -> Any:
    """The model with the adapter added to its weights, each sum rounded once to the weight's own dtype.

    Raises: CheckpointError when it was made for another model; MissingExtraError without peft.
    """
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise MissingExtraError("Using an adapter", extra="train") from error
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(adapter.folder / WEIGHTS, "pt") as file:
            stored = set(file.keys())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Found missing adapter keys")  # PEFT takes what fits: here it is refused
            shell = PeftModel.from_pretrained(model, adapter.folder)
        apart = stored ^ set(get_peft_model_state_dict(shell))
        if not apart:
            return shell.merge_and_unload()
        reason = f"{len(apart)} weights are in one of the two alone ({min(apart)} …)."
    except SafetensorError as error:
        raise CheckpointError(f"{adapter.folder / WEIGHTS} is damaged: {error}. Copy it again.") from None
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Of sizes that differ the first line says nothing, the second the weight.
        reason = " ".join(str(error).split("\n\t")[-1:]) or type(error).__name__
    raise CheckpointError(f"{adapter.folder} does not fit this model: {reason} Name the model it was trained on.")


def _deciding(config: dict[str, Any]) -> dict[str, Any]:
    """What of an adapter's config decides an answer: not where its base model lay, nor versions."""
    passing = {"base_model_name_or_path", "revision", "peft_version", "auto_mapping", "inference_mode"}
    return {key: value for key, value in config.items() if key not in passing}
