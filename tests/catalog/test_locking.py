"""One writer a workspace, in both ways of locking; a dead one is no hindrance."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from carscribe.catalog.locking import LEASE, holder_of, sole_writer, writer_of
from carscribe.errors import WorkspaceBusyError

HOLD = """
import sys, time
from pathlib import Path
from carscribe.catalog.locking import sole_writer
with sole_writer(Path(sys.argv[1]), network=sys.argv[2] == "network", lease_s=float(sys.argv[3])):
    print("held", flush=True)
    time.sleep(60)
"""

Hold = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    """Starts a process that holds the workspace tmp_path."""
    processes: list[subprocess.Popen[str]] = []

    def start(mount: str, lease_s: float = 60) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path), mount, str(lease_s)], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("mount", ["local", "network"])
def test_a_second_writer_is_told_who_writes(mount: str, hold: Hold, tmp_path: Path) -> None:
    process = hold(mount)
    says = f"process {process.pid} on {socket.gethostname()}"
    with pytest.raises(WorkspaceBusyError, match=says), sole_writer(tmp_path, network=mount == "network"):
        pass
    assert says in str(writer_of(tmp_path, network=mount == "network"))


@pytest.mark.parametrize("mount", ["local", "network"])
def test_a_writer_that_lives_on_this_machine_is_not_waited_for(mount: str, hold: Hold, tmp_path: Path) -> None:
    hold(mount)
    with (
        pytest.raises(WorkspaceBusyError),
        sole_writer(tmp_path, network=mount == "network", say=pytest.fail),  # it says so before it waits
    ):
        pass


@pytest.mark.parametrize("mount", ["local", "network"])
def test_a_killed_writer_is_followed_at_once(mount: str, hold: Hold, tmp_path: Path) -> None:
    process = hold(mount)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert writer_of(tmp_path, network=mount == "network") is None
    with sole_writer(tmp_path, network=mount == "network"):
        assert holder_of(tmp_path) is not None
    assert holder_of(tmp_path) is None


@pytest.mark.parametrize("mount", ["local", "network"])
def test_a_writer_that_left_in_good_order_leaves_the_way_free(mount: str, tmp_path: Path) -> None:
    for _ in range(2):
        with sole_writer(tmp_path, network=mount == "network"):
            pass


def pretend_elsewhere(folder: Path) -> None:
    """Make the lease that is held look like that of another machine, whose processes cannot be asked."""
    lease = folder / LEASE
    lease.write_text(lease.read_text().replace(f"host={socket.gethostname()}", "host=pod-7"))
    noted = json.loads((folder / "writer.json").read_text())
    (folder / "writer.json").write_text(json.dumps(noted | {"host": "pod-7"}))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="kills a process without a word")
def test_a_writer_on_another_machine_that_gives_no_sign_of_life_is_waited_out(hold: Hold, tmp_path: Path) -> None:
    process = hold("network", 2)
    process.kill()
    process.wait()
    pretend_elsewhere(tmp_path)
    said: list[str] = []
    started = time.monotonic()
    with sole_writer(tmp_path, network=True, lease_s=2, say=said.append):
        assert time.monotonic() - started > 1
    assert "held by process" in said[0]
    assert "on pod-7" in said[0]


def test_a_writer_on_another_machine_that_lives_is_not_disturbed(hold: Hold, tmp_path: Path) -> None:
    hold("network", 2)
    noted = json.loads((tmp_path / "writer.json").read_text())
    (tmp_path / "writer.json").write_text(json.dumps(noted | {"host": "pod-7"}))
    with pytest.raises(WorkspaceBusyError, match="pod-7"), sole_writer(tmp_path, network=True, lease_s=2):
        pass


def test_a_lease_whose_maker_was_killed_before_it_wrote_its_name_does_not_hold_for_ever(tmp_path: Path) -> None:
    (tmp_path / LEASE).touch()
    with sole_writer(tmp_path, network=True, lease_s=1):
        pass


def test_the_note_of_a_dead_process_does_not_make_a_live_one(tmp_path: Path) -> None:
    with sole_writer(tmp_path, network=False):
        note = json.loads((tmp_path / "writer.json").read_text())
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    for change, lives in (({}, True), ({"pid": int(dead.stdout)}, False), ({"born": note["born"] - 100}, False)):
        (tmp_path / "writer.json").write_text(json.dumps(note | change))
        assert holder_of(tmp_path) is not None
        assert (writer_of(tmp_path, network=False) is not None) is lives
