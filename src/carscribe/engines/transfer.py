"""One file from an address to disk, by ranges: what has come stays, and the next attempt asks for the rest.

The file grows under a name of its own and is handed over only whole: its size and checksum are those that were said.
"""

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Self

from carscribe.errors import CheckpointError

if TYPE_CHECKING:
    import httpx

BUFFER_BYTES = 1 << 20
LONGEST_WAIT_S = 8.0
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
"""HTTP statuses that a second attempt may not meet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file to fetch. `checksum` is its SHA-256, or git's SHA-1 of it; anything else is not checked."""

    name: str
    url: str
    size_bytes: int
    checksum: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a silent server is waited for, and how often one that breaks off is asked again.

    `tries` counts attempts in a row that brought nothing; the wait doubles from `wait_s`.
    """

    timeout_s: float = 10.0
    tries: int = 5
    wait_s: float = 1.0


class Partial:
    """The part of a file that has come: on disk, hashed, counted. A context: the file is closed at its end."""

    def __init__(self, path: Path, wanted: Wanted, count: Callable[[int], None]) -> None:
        """Take up what an earlier attempt left at `path`. `count` is told the bytes that come, or are given up."""
        self._path, self._wanted, self._count = path, wanted, count
        self._hasher = _hasher(wanted)
        if path.exists() and path.stat().st_size > wanted.size_bytes:
            path.unlink()
        self._out = path.open("a+b", buffering=BUFFER_BYTES)
        self.size_bytes = self._out.seek(0, os.SEEK_END)
        self._out.seek(0)
        while chunk := self._out.read(BUFFER_BYTES):
            self._hasher.update(chunk)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._out.close()

    def append(self, chunk: bytes) -> None:
        """Keep what has come. Raises: CheckpointError when it is more than there should be."""
        if self.size_bytes + len(chunk) > self._wanted.size_bytes:
            raise self._damaged("is longer than it should be")
        self._out.write(chunk)
        self._hasher.update(chunk)
        self.size_bytes += len(chunk)
        self._count(len(chunk))

    def start_over(self) -> None:
        """Give up what has come, for a server that sends the whole file again."""
        self._out.truncate(0)
        self._hasher = _hasher(self._wanted)
        self._count(-self.size_bytes)
        self.size_bytes = 0

    def hand_over(self, path: Path) -> None:
        """Put the whole file at `path`. Raises: CheckpointError when its checksum is not what was said."""
        checked = re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", self._wanted.checksum)
        if checked and self._hasher.hexdigest() != self._wanted.checksum:
            raise self._damaged("has another checksum than it should have")
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()
        self._path.replace(path)

    def _damaged(self, how: str) -> CheckpointError:
        self._out.close()
        self._path.unlink(missing_ok=True)
        return CheckpointError(
            f"{self._wanted.name} arrived damaged: it {how}. It was removed; run the same command again to fetch it "
            "anew."
        )


def fetch_rest(
    client: "httpx.Client",
    wanted: Wanted,
    partial: Partial,
    *,
    headers: Mapping[str, str],
    patience: Patience,
    stop: Event,
) -> bool:
    """Fetch what `partial` lacks; False when `stop` was set before all had come.

    Raises: the client's errors, when as many attempts as `patience` allows brought nothing; CheckpointError.
    """
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    fruitless = 0
    while partial.size_bytes < wanted.size_bytes and not stop.is_set():
        before = partial.size_bytes
        try:
            _attempt(client, wanted, partial, headers, patience.timeout_s, stop)
        except (httpx.TransportError, HfHubHTTPError) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code not in TRANSIENT:
                raise
            fruitless = 1 if partial.size_bytes > before else fruitless + 1
            if fruitless > patience.tries:
                raise
            stop.wait(min(patience.wait_s * 2 ** (fruitless - 1), LONGEST_WAIT_S))
    return partial.size_bytes == wanted.size_bytes


def _attempt(
    client: "httpx.Client",
    wanted: Wanted,
    partial: Partial,
    headers: Mapping[str, str],
    timeout_s: float,
    stop: Event,
) -> None:
    import httpx
    from huggingface_hub.utils import hf_raise_for_status

    asked = {**headers, "Accept-Encoding": "identity"}  # a compressed answer has no ranges
    if partial.size_bytes:
        asked["Range"] = f"bytes={partial.size_bytes}-"
    with client.stream("GET", wanted.url, headers=asked, follow_redirects=True, timeout=timeout_s) as response:
        hf_raise_for_status(response)
        if response.status_code != 206 and partial.size_bytes:
            partial.start_over()
        elif not response.headers.get("Content-Range", f"bytes {partial.size_bytes}-").startswith(
            f"bytes {partial.size_bytes}-"
        ):
            raise httpx.RemoteProtocolError("another range came than was asked for")
        _check_length(wanted, partial, response)
        for chunk in response.iter_bytes():
            if stop.is_set():
                return
            partial.append(chunk)
    if partial.size_bytes < wanted.size_bytes:
        raise httpx.RemoteProtocolError(f"{wanted.name} ended after {partial.size_bytes} of {wanted.size_bytes} bytes")


def _check_length(wanted: Wanted, partial: Partial, response: "httpx.Response") -> None:
    """Refuse a body that is something else, such as a login page, before any of it is kept."""
    said = response.headers.get("Content-Length")
    if said is None or response.headers.get("Content-Encoding", "identity") != "identity":
        return
    if partial.size_bytes + int(said) != wanted.size_bytes:
        raise CheckpointError(
            f"{wanted.name} should be {wanted.size_bytes} bytes and {partial.size_bytes + int(said)} are sent "
            f"({response.headers.get('Content-Type', 'no type')}), so it is not that file. A network that wants a "
            "login does that: open a page in a browser, then run the same command again."
        )


def _hasher(wanted: Wanted) -> "hashlib._Hash":
    if len(wanted.checksum) == 40:  # git names a file by its size and bytes
        return hashlib.sha1(b"blob %d\0" % wanted.size_bytes, usedforsecurity=False)
    return hashlib.sha256()
