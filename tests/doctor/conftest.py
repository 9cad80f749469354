"""A machine made of a table: healthy as it is, and each test spoils one thing of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from carscribe.catalog.mounts import Mount
from carscribe.doctor.machine import Disk, Processor, Ran, Reached
from carscribe.doctor.smi import QUERY_GPUS, QUERY_PROCESSES

GIB = 2**30

REQUIREMENTS = (
    "numpy>=1.26",
    "rich>=13.9",
    "torch<2.14,>=2.11; extra == 'local'",
    "transformers<6,>=5.17; extra == 'local'",
    "pyarrow>=18; extra == 'parquet'",
    "torch<2.14,>=2.11; extra == 'dev'",
    "pytest>=8.3; extra == 'dev'",
)
VERSIONS = {
    "carscribe": "0.1.0",
    "numpy": "2.4.6",
    "rich": "15.0.0",
    "torch": "2.13.0+cu130",
    "transformers": "5.17.0",
    "pyarrow": "26.0.1",
}
SMI_TABLE = "| NVIDIA-SMI 580.95.05    Driver Version: 580.95.05    CUDA Version: 13.0 |"
SMI_GPU = "0, GPU-1, NVIDIA RTX A6000, 580.95.05, 49140, 48660, 8.6, [N/A]\n"
DEVICE = {
    "name": "NVIDIA RTX A6000",
    "capability": [8, 6],
    "free_bytes": 47 * GIB,
    "total_bytes": 48 * GIB,
    "bfloat16": True,
}
TORCH = {
    "version": "2.13.0+cu130",
    "cuda": "13.0",
    "hip": None,
    "available": True,
    "architectures": ["sm_75", "sm_80", "sm_86", "sm_90", "sm_120", "compute_120"],
    "says": "",
}
PROBED = {"torch": TORCH, "devices": [DEVICE], "transformers": "5.17.0"}
DISK = Mount(kind="ext4", network=False)
PROCESSOR = Processor(
    system="Linux 6.8 (x86_64)",
    python="3.12.3",
    cores=16,
    usable_cores=16,
    memory_bytes=64 * GIB,
    available_bytes=60 * GIB,
)
ANSWERS = Reached(status=200)


@dataclass(frozen=True)
class TableMachine:
    """See `carscribe.doctor.machine.Machine`. Commands are found by their first word, the two queries by themselves."""

    environment: Mapping[str, str] = field(
        default_factory=lambda: {"HF_HOME": "/disk/hf", "PYTORCH_ALLOC_CONF": "expandable_segments:True"}
    )
    processor: Processor = PROCESSOR
    encodings: Mapping[str, str] = field(default_factory=lambda: {"the terminal": "utf-8", "file names": "utf-8"})
    home: Path = Path("/disk/home")
    commands: Mapping[Any, Ran | None] = field(default_factory=dict)
    probed: Mapping[str, Any] | Ran | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    mounts: Mapping[str, Mount] = field(default_factory=dict)
    disks: Mapping[str, Disk] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=lambda: VERSIONS)
    asked: Mapping[str, Sequence[str]] = field(default_factory=lambda: {"carscribe": REQUIREMENTS})
    answers: Reached = ANSWERS

    def run(self, *command: str, timeout_s: float = 20) -> Ran | None:
        if command[-1] == "carscribe.doctor.probe":
            if isinstance(self.probed, Ran):
                return self.probed
            return Ran(code=0, out="noise of a library\n" + json.dumps(self.probed or PROBED))
        usual = {"nvidia-smi": Ran(code=0, out=SMI_TABLE), QUERY_GPUS: Ran(code=0, out=SMI_GPU)}
        usual[QUERY_PROCESSES] = Ran(code=0)
        key = command if command in usual else command[0]
        return self.commands.get(key, usual.get(key))

    def read(self, path: str) -> str | None:
        return self.files.get(path)

    def disk(self, path: Path) -> Disk | None:
        if path == Path("/dev/shm"):
            return self.disks.get("/dev/shm", Disk(at=path, free_bytes=8 * GIB, total_bytes=8 * GIB, writable=True))
        place = Path("/disk/here") if path == Path() else path
        usual = Disk(at=place, free_bytes=500 * GIB, total_bytes=900 * GIB, writable=True)
        return self.disks.get(str(place), usual)

    def mount(self, path: Path) -> Mount:
        return self.mounts.get(str(path), DISK)

    def version(self, distribution: str) -> str | None:
        return self.versions.get(distribution)

    def requirements(self, distribution: str) -> Sequence[str]:
        return self.asked.get(distribution, ())

    def reach(self, url: str, timeout_s: float) -> Reached:
        return self.answers


@pytest.fixture
def healthy() -> Callable[..., TableMachine]:
    """The healthy machine, with changes."""

    def make(**changes: Any) -> TableMachine:
        return replace(TableMachine(), **changes)

    return make
