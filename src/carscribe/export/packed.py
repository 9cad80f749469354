"""Formats that pack photos into a few files: Parquet, WebDataset's tar shards, and what `datasets` saves to disk."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from typing import IO, Any

from carscribe.errors import MissingExtraError
from carscribe.export.captions import visible
from carscribe.export.kit import Kit
from carscribe.export.names import is_text, split_suffix
from carscribe.export.shards import Row, Shard, Shards
from carscribe.plaintext import plain_line
from carscribe.records import DescribedPhoto

BATCH_BYTES = 32 << 20
"""A row group or record batch is written when it is this large: it is what a writer, and a reader, holds in memory."""

BATCH_ROWS = 1000


class Packed:
    """Rows into shards; `at_end` gets their names and a fingerprint of all rows."""

    def __init__(
        self,
        kit: Kit,
        *,
        start: Callable[[IO[bytes]], Shard],
        name: Callable[[int, int], str],
        at_end: Callable[[tuple[str, ...], str], None] | None = None,
    ) -> None:
        self._kit = kit
        self._captions = kit.captions
        self._shards = Shards(kit.draft, kit.limits, start=start, name=name)
        self._at_end = at_end
        self._fingerprint = hashlib.sha256()

    def add(self, photo: DescribedPhoto) -> bool:
        """A row, with the image's bytes unless images are left where they are."""
        text = self._captions.of(photo)
        if text is None:
            return False
        image, path = None, self._kit.images.parts(photo.file.key)[-1]
        if self._kit.images.mode == "none":
            path = str(photo.file.path.absolute())
            if not is_text(path):
                self._kit.notes.unwritable.add(photo.file.key)
                return False
        elif (image := self._kit.images.read(photo.file, photo.sha256)) is None:
            return False
        metadata, description = photo.file.metadata, photo.description
        row = Row(
            image=image,
            path=path,
            text=text,
            # Empty rather than null, as in imagefolder: readers take the type of a field from the first rows.
            name=plain_line(metadata.name or ""),
            kind=plain_line(metadata.kind or ""),
            tokens=description.tokens,
            budget=description.budget,
            photo=visible(photo.file.key),
            sha256=photo.sha256,
            width_px=photo.width_px,
            height_px=photo.height_px,
        )
        self._fingerprint.update(f"{row.photo}\0{row.sha256}\0{row.name}\0{row.kind}\0{text}\n".encode())
        self._shards.add(row)
        return True

    def finish(self) -> None:
        """The last shard, and what lies beside them."""
        names = self._shards.finish()
        if self._at_end is not None:
            self._at_end(names, self._fingerprint.hexdigest()[:16])


def parquet(kit: Kit) -> Packed:
    """`data/train-00000-of-00003.parquet` …, named as on the Hugging Face hub; `image` holds bytes, or a path.

    Raises: MissingExtraError.
    """
    arrow = _pyarrow()
    from pyarrow.parquet import ParquetWriter

    with_bytes = kit.images.mode != "none"
    schema = _schema(arrow, bytes_or_struct=with_bytes)

    def start(file: IO[bytes]) -> Shard:
        plain = ["name", "kind", "budget"]
        writer = ParquetWriter(file, schema, compression="zstd" if not with_bytes else "snappy", use_dictionary=plain)
        return TableShard(writer, schema)

    return Packed(kit, start=start, name=lambda number, count: f"data/train-{number:05d}-of-{count:05d}.parquet")


def saved_dataset(kit: Kit) -> Packed:
    """What `Dataset.save_to_disk` writes, for `datasets.load_from_disk`: Arrow streams, their list and the features.

    The fingerprint is made of the rows, so that what `datasets` has cached of other captions is not taken for these.
    Source: datasets 5.2, arrow_dataset.py (`save_to_disk`). Raises: MissingExtraError.
    """
    arrow = _pyarrow()
    schema = _schema(arrow, bytes_or_struct=True)

    def start(file: IO[bytes]) -> Shard:
        return TableShard(arrow.ipc.new_stream(file, schema), schema)

    def at_end(names: tuple[str, ...], fingerprint: str) -> None:
        about = {"citation": "", "description": "", "features": _FEATURES, "homepage": "", "license": ""}
        state: dict[str, Any] = {
            "_data_files": [{"filename": name} for name in names],
            "_fingerprint": fingerprint,
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": "train",
        }
        for file, content in (("dataset_info.json", about), ("state.json", state)):  # without the last it does not open
            kit.draft.table(file).write(json.dumps(content, indent=2))

    return Packed(kit, start=start, name=lambda number, count: f"data-{number:05d}-of-{count:05d}.arrow", at_end=at_end)


def webdataset(kit: Kit) -> Packed:
    """`000000.tar` …, each photo as `000000000.jpg`, `.txt` and `.json`."""
    numbers = iter(range(10**9))
    return Packed(kit, start=lambda file: TarShard(file, numbers.__next__), name=lambda number, _: f"{number:06d}.tar")


class TableShard:
    """Rows into an Arrow stream or a Parquet file, a batch at a time."""

    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema
        self._rows: list[Row] = []
        self._bytes = 0

    def add(self, row: Row) -> None:
        """One more row."""
        self._rows.append(row)
        self._bytes += row.size_bytes
        if len(self._rows) >= BATCH_ROWS or self._bytes >= BATCH_BYTES:
            self._flush()

    def finish(self) -> None:
        """The last batch, and the footer."""
        self._flush()
        self._writer.close()

    def abandon(self) -> None:
        """Let go."""
        self._writer.is_open = False  # else a ParquetWriter writes its footer when it is collected

    def _flush(self) -> None:
        from pyarrow import Table

        if self._rows:
            columns = {field.name: [_cell(row, field) for row in self._rows] for field in self._schema}
            self._writer.write_table(Table.from_pydict(columns, schema=self._schema))
            self._rows, self._bytes = [], 0


def _cell(row: Row, field: Any) -> Any:
    if field.name != "image":
        return getattr(row, field.name)
    return {"bytes": row.image, "path": row.path} if field.type.num_fields else row.path


class TarShard:
    """Photos into a tar in WebDataset's convention: files of one sample stand together and share their name to the
    first dot, here a running number.

    Every image is named `.jpg`, whatever it is: `datasets` wants the same fields in all samples, and the `webdataset`
    package decodes fewer suffixes than Pillow opens. Pillow looks at the bytes; `suffix` in the JSON says what it was.
    Source: webdataset 1.0, autodecode.py; datasets 5.2, packaged_modules/webdataset.
    """

    def __init__(self, file: IO[bytes], next_number: Callable[[], int]) -> None:
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - see finish
        self._next_number = next_number

    def add(self, row: Row) -> None:
        """A sample of three files."""
        key = f"{self._next_number():09d}"
        about = {name: getattr(row, name) for name in _ABOUT} | {"suffix": split_suffix(row.path)[1]}
        if row.tokens is None:
            del about["tokens"]
        self._file(f"{key}.jpg", row.image or b"")
        self._file(f"{key}.txt", row.text.encode())
        self._file(f"{key}.json", json.dumps(about, ensure_ascii=False).encode())

    def finish(self) -> None:
        """The end of the archive."""
        self._tar.close()

    def abandon(self) -> None:
        """Nothing is held but the file."""

    def _file(self, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)  # of nobody, at no time: the same photos give the same bytes
        entry.size = len(content)
        self._tar.addfile(entry, io.BytesIO(content))
        self._tar.members.clear()  # type: ignore[attr-defined]  # it remembers every file, to find it again


_ABOUT = ("photo", "name", "kind", "text", "tokens", "budget", "sha256", "width_px", "height_px")
_WHOLE = ("tokens", "width_px", "height_px")
_COLUMNS = ("text", "name", "kind", "tokens", "budget", "photo", "sha256", "width_px", "height_px")
_FEATURES = {
    "image": {"_type": "Image"},
    **{name: {"dtype": "int64" if name in _WHOLE else "string", "_type": "Value"} for name in _COLUMNS},
}
"""The columns as `datasets` writes them down."""


def _schema(arrow: Any, *, bytes_or_struct: bool) -> Any:
    """Of a table: `image` a struct of bytes and path, which `datasets` takes for an image; or a path alone."""
    image = arrow.struct({"bytes": arrow.binary(), "path": arrow.string()}) if bytes_or_struct else arrow.string()
    fields = [("image", image)]
    fields += [(name, arrow.int64() if name in _WHOLE else arrow.string()) for name in _COLUMNS]
    about = {"huggingface": json.dumps({"info": {"features": _FEATURES}})}
    return arrow.schema(fields, metadata=about if bytes_or_struct else None)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("Writing Parquet or Arrow", extra="parquet") from None
    return pyarrow
