"""Photos inside other files, which have to be taken out before they are described."""

import shlex
from collections.abc import Iterable
from pathlib import Path

from carscribe.errors import MissingExtraError

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
"""Endings of tar shards."""

TABLE_ENDINGS = (".parquet", ".arrow")
"""Endings of tables that may have photos as bytes."""


def packed_ending(name: str) -> str | None:
    """The ending of a file that photos may be packed in.

    >>> packed_ending("cars-0001.TAR.gz"), packed_ending("tar.jpg")
    ('.TAR.gz', None)
    """
    folded = name.lower()
    found = [ending for ending in (*TAR_ENDINGS, *TABLE_ENDINGS) if folded.endswith(ending) and folded != ending]
    return name[-max(map(len, found)) :] if found else None


def unpack_command(source: Path) -> str:
    """What to type to take photos out."""
    return f"carscribe import photos {shlex.quote(str(source))} --to DIR"


def holds_packed(suffixes: Iterable[str]) -> bool:
    """Whether a folder with files of these suffixes, and no photo, may have photos in them."""
    return not {".tar", ".tgz", ".arrow", ".parquet"}.isdisjoint(suffixes)


def has_photo_bytes(table: Path) -> bool:
    """Whether a Parquet table has a column that photos may be in as bytes: plain, in a struct, or in a list."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise MissingExtraError("Reading Parquet", extra="parquet") from error
    try:
        return any(holds_bytes(column.type) for column in parquet.read_schema(table))
    except (OSError, pyarrow.ArrowException):
        return False


def holds_bytes(kind: object) -> bool:
    """Whether values of an Arrow type are bytes, have bytes in a struct, or are lists of these."""
    import pyarrow.types as types

    if types.is_list(kind) or types.is_large_list(kind):
        return holds_bytes(kind.value_type)  # type: ignore[attr-defined]
    if types.is_struct(kind):
        return any(holds_bytes(child.type) for child in kind)  # type: ignore[attr-defined]
    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))
