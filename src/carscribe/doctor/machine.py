"""The seam between the checks and the machine: everything a check wants to know goes through a `Machine`.

Knows nothing of what is good or bad. Tests have a machine made of a table.
"""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Protocol

from carscribe.catalog.mounts import Mount, mount_of
from carscribe.cores import allowed_cores


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How a command ended and what it said. `code` is None when it was stopped at its time limit."""

    code: int | None
    out: str = ""
    err: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Room where a folder is, or would be made: `at` is its nearest parent that exists."""

    at: Path
    free_bytes: int
    total_bytes: int
    writable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Processor:
    """The operating system and what it gives this process. Bytes are of the whole machine, container or not."""

    system: str
    python: str
    cores: int
    usable_cores: int
    memory_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """A server's answer: its HTTP status, or why there was none."""

    status: int | None = None
    error: str = ""


class Machine(Protocol):
    """What a check may ask of the machine it runs on. Nothing of it raises for what is merely missing."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The environment variables."""
        ...

    @property
    def processor(self) -> Processor:
        """System, cores, memory."""
        ...

    @property
    def encodings(self) -> Mapping[str, str]:
        """The encodings of "the terminal" and of "file names"."""
        ...

    @property
    def home(self) -> Path:
        """The user's home folder."""
        ...

    def run(self, *command: str, timeout_s: float = 20) -> Ran | None:
        """Run a command, the same one only once; None when there is no such program."""
        ...

    def read(self, path: str) -> str | None:
        """The text of a file of the system; None when it cannot be read."""
        ...

    def disk(self, path: Path) -> Disk | None:
        """Room at `path`; None when nothing of it exists."""
        ...

    def mount(self, path: Path) -> Mount:
        """The file system that `path` is on, as a workspace looks at it."""
        ...

    def version(self, distribution: str) -> str | None:
        """The installed version of a Python distribution."""
        ...

    def requirements(self, distribution: str) -> Sequence[str]:
        """What an installed distribution asks for, line by line."""
        ...

    def reach(self, url: str, timeout_s: float) -> Reached:
        """Ask a server for `url`, through the proxies of the environment."""
        ...


class ThisMachine:
    """The machine this runs on."""

    def __init__(self) -> None:
        self._ran: dict[tuple[str, ...], Ran | None] = {}

    @property
    def environment(self) -> Mapping[str, str]:
        """See `Machine`."""
        return os.environ

    @cached_property
    def processor(self) -> Processor:
        """See `Machine`."""
        import psutil

        memory = psutil.virtual_memory()
        return Processor(
            system=f"{platform.system()} {platform.release()} ({platform.machine()})",
            python=platform.python_version(),
            cores=os.cpu_count() or 1,
            usable_cores=allowed_cores(),
            memory_bytes=int(memory.total),
            available_bytes=int(memory.available),
        )

    @property
    def encodings(self) -> Mapping[str, str]:
        """See `Machine`."""
        return {"the terminal": sys.stdout.encoding or "unknown", "file names": sys.getfilesystemencoding()}

    @property
    def home(self) -> Path:
        """See `Machine`."""
        return Path.home()

    def run(self, *command: str, timeout_s: float = 20) -> Ran | None:
        """See `Machine`."""
        if command not in self._ran:
            self._ran[command] = _run(command, timeout_s)
        return self._ran[command]

    def read(self, path: str) -> str | None:
        """See `Machine`."""
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

    def disk(self, path: Path) -> Disk | None:
        """See `Machine`."""
        at = path.expanduser().absolute()
        try:
            while not at.exists() and at != at.parent:
                at = at.parent
            usage = shutil.disk_usage(at)
        except OSError:
            return None
        return Disk(at=at, free_bytes=usage.free, total_bytes=usage.total, writable=os.access(at, os.W_OK))

    def mount(self, path: Path) -> Mount:
        """See `Machine`."""
        return mount_of(path)

    def version(self, distribution: str) -> str | None:
        """See `Machine`."""
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            return None

    def requirements(self, distribution: str) -> Sequence[str]:
        """See `Machine`."""
        try:
            return metadata.requires(distribution) or ()
        except metadata.PackageNotFoundError:
            return ()

    def reach(self, url: str, timeout_s: float) -> Reached:
        """See `Machine`. With httpx, which the hub's library uses; the standard library where there is none."""
        try:
            import httpx
        except ImportError:
            return _reach_with_urllib(url, timeout_s)
        try:
            answer = httpx.get(url, timeout=timeout_s, follow_redirects=True)
        except (httpx.HTTPError, httpx.InvalidURL, ImportError, ValueError, OSError) as error:
            return Reached(error=f"{type(error).__name__}: {error}".strip(": "))
        return Reached(status=answer.status_code)


def _run(command: Sequence[str], timeout_s: float) -> Ran | None:
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Ran(code=None)
    except OSError:
        return None
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def _reach_with_urllib(url: str, timeout_s: float) -> Reached:
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        with urlopen(url, timeout=timeout_s) as answer:  # https by default, http when HF_ENDPOINT says so
            return Reached(status=answer.status)
    except HTTPError as error:
        return Reached(status=error.code)
    except (OSError, ValueError) as error:
        return Reached(error=f"{type(error).__name__}: {error}")
