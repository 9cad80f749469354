"""What is held of a GPU's memory, as torch, the driver and nvidia-smi say it, and its peaks by stage of a batch.

Of a CPU all figures are 0, so that a bench can be tried there.
"""

import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from carscribe.engines import local
from carscribe.engines.local import LocalEngine

GIB, MIB = 2**30, 2**20
GROWING = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
"""What `describe` sets for itself before torch looks, which a bench that has used the GPU already is too late for."""


def gib(count: float) -> float:
    """Bytes as GiB, to a MiB.

    >>> gib(15_883_835_392)
    14.793
    """
    return round(count / GIB, 3)


def used_by_others() -> int:
    """Bytes of the first GPU in use, by nvidia-smi, asked before this process has touched it; 0 without one."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--id=0"]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(float(ran.stdout.split()[0])) * MIB
    except (OSError, subprocess.CalledProcessError, ValueError, IndexError):
        return 0


def taken(others: int) -> int:
    """Bytes of the GPU in use by the driver's count, less what `others` had before."""
    if not torch.cuda.is_available():
        return 0
    torch.cuda.synchronize()
    free, total = torch.cuda.mem_get_info()
    return int(total - free - others)


def allocated() -> int:
    """Bytes of torch's tensors now."""
    return int(torch.cuda.memory_allocated()) if torch.cuda.is_available() else 0


def reserved() -> int:
    """Bytes that torch's allocator has of the driver now, in use or not."""
    return int(torch.cuda.memory_reserved()) if torch.cuda.is_available() else 0


def peak_allocated() -> int:
    """The most that torch's tensors took since peaks were last counted anew."""
    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else 0


def peak_reserved() -> int:
    """The most that its allocator had since then."""
    return int(torch.cuda.max_memory_reserved()) if torch.cuda.is_available() else 0


def out_of_memory_count() -> int:
    """How often torch's allocator has given up so far; a graph that found no room and was left out counts too."""
    return int(torch.cuda.memory_stats().get("num_ooms", 0)) if torch.cuda.is_available() else 0


def segments_grow() -> bool:
    """Whether torch's allocator grows its segments here."""
    return torch.cuda.is_available() and any(segment.get("is_expandable") for segment in torch.cuda.memory_snapshot())


class Peaks:
    """The most that was allocated and reserved in each stage: "vision", "read", "ask", "score", "decode", "between".

    A stage within another is its own, and its caller's the rest.
    """

    def __init__(self) -> None:
        self.allocated: dict[str, int] = defaultdict(int)
        self.reserved: dict[str, int] = defaultdict(int)
        self._stage = "between"
        self._on_gpu = torch.cuda.is_available()
        if self._on_gpu:
            torch.cuda.reset_peak_memory_stats()

    def note(self) -> None:
        """Put down the peaks since the last time under the stage at hand, and count anew."""
        if not self._on_gpu:
            return
        for peaks, peak in ((self.allocated, peak_allocated()), (self.reserved, peak_reserved())):
            peaks[self._stage] = max(peaks[self._stage], peak)
        torch.cuda.reset_peak_memory_stats()

    def of(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, watched as a stage."""

        def run(*arguments: Any, **more: Any) -> Any:
            self.note()
            before, self._stage = self._stage, stage
            try:
                return work(*arguments, **more)
            finally:
                self.note()
                self._stage = before

        return run


@contextmanager
def peaks_of(engine: LocalEngine) -> Iterator[Peaks]:
    """The peaks of whatever the engine answers meanwhile."""
    packed, decode = engine._packed, local.decode
    names = {"read": "read", "ask": "ask", "log_probability": "score"}
    features, before = packed.model.get_image_features, {name: getattr(packed, name) for name in names}
    peaks = Peaks()
    packed.model.get_image_features = peaks.of("vision", features)
    for name, stage in names.items():
        setattr(packed, name, peaks.of(stage, before[name]))
    local.decode = peaks.of("decode", decode)
    try:
        yield peaks
    finally:
        peaks.note()
        packed.model.get_image_features = features
        for name, method in before.items():
            setattr(packed, name, method)
        local.decode = decode
