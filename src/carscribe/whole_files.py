"""A file that is there whole or not at all. Pure; knows nothing of what is in it."""

import os
import tempfile
from pathlib import Path

from carscribe.errors import OutputError


def check_free(path: Path, *, overwrite: bool, option: str = "--html") -> None:
    """Raise OutputError when a file cannot go to `path`: asked before an hour is spent on what it is to hold."""
    if path.exists() and not overwrite:
        raise OutputError(f"{path} is there already. Name another file with {option}, or replace it with --overwrite.")
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}. Name another with {option}.")


def write_whole(path: Path, text: str, *, option: str = "--html") -> None:
    """Write beside, then replace. Raises: OutputError."""
    beside = None
    try:
        descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.absolute().parent)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except OSError as error:
        if beside:
            Path(beside).unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror}. Name another file with {option}.") from None
