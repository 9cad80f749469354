"""Checks of the GPU: driver against torch's build, what torch sees, who holds the memory, which model fits.

Knows nothing of packages or disks. Every figure of a model comes from `carscribe.memory`.
"""

from collections.abc import Iterator

from carscribe.doctor.findings import Finding
from carscribe.doctor.machine import Machine, Ran
from carscribe.doctor.requirements import parse_requirements
from carscribe.doctor.smi import QUERY_GPUS, QUERY_PROCESSES, Gpu, Holder, cuda_of_driver, parse_gpus, parse_holders
from carscribe.doctor.torch_facts import Device, TorchFacts, torch_facts

GIB = 2**30
HELD_SHARE = 0.1
"""Less than this share of a GPU's memory is held by its own desktop and driver, and not worth a word."""

TORCH_INDEX = "https://download.pytorch.org/whl"

Cuda = tuple[int, int]


def check_driver(machine: Machine) -> Iterator[Finding]:
    """Whether a driver is there, and whether torch was built for what it runs."""
    smi = machine.run("nvidia-smi")
    facts = torch_facts(machine)
    if smi is None:
        yield _no_smi(machine, facts)
        return
    if smi.code != 0:
        yield _broken_smi(smi)
        return
    gpus = _gpus(machine)
    if not gpus:
        yield Finding(
            topic="Driver",
            status="problem",
            what="nvidia-smi runs and lists no GPU.",
            advice="Rent a host that has one; for a container, start it with: docker run --gpus all",
        )
        return
    cuda = cuda_of_driver(smi.out, gpus[0].driver)
    runs = f", which runs CUDA up to {_dotted(cuda)}" if cuda else ""
    yield Finding(topic="Driver", status="ok", what=f"NVIDIA {gpus[0].driver}{runs}; {_names(gpus)}")
    if facts is not None and not facts.error:
        yield _torch_against_driver(machine, facts, gpus, cuda)


def check_devices(machine: Machine) -> Iterator[Finding]:
    """Each GPU: memory, who holds it, bfloat16, and whether torch has code for it."""
    gpus = _gpus(machine)
    facts = torch_facts(machine) or TorchFacts()
    if facts.devices_error:
        yield Finding(
            topic="GPU",
            status="problem",
            what=f"torch cannot use a GPU it sees: {facts.devices_error}.",
            advice="Look at the other findings first; then restart the container or the machine.",
        )
    for index, device in enumerate(facts.devices):
        yield from _device(f"GPU {index}", device, facts.architectures)
    if not facts.devices:
        for gpu in gpus:
            yield Finding(topic=f"GPU {gpu.index}", status="note", what=f"{_described(gpu)}; torch does not see it")
    if any(gpu.mig for gpu in gpus):
        yield Finding(topic="GPU", status="note", what="MIG is on: the figures of torch are those of a slice.")
    holders = list(parse_holders(_out(machine.run(*QUERY_PROCESSES))))
    for gpu in gpus:
        yield from _held(gpu, [holder for holder in holders if holder.uuid == gpu.uuid])


def check_models(machine: Machine) -> Iterator[Finding]:
    """Which checkpoint of the family fits, with one photo of the most tiles asked the default recipe."""
    from carscribe.engines.choosing import TYPICAL_ROW
    from carscribe.memory import FAMILY, largest_that_fits, weight_bytes

    facts = torch_facts(machine) or TorchFacts()
    if not facts.devices:
        yield Finding(
            topic="Models",
            status="note",
            what="Without a GPU that torch can use, Carscribe runs the smallest model on the CPU, slowly.",
            advice="To see how it all works: carscribe describe PHOTOS --model demo",
        )
        return
    device = max(facts.devices, key=lambda device: device.free_bytes)
    dtype = "bfloat16" if device.bfloat16 else "float16"
    fitting = largest_that_fits(device.free_bytes, dtype, TYPICAL_ROW)
    free = f"{device.free_bytes / GIB:.1f} GiB is free on {device.name}"
    if fitting is None:
        smallest = next(iter(FAMILY))
        need = weight_bytes(FAMILY[smallest], dtype) / GIB
        yield Finding(
            topic="Models",
            status="problem",
            what=f"{free}; {smallest} takes {need:.1f} GiB in {dtype}, and room for a photo besides.",
            advice="Free some (see GPU), or rent a larger one: docs/rented-gpu.md has a table.",
        )
        return
    sizes = ", ".join(f"{name.rpartition('/')[2]} {weight_bytes(FAMILY[name], dtype) / GIB:.1f}" for name in FAMILY)
    yield Finding(
        topic="Models",
        status="ok",
        what=f"{free}: {fitting} fits in {dtype}, the largest that Carscribe picks by itself here. "
        f"Weights in GiB: {sizes}",
    )


def check_allocator(machine: Machine) -> Iterator[Finding]:
    """How torch's allocator was told to behave, where there is a GPU."""
    facts = torch_facts(machine)
    if facts is None or not facts.devices:
        return
    from carscribe.engines.choosing import ALLOCATOR_SETTINGS

    given = {name: machine.environment[name] for name in ALLOCATOR_SETTINGS if machine.environment.get(name)}
    told = "; ".join(f"{name}={value}" for name, value in given.items())
    if len(given) == 2 and len(set(given.values())) == 2:
        yield Finding(
            topic="Allocator",
            status="warning",
            what=f"Two settings that differ: {told}. Parts of torch read the one, parts the other.",
            advice="unset PYTORCH_CUDA_ALLOC_CONF",
        )
    elif "expandable_segments:true" in told.lower().replace(" ", ""):
        yield Finding(topic="Allocator", status="ok", what=told)
    elif not told:
        yield Finding(topic="Allocator", status="ok", what="expandable_segments:True, which Carscribe sets by itself.")
    else:
        yield Finding(
            topic="Allocator",
            status="note",
            what=f"{told}: batches of many shapes may leave unusable gaps.",
            advice="export PYTORCH_ALLOC_CONF=expandable_segments:True",
        )


def torch_command(cuda: Cuda | None, capability: Cuda | None, wanted: str = "torch") -> str | None:
    """The pip line for a torch that runs on such a driver and GPU; None when only a newer driver helps.

    torch 2.11 to 2.13 come for CUDA 12.6 (GPUs from 5.0 to 9.0) and 13.0 (from 7.5); 2.11 also for 12.8 (from 7.5).
    Source: the support matrices of these releases in pytorch's RELEASE.md.

    >>> torch_command((12, 4), (8, 6), "torch>=2.11")
    "pip install 'torch>=2.11' --index-url https://download.pytorch.org/whl/cu126"
    >>> torch_command((13, 0), (9, 0)), torch_command((11, 8), (8, 0))
    ("pip install 'torch' --index-url https://download.pytorch.org/whl/cu130", None)
    """
    if cuda is None or cuda < (12, 0):
        return None
    old, new = capability is not None and capability < (7, 5), capability is not None and capability >= (10, 0)
    if cuda >= (13, 0) and not old:
        build = "cu130"
    elif not new:
        build = "cu126"
    elif cuda >= (12, 8):
        build, wanted = "cu128", "torch==2.11.*"
    else:
        return None
    return f"pip install '{wanted}' --index-url {TORCH_INDEX}/{build}"


def wanted_torch(machine: Machine) -> str:
    """The range of torch that Carscribe asks for, as pip takes it."""
    asked = parse_requirements(machine.requirements("carscribe"))
    return next((str(requirement) for requirement in asked if requirement.name == "torch"), "torch")


def best_torch(machine: Machine) -> str:
    """The pip line for torch on this machine: for its driver and GPU, or a CPU build where there is none."""
    smi, gpus = machine.run("nvidia-smi"), _gpus(machine)
    if gpus:
        cuda = cuda_of_driver(_out(smi), gpus[0].driver)
        return torch_command(cuda, gpus[0].capability, wanted_torch(machine)) or _newer_driver()
    return f"pip install '{wanted_torch(machine)}' --index-url {TORCH_INDEX}/cpu"


def _gpus(machine: Machine) -> list[Gpu]:
    return parse_gpus(_out(machine.run(*QUERY_GPUS)))


def _out(ran: Ran | None) -> str:
    return ran.out if ran is not None and ran.code == 0 else ""


def _no_smi(machine: Machine, facts: TorchFacts | None) -> Finding:
    if facts is not None and facts.available:
        what = "nvidia-smi is not here, yet torch sees a GPU: who holds its memory cannot be told."
        return Finding(topic="Driver", status="note", what=what)
    if "NVIDIA" in _out(machine.run("lspci")):
        return Finding(
            topic="Driver",
            status="problem",
            what="There is an NVIDIA GPU on the bus and no driver for it.",
            advice="sudo ubuntu-drivers install && sudo reboot",
        )
    if machine.read("/proc/driver/nvidia/version"):
        return Finding(
            topic="Driver",
            status="problem",
            what="The host has an NVIDIA driver, and this container was not given its GPU.",
            advice="Start it with: docker run --gpus all (with the NVIDIA container toolkit on the host)",
        )
    return Finding(
        topic="Driver",
        status="note",
        what="No nvidia-smi: no NVIDIA GPU or no driver here. Models run on the CPU, slowly.",
        advice="On a rented GPU, look that the pod was started with one; in docker: docker run --gpus all",
    )


def _broken_smi(smi: Ran) -> Finding:
    said = " ".join((smi.out + " " + smi.err).split())[:300] or f"nothing, and ended with code {smi.code}"
    if "mismatch" in said:
        advice = "The driver was updated under a running system: sudo reboot"
    elif "Unknown Error" in said:
        advice = "The container lost its GPU: restart the container (on the host: docker restart NAME)"
    elif smi.code is None:
        said, advice = "nothing within 20 s", "The driver hangs: restart the machine, or rent another host"
    else:
        advice = "Restart the machine; if that does not help: sudo ubuntu-drivers install && sudo reboot"
    return Finding(topic="Driver", status="problem", what=f"nvidia-smi says: {said}", advice=advice)


def _torch_against_driver(machine: Machine, facts: TorchFacts, gpus: list[Gpu], cuda: Cuda | None) -> Finding:
    command = torch_command(cuda, gpus[0].capability, wanted_torch(machine))
    again = f"pip uninstall -y torch && {command}" if command else _newer_driver()
    build = _version(facts.cuda)
    if facts.hip is not None or build is None:
        kind = f"for AMD (ROCm {facts.hip})" if facts.hip is not None else "for the CPU alone"
        what = f"torch {facts.version} is a build {kind}; this machine has an NVIDIA GPU."
        return Finding(topic="torch", status="problem", what=what, advice=again)
    built = f"torch {facts.version} is built for CUDA {facts.cuda}"
    if cuda is not None and build[0] > cuda[0] and not facts.available:
        what = f"{built}; the driver, {gpus[0].driver}, runs CUDA up to {_dotted(cuda)}."
        return Finding(topic="torch", status="problem", what=what, advice=again)
    if not facts.available:
        return _unseen(machine, facts, built)
    if cuda is not None and build > cuda:
        how = "by NVIDIA's compatibility package" if build[0] > cuda[0] else "as minor versions do"
        what = f"{built}, newer than the driver's {_dotted(cuda)}, and works with it {how}."
        return Finding(topic="torch", status="note", what=what)
    return Finding(topic="torch", status="ok", what=f"{built} and sees {len(facts.devices)} of {len(gpus)} GPUs")


def _unseen(machine: Machine, facts: TorchFacts, built: str) -> Finding:
    """The finding about a GPU that nvidia-smi sees and torch does not."""
    visible = machine.environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return Finding(
            topic="torch",
            status="problem",
            what=f"{built} and sees no GPU: CUDA_VISIBLE_DEVICES is {visible!r}.",
            advice="unset CUDA_VISIBLE_DEVICES",
        )
    said = f" It says: {facts.says}" if facts.says else ""
    return Finding(
        topic="torch",
        status="problem",
        what=f"{built} and sees no GPU, though nvidia-smi does.{said}",
        advice="On your own host: sudo nvidia-modprobe -u -c=0 (the device file /dev/nvidia-uvm is often what lacks). "
        "On a rented one: restart the pod, or take another",
    )


def _device(topic: str, device: Device, architectures: tuple[str, ...]) -> Iterator[Finding]:
    free, total = device.free_bytes / GIB, device.total_bytes / GIB
    dtype = "bfloat16" if device.bfloat16 else "no bfloat16"
    capability = f"compute capability {_dotted(device.capability)}"
    what = f"{device.name}: {free:.1f} of {total:.1f} GiB free, {capability}, {dtype}"
    if not has_code_for(device.capability, architectures):
        yield Finding(
            topic=topic,
            status="problem",
            what=f"{what}. This torch has no code for it (only {', '.join(architectures)}).",
            advice=f"pip uninstall -y torch && {torch_command((13, 0), device.capability)}",
        )
    elif not device.bfloat16:
        yield Finding(
            topic=topic,
            status="warning",
            what=f"{what}: Carscribe takes float16, in which the 7B backbone may overflow; its output is checked.",
            advice="Prefer a GPU from Ampere on (RTX 30, A10, A6000, A100), or a smaller model, or --dtype float32",
        )
    else:
        yield Finding(topic=topic, status="ok", what=what)


def has_code_for(capability: Cuda, architectures: tuple[str, ...]) -> bool:
    """Whether a build with code for `architectures` runs on a GPU: binary code of the same major version, or PTX.

    >>> has_code_for((8, 9), ("sm_80", "sm_90")), has_code_for((7, 0), ("sm_75", "sm_80")), has_code_for((7, 0), ())
    (True, False, True)
    """
    if not architectures:
        return True
    for name in architectures:
        kind, _, digits = name.partition("_")
        number = "".join(filter(str.isdigit, digits))
        if len(number) < 2:
            return True  # a name of a kind that came later: torch will say
        built = (int(number[:-1]), int(number[-1]))
        if built <= capability and (kind == "compute" or built[0] == capability[0]):
            return True
    return False


def _held(gpu: Gpu, holders: list[Holder]) -> Iterator[Finding]:
    """Who holds the memory of one GPU, when it is worth a word."""
    if gpu.free_bytes is None or gpu.total_bytes is None or gpu.mig:
        return
    held = gpu.total_bytes - gpu.free_bytes
    if held < HELD_SHARE * gpu.total_bytes:
        return
    what = f"{held / GIB:.1f} of {gpu.total_bytes / GIB:.1f} GiB of GPU {gpu.index} is held"
    if holders:
        pids = " ".join(holder.pid for holder in holders)
        yield Finding(
            topic=f"GPU {gpu.index}",
            status="warning",
            what=f"{what} by {', '.join(map(_holder, holders))}.",
            advice=f"If it is yours and no longer needed: kill {pids}. Inside a container these may be numbers of the "
            "host: then end it where it was started",
        )
        return
    yield Finding(
        topic=f"GPU {gpu.index}",
        status="warning",
        what=f"{what}, by nobody whom nvidia-smi shows here: inside a container, processes outside it are hidden.",
        advice="Look for leftovers of your own: ps aux | grep python. If there are none, the GPU is shared: rent "
        "another",
    )


def _holder(holder: Holder) -> str:
    held = "an unknown share" if holder.held_bytes is None else f"{holder.held_bytes / GIB:.1f} GiB"
    name = holder.name.rpartition("/")[2]
    return f"process {holder.pid}{'' if name.startswith('[') else f' ({name})'}: {held}"


def _described(gpu: Gpu) -> str:
    if gpu.total_bytes is None or gpu.free_bytes is None:
        return gpu.name
    return f"{gpu.name}: {gpu.free_bytes / GIB:.1f} of {gpu.total_bytes / GIB:.1f} GiB free"


def _names(gpus: list[Gpu]) -> str:
    names = dict.fromkeys(gpu.name for gpu in gpus)
    return ", ".join(f"{sum(gpu.name == name for gpu in gpus)} × {name}" for name in names)


def _version(text: str | None) -> Cuda | None:
    parts = (text or "").split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) >= 2 and parts[0].isdigit() and parts[1].isdigit() else None


def _dotted(version: Cuda) -> str:
    return f"{version[0]}.{version[1]}"


def _newer_driver() -> str:
    return (
        "Carscribe's torch needs an NVIDIA driver of 525 or newer (570 for Blackwell): sudo ubuntu-drivers install && "
        "sudo reboot; on a rented host, take one with CUDA 12.8 or newer"
    )
