"""Each finding about a machine, provoked once: what it says, how bad that is, and what it says to type."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carscribe.catalog.mounts import Mount, mount_of
from carscribe.doctor.findings import Finding, count_problems, findings_of
from carscribe.doctor.host import HOST_CHECKS
from carscribe.doctor.machine import Disk, Processor, Ran, Reached
from carscribe.doctor.packages import NOT_FOR_USERS, PURPOSE
from carscribe.doctor.smi import QUERY_GPUS, QUERY_PROCESSES

GIB, MIB = 2**30, 2**20
Make = Callable[..., Any]
"""The `healthy` fixture's: a machine, with changes."""

VERSIONS = {"carscribe": "0.1.0", "numpy": "2.4.6", "rich": "15.0.0", "torch": "2.13.0+cu130"}
VERSIONS |= {"transformers": "5.17.0", "pyarrow": "26.0.1"}
TORCH = {"version": "2.13.0+cu130", "cuda": "13.0", "hip": None, "available": True, "architectures": [], "says": ""}
DEVICE = {"name": "NVIDIA RTX A6000", "capability": [8, 6], "bfloat16": True}
DEVICE |= {"free_bytes": 47 * GIB, "total_bytes": 48 * GIB}
CARSCRIBE = ("numpy>=1.26", "torch<2.14,>=2.11; extra == 'local'", "transformers<6,>=5.17; extra == 'local'")


def found(machine: Any) -> list[Finding]:
    return list(findings_of(HOST_CHECKS, machine))


def without(*names: str) -> dict[str, str]:
    return {name: version for name, version in VERSIONS.items() if name not in names}


def probed(device: dict[str, Any] | None = None, **torch: Any) -> dict[str, Any]:
    return {"torch": TORCH | torch, "devices": [DEVICE | (device or {})], "transformers": "5.17.0"}


def unseen(**torch: Any) -> dict[str, Any]:
    """What the probe says where torch sees no GPU."""
    return {"torch": {**TORCH, "available": False, **torch}, "devices": [], "transformers": "5.17.0"}


def driver(version: str, cuda: str, gpu: str = "NVIDIA RTX A6000", capability: str = "8.6") -> dict[Any, Ran]:
    line = f"0, GPU-1, {gpu}, {version}, 49140, 48660, {capability}, [N/A]"
    return {"nvidia-smi": Ran(code=0, out=f"CUDA Version: {cuda} |"), QUERY_GPUS: Ran(code=0, out=line)}


def held(processes: str, free_mib: int = 8000, mig: str = "[N/A]") -> dict[Any, Ran]:
    line = f"0, GPU-1, NVIDIA RTX A6000, 580.95.05, 49140, {free_mib}, 8.6, {mig}"
    return {QUERY_GPUS: Ran(code=0, out=line), QUERY_PROCESSES: Ran(code=0, out=processes)}


def disk(free_bytes: int, *, writable: bool = True, at: str = "/disk/hf/hub") -> dict[str, Disk]:
    return {at: Disk(at=Path(at), free_bytes=free_bytes, total_bytes=900 * GIB, writable=writable)}


def processor(**changes: Any) -> Processor:
    usual: dict[str, Any] = {"system": "Linux 6.8 (x86_64)", "python": "3.12.3", "cores": 16, "usable_cores": 16}
    return Processor(**usual | {"memory_bytes": 64 * GIB, "available_bytes": 60 * GIB} | changes)


def container(**files: str) -> dict[str, str]:
    names = {"memory": "memory.max", "used": "memory.current", "cpu": "cpu.max"}
    return {f"/sys/fs/cgroup/{names[name]}": text for name, text in files.items()}


OLD_LIMITS = {
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": str(6 * GIB),
    "/sys/fs/cgroup/memory/memory.usage_in_bytes": str(GIB),
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "150000",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
}
SHM = {"/dev/shm": Disk(at=Path("/dev/shm"), free_bytes=64 * MIB, total_bytes=64 * MIB, writable=True)}
NETWORK = {"/disk/here": Mount(kind="nfs4", network=True)}
OVERLAY = {"/root/hf/hub": Mount(kind="overlay", network=False)}


def test_a_healthy_machine_has_nothing_but_what_is_there_to_say(healthy: Make) -> None:
    seen = found(healthy())
    assert {finding.status for finding in seen if finding.topic != "Models on disk"} == {"ok"}
    assert {finding.topic for finding in seen} >= set(HOST_CHECKS) - {"GPU"}
    assert not any(finding.advice for finding in seen if finding.status == "ok")
    said = " ".join(finding.what for finding in seen)
    assert "NVIDIA 580.95.05, which runs CUDA up to 13.0; 1 × NVIDIA RTX A6000" in said
    assert "NVIDIA RTX A6000: 47.0 of 48.0 GiB free, compute capability 8.6, bfloat16" in said
    assert "OpenGVLab/InternVL3-8B-hf fits in bfloat16" in said


@pytest.mark.parametrize(
    ("changes", "topic", "status", "says", "types"),
    [
        # Packages
        ({"versions": without("rich")}, "Packages", "problem", "rich>=13.9 is wanted and missing", "'rich>=13.9'"),
        ({"asked": {}}, "Packages", "warning", "cannot be compared", "pip install '.[local]'"),
        ({"versions": without("pyarrow")}, "Extra parquet", "note", "pyarrow>=18", "pip install 'carscribe[parquet]'"),
        ({"versions": VERSIONS | {"pyarrow": "3.0"}}, "Extra parquet", "warning", "3.0 is here", "'pyarrow>=18'"),
        ({"versions": without("torch")}, "Extra local", "problem", "torch>=2.11,<2.14 is wanted and missing", "cu130"),
        ({"versions": without("torch"), "commands": driver("550.54", "12.4")}, "Extra local", "problem", "", "cu126"),
        (
            {"versions": without("torch"), "commands": {"nvidia-smi": None, QUERY_GPUS: None}},
            "Extra local",
            "problem",
            "missing",
            "/whl/cpu && pip install 'carscribe[local]'",
        ),
        (
            {"versions": VERSIONS | {"torch": "2.9.1+cu128"}},
            "Extra local",
            "problem",
            "2.9.1+cu128 is here",
            "without --system-site-packages",
        ),
        ({"versions": VERSIONS | {"torch": "2.11.0a0+nv25"}}, "Extra local", "problem", "2.11.0a0+nv25 is here", "pip"),
        ({"versions": without("transformers")}, "Extra local", "problem", "transformers", "'carscribe[local]'"),
        ({"processor": processor(system="Darwin 25 (arm64)")}, "System", "note", "tested on Linux", None),
        # Imports
        (
            {"probed": {"torch_error": "OSError: libcudart.so.13: cannot open shared object file"}},
            "Imports",
            "problem",
            "libcudart",
            "pip uninstall -y torch && pip install",
        ),
        ({"probed": Ran(code=-11)}, "Imports", "problem", "ended the process with code -11", "pip uninstall -y torch"),
        ({"probed": Ran(code=None)}, "Imports", "problem", "more than 300 s", "network disk"),
        (
            {
                "versions": VERSIONS | {"torchvision": "0.24.0"},
                "asked": {"carscribe": CARSCRIBE, "torchvision": ("numpy", "torch==2.9.0")},
                "probed": probed() | {"transformers_error": "RuntimeError: operator torchvision::nms does not exist"},
            },
            "Imports",
            "problem",
            "torchvision 0.24.0 wants torch==2.9.0",
            "pip uninstall -y torchvision",
        ),
        (
            {
                "versions": VERSIONS | {"torchvision": "0.24.0"},
                "asked": {"carscribe": CARSCRIBE, "torchvision": ("torch==2.9.0",)},
            },
            "Imports",
            "warning",
            "torch 2.13.0+cu130 is here",
            "pip uninstall -y torchvision",
        ),
        (
            {"probed": probed() | {"transformers_error": "ImportError: x"}},
            "Imports",
            "problem",
            "ImportError: x",
            "pip",
        ),
        # Driver and torch's build
        ({"commands": {"nvidia-smi": None, QUERY_GPUS: None}}, "Driver", "note", "torch sees a GPU", None),
        (
            {"commands": {"nvidia-smi": None, QUERY_GPUS: None}, "probed": unseen()},
            "Driver",
            "note",
            "run on the CPU",
            "docker run --gpus all",
        ),
        (
            {
                "commands": {
                    "nvidia-smi": None,
                    QUERY_GPUS: None,
                    "lspci": Ran(code=0, out="01:00.0 VGA: NVIDIA GA102"),
                },
                "probed": unseen(),
            },
            "Driver",
            "problem",
            "on the bus and no driver",
            "sudo ubuntu-drivers install",
        ),
        (
            {
                "commands": {"nvidia-smi": None, QUERY_GPUS: None},
                "files": {"/proc/driver/nvidia/version": "NVRM"},
                "probed": unseen(),
            },
            "Driver",
            "problem",
            "container was not given its GPU",
            "docker run --gpus all",
        ),
        (
            {
                "commands": {
                    "nvidia-smi": Ran(code=18, out="Failed to initialize NVML: Driver/library version mismatch")
                }
            },
            "Driver",
            "problem",
            "version mismatch",
            "sudo reboot",
        ),
        (
            {"commands": {"nvidia-smi": Ran(code=255, out="Failed to initialize NVML: Unknown Error")}},
            "Driver",
            "problem",
            "Unknown Error",
            "docker restart",
        ),
        ({"commands": {"nvidia-smi": Ran(code=None)}}, "Driver", "problem", "nothing within 20 s", "rent another"),
        (
            {"commands": {"nvidia-smi": Ran(code=9, err="couldn't communicate")}},
            "Driver",
            "problem",
            "couldn't",
            "reboot",
        ),
        (
            {"commands": {QUERY_GPUS: Ran(code=0, out="No devices were found")}},
            "Driver",
            "problem",
            "no GPU",
            "--gpus all",
        ),
        (
            {"probed": unseen(version="2.13.0+cpu", cuda=None)},
            "torch",
            "problem",
            "for the CPU alone",
            "pip uninstall -y torch && pip install 'torch>=2.11,<2.14' --index-url",
        ),
        ({"probed": unseen(cuda=None, hip="7.2")}, "torch", "problem", "for AMD (ROCm 7.2)", "cu130"),
        (
            {"commands": driver("550.54.14", "12.4"), "probed": unseen()},
            "torch",
            "problem",
            "built for CUDA 13.0; the driver, 550.54.14, runs CUDA up to 12.4",
            "--index-url https://download.pytorch.org/whl/cu126",
        ),
        (
            {"commands": driver("570.86", "12.8", "NVIDIA RTX 5090", "12.0"), "probed": unseen()},
            "torch",
            "problem",
            "CUDA up to 12.8",
            "'torch==2.11.*' --index-url https://download.pytorch.org/whl/cu128",
        ),
        (
            {"commands": driver("470.82", "11.4"), "probed": unseen()},
            "torch",
            "problem",
            "11.4",
            "driver of 525 or newer",
        ),
        ({"commands": driver("550.54.14", "12.4")}, "torch", "note", "NVIDIA's compatibility package", None),
        (
            {"commands": driver("550.54.14", "12.4"), "probed": probed(cuda="12.6")},
            "torch",
            "note",
            "as minor versions do",
            None,
        ),
        (
            {"environment": {"CUDA_VISIBLE_DEVICES": "-1"}, "probed": unseen()},
            "torch",
            "problem",
            "CUDA_VISIBLE_DEVICES is '-1'",
            "unset CUDA_VISIBLE_DEVICES",
        ),
        (
            {"probed": unseen(says="CUDA unknown error")},
            "torch",
            "problem",
            "CUDA unknown error",
            "nvidia-modprobe",
        ),
        # GPUs
        ({"probed": unseen()}, "GPU 0", "note", "torch does not see it", None),
        (
            {"probed": unseen() | {"devices_error": "RuntimeError: busy"}},
            "GPU",
            "problem",
            "RuntimeError: busy",
            "restart",
        ),
        (
            {"probed": probed({"name": "Tesla T4", "capability": [7, 5], "bfloat16": False})},
            "GPU 0",
            "warning",
            "no bfloat16",
            "--dtype float32",
        ),
        (
            {"probed": probed({"name": "V100", "capability": [7, 0]}, architectures=["sm_75", "sm_80", "sm_90"])},
            "GPU 0",
            "problem",
            "no code for it (only sm_75",
            "cu126",
        ),
        (
            {"commands": held("GPU-1, 4242, /usr/bin/python3, 39000\nGPU-9, 7, other, 1")},
            "GPU 0",
            "warning",
            "40.2 of 48.0 GiB of GPU 0 is held by process 4242 (python3): 38.1 GiB.",
            "kill 4242",
        ),
        (
            {"commands": held("GPU-1, 31, [Not Found], [N/A]")},
            "GPU 0",
            "warning",
            "process 31: an unknown share",
            "Inside a container",
        ),
        ({"commands": held("")}, "GPU 0", "warning", "processes outside it are hidden", "ps aux"),
        ({"commands": held("", mig="Enabled")}, "GPU", "note", "MIG is on", None),
        # Models and allocator
        ({"probed": unseen()}, "Models", "note", "Without a GPU", "--model demo"),
        ({"probed": probed({"free_bytes": 8 * GIB})}, "Models", "ok", "InternVL3-2B-hf fits", None),
        ({"probed": probed({"free_bytes": GIB})}, "Models", "problem", "InternVL3-1B-hf takes 1.7 GiB", "Free some"),
        ({"environment": {}}, "Allocator", "ok", "Carscribe sets by itself", None),
        (
            {"environment": {"PYTORCH_ALLOC_CONF": "max_split_size_mb:64"}},
            "Allocator",
            "note",
            "unusable gaps",
            "export PYTORCH_ALLOC_CONF=expandable_segments:True",
        ),
        (
            {"environment": {"PYTORCH_ALLOC_CONF": "a:1", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}},
            "Allocator",
            "warning",
            "Two settings that differ",
            "unset PYTORCH_CUDA_ALLOC_CONF",
        ),
        # Memory, cores, shared memory
        ({"processor": processor(available_bytes=2 * GIB)}, "Memory", "warning", "2.0 GiB of 64.0", "--max-tiles 1"),
        (
            {"files": container(memory=str(6 * GIB), used=str(2 * GIB))},
            "Memory",
            "warning",
            "4.0 GiB of the 6.0 GiB that this container may use",
            "rent more",
        ),
        ({"files": OLD_LIMITS}, "Memory", "warning", "5.0 GiB of the 6.0 GiB", "rent more"),
        ({"files": container(memory="max")}, "Memory", "ok", "60.0 GiB of 64.0 GiB", None),
        ({"files": container(cpu="800000 100000")}, "Cores", "note", "gets the time of 8:", "OMP_NUM_THREADS=8"),
        ({"files": OLD_LIMITS}, "Cores", "note", "gets the time of 1.5:", "OMP_NUM_THREADS=2"),
        ({"files": container(cpu="max 100000")}, "Cores", "ok", "16 of 16", None),
        ({"processor": processor(usable_cores=2)}, "Cores", "note", "2 of 16 cores", "Rent more cores"),
        ({"disks": SHM}, "Shared memory", "note", "64 MiB", "--shm-size=8g"),
        # Disks
        ({"disks": disk(5 * GIB)}, "Disk", "warning", "InternVL3-8B-hf takes 14.8 GiB", "export HF_HOME="),
        ({"disks": disk(GIB // 2)}, "Disk", "problem", "What fits: none", "export HF_HOME="),
        ({"disks": disk(50 * GIB, writable=False)}, "Disk", "problem", "cannot be written", "export HF_HOME="),
        (
            {"environment": {"HF_HOME": "/root/hf"}, "mounts": OVERLAY},
            "Disk",
            "note",
            "gone with it",
            "HF_HOME=/workspace",
        ),
        ({"disks": disk(MIB, at="/disk/here")}, "Disk", "warning", "1 MiB is free: little for results", "-o or -w"),
        ({"disks": disk(GIB, at="/disk/here", writable=False)}, "Disk", "warning", "cannot be written", "-o or -w"),
        ({"mounts": NETWORK}, "Disk", "note", "(nfs4): 500.0 GiB is free. It is a network disk", "docs/rented-gpu.md"),
        # Hub
        ({"environment": {"HF_HUB_OFFLINE": "1"}}, "Hub", "note", "HF_HUB_OFFLINE is set", "unset HF_HUB_OFFLINE"),
        ({"answers": Reached(status=401)}, "Hub", "warning", "answers 401", "HF_TOKEN"),
        ({"answers": Reached(status=404)}, "Hub", "warning", "answers 404", "unset HF_ENDPOINT"),
        ({"answers": Reached(status=407)}, "Hub", "warning", "answers 407", "HTTPS_PROXY"),
        ({"answers": Reached(status=429)}, "Hub", "warning", "answers 429", "wait some minutes"),
        ({"answers": Reached(status=503)}, "Hub", "warning", "answers 503", "Try again later"),
        ({"answers": Reached(error="ConnectError: Name or service not known")}, "Hub", "warning", "no answer", "names"),
        ({"answers": Reached(error="ConnectTimeout: timed out")}, "Hub", "warning", "timed out", "firewall"),
        ({"answers": Reached(error="ConnectError: CERTIFICATE_VERIFY_FAILED")}, "Hub", "warning", "", "SSL_CERT_FILE"),
        (
            {"answers": Reached(error="ConnectError: refused")},
            "Hub",
            "warning",
            "refused",
            "copy a checkpoint's folder",
        ),
        (
            {"answers": Reached(error="ConnectError: refused"), "environment": {"HTTPS_PROXY": "http://kim:pw@p:1"}},
            "Hub",
            "warning",
            "through the proxy http://p:1",
            "unset HTTPS_PROXY",
        ),
        # Terminal
        (
            {"encodings": {"the terminal": "ascii", "file names": "utf-8"}},
            "Terminal",
            "warning",
            "the terminal: ascii",
            "LANG=C.UTF-8",
        ),
    ],
)
def test_what_is_wrong_is_said_with_what_to_type(
    healthy: Make, changes: dict[str, Any], topic: str, status: str, says: str, types: str | None
) -> None:
    seen = found(healthy(**changes))
    hits = [f for f in seen if f.topic == topic and f.status == status and says in f.what]
    assert len(hits) == 1, [f for f in seen if f.status != "ok"]
    assert hits[0].advice is None if types is None else types in (hits[0].advice or ""), hits[0]
    assert not any("itself broke" in finding.what for finding in seen)


def test_a_mount_that_is_set_wrongly_is_a_problem_and_no_defect(healthy: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", "foo")
    table = healthy()
    monkeypatch.setattr(type(table), "mount", lambda _, path: mount_of(path))
    hits = [each for each in found(table) if "CARSCRIBE_MOUNT" in each.what]
    assert [(each.topic, each.status) for each in hits] == [("Disk", "problem")]
    assert "broke" not in hits[0].what


def test_a_machine_without_torch_is_told_quickly_and_whole(healthy: Make) -> None:
    machine = healthy(versions=without("torch", "transformers"), commands={"nvidia-smi": None, QUERY_GPUS: None})
    seen = found(machine)
    assert count_problems(seen) == 1
    assert not any(finding.topic == "Imports" for finding in seen)
    assert any("/whl/cpu" in (finding.advice or "") for finding in seen)


def test_no_secret_of_the_environment_is_shown(healthy: Make) -> None:
    secrets = {"HF_TOKEN": "hf_secret", "HTTPS_PROXY": "http://kim:pa55@proxy:1", "HF_ENDPOINT": "https://u:pa55@hub"}
    seen = found(healthy(environment=secrets, answers=Reached(status=503)))
    said = " ".join(f"{finding.what} {finding.advice}" for finding in seen)
    assert "with a token" in said
    assert not any(secret in said for secret in ("hf_secret", "pa55", "kim"))


@pytest.mark.parametrize("topic", list(HOST_CHECKS))
def test_a_check_that_breaks_is_a_finding_and_the_others_go_on(healthy: Make, topic: str) -> None:
    def breaks(_: object) -> list[Finding]:
        raise RuntimeError("boom")

    seen = list(findings_of({**HOST_CHECKS, topic: breaks}, healthy()))
    assert sum("RuntimeError: boom" in finding.what for finding in seen) == 1
    assert {finding.topic for finding in seen} >= set(HOST_CHECKS) - {"GPU", "Models on disk"}


@pytest.mark.parametrize(
    ("files", "whole"),
    [
        (("config.json", "model.safetensors"), True),
        (("config.json",), False),
        (("model.safetensors",), False),
        (("config.json", "model-1.safetensors", "model-2.safetensors", "model.safetensors.index.json"), True),
        (("config.json", "model-1.safetensors", "model.safetensors.index.json"), False),
    ],
)
def test_a_checkpoint_on_disk_is_whole_or_named_as_not(
    healthy: Make, tmp_path: Path, files: tuple[str, ...], whole: bool
) -> None:
    snapshot = tmp_path / "hub" / "models--OpenGVLab--InternVL3-2B-hf" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    for name in files:
        index = '{"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}'
        (snapshot / name).write_text(index if name.endswith("index.json") else "{}")
    seen = [f for f in found(healthy(environment={"HF_HOME": str(tmp_path)})) if f.topic == "Models on disk"]
    assert [f.status for f in seen] == ["ok" if whole else "warning"]
    assert "OpenGVLab/InternVL3-2B-hf" in seen[0].what
    assert whole or "carscribe pull OpenGVLab/InternVL3-2B-hf" in (seen[0].advice or "")


def test_every_extra_says_what_it_is_for() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(project["optional-dependencies"]) - NOT_FOR_USERS == set(PURPOSE)
