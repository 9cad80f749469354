"""The formats: how each lays out its folder and what it says of a photo. To add one, write a `Writer` and name it here.

Knows nothing of how files get onto the disk, nor of how a description was composed.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from carscribe.export import kohya_config
from carscribe.export.captions import cell, path_cell
from carscribe.export.kit import Kit, Writer
from carscribe.export.names import NameBook, split_suffix
from carscribe.export.packed import parquet, saved_dataset, webdataset
from carscribe.export.path_lists import PathColumns, PathRows
from carscribe.export.report import ImageMode, Notes
from carscribe.plaintext import plain_line
from carscribe.records import DescribedPhoto, JudgedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A format by what a user may choose. `modes` are the ways it takes images, its default first.

    `opens` says of an image's suffix whether the format's usual readers open such a file. `trainer_drops` is true of
    one whose trainer leaves captions out by a setting of its own, and stops at an empty one. `shards` is true of one
    that packs photos into files of bounded size.
    """

    summary: str
    modes: tuple[ImageMode, ...]
    opens: Callable[[str], bool]
    start: Callable[[Kit], Writer]
    trainer_drops: bool = False
    shards: bool = False


class ImageFolder:
    """`train/metadata.jsonl` beside the images, for `datasets.load_dataset("imagefolder")`.

    The folder is called train because datasets takes a file whose name has the word test, val or dev in it for another
    split, and then drops all others: a folder of that name ends it. For the folders within, see `_not_a_split`.
    Source: datasets 5.2, data_files.py.
    """

    def __init__(self, kit: Kit) -> None:
        self._images, self._notes, self._captions = kit.images, kit.notes, kit.captions
        metadata = [f"train/metadata.{suffix}" for suffix in ("jsonl", "csv", "parquet")]
        self._names = NameBook(reserved=metadata)
        self._table = kit.draft.table(metadata[0])

    def add(self, photo: DescribedPhoto) -> bool:
        """An image and its line."""
        text = self._captions.of(photo)
        if text is None:
            return False
        *folders, file = self._images.parts(photo.file.key)
        parts = [*map(_not_a_split, folders), file]
        name = self._names.take("train", parts, photo.file.key)
        if not self._images.place(photo.file, photo.sha256, name):
            return False
        _note_name(self._notes, photo, name, f"train/{photo.file.key}")
        metadata = photo.file.metadata
        row = {
            "file_name": name.removeprefix("train/"),
            "text": text,
            # Empty rather than null: datasets takes the type of a column from its first rows.
            "name": plain_line(metadata.name or ""),
            "kind": plain_line(metadata.kind or ""),
            "sha256": photo.sha256,
        }
        self._table.write(json.dumps(row, ensure_ascii=False) + "\n")
        return True

    def finish(self) -> None:
        """Nothing is left to write."""


class Kohya:
    """Images in one folder, each with its caption in a `.txt` of the same stem.

    sd-scripts does not look into folders below, so an image's folders become part of its name; without images the
    captions keep the photos' tree, to be laid over it. Source: sd-scripts, library/train_util.py.
    """

    def __init__(self, kit: Kit) -> None:
        self._draft = kit.draft
        self._images, self._notes, self._captions = kit.images, kit.notes, kit.captions
        self._names = NameBook(claims=_caption_file)

    def add(self, photo: DescribedPhoto) -> bool:
        """An image and its caption."""
        text = self._captions.of(photo)
        if text is None:
            return False
        *folders, file = self._images.parts(photo.file.key)
        if _caption_file(file) == file or file.lower() == kohya_config.NAME:  # an image that ends in .txt
            file = f"{file}_"
        key = photo.file.key
        if self._images.mode == "none":
            name, plain = self._names.take("", [*folders, file], key), key
        else:
            name, plain = self._names.take("", ["_".join([*folders, file])], key), key.replace("/", "_")
            if not self._images.place(photo.file, photo.sha256, name):
                return False
        _note_name(self._notes, photo, name, plain)
        self._draft.text(_caption_file(name), f"{text}\n", photo=key)
        return True

    def finish(self) -> None:
        """The configuration that goes with shuffled or dropped captions."""
        with_images = self._images.mode != "none"
        config = kohya_config.dataset_config(self._draft.folder, self._captions.settings, with_images=with_images)
        if config is not None:
            self._draft.table(kohya_config.NAME).write(config)


class Csv:
    """`captions.csv` with an image and a prompt in each row, UTF-8 with a byte-order mark, which Excel needs."""

    COLUMNS = ("image", "prompt", "name", "kind", "tokens", "budget", "photo", "sha256")

    def __init__(self, kit: Kit) -> None:
        self._images, self._notes, self._captions = kit.images, kit.notes, kit.captions
        self._names = NameBook()
        self._rows = csv.writer(kit.draft.table("captions.csv", encoding="utf-8-sig"))
        self._rows.writerow(self.COLUMNS)

    def add(self, photo: DescribedPhoto) -> bool:
        """A row, with the image's path: below the export when it is there, else where the photo lies."""
        text = self._captions.of(photo)
        if text is None:
            return False
        if self._images.mode == "none":
            path = str(photo.file.path.absolute())
            _note_name(self._notes, photo, path_cell(path), path)
        else:
            path = self._names.take("images", self._images.parts(photo.file.key), photo.file.key)
            if not self._images.place(photo.file, photo.sha256, path):
                return False
            _note_name(self._notes, photo, path, f"images/{photo.file.key}")
        metadata, description = photo.file.metadata, photo.description
        self._rows.writerow(
            [
                path_cell(path),
                cell(text),
                cell(metadata.name or ""),
                cell(metadata.kind or ""),
                "" if description.tokens is None else description.tokens,
                cell(description.budget),
                cell(photo.file.key),
                photo.sha256,
            ]
        )
        return True

    def finish(self) -> None:
        """Nothing is left to write."""


class Jsonl:
    """`captions.jsonl`: all that is known of each photo, as it is; also of photos without a caption."""

    def __init__(self, kit: Kit) -> None:
        self._images, self._notes, self._captions = kit.images, kit.notes, kit.captions
        self._names = NameBook()
        self._table = kit.draft.table("captions.jsonl")

    def add(self, photo: DescribedPhoto) -> bool:
        """A line; `file` in it is the image's path below the export, null when there is none.

        `path`, where the photo lies, is null beside a masked image.
        """
        file = None
        if self._images.mode != "none":
            file = self._names.take("images", self._images.parts(photo.file.key), photo.file.key)
            if not self._images.place(photo.file, photo.sha256, file):
                return False
            _note_name(self._notes, photo, file, f"images/{photo.file.key}")
        if not photo.description.text:
            self._notes.empty.add(photo.file.key)
        text = "" if self._captions.is_dropped(photo) else photo.description.text
        self._table.write(_json_line(photo, text, file, with_path=not self._images.masked))
        return True

    def finish(self) -> None:
        """Nothing is left to write."""


def _json_line(photo: DescribedPhoto, text: str, file: str | None, *, with_path: bool) -> str:
    metadata, description = photo.file.metadata, photo.description
    record: dict[str, Any] = {
        "photo": photo.file.key,
        "path": str(photo.file.path.absolute()) if with_path else None,
        "file": file,
        "sha256": photo.sha256,
        "width_px": photo.width_px,
        "height_px": photo.height_px,
        "name": metadata.name,
        "kind": metadata.kind,
        "text": text,
        "tokens": description.tokens,
        "budget": description.budget,
        "dropped": description.dropped,
        "repeated": description.repeated,
        "fallbacks": description.fallbacks,
        "answers": [_answer(answer) for answer in photo.answers],
    }
    # Lone surrogates (a file name that is not UTF-8) become JSON's own escapes.
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace").decode() + "\n"


def _answer(judged: JudgedAnswer) -> dict[str, Any]:
    answer, verdict = judged.answer, judged.verdict
    return {
        "recipe": judged.recipe_id,
        "question": judged.question_id,
        "language": judged.language,
        "text": judged.text,
        "model_text": answer and answer.text,
        "finish": answer and answer.finish,
        "scores": dict(answer.scores) if answer and answer.scores is not None else None,
        "mass": answer and answer.mass,
        "verdict": verdict
        and {
            "decision": verdict.decision,
            "author": verdict.author,
            "note": verdict.note,
            "judged_at": verdict.judged_at,
        },
    }


def _note_name(notes: Notes, photo: DescribedPhoto, name: str, plain: str) -> None:
    """Note the photo's path when it is not the plain one, which the key asks for."""
    if name != plain:
        notes.renamed.add(f"{photo.file.key} -> {name}")


def _caption_file(name: str) -> str:
    """The caption's file beside an image.

    >>> _caption_file("cars/niro.2.jpg"), _caption_file("cars.2/niro")
    ('cars/niro.2.txt', 'cars.2/niro.txt')
    """
    folder, slash, file = name.rpartition("/")
    return f"{folder}{slash}{split_suffix(file)[0]}.txt"


_SPLIT_WORD = re.compile(
    r"(?<![^-._ 0-9])(train|training|validation|valid|dev|val|test|testing|eval|evaluation)(?![^-._ 0-9])"
)


def _not_a_split(folder: str) -> str:
    """A folder's name in which datasets sees no split: it looks for words between these separators.

    >>> _not_a_split("test"), _not_a_split("2024 test-drive"), _not_a_split("latest")
    ('test~', '2024 test~-drive', 'latest')
    """
    return _SPLIT_WORD.sub(r"\1~", folder)


def opens_in_pillow(suffix: str) -> bool:
    """Whether Pillow opens such files by itself."""
    return suffix.lower() not in {".heic", ".heif", ".hif"}


def _opens_in_kohya(suffix: str) -> bool:
    """Sd-scripts lists these endings, in lower and upper case and no other."""
    return suffix in {suffix.lower(), suffix.upper()} and suffix.lower() in {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


def unread_suffix(format_: Format, key: str) -> str | None:
    """The photo's suffix, if the format's usual readers do not open such files."""
    suffix = PurePosixPath(key).suffix
    return None if format_.opens(suffix) else suffix


FORMATS: Mapping[str, Format] = {
    "imagefolder": Format(
        summary="images and metadata.jsonl, for Hugging Face datasets and diffusers",
        modes=("copy", "link"),
        opens=opens_in_pillow,
        start=ImageFolder,
    ),
    "kohya": Format(
        summary="images, each with a .txt of the same stem, for sd-scripts and its kin",
        modes=("copy", "link", "none"),
        opens=_opens_in_kohya,
        start=Kohya,
        trainer_drops=True,
    ),
    "csv": Format(
        summary="captions.csv with image and prompt, for spreadsheets and DiffSynth-Studio",
        modes=("none", "copy", "link"),
        opens=opens_in_pillow,
        start=Csv,
    ),
    "jsonl": Format(
        summary="captions.jsonl with all answers, scores and verdicts",
        modes=("none", "copy", "link"),
        opens=opens_in_pillow,
        start=Jsonl,
    ),
    "parquet": Format(
        summary="Parquet tables with the image's bytes, or its path, in each row",
        modes=("copy", "none"),
        opens=opens_in_pillow,
        start=parquet,
        shards=True,
    ),
    "webdataset": Format(
        summary="tar shards of jpg, txt and json, for WebDataset",
        modes=("copy",),
        opens=opens_in_pillow,
        start=webdataset,
        shards=True,
    ),
    "datasets": Format(
        summary="what datasets.load_from_disk opens",
        modes=("copy", "none"),
        opens=opens_in_pillow,
        start=saved_dataset,
        shards=True,
    ),
    "paths": Format(
        summary="paths.jsonl with image and text, for programs that open images themselves",
        modes=("none", "copy", "link"),
        opens=opens_in_pillow,
        start=PathRows,
    ),
    "columns": Format(
        summary="paths.json, the same as an object of columns, for Dataset.from_dict",
        modes=("none", "copy", "link"),
        opens=opens_in_pillow,
        start=PathColumns,
    ),
}
"""Every format by its name."""
