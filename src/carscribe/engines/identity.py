"""What decides a checkpoint's answers, as a short text: equal for equal weights and settings, before they are loaded.

Knows files and their bytes, nothing of what they mean.
"""

import hashlib
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SETTINGS = ("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json")
WORDS = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model")
MORE = ("vocab.json", "merges.txt", "chat_template.jinja", "chat_template.json", "model.safetensors.index.json")
DECIDING = (*SETTINGS, *WORDS, *MORE)
"""Files beside the weights that change what a model is shown or says."""

SNAPSHOT = re.compile(r"/models--[^/]+/snapshots/([0-9a-f]{40})$")
"""The folder in which a hub's cache keeps one commit."""

LONG_BYTES = 2_000_000_000
"""A person is told when more than this has to be read: it takes seconds."""

SETTLED_S = 2.0
"""A file written a moment ago may be written once more within the same tick of the disk's clock."""


def cache_folder() -> Path:
    """Where Carscribe keeps what it can make again: CARSCRIBE_CACHE, else `carscribe` in the user's cache folder."""
    if own := os.environ.get("CARSCRIBE_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "carscribe"


def commit_of(folder: Path) -> str | None:
    """The commit that a folder of a hub's cache holds; None for any other folder."""
    found = SNAPSHOT.search(folder.resolve().as_posix())
    return found[1] if found else None


def files_identity(folder: Path, weight_files: Iterable[Path], name: str, say: Callable[[str], None]) -> str:
    """A SHA-256 over the names and bytes of all that decides an answer: `weight_files`, settings, tokenizer, template.

    Files are hashed once and remembered in the user's cache by path, size and times. `say` is told when it takes long.
    """
    paths = sorted({*weight_files, *(folder / file for file in DECIDING)})
    digests = _digests([path for path in paths if path.is_file()], name, say)
    lines = "".join(f"{path.name}\0{digest}\n" for path, digest in digests.items())
    return hashlib.sha256(lines.encode()).hexdigest()


def _digests(paths: Iterable[Path], name: str, say: Callable[[str], None]) -> dict[Path, str]:
    """The SHA-256 of each file, from memory where the file is as it was."""
    memory = _recall()
    stamps = {path: _stamp(path) for path in paths}
    unknown = [path for path, stamp in stamps.items() if memory.get(str(path.resolve()), ("",))[0] != stamp]
    size_bytes = sum(path.stat().st_size for path in unknown)
    if size_bytes > LONG_BYTES:
        say(f"Reading the {size_bytes / 1e9:.1f} GB of {name} once, to know these weights again.")
    with ThreadPoolExecutor(thread_name_prefix="hash") as pool:
        fresh = dict(zip(unknown, pool.map(_sha256, unknown), strict=True))
    settled = {path: digest for path, digest in fresh.items() if _has_settled(path)}
    if settled:
        _remember(memory | {str(path.resolve()): (stamps[path], digest) for path, digest in settled.items()})
    return {path: fresh[path] if path in fresh else memory[str(path.resolve())][1] for path in stamps}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stamp(path: Path) -> str:
    """What changes when a file does: its size and both its times (who sets one back by hand cannot set the other)."""
    at = path.stat()
    return f"{at.st_size} {at.st_mtime_ns} {at.st_ctime_ns}"


def _has_settled(path: Path) -> bool:
    at = path.stat()
    return time.time_ns() - max(at.st_mtime_ns, at.st_ctime_ns) > SETTLED_S * 1e9


def _recall() -> dict[str, tuple[str, str]]:
    """What is remembered of each path: its stamp and SHA-256. Nothing where it cannot be read."""
    try:
        content = json.loads(_memory_file().read_text(encoding="utf-8"))
        return {path: (str(stamp), str(digest)) for path, (stamp, digest) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def _remember(memory: Mapping[str, tuple[str, str]]) -> None:
    """Keep it for the next time, files that are gone left out. Where nothing can be written, nothing is kept."""
    path = _memory_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            json.dump({file: known for file, known in memory.items() if Path(file).exists()}, out, indent=1)
        Path(beside).replace(path)
    except OSError:
        return


def _memory_file() -> Path:
    return cache_folder() / "weights-sha256.json"
