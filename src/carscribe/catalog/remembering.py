"""What was crawled with files, as the catalogue has it from an earlier run: for a run that brings no metadata."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from carscribe.catalog.database import PAGE, marks, translated
from carscribe.catalog.files import CatalogPath, Paths, metadata_of, size_of
from carscribe.catalog.workspace import Workspace
from carscribe.found import Block, PhotoList, Photos
from carscribe.records import Metadata, PhotoFile

_IS_CRAWLED = "(name NOTNULL OR kind NOTNULL OR extra <> '{}')"


def knows_metadata(workspace: Workspace) -> bool:
    """Whether anything was crawled with any file of the catalogue. Raises: WorkspaceError."""
    with translated(workspace.path):
        found = workspace.connection.execute(f"SELECT EXISTS (SELECT 1 FROM files WHERE {_IS_CRAWLED})")
        return bool(found.fetchone()[0])


class KnownPhotos:
    """Photos; one without metadata has what was crawled with its file before, also where that was moved.

    It is looked up a block at a time whenever it is asked for, so that a million photos are not held one by one. To ask
    for a photo raises WorkspaceError where the catalogue cannot be read.
    """

    def __init__(self, workspace: Workspace, photos: Photos) -> None:
        self._workspace, self._photos, self._paths = workspace, photos, Paths()

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, place: int, /) -> PhotoFile:
        return self.at([place])[0]

    def __iter__(self) -> Iterator[PhotoFile]:
        for start in range(0, len(self), PAGE):
            yield from self.at(range(start, min(start + PAGE, len(self))))

    def at(self, places: Sequence[int]) -> list[PhotoFile]:
        """As `Photos.at`, all of it looked up together."""
        files = self._photos.at(places)
        metadata = [each for block in PhotoList(files).blocks() for each in self._of(block)]
        return [
            file if known == file.metadata else replace(file, metadata=known)
            for file, known in zip(files, metadata, strict=True)
        ]

    def blocks(self) -> Iterator[Block]:
        """As `Photos.blocks`."""
        nothing = Metadata()
        for block in self._photos.blocks():
            metadata = self._of(block)
            yield replace(block, metadata=metadata if any(each != nothing for each in metadata) else None)

    def _of(self, block: Block) -> list[Metadata]:
        """The metadata of a block's photos: their own, else what is known."""
        nothing = Metadata()
        own = block.metadata or [nothing] * len(block.keys)
        places = self._paths.of(block.folders)
        with translated(self._workspace.path):
            known = _known(self._workspace, places)
            new = {path: key for path, key in zip(places, block.keys, strict=True) if path not in known}
            moved = _moved(self._workspace, new) if new else {}
        return [
            mine if mine != nothing else known.get(path) or moved.get(path) or nothing
            for mine, path in zip(own, places, strict=True)
        ]


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


def _moved(workspace: Workspace, new: Mapping[CatalogPath, str]) -> dict[CatalogPath, Metadata]:
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
