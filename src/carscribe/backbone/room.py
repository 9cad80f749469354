"""Where a checkpoint may be written: a new folder, on a disk with room for it."""

import shutil
from pathlib import Path

from carscribe.errors import OutputError


def refuse_target(to: Path, need_bytes: int) -> None:
    """Refuse a folder that is there, or a disk with too little room. Raises: OutputError."""
    try:
        is_there = to.exists() or to.is_symlink()
        parent = to.absolute().parent
        while not parent.exists():
            parent = parent.parent
        free_bytes = shutil.disk_usage(parent).free
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"{str(to)[:200]} cannot be written: {why}. Name another folder with --to.") from None
    if is_there:
        raise OutputError(f"{to} is there already. Name a new folder with --to.")
    if need_bytes > free_bytes:
        raise OutputError(
            f"The checkpoint takes {need_bytes / 1e9:.1f} GB and {free_bytes / 1e9:.1f} GB is free at {parent}. "
            "Free some, or name a folder on a larger disk with --to."
        )
