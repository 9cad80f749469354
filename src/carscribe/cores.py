"""How many cores this process may use: what the system lets it run on, and the time that its container gets."""

import math
import os
from collections.abc import Callable
from pathlib import Path


def usable_cores() -> int:
    """Cores that threads of this process keep busy, at least 1: more of them than that wait for one another."""
    cores = allowed_cores()
    return max(1, min(cores, math.floor(container_cores(_content) or cores)))


def allowed_cores() -> int:
    """Cores that the system lets this process run on, however little of their time its container gets."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def container_cores(read: Callable[[str], str | None]) -> float | None:
    """How many cores' time the container gets; None without a limit. cgroup version 2, then 1.

    `read` gives a file's content, or None where there is none.
    """
    if told := read("/sys/fs/cgroup/cpu.max"):
        quota, _, period = told.strip().partition(" ")
    else:
        quota = (read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") or "").strip()
        period = (read("/sys/fs/cgroup/cpu/cpu.cfs_period_us") or "").strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return None
