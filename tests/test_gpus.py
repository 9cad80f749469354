"""GPUs are found by the names that people, drivers and renters give them, or the near ones are listed."""

import pytest

from carscribe.errors import InputError
from carscribe.gpus import DataSheet, data_sheets, find_gpu, matching

NAMES = {
    "RTX 4090": ["4090", "rtx 4090", "rtx4090", "GeForce RTX 4090", "NVIDIA GeForce RTX 4090", "RTX-4090 24GB"],
    "RTX 3090": ["3090", "RTX_3090"],
    "RTX 5090": ["5090", "NVIDIA GeForce RTX 5090"],
    "A100 40 GB": ["A100 40", "a100-40gb", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB", "A100 40 GiB"],
    "A100 80 GB": ["A100 80", "a100-80gb", "NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"],
    "H100 SXM": ["H100 SXM", "h100sxm", "NVIDIA H100 80GB HBM3", "H100 SXM5"],
    "H100 PCIe": ["H100 PCIe", "NVIDIA H100 PCIe"],
    "H100 NVL": ["h100 nvl", "NVIDIA H100 NVL", "H100 94"],
    "H200": ["H200", "NVIDIA H200", "h200 sxm"],
    "H200 NVL": ["NVIDIA H200 NVL"],
    "T4": ["t4", "Tesla T4"],
    "V100 16 GB": ["V100 16", "Tesla V100-SXM2-16GB"],
    "L4": ["L4", "NVIDIA L4"],
    "L40S": ["l40s", "NVIDIA L40S"],
    "A10": ["A10", "NVIDIA A10"],
    "A10G": ["a10g", "NVIDIA A10G"],
    "RTX A5000": ["A5000", "NVIDIA RTX A5000"],
    "RTX A6000": ["A6000", "rtx a6000", "NVIDIA RTX A6000"],
    "RTX 6000 Ada": ["RTX 6000 Ada", "6000ada", "NVIDIA RTX 6000 Ada Generation"],
    "RTX PRO 6000": ["pro 6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition"],
    "MI300X": ["mi300x", "AMD Instinct MI300X", "MI300X OAM"],
}


@pytest.mark.parametrize(("expected", "name"), [(gpu, name) for gpu, names in NAMES.items() for name in names])
def test_a_gpu_is_found_by_what_it_is_called(expected: str, name: str) -> None:
    assert find_gpu(name).name == expected


@pytest.mark.parametrize("sheet", data_sheets(), ids=lambda sheet: sheet.name)
def test_every_gpu_is_found_by_its_own_name_and_is_plausible(sheet: DataSheet) -> None:
    assert find_gpu(sheet.name) == sheet
    assert find_gpu(sheet.name.replace(" ", "-").lower()) == sheet
    assert 0.9 < sheet.memory_bytes / (sheet.memory_gb * 2**30) <= 1.01 or sheet.memory_gb > 140
    assert 100 < sheet.bandwidth_gb_per_s < 10_000
    assert 30 < sheet.matrix_tflops < 3000
    assert sheet.source


def test_the_table_has_at_least_20_gpus_in_the_order_of_their_memory() -> None:
    sold = [sheet.memory_gb for sheet in data_sheets()]
    assert len(sold) >= 20
    assert sold == sorted(sold)
    assert len({sheet.name for sheet in data_sheets()}) == len(sold)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("A100", "'A100' may be A100 40 GB or A100 80 GB. Name one of them."),
        ("H100", "'H100' may be H100 PCIe, H100 SXM or H100 NVL. Name one of them."),
        ("RTX", "'RTX' may be .* or one of 10 more. Name one of them."),
        ("RTX 4090 Laptop", "No GPU 'RTX 4090 Laptop' in the table. Near it: RTX 4090"),
        ("H100 40", "No GPU 'H100 40' in the table. Near it: .*H100"),
        ("RTX 4095", "Near it: .*RTX 4090"),
        ("L40X", "Near it: .*L40"),
        ("", "No GPU '' in the table. `carscribe plan --gpu list` shows all."),
        ("NVIDIA", "No GPU 'NVIDIA' in the table."),
        ("zebra", "`carscribe plan --gpu list` shows all."),
    ],
)
def test_an_unknown_or_ambiguous_name_is_one_line_with_near_ones(name: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as raised:
        find_gpu(name)
    assert "\n" not in str(raised.value)
    assert len(matching(name)) != 1
