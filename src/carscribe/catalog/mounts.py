"""What kind of file system a folder lies on: whether SQLite's write-ahead log may be used there.

The log needs memory shared through a file, and locks that hold: a network mount or a FUSE one promises neither.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from carscribe.errors import InputError

NETWORK_KINDS = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "drvfs", "gfs2", "glusterfs", "gpfs", "lustre", "moosefs", "ncpfs", "nfs"}
    | {"nfs4", "ocfs2", "orangefs", "panfs", "pvfs2", "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "vmhgfs", "wekafs"}
)
"""File systems whose files another machine may hold too, as Linux and macOS name them. Any `fuse` counts besides."""

LOCAL_FUSE = frozenset({"fuseblk", "fuse.fuseiso", "fuse-overlayfs", "fuse.fuse-overlayfs"})
"""FUSE file systems over a disk of this machine: NTFS and a container's own layers."""

FORCED = "CARSCRIBE_MOUNT"
"""Environment variable: one of `KINDS_SAID` instead of looking; empty is as if it were not set."""

KINDS_SAID = ("local", "network")


class Partition(Protocol):
    """A mounted file system, as psutil names its parts."""

    @property
    def mountpoint(self) -> str:
        """Where it is mounted."""
        ...

    @property
    def fstype(self) -> str:
        """Its kind, such as `ext4`."""
        ...

    @property
    def opts(self) -> str:
        """Its options, separated by commas; on Windows `remote` is among them for a network drive."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """The file system of a folder: its kind as the system names it, and whether to treat it as shared."""

    kind: str
    network: bool


def mount_of(folder: Path, partitions: Iterable[Partition] | None = None) -> Mount:
    """The file system on which `folder` lies, or would lie. `partitions` are those of this machine when left out.

    Raises: InputError when the environment variable says neither `local` nor `network`.
    """
    if forced := os.environ.get(FORCED, ""):
        if forced not in KINDS_SAID:
            raise InputError(
                f"{FORCED} is {forced!r}, and says what kind of mount a workspace is on: {' or '.join(KINDS_SAID)}. "
                f"Set one of them, or let Carscribe look: unset {FORCED}"
            )
        return Mount(kind=f"{FORCED}={forced}", network=forced == "network")
    real = os.path.realpath(folder)
    if real.startswith("\\\\"):  # a Windows share without a letter
        return Mount(kind="share", network=True)
    holding = [
        partition
        for partition in (_partitions() if partitions is None else partitions)
        if _is_below(real, partition.mountpoint)
    ]
    if not holding:
        return Mount(kind="unknown", network=False)
    # Of two mounts at one place the later one is seen.
    depth = max(len(partition.mountpoint) for partition in holding)
    nearest = [partition for partition in holding if len(partition.mountpoint) == depth][-1]
    return Mount(kind=nearest.fstype, network=_is_network(nearest))


def _is_network(partition: Partition) -> bool:
    kind = partition.fstype.lower()
    if kind in LOCAL_FUSE:
        return False
    return kind in NETWORK_KINDS or kind.startswith(("fuse", "osxfuse", "macfuse")) or "remote" in partition.opts


def _is_below(path: str, mountpoint: str) -> bool:
    at, root = os.path.normcase(path), os.path.normcase(mountpoint)
    return at == root or at.startswith(root.rstrip(os.sep) + os.sep)


def _partitions() -> list[Partition]:
    import psutil

    try:
        return list(psutil.disk_partitions(all=True))
    except OSError:  # a container that hides /proc
        return []
