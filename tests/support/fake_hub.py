"""A hub on this machine that serves one repository, and can be told to fail in all the ways that hubs do."""

import hashlib
import json
import random
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import ClassVar

from carscribe.engines.hub import Hub
from carscribe.engines.new_checkpoint import train_bpe, write_processor, write_tokenizer

WEIGHT_BYTES = 2_850_448
NAME = "OpenGVLab/InternVL3-1B-hf"
COMMIT = "0123456789abcdef" * 2 + "01234567"


@dataclass
class Refusal:
    """What is answered in place of a file or list."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class FakeHub:
    """The repository, what goes wrong, and what was asked: (method, path, headers) of each request.

    `refuse` maps the end of a path to what is answered there. `cut` maps a file to how many bytes of it are sent,
    each time, before the connection breaks; `hold` to an event that what comes after them waits for.
    """

    files: dict[str, bytes]
    commit: str = COMMIT
    refuse: dict[str, Refusal] = field(default_factory=dict)
    cut: dict[str, int] = field(default_factory=dict)
    hold: dict[str, Event] = field(default_factory=dict)
    ranges: bool = True
    bare_list: bool = False
    elsewhere: str | None = None
    asked: list[tuple[str, str, Message]] = field(default_factory=list)
    endpoint: str = ""

    def gets(self, ending: str) -> list[Message]:
        """The headers of each GET whose path ends so."""
        return [headers for method, path, headers in self.asked if method == "GET" and path.endswith(ending)]

    def listing(self) -> bytes:
        siblings: list[dict[str, object]] = [{"rfilename": name} for name in self.files]
        if not self.bare_list:
            for entry, content in zip(siblings, self.files.values(), strict=True):
                entry |= {"size": len(content), "blobId": git_sha1(content)}
                if str(entry["rfilename"]).endswith((".safetensors", "tokenizer.json")):
                    sha256 = hashlib.sha256(content).hexdigest()
                    entry["lfs"] = {"size": len(content), "sha256": sha256, "pointerSize": 134}
        return json.dumps({"id": NAME, "sha": self.commit, "siblings": siblings}).encode()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """The hub at a free port of this machine."""

    class Handler(_Answers):
        served = hub

    server = _Server(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_port}"
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Who was asked has hung up: that is what some tests are about."""


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    served: ClassVar[FakeHub]

    def do_GET(self) -> None:
        hub, path = self.served, self.path.partition("?")[0]
        hub.asked.append((self.command, path, self.headers))
        if found := next((refusal for end, refusal in hub.refuse.items() if path.endswith(end)), None):
            self._send(found.status, found.body, dict(found.headers))
        elif re.fullmatch(rf"/api/models/{NAME}(/revision/(main|v1|{hub.commit}))?", path):
            self._send(200, hub.listing(), {"Content-Type": "application/json"})
        elif (file := path.rpartition("/")[2]) in hub.files and re.search(rf"/resolve/(main|v1|{hub.commit})/", path):
            self._send_file(file)
        else:
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound" if NAME in path else "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815

    def do_CONNECT(self) -> None:
        self._send(403, b"", {})

    def _send_file(self, name: str) -> None:
        hub, content = self.served, self.served.files[name]
        if hub.elsewhere and name.endswith(".safetensors"):
            self._send(302, b"", {"Location": f"{hub.elsewhere}{self.path}"})
            return
        headers = {"X-Repo-Commit": hub.commit, "ETag": f'"{hashlib.sha256(content).hexdigest()}"'}
        begin = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if begin and hub.ranges:
            start = int(begin[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            self._send(206, content[start:], headers, name)
        else:
            self._send(200, content, headers, name)

    def _send(self, status: int, body: bytes, headers: dict[str, str], name: str = "") -> None:
        self.send_response(status)
        for key, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "GET":
            return
        hub = self.served
        first = hub.cut.get(name, 0 if name in hub.hold else len(body))
        self.wfile.write(body[:first])
        if name in hub.hold:
            self.wfile.flush()
            hub.hold[name].wait(10)
            self.wfile.write(body[first:])
        elif first < len(body):
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def repository_files(folder: Path) -> dict[str, bytes]:
    """An InternVL3's files, made in `folder` without torch: its weights are bytes, which nothing but a loader reads."""
    write_tokenizer(folder, train_bpe(["A car."]))
    write_processor(folder, 112, 16)
    config = {"model_type": "internvl", "image_token_id": 1, "image_seq_length": 16, "text_config": {}}
    config["vision_config"] = {"image_size": [112, 112], "patch_size": [14, 14]}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text("{}")
    files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    return files | {"model.safetensors": random.Random(0).randbytes(WEIGHT_BYTES)}


def partials(hub: Hub) -> list[Path]:
    """What interrupted downloads left in the cache."""
    return list(hub.cache.glob("*/blobs/*.incomplete"))
