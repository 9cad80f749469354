"""The attention of decode steps on GPUs: here in triton's interpreter, and compiled for GPUs that are elsewhere."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from carscribe.engines.packed import MOST_STEP_QUERIES, step_attention_for
from carscribe.memory import FAMILY

pytest.importorskip("triton", reason="there is no triton for this machine")

CASES = 28


def test_it_is_attention_and_answers_equal_alone() -> None:
    """In a process of its own: once triton was imported, it does not change its mind about how it runs kernels."""
    cases = Path(__file__).with_name("step_attention_cases.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cases],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        cwd=cases.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert f"{CASES} passed" in done.stdout


@pytest.mark.parametrize(("arch", "columns"), [(80, 9), (86, 9), (90, 9), (90, 1), (120, 9)])
@pytest.mark.parametrize("width", [64, 128])
def test_it_compiles_for_gpus_and_fits_in_what_they_share(arch: int, columns: int, width: int) -> None:
    from triton import compile as compiled
    from triton import next_power_of_2
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from carscribe.engines import step_attention as module

    names = module._attend.arg_names
    kinds = {"scaling": "fp32", "seen": "*u8", "alive": "*u8", "slots": "*i64", "common": "*i64"}
    kinds |= dict.fromkeys(("out", "query", "key", "value"), "*bf16")
    numbers = {"GROUP": 7, "WIDTH": width, "QUERIES": max(16, next_power_of_2(7 * columns)), "SLOTS": module.SLOTS}
    numbers |= {"columns": 1} if columns == 1 else {}
    signature = {name: "constexpr" if name in numbers else kinds.get(name, "i32") for name in names}
    aligned = [
        name for name in names if name not in {*numbers, "scaling", "columns", "seen", "alive", "slots", "common"}
    ]
    attributes = {(names.index(name),): [["tt.divisibility", 16]] for name in aligned}
    made = compiled(
        ASTSource(module._attend, signature, numbers, attributes),
        target=GPUTarget("cuda", arch, 32),
        options={"num_warps": module.WARPS, "num_stages": module.STAGES},
    )
    assert 7 * columns <= MOST_STEP_QUERIES
    assert made.metadata.shared <= 99 * 1024
    code = made.asm["ptx"]
    assert "cp.async" in code, "what comes next is fetched meanwhile"
    assert "mma" in code, "by matrix units"


def test_where_it_cannot_run_torch_attends(monkeypatch: pytest.MonkeyPatch) -> None:
    shape = FAMILY["OpenGVLab/InternVL3-8B-hf"]
    assert step_attention_for(torch.zeros(1), shape) is None, "float32"
    half = torch.zeros(1, dtype=torch.bfloat16)
    assert step_attention_for(half, replace(shape, head_dim=96)) is None, "no power of two"
    assert step_attention_for(half, shape) is None, "a CPU: triton finds no GPU"
