"""Each failure of a hub, a network or a disk is one line of its own that says what to type next."""

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event

import httpx
import pytest
from fake_hub import COMMIT, NAME, FakeHub, Refusal, partials

from carscribe.engines.checkpoint import fetch_weights, open_checkpoint
from carscribe.engines.choosing import pull
from carscribe.engines.hub import Hub
from carscribe.engines.hub_failures import Asked, explain
from carscribe.engines.transfer import Patience
from carscribe.errors import CheckpointError

WEIGHTS = "model.safetensors"


def page(status: int, code: str = "", message: str = "", body: bytes = b"") -> Callable[[FakeHub], object]:
    """A hub that answers this to every question."""
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    return lambda served: served.refuse.update({"": Refusal(status, headers, body)})


def weights(status: int, code: str = "", body: bytes = b"") -> Callable[[FakeHub], object]:
    """A hub that answers this to who asks for the weights."""
    return lambda served: served.refuse.update({WEIGHTS: Refusal(status, {"X-Error-Code": code}, body)})


@pytest.mark.parametrize(
    ("spoil", "token", "says"),
    [
        (page(401, message="Invalid credentials in Authorization header"), "hf_bad", "not accept your token.*HF_TOKEN"),
        (page(401), "", "wants a token.*HF_TOKEN"),
        (page(403), "hf_ok", r"forbids it \(403\).*HF_TOKEN"),
        (weights(403), "hf_ok", r"forbids it \(403\).*HF_TOKEN"),
        (weights(403, "GatedRepo"), "", rf"gated. Accept its licence on http\S+/{NAME}, then set HF_TOKEN"),
        (page(401, "RepoNotFound"), "", "no model .* private.*HF_TOKEN"),
        (page(404, "RevisionNotFound"), "", "no revision 'v2'.*--revision"),
        (page(404), "", "no model"),
        (page(407), "", "proxy wants a login.*HTTPS_PROXY"),
        (page(429), "", "too often.*Wait"),
        (page(503), "", r"trouble of its own \(503\).*again"),
        (weights(502), "", r"trouble of its own \(502\).*goes on where it stopped"),
        (page(418), "", "refuses .*HF_ENDPOINT"),
        (page(200, body=b"<html>Log in to the hotel's network</html>"), "", "cannot be reached: .*Log in"),
        (page(200, body=b"{}"), "", "cannot be reached: .*no hub"),
        (page(200, body=b'{"id": "x", "sha": "../.."}'), "", "cannot be reached: .*no commit"),
        (weights(200, body=b"<html>"), "", r"should be 2\d+ bytes and 6 are sent"),
        (lambda served: served.cut.update({WEIGHTS: 0}), "", "connection broke.*goes on where it stopped"),
        (lambda served: served.hold.update({WEIGHTS: Event()}), "", "does not answer in time.*HF_HUB_DOWNLOAD_TIMEOUT"),
    ],
)
def test_each_failure_of_a_hub_says_what_to_type(
    served: FakeHub,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[FakeHub], object],
    token: str,
    says: str,
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    spoil(served)
    hub = replace(hub, patience=Patience(timeout_s=0.2, tries=1, wait_s=0.01))
    with pytest.raises(CheckpointError, match=says) as caught:
        pull(NAME, "v2" if "revision" in says else None, hub=hub)
    assert "\n" not in str(caught.value)
    assert not list(hub.cache.glob(f"*/snapshots/*/{WEIGHTS}"))


@pytest.mark.parametrize(("status", "times"), [(403, 1), (502, 3)])
def test_only_a_failure_that_may_pass_is_met_with_another_attempt(
    served: FakeHub, hub: Hub, status: int, times: int
) -> None:
    served.refuse[WEIGHTS] = Refusal(status)
    with pytest.raises(CheckpointError, match=str(status)):
        pull(NAME, hub=hub)
    assert len(served.gets(WEIGHTS)) == times


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes the call and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("endpoint", "environment", "says"),
    [
        ("http://127.0.0.1:1", {}, "no connection .*behind a proxy, set HTTPS_PROXY"),
        ("SILENT", {}, "does not answer in time"),
        ("https://HOST", {}, "TLS fails .*http://"),
        ("huggingface.co", {"HF_ENDPOINT": "huggingface.co"}, "HF_ENDPOINT=huggingface.co is no address"),
        (
            "http://127.0.0.1:1",
            {"HF_ENDPOINT": "http://127.0.0.1:1"},
            "hub at HF_ENDPOINT=http://127.0.0.1:1",
        ),
        (
            "http://x.example",
            {"HTTP_PROXY": "http://u:pw@127.0.0.1:1"},
            "through the proxy HTTP_PROXY=http://1",
        ),
        ("https://x.example", {"HTTPS_PROXY": "http://HOST"}, "proxy HTTPS_PROXY=http.* refuses .*403"),
        ("https://x.example", {"HTTPS_PROXY": "ftp://127.0.0.1:1"}, "proxy HTTPS_PROXY=ftp.* cannot be used"),
        ("https://x.example", {"ALL_PROXY": "socks5://127.0.0.1:1"}, r"httpx\[socks\]|no connection"),
    ],
)
def test_each_failure_of_the_network_says_what_to_type(
    served: FakeHub,
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    silent: str,
    endpoint: str,
    environment: dict[str, str],
    says: str,
) -> None:
    host = served.endpoint.removeprefix("http://")
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("HOST", host))
    endpoint = endpoint.replace("HOST", host).replace("SILENT", silent)
    hub = replace(hub, endpoint=endpoint, patience=Patience(timeout_s=0.3))
    started = time.monotonic()
    with pytest.raises(CheckpointError, match=says) as caught:
        open_checkpoint(NAME, hub=hub)
    assert time.monotonic() - started < 20
    assert "\n" not in str(caught.value)
    assert "pw" not in str(caught.value)


def test_a_name_without_an_address_and_a_foreign_certificate_are_told_apart(tmp_path: Path) -> None:
    asked = Asked(name=NAME, revision=None, endpoint="https://x.example", cache=tmp_path)
    for cause, says in [
        (socket.gaierror(-2, "Name or service not known"), "no address is known for x.example"),
        (ssl.SSLCertVerificationError("self-signed certificate in certificate chain"), "SSL_CERT_FILE"),
    ]:
        error = httpx.ConnectError("no")
        error.__cause__ = cause
        assert says in explain(error, asked)


def test_too_little_room_is_said_with_figures_before_anything_is_fetched(served: FakeHub, hub: Hub) -> None:
    checkpoint = open_checkpoint(NAME, hub=hub)
    with pytest.raises(CheckpointError, match=r"needs 0\.0 GB more on disk and 0\.0 GB is free at .*HF_HOME"):
        fetch_weights(checkpoint, hub=replace(hub, free_bytes=lambda _: len(served.files[WEIGHTS]) - 1))
    assert not served.gets(WEIGHTS)
    served.cut[WEIGHTS] = 1_000_000
    with pytest.raises(CheckpointError):
        fetch_weights(checkpoint, hub=replace(hub, patience=Patience(tries=0)))
    served.cut.clear()
    come = partials(hub)[0].stat().st_size
    rest = len(served.files[WEIGHTS]) - come
    assert fetch_weights(checkpoint, hub=replace(hub, free_bytes=lambda _: rest)).has_weights, "what came counts"


def test_a_disk_that_is_full_in_the_middle_says_so_and_keeps_what_came(served: FakeHub, hub: Hub) -> None:
    resource = pytest.importorskip("resource")
    checkpoint = open_checkpoint(NAME, hub=hub)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
    try:
        with pytest.raises(CheckpointError, match=r"disk is full .*HF_HOME"):
            fetch_weights(checkpoint, hub=hub)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not checkpoint.has_weights
    assert 0 < partials(hub)[0].stat().st_size <= 1_500_000
    assert fetch_weights(checkpoint, hub=hub).has_weights


def test_a_cache_that_cannot_be_written_is_named(served: FakeHub, hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be kept at .*file.*HF_HOME"):
        open_checkpoint(NAME, hub=replace(hub, cache=tmp_path / "file" / "hub"))


def test_a_file_that_arrives_damaged_is_removed_and_said(served: FakeHub, hub: Hub) -> None:
    checkpoint = open_checkpoint(NAME, hub=hub)
    listing = served.listing()
    served.refuse[COMMIT] = Refusal(200, {}, listing)
    served.files[WEIGHTS] = served.files[WEIGHTS][:-1] + b"\0"
    with pytest.raises(CheckpointError, match="another checksum"):
        fetch_weights(checkpoint, hub=hub)
    assert not checkpoint.has_weights
    assert partials(hub) == []
