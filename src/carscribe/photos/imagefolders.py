"""Folders as Hugging Face datasets reads and writes them: photos, and beside them a table that names them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from carscribe.errors import MetadataError
from carscribe.photos.rows import MetadataRow, read_rows
from carscribe.photos.streaming import stream_table

METADATA_NAMES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
"""The table of an imagefolder, which has the path of each photo as `file_name`."""

SPLITS = ("train", "validation", "valid", "val", "dev", "test")
"""Folders that an imagefolder may have its photos in, each with a table of its own."""


def imagefolder_rows(folder: Path, keys: Mapping[str, str] | None = None) -> tuple[MetadataRow, ...] | None:
    """The rows of an imagefolder's tables, with images as they lie below `folder`; None of a folder that is none.

    Raises: as `read_rows`.
    """
    tables = [folder / name for name in METADATA_NAMES if _names_files(folder / name)]
    if not tables:
        places = (folder / split / name for split in SPLITS for name in METADATA_NAMES)
        tables = [place for place in places if _names_files(place)]
    rows: list[MetadataRow] = []
    for table in tables:
        below = "" if table.parent == folder else f"{table.parent.name}/"
        rows += [
            replace(row, images=tuple(below + image for image in row.images), where=f"{below}{table.name}, {row.where}")
            for row in read_rows(table, keys=keys)
        ]
    return tuple(rows) if tables else None


def _names_files(table: Path) -> bool:
    """Whether a file is the table of an imagefolder. One that is not there, or cannot be read as a table, is not."""
    if not table.is_file():
        return False
    try:
        first = next(stream_table(table), None)
    except MetadataError:
        return False
    return first is not None and "file_name" in first.fields
