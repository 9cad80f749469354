"""Reads photos out of Arrow and Parquet: bytes in a column, plain or as datasets writes them, {"bytes", "path"}."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from carscribe.errors import MissingExtraError, PhotosError
from carscribe.importing.shards import PackedLeftOut, PackedPhoto, Sample, Shard
from carscribe.photos.packed import holds_bytes
from carscribe.photos.rows import PHOTO_SUFFIXES, column_role
from carscribe.photos.signature import HEAD_BYTES, SUFFIXES, format_of

ROWS = 16
"""Rows that are in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """The column of photos, those of fields, and the names that stand behind numbers (datasets' ClassLabel)."""

    image: str
    fields: tuple[str, ...]
    labels: Mapping[str, list[str]]


def table_samples(
    shard: Shard, left_out: PackedLeftOut, *, skip: int = 0, image: str | None = None
) -> Iterator[Sample]:
    """The rows of a table but the first `skip`; `image` names the column of photos where several may be it.

    Raises: PhotosError when it has no column of bytes, or several; MissingExtraError without pyarrow.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError("Reading Arrow and Parquet", extra="parquet") from error
    number = 0
    try:
        with _batches(shard) as (schema, batches):
            columns = _columns_of(shard, schema, image)
            for batch in batches:
                for start in range(0, batch.num_rows, ROWS):
                    some = batch.slice(start, ROWS)
                    if number + some.num_rows <= skip:
                        number += some.num_rows
                        continue
                    for row in some.select([columns.image, *columns.fields]).to_pylist():
                        if number >= skip:
                            yield _sample(row, number, columns, shard, left_out)
                        number += 1
    except (OSError, pyarrow.ArrowException) as error:
        said = " ".join(str(error).split())
        left_out.damaged.add(f"{shard.path.name}: is cut off or damaged after {number:,} rows: {said}")


@contextmanager
def _batches(shard: Shard) -> Iterator[tuple[Any, Iterator[Any]]]:
    """The schema of a table, and its record batches one by one."""
    import pyarrow
    import pyarrow.parquet as parquet

    if shard.path.suffix.lower() == ".parquet":
        with parquet.ParquetFile(shard.path, memory_map=True) as file:
            yield file.schema_arrow, file.iter_batches(batch_size=ROWS)
        return
    with pyarrow.memory_map(str(shard.path)) as source:
        try:
            stream = pyarrow.ipc.open_stream(source)  # what datasets writes
        except pyarrow.ArrowInvalid:
            source.seek(0)
            file = pyarrow.ipc.open_file(source)
            schema, batches = file.schema, (file.get_batch(number) for number in range(file.num_record_batches))
        else:
            schema, batches = stream.schema, iter(stream)
        yield schema, batches


def _columns_of(shard: Shard, schema: Any, image: str | None) -> _Columns:
    features = _features(schema)
    packed = [column.name for column in schema if holds_bytes(column.type)]
    if image is not None and image not in packed:
        raise PhotosError(f"{shard.path} has no photos in {image!r}; columns of bytes: {', '.join(packed) or 'none'}.")
    found = [image] if image is not None else [name for name in packed if _is_image(features.get(name))]
    found = found or [name for name in packed if column_role(name) == "image"] or packed
    if not found:
        raise PhotosError(
            f"{shard.path} has no column of photos as bytes, only {', '.join(schema.names)}. Where it has their paths, "
            f"carscribe describe {shard.path} reads it as it is."
        )
    if len(found) > 1:
        raise PhotosError(f"{shard.path} has several columns of photos: {', '.join(found)}. Say which: --image COLUMN")
    labels = {name: each["names"] for name, each in features.items() if isinstance(each.get("names"), list)}
    fields = tuple(name for name in schema.names if name not in packed)
    return _Columns(image=found[0], fields=fields, labels=labels)


def _features(schema: Any) -> dict[str, dict[str, Any]]:
    """What datasets notes of its columns; nothing in a table of another program."""
    try:
        noted = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        return {}
    return {name: each for name, each in noted.items() if isinstance(each, dict)} if isinstance(noted, dict) else {}


def _is_image(feature: dict[str, Any] | None) -> bool:
    """Whether a column is one of images, or of lists of them."""
    if feature is None:
        return False
    return feature.get("_type") == "Image" or _is_image(feature.get("feature"))


def _sample(row: Mapping[str, Any], number: int, columns: _Columns, shard: Shard, left_out: PackedLeftOut) -> Sample:
    fields = {name: _named(row[name], columns.labels.get(name)) for name in columns.fields}
    cell = row[columns.image]
    cells = cell if isinstance(cell, list) else [cell]
    photos: list[PackedPhoto] = []
    for place, each in enumerate(cells):
        content, path = (each.get("bytes"), each.get("path")) if isinstance(each, dict) else (each, None)
        if not content:
            lies = f"; {path} is its path" if path else ""
            left_out.no_photo.add(f"{shard.path.name}: row {number + 1:,} has no bytes{lies}")
            continue
        mark = f"-{place}" if len(cells) > 1 else ""
        photos.append(
            PackedPhoto(name=f"{number:07}{mark}{_stem_and_suffix(path, content)}", content=content, fields=fields)
        )
    return Sample(number=number, key=f"{number:07}", photos=tuple(photos))


def _stem_and_suffix(path: str | None, content: bytes) -> str:
    """What follows a row's number in the name of its photo: the name it had, and its suffix or that of its format."""
    name = PurePosixPath((path or "").replace("\\", "/")).name
    suffix = PurePosixPath(name).suffix
    if suffix.lower() not in PHOTO_SUFFIXES:
        suffix = SUFFIXES[found] if (found := format_of(content[:HEAD_BYTES])) else ".bin"
    stem = name.removesuffix(suffix)
    return f"-{stem}{suffix}" if stem else suffix


def _named(value: Any, labels: list[str] | None) -> Any:
    """A class by its name, where datasets keeps its number."""
    if labels is not None and isinstance(value, int) and 0 <= value < len(labels):
        return labels[value]
    return value
