"""Network and FUSE mounts are told from disks, by the nearest mount above a folder."""

from pathlib import Path
from typing import NamedTuple

import pytest

from carscribe.catalog.mounts import mount_of
from carscribe.catalog.workspace import write_workspace
from carscribe.errors import InputError


class Mounted(NamedTuple):
    mountpoint: str
    fstype: str
    opts: str = "rw"


@pytest.mark.parametrize(
    ("kind", "options", "network"),
    [
        ("ext4", "rw", False),
        ("overlay", "rw", False),
        ("apfs", "rw", False),
        ("NTFS", "rw,fixed", False),
        ("NTFS", "rw,remote", True),
        ("fuseblk", "rw", False),
        ("fuse-overlayfs", "rw", False),
        ("nfs4", "rw", True),
        ("cifs", "rw", True),
        ("9p", "rw", True),
        ("fuse", "rw", True),
        ("fuse.mfs", "rw", True),
        ("fuse.s3fs", "rw", True),
        ("macfuse", "rw", True),
        ("smbfs", "rw", True),
        ("lustre", "rw", True),
    ],
)
def test_the_kind_decides(kind: str, options: str, network: bool, tmp_path: Path) -> None:
    mount = mount_of(tmp_path, [Mounted("/", "ext4"), Mounted(str(tmp_path), kind, options)])
    assert (mount.kind, mount.network) == (kind, network)


def test_the_nearest_mount_counts_and_of_two_at_one_place_the_later(tmp_path: Path) -> None:
    mounts = [Mounted(str(tmp_path), "nfs"), Mounted("/", "ext4"), Mounted(str(tmp_path / "a"), "xfs")]
    assert mount_of(tmp_path / "a" / "new", mounts).kind == "xfs"
    assert mount_of(tmp_path / "ab", mounts).kind == "nfs"
    assert mount_of(tmp_path / "ab", [*mounts, Mounted(str(tmp_path), "tmpfs")]).kind == "tmpfs"


def test_a_link_is_followed_to_where_the_folder_really_is(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "volume")
    mounts = [Mounted("/", "ext4"), Mounted(str(tmp_path / "volume"), "fuse")]
    assert mount_of(tmp_path / "link" / "workspace", mounts).network


def test_this_machine_can_be_asked(tmp_path: Path) -> None:
    assert mount_of(tmp_path).kind


@pytest.mark.parametrize(("said", "network"), [("network", True), ("local", False)])
def test_looking_can_be_replaced_by_saying(
    said: str, network: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", said)
    assert mount_of(tmp_path, [Mounted("/", "nfs" if not network else "ext4")]).network is network


@pytest.mark.parametrize("said", ["foo", "Network", "nfs", "0"])
def test_what_is_said_and_not_known_is_an_error_before_anything_is_made(
    said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", said)
    with (
        pytest.raises(InputError, match=f"CARSCRIBE_MOUNT is '{said}'.* local or network.* unset CARSCRIBE_MOUNT"),
        write_workspace(tmp_path / "workspace", create=True),
    ):
        pass
    assert not (tmp_path / "workspace").exists()


def test_nothing_said_is_as_if_it_were_not_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARSCRIBE_MOUNT", "")
    assert mount_of(tmp_path, [Mounted("/", "ext4")]).kind == "ext4"
