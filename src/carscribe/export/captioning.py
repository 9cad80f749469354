"""Which caption a photo gets in an export: its description made plain, or none on purpose (caption dropout)."""

import hashlib
from dataclasses import dataclass

from carscribe.errors import InputError
from carscribe.export.captions import caption
from carscribe.export.report import Notes
from carscribe.records import DescribedPhoto


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionSettings:
    """What an export does to captions, and what a trainer is to do to them.

    `dropout` is the share of photos whose caption is empty, so that a model also learns without one; `seed` says which.
    `shuffled` says that phrases are in random order, but for the first `fixed_parts` parts between commas.

    Raises: InputError for a share that is none.
    """

    dropout: float = 0.0
    seed: int = 0
    shuffled: bool = False
    fixed_parts: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.dropout < 1:
            raise InputError(f"--caption-dropout is a share of the photos from 0 to less than 1, not {self.dropout}.")


class Captions:
    """Gives each photo of one export its caption. `by_trainer` leaves the dropout to the trainer's own setting."""

    def __init__(self, settings: CaptionSettings, notes: Notes, *, by_trainer: bool = False) -> None:
        self.settings = settings
        self._notes = notes
        self._dropout = 0.0 if by_trainer else settings.dropout

    def of(self, photo: DescribedPhoto) -> str | None:
        """The caption, "" for one that is dropped; None, and noted, when there is none: trainers stop at that."""
        text = caption(photo.description.text)
        if not text:
            self._notes.empty.add(photo.file.key)
            return None
        if self.is_dropped(photo):
            return ""
        self._notes.cleaned += text != photo.description.text
        return text

    def is_dropped(self, photo: DescribedPhoto) -> bool:
        """Whether the photo is one of those whose caption is left empty."""
        return self._dropout > 0 and draw(self.settings.seed, photo.sha256) < self._dropout


def draw(seed: int, sha256: str) -> float:
    """A number from 0 to less than 1 that depends on the seed and the photo's bytes alone.

    >>> draw(0, "a") == draw(0, "a"), draw(0, "a") == draw(1, "a")
    (True, False)
    """
    digest = hashlib.sha256(f"caption dropout\0{seed}\0{sha256}".encode()).digest()
    return int.from_bytes(digest[:6]) / 2**48
