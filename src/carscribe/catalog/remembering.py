"""What was crawled with files, as the catalogue has it from an earlier run: for a run that brings no metadata."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from carscribe.catalog.database import PAGE, marks
from carscribe.catalog.files import CatalogPath, Paths, metadata_of, size_of
from carscribe.catalog.workspace import Workspace
from carscribe.found import PhotoList, Photos
from carscribe.records import Metadata

_IS_CRAWLED = "(name NOTNULL OR kind NOTNULL OR extra <> '{}')"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """Photos of which `count` have metadata that the catalogue had."""

    photos: Photos
    count: int = 0


def with_known_metadata(workspace: Workspace, photos: Photos) -> Remembered:
    """The photos; one without metadata has what was crawled with its file before, also where that was moved.

    Photos are held one by one only where the catalogue has metadata at all.
    """
    has_any = workspace.connection.execute(f"SELECT EXISTS (SELECT 1 FROM files WHERE {_IS_CRAWLED})").fetchone()[0]
    if not has_any:
        return Remembered(photos=photos)
    files = PhotoList(photos)
    paths = Paths()
    places = [path for block in files.blocks() for path in paths.of(block.folders)]
    known = _known(workspace, places)
    new = {path: file.key for file, path in zip(files, places, strict=True) if path not in known}
    known |= _moved(workspace, new)
    found = {
        number: known[path]
        for number, (file, path) in enumerate(zip(files, places, strict=True))
        if file.metadata == Metadata() and known.get(path)
    }
    remembered = (replace(file, metadata=found.get(number) or file.metadata) for number, file in enumerate(files))
    return Remembered(photos=PhotoList(remembered), count=len(found))


def _known(workspace: Workspace, paths: Sequence[CatalogPath]) -> dict[CatalogPath, Metadata | None]:
    """What was crawled with files that are in the catalogue, by their paths; None where nothing was."""
    known: dict[CatalogPath, Metadata | None] = {}
    for start in range(0, len(paths), PAGE):
        some = paths[start : start + PAGE]
        for path, is_crawled, *crawled in workspace.connection.execute(
            f"SELECT path, {_IS_CRAWLED}, name, kind, extra FROM files WHERE path IN ({marks(len(some))})", some
        ):
            known[path] = metadata_of(*crawled) if is_crawled else None
    return known


def _moved(workspace: Workspace, new: dict[CatalogPath, str]) -> dict[CatalogPath, Metadata]:
    """What was crawled with files that are new here, by their paths: of a file of that key and size that is gone."""
    path_of = {key: path for path, key in new.items()}
    keys = list(path_of)
    moved: dict[CatalogPath, Metadata] = {}
    for start in range(0, len(keys), PAGE):
        some = keys[start : start + PAGE]
        for before, key, size_bytes, *crawled in workspace.connection.execute(
            "SELECT path, key, size_bytes, name, kind, extra FROM files"
            f" WHERE key IN ({marks(len(some))}) AND {_IS_CRAWLED}",
            some,
        ):
            if size_bytes == size_of(path_of[key])[0] and not os.path.lexists(before):
                moved[path_of[key]] = metadata_of(*crawled)
    return moved
