"""Photos that were found: a million in little memory, one at a time as a `PhotoFile`, many as a `Block`. Pure."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from carscribe.records import Metadata, PhotoFile

BLOCK = 4096
"""Photos that are looked at together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Some photos that follow each other, in an order of their own: what their `PhotoFile`s have, side by side.

    `folders` has the way to a folder, its last separator included, with the names of the photos in it. `metadata` is
    None where no photo has any. `places()` says where each photo comes in the user's order: to know that may take a
    sort, so it is asked only where something is to be done.
    """

    folders: Sequence[tuple[str, Sequence[str]]]
    keys: Sequence[str]
    metadata: Sequence[Metadata] | None
    places: Callable[[], Sequence[int]]


class Photos(Protocol):
    """Photos in the user's order; places count from 0."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> PhotoFile: ...

    def __iter__(self) -> Iterator[PhotoFile]: ...

    def at(self, places: Sequence[int]) -> Sequence[PhotoFile]:
        """The photos at some places, in the order given."""
        ...

    def blocks(self) -> Iterator[Block]:
        """All photos, block by block; each block has all places between its first and its last."""
        ...


class PhotoList(tuple[PhotoFile, ...]):
    """Photos that are held one by one: those of lists, and those that have metadata."""

    __slots__ = ()

    def at(self, places: Sequence[int]) -> list[PhotoFile]:
        """As `Photos.at`."""
        return [self[place] for place in places]

    def blocks(self) -> Iterator[Block]:
        """As `Photos.blocks`."""
        for start in range(0, len(self), BLOCK):
            files = self[start : start + BLOCK]
            yield Block(
                folders=[(way, [name]) for way, name in map(_split, files)],
                keys=[file.key for file in files],
                metadata=[file.metadata for file in files],
                places=partial(range, start, start + len(files)),
            )


def _split(file: PhotoFile) -> tuple[str, str]:
    way, separator, name = file.location.rpartition(os.sep)
    return way + separator, name
