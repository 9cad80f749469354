"""Lists of paths and captions as JSON, for programs that open images themselves."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from carscribe.export.captions import visible
from carscribe.export.kit import Kit
from carscribe.export.names import NameBook, is_text
from carscribe.plaintext import plain_line
from carscribe.records import DescribedPhoto

_COLUMNS = ("image", "text", "name", "kind", "photo", "sha256")
_CHUNK_CHARACTERS = 1 << 16


class PathRows:
    """`paths.jsonl`: an object a photo, for `load_dataset("json")`, `Dataset.from_json` and the like."""

    def __init__(self, kit: Kit) -> None:
        self._rows = _Rows(kit)
        self._table = kit.draft.table("paths.jsonl")

    def add(self, photo: DescribedPhoto) -> bool:
        """A line."""
        row = self._rows.of(photo)
        if row is None:
            return False
        self._table.write(json.dumps(row, ensure_ascii=False) + "\n")
        return True

    def finish(self) -> None:
        """Nothing is left to write."""


class PathColumns:
    """`paths.json`: an object with a list for each column, for `Dataset.from_dict(json.load(file))`.

    Columns grow in files of their own, which become one at the end.
    """

    def __init__(self, kit: Kit) -> None:
        self._draft = kit.draft
        self._rows = _Rows(kit)
        self._paths: dict[str, Path] = {name: kit.draft.scratch() for name in _COLUMNS}
        with self._draft.writing():
            self._files = {name: path.open("w", encoding="utf-8") for name, path in self._paths.items()}
        kit.draft.on_close(self._abandon)
        self._between = ""

    def add(self, photo: DescribedPhoto) -> bool:
        """A value in each column."""
        row = self._rows.of(photo)
        if row is None:
            return False
        with self._draft.writing():
            for name, value in row.items():
                self._files[name].write(self._between + json.dumps(value, ensure_ascii=False))
        self._between = ",\n"
        return True

    def finish(self) -> None:
        """The columns one after another."""
        with self._draft.writing():
            self._close()
        table = self._draft.table("paths.json")
        for place, (name, path) in enumerate(self._paths.items()):
            table.write(f"{',' if place else '{'}\n{json.dumps(name)}: [\n")
            for chunk in self._chunks(path):
                table.write(chunk)
            table.write("]")
        table.write("\n}\n")

    def _chunks(self, path: Path) -> Iterator[str]:
        with path.open(encoding="utf-8") as column:
            while chunk := column.read(_CHUNK_CHARACTERS):
                yield chunk

    def _close(self) -> None:
        for file in self._files.values():
            file.close()

    def _abandon(self) -> None:
        for file in self._files.values():
            with suppress(OSError):  # a full disk; it is thrown away
                file.close()


class _Rows:
    """Each photo as a row: the image's path, absolute when it is left where it is, else below the export."""

    def __init__(self, kit: Kit) -> None:
        self._images, self._notes, self._captions = kit.images, kit.notes, kit.captions
        self._names = NameBook()

    def of(self, photo: DescribedPhoto) -> Mapping[str, str] | None:
        """The row by column; None, and noted, when the photo is left out. Raises: OutputError."""
        text = self._captions.of(photo)
        if text is None:
            return None
        key = photo.file.key
        if self._images.mode == "none":
            path = str(photo.file.path.absolute())
            if not is_text(path):
                self._notes.unwritable.add(key)
                return None
        else:
            path = self._names.take("images", self._images.parts(key), key)
            if not self._images.place(photo.file, photo.sha256, path):
                return None
            if path != f"images/{key}":
                self._notes.renamed.add(f"{key} -> {path}")
        metadata = photo.file.metadata
        values = (path, text, plain_line(metadata.name or ""), plain_line(metadata.kind or ""), visible(key))
        return dict(zip(_COLUMNS, (*values, photo.sha256), strict=True))
