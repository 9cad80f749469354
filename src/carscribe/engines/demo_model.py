"""The stand-in checkpoint behind `--model demo`: InternVL3's architecture, small, with random weights.

Everything about it is real but its words, so that the whole way of a photo can be walked on a CPU without a hub.
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

VERSION = 1
"""Raised when what is written changes, so that an old folder is not taken for a new one."""


def demo_checkpoint(texts: Iterable[str]) -> Path:
    """The folder of the stand-in checkpoint whose tokenizer knows `texts`, made at first use in the user's cache."""
    texts = list(texts)
    known = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8]
    folder = cache_folder() / f"demo-model-{VERSION}-{known}"
    if not (folder / "model.safetensors").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        from carscribe.engines.new_checkpoint import write_random_checkpoint

        write_random_checkpoint(beside, texts)
        try:
            beside.replace(folder)
        except OSError:  # another process was first, or left half a folder: ours is whole
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(beside, folder)
    return folder


def cache_folder() -> Path:
    """Where Carscribe keeps what it can make again: CARSCRIBE_CACHE, else `carscribe` in the user's cache folder."""
    if own := os.environ.get("CARSCRIBE_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "carscribe"
