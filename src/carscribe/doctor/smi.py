"""What `nvidia-smi` prints, as records. Pure: text in, records out."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

QUERY_GPUS = (
    "nvidia-smi",
    "--query-gpu=index,uuid,name,driver_version,memory.total,memory.free,compute_cap,mig.mode.current",
    "--format=csv,noheader,nounits",
)
QUERY_PROCESSES = (
    "nvidia-smi",
    "--query-compute-apps=gpu_uuid,pid,process_name,used_memory",
    "--format=csv,noheader,nounits",
)
MIB = 2**20
CUDA_OF_DRIVER = ((580, (13, 0)), (525, (12, 0)), (450, (11, 0)))
"""The oldest driver branch that runs any CUDA of a major version, and that version.

Source: https://docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU of the machine, visible to torch or not. Memory is None where nvidia-smi does not tell ([N/A])."""

    index: int
    uuid: str
    name: str
    driver: str
    total_bytes: int | None
    free_bytes: int | None
    capability: tuple[int, int] | None
    mig: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A process that holds memory of a GPU. In a container its name or its share is often not told."""

    uuid: str
    pid: str
    name: str
    held_bytes: int | None


def parse_gpus(csv: str) -> list[Gpu]:
    """The GPUs of `QUERY_GPUS`; lines of another form are passed over.

    >>> parse_gpus("0, GPU-1, NVIDIA RTX A6000, 580.95.05, 49140, 48500, 8.6, [N/A]")[0].capability
    (8, 6)
    """
    return [gpu for gpu in map(_gpu, csv.splitlines()) if gpu is not None]


def parse_holders(csv: str) -> Iterator[Holder]:
    """The processes of `QUERY_PROCESSES`. A program's name may hold commas.

    >>> [holder.name for holder in parse_holders("GPU-1, 4242, python a,b, 512")]
    ['python a,b']
    """
    for line in csv.splitlines():
        head, _, held = line.rpartition(",")
        fields = [field.strip() for field in head.split(",", 2)]
        if len(fields) == 3 and fields[1].isdigit():
            yield Holder(uuid=fields[0], pid=fields[1], name=fields[2], held_bytes=_mebibytes(held))


def cuda_of_driver(table: str, driver: str) -> tuple[int, int] | None:
    """The newest CUDA that the driver runs: from nvidia-smi's table, else the least its branch promises.

    >>> cuda_of_driver("| Driver Version: 550.54.14  CUDA Version: 12.4 |", "550.54.14"), cuda_of_driver("", "525.1")
    ((12, 4), (12, 0))
    """
    told = re.search(r"CUDA[A-Z ]* Version:\s*(\d+)\.(\d+)", table)
    if told:
        return int(told[1]), int(told[2])
    branch = re.match(r"\d+", driver)
    return next((cuda for least, cuda in CUDA_OF_DRIVER if branch and int(branch[0]) >= least), None)


def _gpu(line: str) -> Gpu | None:
    fields = [field.strip() for field in line.split(",")]
    if len(fields) != 8 or not fields[0].isdigit():
        return None
    capability = re.fullmatch(r"(\d+)\.(\d+)", fields[6])
    return Gpu(
        index=int(fields[0]),
        uuid=fields[1],
        name=fields[2],
        driver=fields[3],
        total_bytes=_mebibytes(fields[4]),
        free_bytes=_mebibytes(fields[5]),
        capability=(int(capability[1]), int(capability[2])) if capability else None,
        mig=fields[7] == "Enabled",
    )


def _mebibytes(field: str) -> int | None:
    return int(field) * MIB if field.strip().isdigit() else None
