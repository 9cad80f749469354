"""Cores that a process may use."""

import os
from collections.abc import Mapping

import pytest

from carscribe import cores
from carscribe.cores import container_cores, usable_cores

V2, QUOTA, PERIOD = (
    "/sys/fs/cgroup/cpu.max",
    "/sys/fs/cgroup/cpu/cpu.cfs_quota_us",
    "/sys/fs/cgroup/cpu/cpu.cfs_period_us",
)


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({V2: "max 100000\n"}, None),
        ({V2: "250000 100000\n"}, 2.5),
        ({QUOTA: "-1\n", PERIOD: "100000\n"}, None),
        ({QUOTA: "400000\n", PERIOD: "100000\n"}, 4),
        ({V2: "garbage"}, None),
    ],
)
def test_a_containers_limit(files: Mapping[str, str], limit: float | None) -> None:
    assert container_cores(files.get) == limit


@pytest.mark.parametrize(("limit", "usable"), [(None, 64), (4.0, 4), (2.5, 2), (0.5, 1), (100.0, 64)])
def test_threads_are_as_many_as_get_time(monkeypatch: pytest.MonkeyPatch, limit: float | None, usable: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(cores, "container_cores", lambda _: limit)
    assert usable_cores() == usable
