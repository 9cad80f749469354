"""What the writer of a format works with, and what it is to do. Knows no format."""

from dataclasses import dataclass
from typing import Protocol

from carscribe.errors import InputError
from carscribe.export.captioning import Captions
from carscribe.export.draft import Draft
from carscribe.export.images import Images
from carscribe.export.report import Notes
from carscribe.records import DescribedPhoto


class Writer(Protocol):
    """Writes one export in one format."""

    def add(self, photo: DescribedPhoto) -> bool:
        """Write a photo. False, and the reason noted, when it was left out. Raises: OutputError."""
        ...

    def finish(self) -> None:
        """Write what can only be written when all photos are there. Raises: OutputError."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardLimits:
    """How large a file of many photos may get: whichever limit is reached first. One photo always fits.

    Raises: InputError for a limit that holds nothing.
    """

    size_bytes: int = 500_000_000
    photos: int = 10_000

    def __post_init__(self) -> None:
        if self.size_bytes < 1 or self.photos < 1:
            raise InputError("A shard holds at least one photo and one byte. Give a larger limit, or leave it out.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """What a writer is given: where files go, what brings images and captions, where to note the rest."""

    draft: Draft
    images: Images
    notes: Notes
    captions: Captions
    limits: ShardLimits
