"""Writes one export: a photo at a time, in memory that does not grow but for the names given out."""

from collections.abc import Iterable
from pathlib import Path

from carscribe.errors import InputError, OutputError
from carscribe.export.captioning import Captions, CaptionSettings
from carscribe.export.draft import open_draft
from carscribe.export.formats import FORMATS, unread_suffix
from carscribe.export.images import Images, Masker
from carscribe.export.kit import Kit, ShardLimits
from carscribe.export.report import ExportReport, ImageMode, Notes
from carscribe.plaintext import plain_line
from carscribe.records import DescribedPhoto

_NAMED = 3


def write(
    format_: str,
    photos: Iterable[DescribedPhoto],
    to: str | Path,
    *,
    images: ImageMode | None = None,
    overwrite: bool = False,
    masker: Masker | None = None,
    captions: CaptionSettings | None = None,
    limits: ShardLimits | None = None,
) -> ExportReport:
    """Write photos and their captions into the folder `to`, all or nothing.

    `images` says whether image files are copied, hard-linked or left where they are; None is the format's own default.
    An image is read whole either way: one whose bytes are no longer those that were described is left out. With
    `overwrite` an earlier export in `to` is replaced, and what it wrote and this one does not is removed. With a
    `masker` every image is made anew by it: images can neither be linked nor left where they are then.

    `captions` says which are left empty and what a trainer is to do to the others; `limits` how large a shard gets.

    Raises: InputError for what cannot be asked for, or when no photo is left; OutputError for what is wrong with `to`;
    MissingExtraError for Parquet and Arrow without pyarrow.
    Whatever `photos` raises goes through, and leaves `to` as it was.
    """
    mode, to = _mode(format_, masked_mode(images) if masker else images), Path(to)
    refuse_file(to)
    notes = Notes()
    with open_draft(to, format_=format_, overwrite=overwrite) as draft:
        chosen = FORMATS[format_]
        placed = Images(draft, mode, notes, masker)
        of_photo = Captions(captions or CaptionSettings(), notes, by_trainer=chosen.trainer_drops)
        kit = Kit(draft=draft, images=placed, notes=notes, captions=of_photo, limits=limits or ShardLimits())
        writer = chosen.start(kit)
        for photo in photos:
            if writer.add(photo):
                notes.photos += 1
                notes.dropped_out += of_photo.is_dropped(photo)
                if (suffix := unread_suffix(chosen, placed.parts(photo.file.key)[-1])) is not None:
                    notes.unread[suffix] += 1
        if not notes.photos:
            raise InputError(f"Nothing to export: {_why_nothing(notes)}")
        writer.finish()
        removed = draft.publish()
        return notes.report(format_=format_, folder=to, images=mode, bytes_written=draft.bytes_written, removed=removed)


def masked_mode(images: ImageMode | None) -> ImageMode:
    """How images that are masked are taken. Raises: InputError for a way that would lead to the photos themselves."""
    match images:
        case None | "copy":
            return "copy"
        case "link":
            raise InputError("A hard link is the photo itself, with all that is to be masked: take --images copy.")
        case _:
            raise InputError(
                f"--images {images} leads to the photos themselves, with all that is to be masked: take --images copy, "
                "or leave --mask and --boxes out."
            )


def refuse_file(to: Path) -> None:
    """Raises: OutputError for a name that was meant for a file."""
    if to.suffix.lower() in {".csv", ".jsonl", ".json", ".txt", ".parquet", ".tar", ".arrow"} and not to.exists():
        raise OutputError(f"{to} looks like a file. An export is a folder: try --to {to.with_suffix('')}")


def _mode(format_: str, images: ImageMode | None) -> ImageMode:
    """How images are taken. Raises: InputError for an unknown format, or a mode that is not for it."""
    if format_ not in FORMATS:
        raise InputError(f"No format {format_!r}. Formats: {', '.join(FORMATS)}.")
    modes = FORMATS[format_].modes
    mode = modes[0] if images is None else images
    if mode not in modes:
        captions_alone = ", ".join(name for name, each in FORMATS.items() if "none" in each.modes)
        raise InputError(
            f"An export to {format_} takes images by {' or '.join(modes)}, not {mode!r}. Hard links (link) take no "
            f"space; captions without images: {captions_alone}."
        )
    return mode


def _why_nothing(notes: Notes) -> str:
    reasons = [
        f"{names.count:,} {why} ({', '.join(map(plain_line, names.noted().first[:_NAMED]))}"
        f"{' …' if names.count > _NAMED else ''}). {advice}"
        for names, why, advice in (
            (notes.missing, "image files are not there or cannot be read", "Mount or move them back."),
            (notes.changed, "image files have changed since they were described", "Describe them again."),
            (notes.unwritable, "photos have a path that is no text", "Rename them, or take --images copy."),
            (notes.empty, "photos have no caption", "Describe them first, or export without --approved-only."),
            (
                notes.of_masks().unmasked,
                "photos cannot be masked",
                "Leave them out, or export without --mask and --boxes.",
            ),
        )
        if names.count
    ]
    return " ".join(reasons) or "no photo was given. Describe some first: carscribe describe PHOTOS"
