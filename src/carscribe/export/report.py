"""What an export says of itself when it is done. Knows nothing of files; the names are not made fit for a terminal."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypedDict

from carscribe.named import Named, Noted

ImageMode = Literal["copy", "link", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskReport:
    """What was hidden. `images` were made anew; in `with_boxes` of them something was hidden, `boxes` by kind.

    `unmasked` are photos that were left out since that could not be done, each with the reason.
    """

    images: int
    with_boxes: int
    boxes: Mapping[str, int]
    unmasked: Noted


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written, and what was not.

    `photos` counts those in the export. `bytes_written` are bytes newly taken on disk: an image that was linked, or was
    there from an earlier export, takes none. Of the images `copied`, `link_refused` should have been links.

    Left out: photos whose image file is `missing` (or cannot be read), whose bytes have `changed` since they were
    described, whose caption is `empty` (jsonl has those too), whose path is no text (`unwritable`) where paths are
    listed. `dropped_out` counts captions that were left empty on purpose.

    `renamed` holds "key -> path" where a name would have been unsafe, or another photo's. `cleaned` counts captions
    that differ from their description, whose tokens then may be a few more or less. `unread` counts, by suffix, images
    that the format's usual readers do not open. `removed` counts files of an earlier export that are gone. `masked` is
    None of an export whose images are the photos' own files.
    """

    format: str
    folder: Path
    images: ImageMode
    photos: int
    bytes_written: int
    copied: int
    linked: int
    kept: int
    link_refused: int
    missing: Noted
    changed: Noted
    empty: Noted
    unwritable: Noted
    renamed: Noted
    cleaned: int
    dropped_out: int
    unread: Mapping[str, int]
    removed: int
    masked: MaskReport | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReport:
    """What a fine-tuning set holds, and what was left out of it. Fields as in `ExportReport`, and:

    `pairs` are those to learn, of `photos`; the others are held out. `unwritable` photos were left out because their
    path is no text. `turned` counts photos that EXIF turns while the trainer passes over EXIF.
    """

    format: str
    folder: Path
    images: ImageMode
    photos: int
    pairs: int
    held_out_photos: int
    held_out_pairs: int
    bytes_written: int
    copied: int
    linked: int
    kept: int
    link_refused: int
    missing: Noted
    changed: Noted
    unwritable: Noted
    renamed: Noted
    unread: Mapping[str, int]
    turned: int
    removed: int
    masked: MaskReport | None = None


class ImagesNoted(TypedDict):
    """The fields that both reports have of images."""

    copied: int
    linked: int
    kept: int
    link_refused: int
    missing: Noted
    changed: Noted
    renamed: Noted
    unread: Mapping[str, int]
    masked: MaskReport | None


@dataclass(slots=True)
class MaskNotes:
    """What is noted of images that are made anew."""

    made: int = 0
    with_boxes: int = 0
    boxes: Counter[str] = field(default_factory=Counter)
    unmasked: Named = field(default_factory=Named)

    def report(self) -> MaskReport:
        """The report, at the end."""
        return MaskReport(
            images=self.made,
            with_boxes=self.with_boxes,
            boxes=dict(sorted(self.boxes.items())),
            unmasked=self.unmasked.noted(),
        )


@dataclass(slots=True)
class Notes:
    """What is noted while an export is written."""

    photos: int = 0
    copied: int = 0
    linked: int = 0
    kept: int = 0
    link_refused: int = 0
    cleaned: int = 0
    dropped_out: int = 0
    missing: Named = field(default_factory=Named)
    changed: Named = field(default_factory=Named)
    empty: Named = field(default_factory=Named)
    unwritable: Named = field(default_factory=Named)
    renamed: Named = field(default_factory=Named)
    unread: Counter[str] = field(default_factory=Counter)
    masks: MaskNotes | None = None

    def of_masks(self) -> MaskNotes:
        """What is noted of images that are made anew: from the first call on, they are."""
        if self.masks is None:
            self.masks = MaskNotes()
        return self.masks

    def report(
        self, *, format_: str, folder: Path, images: ImageMode, bytes_written: int, removed: int
    ) -> ExportReport:
        """The report, at the end."""
        return ExportReport(
            format=format_,
            folder=folder,
            images=images,
            photos=self.photos,
            bytes_written=bytes_written,
            empty=self.empty.noted(),
            unwritable=self.unwritable.noted(),
            dropped_out=self.dropped_out,
            cleaned=self.cleaned,
            removed=removed,
            **self.of_images(),
        )

    def of_images(self) -> ImagesNoted:
        """What both kinds of report say of the images."""
        return {
            "copied": self.copied,
            "linked": self.linked,
            "kept": self.kept,
            "link_refused": self.link_refused,
            "missing": self.missing.noted(),
            "changed": self.changed.noted(),
            "renamed": self.renamed.noted(),
            "unread": dict(sorted(self.unread.items())),
            "masked": self.masks.report() if self.masks else None,
        }
