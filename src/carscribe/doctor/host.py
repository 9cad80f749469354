"""Checks of the machine around the GPU: memory, cores, shared memory, disks, the terminal. And the list of all checks.

Knows nothing of models but how large their weights are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from carscribe.catalog.mounts import Mount
from carscribe.cores import container_cores
from carscribe.doctor.findings import Finding
from carscribe.doctor.gpu import check_allocator, check_devices, check_driver, check_models
from carscribe.doctor.hub import check_cached, check_hub, hub_cache
from carscribe.doctor.machine import Disk, Machine
from carscribe.doctor.packages import check_imports, check_packages, check_python
from carscribe.doctor.torch_facts import torch_facts

GIB, MIB = 2**30, 2**20

LITTLE_MEMORY_BYTES = 8 * GIB
"""Less than this for the whole process and reading ahead (up to 3.5 GB of tiles, a full-size photo a core) is felt."""

LITTLE_SHARED_BYTES = GIB
"""Docker gives a container 64 MiB."""

LITTLE_DISK_BYTES = GIB
"""Answers are small, exports with images are not."""

MANY_CORES_TO_A_GPU = 4
"""Below this many cores, decoding photos is likelier than the GPU to set the pace: 4 large photos a second and core."""

CONTAINER_MOUNTS = frozenset({"overlay", "aufs", "tmpfs", "ramfs"})


def check_memory(machine: Machine) -> Iterator[Finding]:
    """The host's memory that this process may take, a container's limit included."""
    processor = machine.processor
    limit, used = _container_memory(machine)
    free, whose = processor.available_bytes, f"of {processor.memory_bytes / GIB:.1f} GiB"
    if limit is not None and limit < processor.memory_bytes:
        free = min(free, limit - used)
        whose = f"of the {limit / GIB:.1f} GiB that this container may use"
    what = f"{free / GIB:.1f} GiB {whose} is free"
    if free < LITTLE_MEMORY_BYTES:
        yield Finding(
            topic="Memory",
            status="warning",
            what=f"{what}: little for reading photos ahead; on a CPU also for the model.",
            advice="End what else runs, or rent more. On a CPU: --model OpenGVLab/InternVL3-1B-hf --max-tiles 1",
        )
    else:
        yield Finding(topic="Memory", status="ok", what=what)


def check_cores(machine: Machine) -> Iterator[Finding]:
    """The cores that this process may use: its affinity and the container's share of time."""
    processor = machine.processor
    quota = container_cores(machine.read)
    what = f"{processor.usable_cores} of {processor.cores} cores may be used"
    facts = torch_facts(machine)
    if quota is not None and quota < processor.usable_cores:
        threads = max(1, round(quota))
        yield Finding(
            topic="Cores",
            status="note",
            what=f"{what}, and the container gets the time of {quota:g}: more threads than that wait for one another.",
            advice=f"export OMP_NUM_THREADS={threads}",
        )
    elif facts is not None and facts.devices and processor.usable_cores < MANY_CORES_TO_A_GPU:
        yield Finding(
            topic="Cores",
            status="note",
            what=f"{what}: few beside a GPU, which will wait while large photos are decoded.",
            advice="Rent more cores, or make very large photos smaller beforehand",
        )
    else:
        yield Finding(topic="Cores", status="ok", what=what)


def check_shared_memory(machine: Machine) -> Iterator[Finding]:
    """/dev/shm, which Carscribe itself does not use."""
    shared = machine.disk(Path("/dev/shm"))
    if shared is None or shared.at != Path("/dev/shm"):
        return
    what = f"/dev/shm has {_size(shared.total_bytes)}"
    if shared.total_bytes < LITTLE_SHARED_BYTES:
        yield Finding(
            topic="Shared memory",
            status="note",
            what=f"{what}: enough for Carscribe, which reads photos in threads. Too little for fine-tuning with "
            "DataLoader workers, which hand batches over through it.",
            advice="For fine-tuning: docker run --shm-size=8g, or 0 workers",
        )
    else:
        yield Finding(topic="Shared memory", status="ok", what=what)


def check_disks(machine: Machine) -> Iterator[Finding]:
    """Where models, results and Carscribe's own cache go: room, leave to write, kind of disk."""
    from carscribe.engines.identity import cache_folder

    yield from _models_disk(machine)
    here = machine.disk(Path())
    if here is not None:
        yield from _results_disk(here, machine.mount(here.at))
    own = machine.disk(cache_folder())
    if own is not None and not own.writable:
        yield Finding(
            topic="Disk",
            status="warning",
            what=f"Carscribe's own cache cannot be written at {own.at}: weights are hashed anew each time.",
            advice="export CARSCRIBE_CACHE=/some/folder/that/can/be/written",
        )


def check_terminal(machine: Machine) -> Iterator[Finding]:
    """Whether Korean can be shown, and be part of a file's name."""
    told = machine.encodings
    wrong = [
        f"{what}: {name}" for what, name in told.items() if name.lower().replace("-", "") not in {"utf8", "cp65001"}
    ]
    if wrong:
        yield Finding(
            topic="Terminal",
            status="warning",
            what=f"Not UTF-8 ({'; '.join(wrong)}): Korean cannot be shown or written as a file's name everywhere.",
            advice="export LANG=C.UTF-8 PYTHONUTF8=1",
        )
    else:
        yield Finding(topic="Terminal", status="ok", what="UTF-8: Korean (자동차) can be shown")


HOST_CHECKS: Mapping[str, Callable[[Machine], Iterable[Finding]]] = {
    "System": check_python,
    "Packages": check_packages,
    "Imports": check_imports,
    "Driver": check_driver,
    "GPU": check_devices,
    "Models": check_models,
    "Allocator": check_allocator,
    "Memory": check_memory,
    "Cores": check_cores,
    "Shared memory": check_shared_memory,
    "Disk": check_disks,
    "Hub": check_hub,
    "Models on disk": check_cached,
    "Terminal": check_terminal,
}
"""All checks of the machine by topic, in the order they are shown."""


def _models_disk(machine: Machine) -> Iterator[Finding]:
    """The disk that models are fetched to."""
    from carscribe.memory import FAMILY, weight_bytes

    cache = hub_cache(machine)
    disk = machine.disk(cache)
    if disk is None:
        return
    sizes = {name: weight_bytes(shape, "bfloat16") for name, shape in FAMILY.items()}
    fitting = [name for name, need in sizes.items() if need < disk.free_bytes]
    mount = machine.mount(disk.at)
    what = f"Models go to {cache} ({mount.kind}): {_size(disk.free_bytes)} is free"
    largest = list(sizes)[-1]
    if not disk.writable:
        yield Finding(
            topic="Disk",
            status="problem",
            what=f"{what}, and it cannot be written.",
            advice="export HF_HOME=/some/folder/that/can/be/written",
        )
    elif largest not in fitting:
        yield Finding(
            topic="Disk",
            status="warning" if fitting else "problem",
            what=f"{what}; {largest} takes {_size(sizes[largest])}. What fits: {', '.join(fitting) or 'none'}.",
            advice="export HF_HOME=/a/folder/on/a/larger/disk, e.g. HF_HOME=/workspace/huggingface on a rented pod",
        )
    elif mount.kind in CONTAINER_MOUNTS:
        yield Finding(
            topic="Disk",
            status="note",
            what=f"{what}. That is the container's own disk: what is fetched is gone with it.",
            advice="export HF_HOME=/workspace/huggingface, or wherever your volume is",
        )
    else:
        yield Finding(topic="Disk", status="ok", what=what)


def _results_disk(disk: Disk, mount: Mount) -> Iterator[Finding]:
    """The disk of the current folder, where results go unless the user says otherwise."""
    what = f"This folder ({mount.kind}): {_size(disk.free_bytes)} is free"
    if not disk.writable:
        advice = "Change to a folder of your own, or name the output's place with -o or -w"
        yield Finding(topic="Disk", status="warning", what=f"{what}, and it cannot be written.", advice=advice)
    elif disk.free_bytes < LITTLE_DISK_BYTES:
        advice = "Free some, or put results on another disk with -o or -w"
        yield Finding(topic="Disk", status="warning", what=f"{what}: little for results.", advice=advice)
    elif mount.network:
        yield Finding(
            topic="Disk",
            status="note",
            what=f"{what}. It is a network disk: a workspace on it works, from one machine at a time.",
            advice="What a pod that died leaves behind, and what to do: docs/rented-gpu.md",
        )
    else:
        yield Finding(topic="Disk", status="ok", what=what)


def _container_memory(machine: Machine) -> tuple[int | None, int]:
    """The container's limit in bytes, None without one, and what of it is in use; cgroup version 2, then 1."""
    for limit_file, used_file in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        limit, used = machine.read(limit_file), machine.read(used_file)
        if limit is not None and limit.strip().isdigit():
            return int(limit), int(used) if used is not None and used.strip().isdigit() else 0
    return None, 0


def _size(count_bytes: int) -> str:
    """Bytes for people.

    >>> _size(64 * MIB), _size(3 * GIB // 2)
    ('64 MiB', '1.5 GiB')
    """
    return f"{count_bytes / MIB:.0f} MiB" if count_bytes < GIB else f"{count_bytes / GIB:.1f} GiB"
