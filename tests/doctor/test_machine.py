"""The real machine behind the checks: nothing of it raises for what is missing, and no check breaks on it."""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from carscribe.doctor.findings import findings_of
from carscribe.doctor.host import HOST_CHECKS
from carscribe.doctor.machine import Ran, Reached, ThisMachine, _reach_with_urllib
from carscribe.doctor.probe import look
from carscribe.doctor.torch_facts import torch_facts


class WithoutTorch(ThisMachine):
    """This machine as a base install leaves it, with a hub that is never asked: its library is there all the same."""

    @property
    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "HF_HUB_OFFLINE": "1"}

    def version(self, distribution: str) -> str | None:
        return None if distribution == "torch" else super().version(distribution)


class Probed(ThisMachine):
    """This machine, whose probe was run in this process already: importing torch once more takes long."""

    def run(self, *command: str, timeout_s: float = 20) -> Ran | None:
        return Ran(code=0, out=json.dumps(look()))


@pytest.fixture
def server() -> Iterator[Callable[[int], str]]:
    """Starts a server on this machine that answers everything with one status; its address."""
    servers: list[HTTPServer] = []

    def start(status: int) -> str:
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Answer))
        Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for one in servers:
        one.shutdown()
        one.server_close()


def test_no_check_breaks_on_this_machine() -> None:
    seen = list(findings_of(HOST_CHECKS, WithoutTorch()))
    assert [finding for finding in seen if "itself broke" in finding.what] == []
    assert {finding.topic for finding in seen} >= {
        "System",
        "Packages",
        "Extra local",
        "Memory",
        "Cores",
        "Disk",
        "Hub",
    }
    local = next(finding for finding in seen if finding.topic == "Extra local")
    assert (local.status, "torch" in local.what) == ("problem", True)


def test_what_torch_says_of_itself_comes_back_as_records() -> None:
    import torch

    facts = torch_facts(Probed())
    assert facts is not None
    assert (facts.version, facts.error, facts.transformers_error) == (torch.__version__, "", "")
    assert facts.available == torch.cuda.is_available()
    assert len(facts.devices) == torch.cuda.device_count()
    assert facts.available or facts.says


def test_a_command_is_run_once_and_stopped_at_its_limit(tmp_path: Path) -> None:
    machine, log = ThisMachine(), tmp_path / "log"
    command = (sys.executable, "-S", "-c", f"open({str(log)!r}, 'a').write('x'); print('said')")
    assert machine.run(*command) == machine.run(*command) == Ran(code=0, out="said\n")
    assert log.read_text() == "x"
    assert machine.run("sleep", "30", timeout_s=0.1) == Ran(code=None)
    assert machine.run("no-such-program-anywhere") is None


def test_what_is_missing_is_none(tmp_path: Path) -> None:
    machine = ThisMachine()
    assert machine.read(str(tmp_path / "none")) is None
    assert machine.version("no-such-distribution") is None
    assert machine.requirements("no-such-distribution") == ()
    disk = machine.disk(tmp_path / "to" / "be" / "made")
    assert disk is not None
    assert (disk.at, disk.writable) == (tmp_path, True)


@pytest.mark.parametrize("reach", [ThisMachine().reach, _reach_with_urllib], ids=["httpx", "urllib"])
def test_a_server_answers_or_the_reason_is_told(
    server: Callable[[int], str], reach: Callable[[str, float], Reached], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert reach(server(200), 5) == Reached(status=200)
    assert reach(server(503), 5) == Reached(status=503)
    assert "refused" in reach("http://127.0.0.1:9", 5).error.lower()
    assert reach("no address", 5).error
