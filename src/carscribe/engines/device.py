"""What there is of memory, its name, and the ways in which it runs out: a GPU, or the host where there is none."""

import platform
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

import torch
from numpy.typing import NDArray

from carscribe.engines.checkpoint import first_line
from carscribe.errors import InputError, OutOfMemoryError
from carscribe.gpus import FP8_FROM

MEMORY_PHRASES = ("can't allocate memory", "out of memory", "ALLOC_FAILED", "mha_graph", "No valid execution plans")
"""What a RuntimeError says when the memory of a CPU, of a CUDA call, of cuBLAS or of cuDNN ran out. cuDNN takes some
beside torch's allocator, and says of no failure why."""

Result = TypeVar("Result")


def version_of(package: str) -> str:
    """The version of an installed package; "unknown" for one that runs from a folder."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def computing_dtype(device: torch.device) -> str:
    """What a model computes in on `device` unless the user says otherwise."""
    if device.type != "cuda":
        return "float32"
    return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"


def refuse_without_fp8(device: torch.device) -> None:
    """Nothing where `device` can run fp8 (a CPU can, slowly). Raises: InputError for a GPU that cannot."""
    if device.type != "cuda":
        return
    advice = "Give --dtype int8, which takes as little memory, or leave --dtype out."
    name = torch.cuda.get_device_name(device)
    if torch.version.hip:
        raise InputError(f"fp8 runs on NVIDIA GPUs alone so far, and this is {name}. {advice}")
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < FP8_FROM:
        raise InputError(
            f"{name} does not multiply in fp8: its compute capability is {major}.{minor}, and 8.9 is needed (L4, L40S, "
            f"RTX 40, H100 and newer). {advice}"
        )


def hardware_name(device: torch.device) -> str:
    """The GPU's name, or what the host calls its CPU."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"


def peak_host_bytes() -> int | None:
    """The most memory this process held so far; None where the system does not say."""
    import psutil

    peak = getattr(psutil.Process().memory_info(), "peak_wset", None)  # Windows
    if peak is not None:
        return int(peak)
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def free_bytes(device: torch.device) -> int:
    """Bytes that this process may still take on `device`, what its allocator holds unused included.

    Of a GPU no more than `torch.cuda.set_per_process_memory_fraction` leaves it, of which the driver knows nothing; and
    what is unused in the pools of CUDA graphs is theirs alone.
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        index = torch.cuda.current_device() if device.index is None else device.index
        reserved = torch.cuda.memory_reserved(index)
        allowed = int(torch.cuda.get_per_process_memory_fraction(index) * total) - reserved
        unused = reserved - torch.cuda.memory_allocated(index) - _unused_of_graphs(index)
        return int(min(free, allowed) + unused)
    import psutil

    return int(psutil.virtual_memory().available)


def _unused_of_graphs(index: int) -> int:
    """Bytes that the allocator holds for CUDA graphs, and that nothing lies in."""
    own = (
        segment
        for segment in torch.cuda.memory_snapshot()  # type: ignore[no-untyped-call]
        if segment["device"] == index and tuple(segment["segment_pool_id"]) != (0, 0)
    )
    return sum(segment["total_size"] - segment["allocated_size"] for segment in own)


def sent(array: NDArray[Any], device: torch.device) -> torch.Tensor:
    """An array on `device`; a GPU fetches it behind what is queued there, and nobody waits for that."""
    tensor = torch.from_numpy(array)
    if device.type != "cuda":
        return tensor
    return host_buffer(tensor.shape, tensor.dtype, pinned=True).copy_(tensor).to(device, non_blocking=True)


def host_buffer(shape: Sequence[int], dtype: torch.dtype, *, pinned: bool) -> torch.Tensor:
    """Memory of the host, `pinned` so that a GPU fetches from it by itself; where there is none, slower memory."""
    if pinned and 0 not in shape:
        try:
            return torch.empty(shape, dtype=dtype, pin_memory=True)
        except RuntimeError:
            pass
    return torch.empty(shape, dtype=dtype)


def give_back() -> None:
    """What torch's allocators hold unused, back to the driver: of the GPU, and pinned memory of the host."""
    torch.cuda.empty_cache()
    empty_pinned = getattr(torch._C, "_host_emptyCache", None)
    if empty_pinned is not None:
        empty_pinned()


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error) for phrase in MEMORY_PHRASES)


def within_memory(what: str, work: Callable[[], Result]) -> Result:
    """Do `work`; each way in which torch says that memory ran out becomes an OutOfMemoryError about `what`."""
    try:
        return work()
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        reason = first_line(error)
    # Raised outside the handler: the caught error's traceback would keep the batch's tensors alive.
    raise OutOfMemoryError(f"Out of memory for {what}: {reason}")
