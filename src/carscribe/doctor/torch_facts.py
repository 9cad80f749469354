"""What `probe` found of torch, as records. A machine runs a command only once, so one probe serves all checks."""

import json
import sys
from dataclasses import dataclass
from typing import Any

from carscribe.doctor.machine import Machine

PROBE_TIMEOUT_S = 300.0
"""A cold import of torch and transformers from a network disk has been seen to take minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A GPU as torch sees it, a MIG slice included; the memory figures are of that slice."""

    name: str
    capability: tuple[int, int]
    free_bytes: int
    total_bytes: int
    bfloat16: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchFacts:
    """What torch says of itself. `error` instead when it does not import; `says` is why it sees no GPU.

    `cuda` is the CUDA version it was built for, None for a CPU build. `architectures` are the GPUs it has code for
    ("sm_80", "compute_120"), `transformers_error` what importing the engine's model class from transformers raised.
    """

    version: str = ""
    cuda: str | None = None
    hip: str | None = None
    available: bool = False
    says: str = ""
    architectures: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    error: str = ""
    devices_error: str = ""
    transformers_error: str = ""


def torch_facts(machine: Machine) -> TorchFacts | None:
    """What torch says here; None where it is not installed."""
    if machine.version("torch") is None:
        return None
    ran = machine.run(sys.executable, "-m", "carscribe.doctor.probe", timeout_s=PROBE_TIMEOUT_S)
    if ran is None or ran.code is None:
        return TorchFacts(error=f"importing it took more than {PROBE_TIMEOUT_S:.0f} s")
    lines = [line for line in ran.out.splitlines() if line.startswith("{")]
    if ran.code or not lines:
        said = (ran.err.strip().splitlines() or ["it said nothing"])[-1]
        return TorchFacts(error=f"importing it ended the process with code {ran.code}: {said}")
    return _read(json.loads(lines[-1]))


def _read(found: dict[str, Any]) -> TorchFacts:
    torch = found.get("torch", {})
    devices = tuple(
        Device(**{**device, "capability": (device["capability"][0], device["capability"][1])})
        for device in found.get("devices", ())
    )
    return TorchFacts(
        version=torch.get("version", ""),
        cuda=torch.get("cuda"),
        hip=torch.get("hip"),
        available=torch.get("available", False),
        says=torch.get("says", ""),
        architectures=tuple(torch.get("architectures", ())),
        devices=devices,
        error=found.get("torch_error", ""),
        devices_error=found.get("devices_error", ""),
        transformers_error=found.get("transformers_error", ""),
    )
