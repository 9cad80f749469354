"""Files of many photos, a new one begun when one is full; named when it is known how many there are.

Knows nothing of what a shard looks like inside: `Shard` is the seam.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from carscribe.export.draft import Draft
from carscribe.export.kit import ShardLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A photo as a row of a table. `image` holds the bytes of its file, None when the path alone is given.

    `path` leads to the photo, or is its file's name when the bytes are here. `tokens` is None where nothing counts.
    """

    image: bytes | None
    path: str
    text: str
    name: str
    kind: str
    tokens: int | None
    budget: str
    photo: str
    sha256: str
    width_px: int
    height_px: int

    @property
    def size_bytes(self) -> int:
        """About what it takes in a shard: its image and texts, and the frame around them."""
        texts = len(self.text) + len(self.name) + len(self.kind) + len(self.path) + len(self.photo)
        return len(self.image or b"") + 3 * texts + 200


class Shard(Protocol):
    """A file of many photos that is being written."""

    def add(self, row: Row) -> None:
        """One more photo. Raises: OSError."""
        ...

    def finish(self) -> None:
        """The end of the file. Raises: OSError."""
        ...

    def abandon(self) -> None:
        """Let go of a file that is thrown away. Never raises."""
        ...


_FRAME_BYTES = 24 << 10
"""What may come with a photo besides its bytes: in a tar the heads of three files, and 10 KiB to fill its end."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """The shard that is being written."""

    shard: Shard
    file: IO[bytes]
    photos: int = 0
    size_bytes: int = 0

    def has_room(self, row: Row, limits: ShardLimits) -> bool:
        """Whether one more fits. What a shard still holds back is counted, what it has written is looked up."""
        taken = max(self.size_bytes, self.file.tell())
        return self.photos < limits.photos and taken + row.size_bytes + _FRAME_BYTES <= limits.size_bytes


class Shards:
    """The shards of one export. `start` begins one in an open file, `name` gives (number, count) -> file name."""

    def __init__(
        self,
        draft: Draft,
        limits: ShardLimits,
        *,
        start: Callable[[IO[bytes]], Shard],
        name: Callable[[int, int], str],
    ) -> None:
        self._draft, self._limits, self._start, self._name = draft, limits, start, name
        self._paths: list[Path] = []
        self._open: _Open | None = None
        draft.on_close(self._abandon)

    def add(self, row: Row) -> None:
        """One more photo, in a new shard when the last one is full. Raises: OutputError."""
        with self._draft.writing():
            if self._open is not None and not self._open.has_room(row, self._limits):
                self._end()
            current = self._open or self._begin()
            current.shard.add(row)
        current.photos += 1
        current.size_bytes += row.size_bytes

    def finish(self) -> tuple[str, ...]:
        """End the last one and name all of them. Raises: OutputError."""
        with self._draft.writing():
            self._end()
        names = tuple(self._name(number, len(self._paths)) for number in range(len(self._paths)))
        for path, name in zip(self._paths, names, strict=True):
            self._draft.put(path, name)
        return names

    def _begin(self) -> _Open:
        self._paths.append(self._draft.scratch())
        file = self._paths[-1].open("wb")
        self._open = _Open(shard=self._start(file), file=file)
        return self._open

    def _end(self) -> None:
        if self._open is not None:
            self._open.shard.finish()
            self._open.file.close()
            self._open = None

    def _abandon(self) -> None:
        if self._open is not None:
            self._open.shard.abandon()
            with suppress(OSError):  # a full disk; it is thrown away
                self._open.file.close()
