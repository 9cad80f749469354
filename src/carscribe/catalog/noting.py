"""The files of a plan, noted in the catalogue block by block: what is new, has changed or has moved."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from carscribe.catalog.comparing import AnswersThatCount, FileRow, file_rows, open_rows
from carscribe.catalog.database import PAGE, marks
from carscribe.catalog.files import CatalogPath, NameAndSize, Paths, SeenFiles, hashes_of, name_of, seen_files
from carscribe.catalog.prompt_sets import Wanted
from carscribe.catalog.workspace import Workspace
from carscribe.found import Block, Photos
from carscribe.records import Metadata


class OpenFile(NamedTuple):
    """A file of the plan of which something may be left to do: one of `files`. The rest: as `comparing.OpenRow`."""

    place: int
    files: SeenFiles
    number: int
    file_id: int
    wanted: Wanted
    is_asked: bool
    answered: str | None


@dataclass(slots=True, kw_only=True)
class _Noted:
    """A file that was new or has changed, by its number in the block.

    `photo_id` is None while its bytes are not known. `is_familiar` then says that they may well be: it has the size of
    a photo that was known in this place or by this name. `was` are the name and size of the photo that its row had.
    """

    number: int
    file_id: int
    photo_id: int | None = None
    is_familiar: bool
    was: NameAndSize | None = None


class FileNotes:
    """Notes the files of one plan. `moved` counts those that were found at another path than before."""

    def __init__(
        self, workspace: Workspace, photos: Photos, answers: AnswersThatCount, say: Callable[[str], None]
    ) -> None:
        """`say` is told when files have to be read."""
        self.moved = 0
        self.paths = Paths()
        self._connection, self._network = workspace.connection, workspace.mount.network
        self._photos, self._answers, self._say = photos, answers, say
        self._next_id = 1 + (self._connection.execute("SELECT max(id) FROM files").fetchone()[0] or 0)
        self._are_first = self._next_id == 1
        self._has_said = False
        self._gone_photos: set[NameAndSize] = set()  # whose rows hold something else by now

    def open_files(self, wanted: Callable[[Metadata], Wanted]) -> Iterator[OpenFile]:
        """Note every file; those of which something may be left to do, in the plan's order."""
        for files in seen_files(self._photos, self.paths, network=self._network):
            found = [
                each
                for asked, numbers in _asked_alike(files.block, wanted)
                for start in range(0, len(numbers), PAGE)
                for each in self._open(files, numbers[start : start + PAGE], asked)
            ]
            found.sort(key=attrgetter("place"))
            yield from found

    def _open(self, files: SeenFiles, numbers: Sequence[int], wanted: Wanted) -> Iterator[OpenFile]:
        rows = open_rows(self._connection, files, numbers, wanted, self._answers)
        if not rows:
            return
        places = files.places
        is_asked_of: dict[int, bool] = {}
        for number, file_id, is_asked, answered in rows:
            if file_id is None:
                is_asked_of[number] = bool(is_asked)
            else:
                yield OpenFile(places[number], files, number, file_id, wanted, bool(is_asked), answered)
        noted = self._note(files, is_asked_of.keys())
        known = self._answered([each.photo_id for each in noted if each.photo_id is not None])
        for each in noted:
            there = None if each.photo_id is None else known.get(each.photo_id)
            is_asked = is_asked_of[each.number]
            yield OpenFile(places[each.number], files, each.number, each.file_id, wanted, is_asked, there)

    def _note(self, files: SeenFiles, numbers: Collection[int]) -> list[_Noted]:
        """Write down how files are now that are new, or not as their rows have it."""
        if not numbers:
            return []
        number_of = {files.path(number): number for number in numbers}
        changed = {number_of[row.path]: row for row in file_rows(self._connection, "path", number_of.keys())}
        new = [number for number in numbers if number not in changed]
        moved = self._moved(files, new)
        self.moved += len(moved)
        added = [number for number in new if number not in moved]
        familiar = self._familiar(files, added)
        noted = [*self._change(files, {**changed, **moved}), *self._add(files, added, familiar)]
        self._recognise(files, [each for each in noted if each.is_familiar and each.photo_id is None])
        self._gone_photos.update(each.was for each in noted if each.was and each.photo_id is None)
        return noted

    def _change(self, files: SeenFiles, rows: Mapping[int, FileRow]) -> list[_Noted]:
        noted: list[_Noted] = []
        values: list[tuple[Any, ...]] = []
        for number, row in rows.items():
            size = files.size(number)
            kept = row.size if size == (None, None) else size  # what was known of a file that is not there stays
            photo_id = row.photo_id if row.size == kept else None
            each = _Noted(
                number=number,
                file_id=row.file_id,
                photo_id=photo_id,
                is_familiar=row.photo_id is not None and row.size_bytes == size[0],
                was=None if row.photo_id is None else (name_of(row.key), row.size_bytes),
            )
            noted.append(each)
            values.append((photo_id, files.path(number), files.key(number), *kept, *files.crawled(number), row.file_id))
        self._connection.executemany(
            "UPDATE files SET photo_id = ?, path = ?, key = ?, size_bytes = ?, mtime_ns = ?, name = ?, kind = ?,"
            " extra = ? WHERE id = ?",
            values,
        )
        return noted

    def _add(self, files: SeenFiles, numbers: Sequence[int], familiar: Set[NameAndSize]) -> list[_Noted]:
        noted = [
            _Noted(number=number, file_id=file_id, is_familiar=files.name_and_size(number) in familiar)
            for file_id, number in enumerate(numbers, self._next_id)
        ]
        self._next_id += len(numbers)
        self._connection.executemany(
            "INSERT INTO files (id, path, key, size_bytes, mtime_ns, name, kind, extra)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (each.file_id, files.path(n), files.key(n), *files.size(n), *files.crawled(n))
                for each, n in zip(noted, numbers, strict=True)
            ],
        )
        return noted

    def _moved(self, files: SeenFiles, new: Sequence[int]) -> dict[int, FileRow]:
        """The rows of files that are gone, for those new ones that have the key and size of one: it was moved there."""
        if self._are_first or not new:
            return {}
        number_of = {files.key(number): number for number in new}
        found = ((number_of[row.key], row) for row in file_rows(self._connection, "key", number_of.keys()))
        return {
            number: row for number, row in found if row.size_bytes == files.size(number)[0] and self._is_gone(row.path)
        }

    def _is_gone(self, path: CatalogPath) -> bool:
        return not os.path.lexists(path) and path not in self._missing

    @cached_property
    def _missing(self) -> frozenset[CatalogPath]:
        """Where files of the plan should be, and are not: they are asked for, and so are not gone to elsewhere."""
        paths = (path for block in self._photos.blocks() for path in self.paths.of(block.folders))
        return frozenset(path for path in paths if not os.path.lexists(path))

    def _familiar(self, files: SeenFiles, new: Sequence[int]) -> Set[NameAndSize]:
        """The names and sizes of new files that are also those of a photo."""
        if self._are_first or not new:
            return frozenset()
        seen = {files.name_and_size(number) for number in new}
        found = self._connection.execute(
            f"WITH seen (called, bytes) AS (VALUES {','.join(['(?, ?)'] * len(seen))}) SELECT called, bytes FROM seen"
            " WHERE EXISTS (SELECT 1 FROM files WHERE file_name = called AND size_bytes = bytes AND photo_id NOTNULL)",
            list(chain.from_iterable(seen)),
        )
        return seen & self._gone_photos | set(found)

    def _recognise(self, files: SeenFiles, unsure: Sequence[_Noted]) -> None:
        """Know photos that were touched or copied by their bytes, so that no model is loaded to ask nothing."""
        if not unsure:
            return
        if not self._has_said:
            self._say("Files have another time or place than before: comparing their bytes …")
            self._has_said = True
        hashes = hashes_of([files.path(each.number) for each in unsure])
        known = [sha256 for sha256 in hashes if sha256 is not None]
        photo_ids = dict(
            self._connection.execute(f"SELECT sha256, id FROM photos WHERE sha256 IN ({marks(len(known))})", known)
        )
        for each, sha256 in zip(unsure, hashes, strict=True):
            each.photo_id = photo_ids.get(sha256)
        self._connection.executemany(
            "UPDATE files SET photo_id = ? WHERE id = ?", [(each.photo_id, each.file_id) for each in unsure]
        )

    def _answered(self, photo_ids: Sequence[int]) -> dict[int, str | None]:
        """The prompts that photos have answers to, by their ids."""
        prompts = self._answers.prompts_of("photos.id")
        return dict(
            self._connection.execute(
                f"SELECT id, ({prompts}) FROM photos WHERE id IN ({marks(len(photo_ids))})",
                (*self._answers.values, *photo_ids),
            )
        )


def _asked_alike(block: Block, wanted: Callable[[Metadata], Wanted]) -> Iterable[tuple[Wanted, Sequence[int]]]:
    """The photos of a block that are asked the same, by their numbers."""
    if block.metadata is None:
        return [(wanted(Metadata()), range(len(block.keys)))]
    alike: dict[int, tuple[Wanted, list[int]]] = {}
    for number, metadata in enumerate(block.metadata):
        asked = wanted(metadata)
        alike.setdefault(id(asked), (asked, []))[1].append(number)
    return alike.values()
