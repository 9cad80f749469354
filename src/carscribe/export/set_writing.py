"""Writes one fine-tuning set: what is to be learned and what is held out, as rows of a trainer's format."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from carscribe.errors import InputError, OutputError
from carscribe.examples import Example, Pair
from carscribe.export.draft import Draft, Table, open_draft
from carscribe.export.formats import opens_in_pillow
from carscribe.export.images import Images, Masker
from carscribe.export.names import NameBook, is_text, split_suffix
from carscribe.export.report import ImageMode, Notes, SetReport
from carscribe.export.set_formats import HELD_OUT, SET_FORMATS, TRAIN, SetFormat, Shown, WrittenSet
from carscribe.export.writing import masked_mode, refuse_file
from carscribe.named import Named
from carscribe.records import PhotoFile


def write_set(
    format_: str,
    learned: Sequence[Example],
    held: Sequence[Example],
    to: str | Path,
    *,
    images: ImageMode | None = None,
    turns: bool = False,
    overwrite: bool = False,
    masker: Masker | None = None,
) -> SetReport:
    """Write examples, as `finetune.data.divided` gives them, into the folder `to`, all or nothing.

    A row is a pair; with `turns` a photo, its pairs one conversation. `images` none (the default) leaves photos where
    they are; copy and link bring them into the folder, as in `write`. So does a `masker`, which makes them anew.

    Raises: InputError for what cannot be asked for, or when nothing is left to learn; OutputError.
    """
    chosen, mode, to = _format(format_, turns), masked_mode(images) if masker else _mode(images), Path(to)
    refuse_file(to)
    if not is_text(str(to.absolute())):
        raise OutputError("The folder's path is no text that a trainer could read. Name another one with --to.")
    notes, unwritable = Notes(), Named()
    with open_draft(to, format_=format_, overwrite=overwrite) as draft:
        root = str(to.absolute()) if mode != "none" else _root([*learned, *held]) if chosen.rooted else ""
        paths = _Paths(Images(draft, mode, notes, masker), notes, unwritable, root=root)
        sides = [
            _Side(draft, name, chosen, notes).write(examples, paths, turns=turns)
            for name, examples in ((TRAIN, learned), (HELD_OUT, held))
        ]
        train, held_out = sides
        if not train.rows:
            raise InputError(f"Nothing to export: {_why_nothing(notes, unwritable)}")
        rows = {side.name: side.rows for side in sides if side.rows}
        turned = train.turned + held_out.turned
        written = WrittenSet(folder=to.absolute(), root=root, images=mode, rows=rows, turned=turned)
        for name, content in chosen.beside(written).items():
            draft.table(name).write(content)
        removed = draft.publish()
        return SetReport(
            format=format_,
            folder=to,
            images=mode,
            photos=train.photos,
            pairs=train.pairs,
            held_out_photos=held_out.photos,
            held_out_pairs=held_out.pairs,
            bytes_written=draft.bytes_written,
            turned=turned,
            removed=removed,
            unwritable=unwritable.noted(),
            **notes.of_images(),
        )


class _Side:
    """The rows of one side, in a file that is begun with the first of them: loaders stop at an empty one."""

    def __init__(self, draft: Draft, name: str, format_: SetFormat, notes: Notes) -> None:
        self.name = name
        self.photos = self.pairs = self.rows = self.turned = 0
        self._draft, self._format, self._notes = draft, format_, notes
        self._table: Table | None = None

    def write(self, examples: Sequence[Example], paths: "_Paths", *, turns: bool) -> "_Side":
        """All of these. Raises: OutputError."""
        for example in examples:
            path = paths.of(example)
            if path is None:
                continue
            shown = Shown(path=path, width_px=example.width_px, height_px=example.height_px)
            for pairs in _rows(example.pairs, turns=turns):
                self._line(self._format.row(shown, pairs, self.rows))
            self.photos += 1
            self.pairs += len(example.pairs)
            self.turned += example.turned and not (self._format.upright or paths.images.masked)
            suffix = split_suffix(paths.images.parts(_name(example))[-1])[1]
            if not opens_in_pillow(suffix):
                self._notes.unread[suffix] += 1
        return self

    def _line(self, row: dict[str, Any]) -> None:
        if self._table is None:
            self._table = self._draft.table(f"{self.name}.jsonl")
        self._table.write(json.dumps(row, ensure_ascii=False) + "\n")
        self.rows += 1


class _Paths:
    """Names photos as the trainer will find them, and brings them into the folder where that is wished."""

    def __init__(self, images: Images, notes: Notes, unwritable: Named, *, root: str) -> None:
        self.images = images
        self._notes, self._unwritable, self._root = notes, unwritable, root
        self._names = NameBook()

    def of(self, example: Example) -> str | None:
        """The photo's path; None, and noted, when it cannot be had. Raises: OutputError."""
        source = Path(str(example.photo)).absolute()
        if self.images.mode == "none":
            path = source.relative_to(self._root).as_posix() if self._root else str(source)
            if not is_text(str(source)):
                self._unwritable.add(_name(example))
                return None
            return path
        name = _name(example)
        path = self._names.take("images", self.images.parts(name), name)
        if not self.images.place(PhotoFile(location=str(source), key=name), example.sha256, path):
            return None
        if path != f"images/{name}":
            self._notes.renamed.add(f"{name} -> {path}")
        return path


def _rows(pairs: Sequence[Pair], *, turns: bool) -> Iterator[Sequence[Pair]]:
    if turns:
        yield pairs
    else:
        yield from ([pair] for pair in pairs)


def _name(example: Example) -> str:
    return example.key or str(example.photo)


def _root(examples: Sequence[Example]) -> str:
    """The deepest folder that all photos lie in; "" where there is none (two drives): then paths stay absolute."""
    try:
        return os.path.commonpath([Path(str(example.photo)).absolute().parent for example in examples])
    except ValueError:
        return ""


def _format(format_: str, turns: bool) -> SetFormat:
    if format_ not in SET_FORMATS:
        raise InputError(f"No format {format_!r} of fine-tuning sets. Formats: {', '.join(SET_FORMATS)}.")
    chosen = SET_FORMATS[format_]
    if turns and not chosen.learns_turns:
        raise InputError(
            f"{format_} learns the last answer of a row alone, so that --turns would lose the others. Leave it out, or "
            f"take {', '.join(name for name, each in SET_FORMATS.items() if each.learns_turns)}."
        )
    return chosen


def _mode(images: ImageMode | None) -> ImageMode:
    if images not in {None, "none", "copy", "link"}:
        raise InputError(f"A fine-tuning set takes images by none, copy or link, not {images!r}.")
    return images or "none"


def _why_nothing(notes: Notes, unwritable: Named) -> str:
    reasons = [
        f"{names.count:,} {why}."
        for names, why in (
            (notes.missing, "image files are not there any more"),
            (notes.changed, "image files have changed since they were described"),
            (unwritable, "photos have a path that is no text: rename them, or take --images copy"),
            (
                notes.of_masks().unmasked,
                "photos cannot be masked: leave them out, or export without --mask and --boxes",
            ),
        )
        if names.count
    ]
    return " ".join(reasons) or "no example was given."
