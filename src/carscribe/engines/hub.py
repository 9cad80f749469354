"""A hub's repositories in the user's cache: resolved to a commit, listed, fetched, each file whole or not there.

Knows nothing of what the files mean. The cache is laid out as huggingface_hub lays it out (refs, blobs, snapshots), so
each finds what the other fetched. Fetching is our own because huggingface_hub 1.33 begins a file anew after an
interruption, and waits without end for a hub that takes the call and says nothing.

Source: huggingface.co/docs/hub/local-cache, for the layout.
"""

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

from carscribe.engines.hub_failures import Asked, not_a_hub, offline, told_apart
from carscribe.engines.transfer import Partial, Patience, Wanted, fetch_rest
from carscribe.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    import httpx

CONFIGURATION = ("*.json", "*.txt", "*.jinja")
"""The small files: configuration, tokenizer, template. No Python, no pickles."""

LAST = "config.json"
"""Fetched after the other small files: a snapshot that has it has them too."""

NEWEST = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")
PLAIN_NAME = re.compile(r"\w[\w.+-]*")
"""What a server may name a file, a checksum or a branch's part without leaving the cache."""

REPORT_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """How far a download is. `done_bytes` counts what an earlier one left; the rate is that of this one."""

    done_bytes: int
    total_bytes: int
    bytes_per_s: float


Progress = Callable[[Transfer], None]


def unseen(_: Transfer) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubFile:
    """A file in the root of a repository. A mirror may tell neither size nor checksum in its list."""

    name: str
    size_bytes: int | None
    checksum: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository at one commit. `files` is None when the hub was not asked, or could not be, and the cache has it.

    `folder` is its snapshot: what has been fetched of that commit, each file whole.
    """

    name: str
    commit: str
    folder: Path
    files: tuple[HubFile, ...] | None

    def matching(self, patterns: Collection[str]) -> list[str]:
        """Names of its files that match one of the patterns."""
        return [f.name for f in self.files or () if any(fnmatchcase(f.name, pattern) for pattern in patterns)]


def _free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """A hub, the cache its files are kept in, and how it is asked."""

    endpoint: str
    cache: Path
    offline: bool = False
    patience: Patience = field(default_factory=Patience)
    files_at_once: int = 4
    free_bytes: Callable[[Path], int] = _free_bytes

    @staticmethod
    def of_environment() -> "Hub":
        """The hub that HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE and HF_HUB_DOWNLOAD_TIMEOUT describe.

        Raises: MissingExtraError without huggingface_hub.
        """
        if not (find_spec("huggingface_hub") and find_spec("httpx")):
            raise MissingExtraError("Fetching a model", extra="local")
        from huggingface_hub import constants

        return Hub(
            endpoint=constants.ENDPOINT,
            cache=Path(constants.HF_HUB_CACHE),
            offline=constants.HF_HUB_OFFLINE,
            patience=Patience(timeout_s=constants.HF_HUB_DOWNLOAD_TIMEOUT),
        )

    def ask(self, name: str, revision: str | None = None) -> Repository:
        """The commit that `revision` is now, and its files. Raises: CheckpointError when the hub does not say."""
        asked = self._asked(name, revision)
        with told_apart(asked):
            from huggingface_hub.utils import validate_repo_id

            validate_repo_id(name)
            if self.offline:
                raise CheckpointError(offline(asked))
            return self._ask(asked)

    def resolve(self, name: str, revision: str | None = None) -> Repository:
        """As `ask`, but when the hub does not say, the commit whose small files are in the cache.

        Raises: CheckpointError when neither knows it.
        """
        try:
            return self.ask(name, revision)
        except CheckpointError:
            if commit := self._cached_commit(name, revision):
                return Repository(name=name, commit=commit, folder=self._snapshot(name, commit), files=None)
            raise

    def fetch(self, repository: Repository, names: Collection[str], progress: Progress = unseen) -> None:
        """Fetch those of `names` that the snapshot lacks, all at the repository's commit.

        What an interrupted fetch left is gone on with. `progress` is called from this thread, ten times a second.

        Raises: CheckpointError when the hub, the network or the disk fails, or there is too little room.
        """
        asked = self._asked(repository.name, repository.commit)
        listed = [file for file in repository.files or () if file.name in names]
        with told_apart(asked):
            missing = [file for file in listed if not (repository.folder / file.name).exists()]
            if not missing:
                return
            wanted = [self._wanted(asked, file) for file in missing]
            have = {file.name: self._left_over(asked, file) for file in wanted}
            self._check_room(asked, sum(file.size_bytes - have[file.name] for file in wanted))
            here = sum((repository.folder / f.name).stat().st_size for f in listed if f not in missing)
            meter = _Meter(here + sum(have.values()), here + sum(file.size_bytes for file in wanted))
            self._fetch_all(repository, wanted, meter, progress)

    def remember(self, repository: Repository, revision: str | None) -> None:
        """Keep which commit `revision` is, for when the hub cannot be asked."""
        reference = self._reference(repository.name, revision)
        if reference is None:
            return
        with told_apart(self._asked(repository.name, revision)):
            if reference.exists() and reference.read_text().strip() == repository.commit:
                return
            reference.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(dir=reference.parent, prefix=f".{reference.name}-")
            with os.fdopen(handle, "w") as out:
                out.write(repository.commit)
            Path(beside).replace(reference)

    def _ask(self, asked: Asked) -> Repository:
        from huggingface_hub import HfApi

        try:
            found = HfApi(endpoint=self.endpoint, library_name="carscribe").model_info(
                asked.name, revision=asked.revision, files_metadata=True, timeout=self.patience.timeout_s
            )
            files = tuple(_hub_file(sibling) for sibling in found.siblings or ())
        except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise CheckpointError(not_a_hub(asked, "something that is no hub")) from None
        if not COMMIT.fullmatch(found.sha or ""):
            raise CheckpointError(not_a_hub(asked, "something that names no commit"))
        return Repository(
            name=asked.name,
            commit=found.sha,
            folder=self._snapshot(asked.name, found.sha),
            files=tuple(file for file in files if PLAIN_NAME.fullmatch(file.name)),
        )

    def _wanted(self, asked: Asked, file: HubFile) -> Wanted:
        """Where a file is, its size and checksum; asked for by itself when the list did not tell them."""
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(asked.name, file.name, revision=asked.revision, endpoint=self.endpoint)
        size_bytes, checksum = file.size_bytes, file.checksum
        if size_bytes is None or checksum is None:
            told = get_hf_file_metadata(url, timeout=self.patience.timeout_s, endpoint=self.endpoint)
            size_bytes, checksum = told.size, told.etag
        if size_bytes is None or not PLAIN_NAME.fullmatch(checksum or ""):
            raise CheckpointError(f"{asked.name}: {asked.hub} tells neither size nor checksum of {file.name}.")
        return Wanted(name=file.name, url=url, size_bytes=size_bytes, checksum=checksum or "")

    def _fetch_all(self, repository: Repository, wanted: list[Wanted], meter: "_Meter", progress: Progress) -> None:
        from huggingface_hub import get_session
        from huggingface_hub.utils import build_hf_headers

        client, headers, stop = get_session(), build_hf_headers(library_name="carscribe"), Event()
        pool = ThreadPoolExecutor(self.files_at_once, thread_name_prefix="fetch")

        def one(file: Wanted) -> None:
            self._fetch_one(repository, file, client, headers, meter, stop)

        try:
            pending = {pool.submit(one, file) for file in wanted}
            while pending:
                done, pending = wait(pending, timeout=REPORT_EVERY_S, return_when=FIRST_EXCEPTION)
                progress(meter.read())
                for future in done:
                    future.result()
        finally:  # an interrupt too: what has come is kept, and the rest asked for next time
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)

    def _fetch_one(
        self,
        repository: Repository,
        wanted: Wanted,
        client: "httpx.Client",
        headers: dict[str, str],
        meter: "_Meter",
        stop: Event,
    ) -> None:
        blob = self._blob(repository.name, wanted.checksum)
        blob.parent.mkdir(parents=True, exist_ok=True)
        lock = self.cache / ".locks" / blob.parent.parent.name / f"{blob.name}.lock"
        with _alone(lock, stop):
            if stop.is_set():
                return
            if not blob.exists():
                with Partial(_partial(blob), wanted, meter.add) as partial:
                    if not fetch_rest(client, wanted, partial, headers=headers, patience=self.patience, stop=stop):
                        return
                    partial.hand_over(blob)
            _point(repository.folder / wanted.name, blob)

    def _check_room(self, asked: Asked, need_bytes: int) -> None:
        folder = self.cache
        while not folder.exists():
            folder = folder.parent
        free_bytes = self.free_bytes(folder)
        if need_bytes > free_bytes:
            raise CheckpointError(
                f"{asked.name} needs {need_bytes / 1e9:.1f} GB more on disk and {free_bytes / 1e9:.1f} GB is free at "
                f"{folder}. Free some, set HF_HOME to a folder on a larger disk, or pick a smaller model."
            )

    def _left_over(self, asked: Asked, wanted: Wanted) -> int:
        """Bytes of a file that need not be fetched: all when another commit has it, or what an interruption left."""
        blob = self._blob(asked.name, wanted.checksum)
        if blob.exists():
            return wanted.size_bytes
        partial = _partial(blob)
        left = partial.stat().st_size if partial.exists() else 0
        return left if left <= wanted.size_bytes else 0

    def _cached_commit(self, name: str, revision: str | None) -> str | None:
        try:
            commit = revision or NEWEST
            if reference := self._reference(name, revision):
                commit = reference.read_text().strip()
            return commit if COMMIT.fullmatch(commit) and (self._snapshot(name, commit) / LAST).exists() else None
        except OSError:
            return None

    def _reference(self, name: str, revision: str | None) -> Path | None:
        """The file that keeps which commit a branch or tag is; None for what is a commit, or no name of a branch."""
        parts = (revision or NEWEST).split("/")
        if COMMIT.fullmatch(parts[0]) or not all(PLAIN_NAME.fullmatch(part) for part in parts):
            return None
        return self._repository(name).joinpath("refs", *parts)

    def _repository(self, name: str) -> Path:
        return self.cache / f"models--{name.replace('/', '--')}"

    def _snapshot(self, name: str, commit: str) -> Path:
        return self._repository(name) / "snapshots" / commit

    def _blob(self, name: str, checksum: str) -> Path:
        return self._repository(name) / "blobs" / checksum

    def _asked(self, name: str, revision: str | None) -> Asked:
        return Asked(name=name, revision=revision, endpoint=self.endpoint, cache=self.cache)


class _Meter:
    """Counts bytes of several threads."""

    def __init__(self, done_bytes: int, total_bytes: int) -> None:
        self._first, self._done, self._total = done_bytes, done_bytes, total_bytes
        self._started, self._lock = time.monotonic(), Lock()

    def add(self, count: int) -> None:
        with self._lock:
            self._done += count

    def read(self) -> Transfer:
        rate = (self._done - self._first) / max(time.monotonic() - self._started, 1e-9)
        return Transfer(done_bytes=self._done, total_bytes=self._total, bytes_per_s=max(0.0, rate))


def _hub_file(sibling: Any) -> HubFile:
    checksum = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    return HubFile(name=sibling.rfilename, size_bytes=sibling.size, checksum=checksum)


def _partial(blob: Path) -> Path:
    return blob.with_name(f"{blob.name}.incomplete")


@contextmanager
def _alone(lock: Path, stop: Event) -> Iterator[None]:
    """Wait until no other process fetches this file, or `stop` is set. Some network disks have no locks."""
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    try:
        while not stop.is_set():
            try:
                held.acquire(timeout=REPORT_EVERY_S)
                break
            except Timeout:
                continue
            except NotImplementedError:  # then two may write one file: its checksum will tell
                break
        yield
    finally:
        held.release()


def _point(pointer: Path, blob: Path) -> None:
    """Let `pointer` be `blob`: by a relative link, or where there are none, by moving it there."""
    pointer.parent.mkdir(parents=True, exist_ok=True)
    if pointer.is_symlink() and not pointer.exists():
        pointer.unlink()
    try:
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    except FileExistsError:
        pass  # another process was first
    except OSError:
        blob.replace(pointer)
