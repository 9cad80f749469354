"""Run as a process of its own (`python -m carscribe.doctor.probe`): what torch and transformers say here, as JSON.

A process of its own, since a library that does not match its neighbours may end the process that imports it, and a CUDA
context would hold half a gigabyte of the GPU that is to be measured. Knows nothing of what is good or bad.
"""

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any


def look() -> dict[str, Any]:
    """What could be found out. A key "<name>_error" says what kept <name> from being told."""
    found: dict[str, Any] = {}
    _try(found, "torch", _torch)
    if "torch" in found:
        _try(found, "devices", _devices)
    _try(found, "transformers", _transformers)
    return found


def _try(found: dict[str, Any], name: str, work: Callable[[], Any]) -> None:
    try:
        found[name] = work()
    except BaseException as error:  # noqa: BLE001 - what a broken installation raises is not for us to choose
        lines = str(error).strip().splitlines() or [""]
        found[f"{name}_error"] = f"{type(error).__name__}: {lines[0]}"[:400]


def _torch() -> dict[str, Any]:
    with warnings.catch_warnings(record=True) as said:  # torch says by a warning why it sees no GPU
        warnings.simplefilter("always")
        import torch

        available = torch.cuda.is_available()
        why = "" if available else _why_not(torch)
    return {
        "version": torch.__version__,
        "cuda": torch.version.cuda,
        "hip": torch.version.hip,
        "available": available,
        "architectures": torch.cuda.get_arch_list() if available else [],
        "says": " ".join([why, *(str(w.message) for w in said if "CUDA" in str(w.message))]).strip()[:600],
    }


def _why_not(torch: Any) -> str:
    try:
        torch.cuda.init()
    except Exception as error:  # noqa: BLE001 - only its words are wanted
        return (str(error).strip().splitlines() or [""])[0]
    return ""


def _devices() -> list[dict[str, Any]]:
    import torch

    devices = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        free_bytes, total_bytes = torch.cuda.mem_get_info(index)
        with torch.cuda.device(index):
            bfloat16 = torch.cuda.is_bf16_supported(including_emulation=False)
        devices.append(
            {
                "name": torch.cuda.get_device_name(index),
                "capability": list(torch.cuda.get_device_capability(index)),
                "free_bytes": free_bytes,
                "total_bytes": total_bytes,
                "bfloat16": bfloat16,
            }
        )
    return devices


def _transformers() -> str:
    """Its version, after importing what the engine imports: a torchvision that does not match torch breaks here."""
    import transformers
    from transformers import AutoTokenizer, InternVLForConditionalGeneration  # noqa: F401

    return str(transformers.__version__)


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps(look()) + "\n")
