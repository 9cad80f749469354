"""One writer a workspace: a lock that dies with its process, and says who holds it.

On a local disk the operating system's own lock, gone the moment its process is. On a network mount such locks are
promises, so there the lock is a lease: a file with host and process id, refreshed while its process lives.
"""

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from carscribe.errors import WorkspaceBusyError, WorkspaceError

LEASE_S = 60.0
"""Without a sign of life for so long, a lease on a network mount is taken over."""

SAME_BIRTH_S = 2.0
"""Two looks at when a process began differ by less."""

HOLDER, LOCK, LEASE = "writer.json", "writer.lock", "writer.lease"
"""The files in a workspace that are about its writer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who writes to a workspace, as the writer itself noted it.

    `born` is when its process began, in seconds since 1970: after a restart another one may have its number.
    """

    host: str
    pid: int
    since: str
    born: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since})"


@contextmanager
def sole_writer(
    folder: Path, *, network: bool, lease_s: float = LEASE_S, say: Callable[[str], None] = lambda _: None
) -> Iterator[None]:
    """Be the only writer of the workspace in `folder` while the block runs.

    On a network mount a holder that gives no sign of life is waited out, at most `lease_s`; `say` is told so.

    Raises: WorkspaceBusyError when another process writes.
    """
    lock: BaseFileLock
    try:
        if network:
            lock = lease = SoftFileLease(folder / LEASE, lease_duration=lease_s, thread_local=False)
            _take_lease(lease, folder, say)
        else:
            lock = FileLock(folder / LOCK, thread_local=False)
            lock.acquire(timeout=0)
    except Timeout:
        raise _busy(folder) from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise WorkspaceError(
            f"{folder} cannot be locked: {reason}. Check that you may write there, or name another workspace."
        ) from None
    note = folder / HOLDER
    try:
        with suppress(OSError):  # the note is for people; the lock does not need it
            note.write_text(json.dumps(asdict(_this_process())), "utf-8")
        yield
    finally:
        holder = holder_of(folder)
        if holder is not None and (holder.host, holder.pid) == (socket.gethostname(), os.getpid()):
            with suppress(OSError):
                note.unlink()
        lock.release()


def holder_of(folder: Path) -> Holder | None:
    """Who noted last that it writes, dead or alive; None when the last writer left in good order."""
    try:
        noted = json.loads((folder / HOLDER).read_text("utf-8"))
        return Holder(
            host=str(noted["host"]), pid=int(noted["pid"]), since=str(noted["since"]), born=float(noted["born"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def writer_of(folder: Path, *, network: bool) -> str | None:
    """Who writes to the workspace at this moment, as far as that can be known from here; None when nobody does."""
    holder = holder_of(folder)
    if holder is None:
        return None
    if holder.host == socket.gethostname():
        return str(holder) if _lives_here(holder) else None
    touched = _touched(folder / LEASE) if network else None
    return str(holder) if touched is not None and time.time() - touched / 1e9 < 2 * LEASE_S else None


def _take_lease(lease: SoftFileLease, folder: Path, say: Callable[[str], None]) -> None:
    """Take the lease: at once when it is free or its holder is known to be dead, else when no sign of life comes."""
    marker, lease_s = Path(lease.lock_file), lease.lease_duration
    seen, since = _touched(marker), time.monotonic()
    told = False
    while True:
        try:
            lease.acquire(timeout=0)
        except Timeout:
            holder, waited_s = holder_of(folder), time.monotonic() - since
            if _is_empty(marker) and waited_s > lease_s / 6:
                lease.force_break()  # its process was killed between making the file and writing who it is
                continue
            if _lives_here(holder) or _touched(marker) not in {seen, None} or waited_s > lease_s + 5:
                raise _busy(folder) from None
            if not told:
                told = True
                say(f"{folder} is held by {holder or 'another process'}; waiting {lease_s:.0f} s for a sign of life.")
            time.sleep(min(1.0, lease_s / 10))
        else:
            return


def _this_process() -> Holder:
    import psutil

    return Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        since=datetime.now(UTC).isoformat(timespec="seconds"),
        born=psutil.Process().create_time(),
    )


def _lives_here(holder: Holder | None) -> bool:
    """Whether a holder is a process of this machine that still runs."""
    import psutil

    if holder is None or holder.host != socket.gethostname():
        return False
    try:
        return abs(psutil.Process(holder.pid).create_time() - holder.born) < SAME_BIRTH_S
    except psutil.Error:
        return False


def _is_empty(marker: Path) -> bool:
    try:
        return marker.stat().st_size == 0
    except OSError:
        return False


def _touched(marker: Path) -> int | None:
    try:
        return marker.stat().st_mtime_ns
    except OSError:
        return None


def _busy(folder: Path) -> WorkspaceBusyError:
    return WorkspaceBusyError(
        f"{folder} is being written by {holder_of(folder) or 'another process'}. Wait for it or stop it, or use "
        "another workspace; reading (status, show, export) works meanwhile."
    )
