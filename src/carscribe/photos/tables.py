"""Read a metadata file of any format a crawl leaves into records of named fields.

Knows formats and encodings; what a field means is for `rows`.
"""

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from carscribe.errors import MetadataError, MissingExtraError

TABLE_SUFFIXES = frozenset({".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"})

BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_FIX_JSON = "Correct it there, or write the file again with a JSON library"


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """One row as the file has it. `where` says where, `key` is set when an object's key leads to the row.

    `fields` is empty, and `bare` holds the value, when the row is not an object (a file name in a list of names).
    """

    where: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None
    bare: Any = None


def read_table(path: Path) -> list[RawRow]:
    """All rows of a `.json`, `.jsonl`, `.csv`, `.tsv` or `.parquet` file, in order.

    Raises: MetadataError, naming the file and the place in it; MissingExtraError for Parquet without pyarrow.
    """
    match path.suffix.lower():
        case ".parquet":
            return list(parquet_rows(path))
        case ".csv" | ".tsv":
            return list(csv_rows(path, io.StringIO(_read_text(path), newline="")))
        case ".json" | ".jsonl" | ".ndjson":
            return _json_rows(path, _read_text(path))
        case other:
            known = ", ".join(sorted(TABLE_SUFFIXES))
            raise MetadataError(f"{path} ends in {other or 'no suffix'}: tables are read from {known}. Rename it.")


def one_row_of(rows: Sequence[RawRow]) -> RawRow:
    """The row that a file of one object holds, whose keys were taken to lead to rows: JSON lines of one line, say."""
    return RawRow(where="line 1", fields={str(row.key): row.fields or row.bare for row in rows})


def as_one_row(rows: Sequence[RawRow]) -> list[RawRow]:
    """Rows, where an object is a row and never keyed by file: a file of one line of JSON is that one row.

    >>> as_one_row([RawRow(where="key 'photo'", key="photo", bare="a.jpg"), RawRow(where="", key="x0", bare=3)])
    [RawRow(where='line 1', fields={'photo': 'a.jpg', 'x0': 3}, key=None, bare=None)]
    """
    if not rows or any(row.key is None or row.fields for row in rows):
        return list(rows)
    return [one_row_of(rows)]


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise MetadataError(f"{path} does not exist: check the path.") from error
    except OSError as error:
        raise MetadataError(f"{path} cannot be read: {error.strerror or error}.") from error
    return decode_text(path, content)


def decode_text(path: Path, content: bytes) -> str:
    """UTF-8, UTF-16 or -32 with their marks, else CP949 (Korean Windows). Raises: MetadataError."""
    encoding = next((name for mark, name in BOMS if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        trouble = error
    if encoding == "utf-8" and b"\0" not in content:
        try:
            return content.decode("cp949")
        except UnicodeDecodeError:
            encoding = "utf-8 nor CP949"
    line = content.count(b"\n", 0, trouble.start) + 1
    raise MetadataError(
        f"{path} is not {encoding.upper()} text: byte 0x{content[trouble.start]:02x} at position {trouble.start:,} "
        f"(line {line:,}) does not decode. Save the file as UTF-8."
    ) from trouble


def _json_rows(path: Path, text: str) -> list[RawRow]:
    try:
        return list(_rows_of_json(path, json.loads(text)))
    except json.JSONDecodeError as error:
        if not text.strip():
            raise MetadataError(f"{path} is empty. Write a list of rows into it.") from error
        if _first_line_is_json(text):
            # Not splitlines(): JSON text may hold U+2028 and the like unescaped, which it takes for ends of lines.
            return list(json_line_rows(path, text.split("\n")))
        cut_off = " The file seems to be cut off." if error.pos >= len(text.rstrip()) else ""
        raise MetadataError(
            f"{path} is not JSON: line {error.lineno:,}, column {error.colno:,}: {error.msg}.{cut_off} {_FIX_JSON}."
        ) from error
    except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise MetadataError(f"{path} is not JSON that can be read: {error}. {_FIX_JSON}.") from error


def _first_line_is_json(text: str) -> bool:
    """Whether this is JSON lines, whatever the suffix says."""
    try:
        return isinstance(json.loads(text.lstrip().partition("\n")[0]), dict | str)
    except (ValueError, RecursionError):
        return False


def json_line_rows(path: Path, lines: Iterable[str]) -> Iterator[RawRow]:
    """The rows of JSON lines. Raises: MetadataError."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            column = (
                f", column {error.colno:,}: {error.msg}" if isinstance(error, json.JSONDecodeError) else f": {error}"
            )
            raise MetadataError(
                f"{path} is not JSON lines: line {number:,}{column}. Correct or delete that line."
            ) from error
        yield _row(path, where, value)


def _row(path: Path, where: str, value: Any) -> RawRow:
    match value:
        case dict():
            return RawRow(where=where, fields=value)
        case str():
            return RawRow(where=where, bare=value)
        case _:
            raise MetadataError(
                f'{path}: {where} is {_kind_of(value)}. A row is an object such as {{"image": "a.jpg", "name": "…"}}.'
            )


def _kind_of(value: Any) -> str:
    match value:
        case list():
            return "a list"
        case None:
            return "null"
        case bool():
            return "true or false"
        case _:
            return "a number"


def _rows_of_json(path: Path, document: Any) -> Iterator[RawRow]:
    """Rows of a list, of an object around one list of rows, of one row, or of an object keyed by file or by name."""
    if isinstance(document, dict):
        lists = {key: value for key, value in document.items() if _is_list_of_rows(value)}
        if len(lists) > 1:
            names = ", ".join(repr(key) for key in lists)
            raise MetadataError(f"{path} holds {len(lists)} lists of rows ({names}). Keep the one that lists photos.")
        if not lists:
            yield from _keyed_rows(document)
            return
        document = next(iter(lists.values()))
    if not isinstance(document, list):
        raise MetadataError(f"{path} holds {_kind_of(document)}, not rows. Write a list of rows into it.")
    for number, value in enumerate(document, start=1):
        yield _row(path, f"row {number}", value)


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _keyed_rows(document: Mapping[str, Any]) -> Iterator[RawRow]:
    for key, value in document.items():
        where = f"key {key!r}"
        if isinstance(value, dict):
            yield RawRow(where=where, key=key, fields=value)
        else:
            yield RawRow(where=where, key=key, bare=value)


def csv_rows(path: Path, text: TextIO) -> Iterator[RawRow]:
    """The rows of CSV or TSV, a line in memory. `text` was opened with `newline=""`. Raises: MetadataError."""
    blank, header_line = 0, ""
    for header_line in text:
        if header_line.strip():
            break
        blank += 1
    separator = "\t" if path.suffix.lower() == ".tsv" else max(",;\t", key=header_line.count)
    reader = csv.reader(chain(["\n"] * blank, [header_line], text), delimiter=separator, strict=True)
    header: list[str] | None = None
    line = 1
    try:
        for fields in reader:
            start, line = line, reader.line_num + 1
            while fields and not fields[-1].strip() and len(fields) > len(header or ()):
                fields.pop()
            if not any(field.strip() for field in fields):
                continue
            if header is None:
                header = [name.strip() for name in fields]
                continue
            yield RawRow(where=f"line {start}", fields=_named(path, header, fields, start))
    except csv.Error as error:
        raise MetadataError(
            f"{path} is not CSV that can be read: line {line:,}: {error}. Look for a quotation mark that is not closed."
        ) from error


def _named(path: Path, header: list[str], fields: list[str], line: int) -> dict[str, str]:
    if len(fields) > len(header):
        raise MetadataError(
            f"{path}: line {line:,} has {len(fields)} fields and the first line names {len(header)}. "
            "Put a field that holds the separator in quotation marks."
        )
    return dict(zip(header, fields, strict=False))


def parquet_rows(path: Path) -> Iterator[RawRow]:
    """The rows of a Parquet file, a batch in memory. Raises: as `read_table`."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("Reading Parquet", extra="parquet") from error
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(columns=_columns_without_bytes(file.schema_arrow)):
                for fields in batch.to_pylist():
                    number += 1
                    yield RawRow(where=f"row {number}", fields=fields)
    except FileNotFoundError as error:
        raise MetadataError(f"{path} does not exist: check the path.") from error
    except (OSError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise MetadataError(f"{path} is not Parquet that can be read: {reason}. Write or download it again.") from error


def _columns_without_bytes(schema: Any) -> list[str]:
    """Names of the columns to read: a column of photos as bytes would fill the memory, and its paths are enough."""
    import pyarrow.types as types

    def holds_bytes(kind: Any) -> bool:
        return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))

    columns: list[str] = []
    for column in schema:
        if types.is_struct(column.type):
            columns += [f"{column.name}.{child.name}" for child in column.type if not holds_bytes(child.type)]
        elif not holds_bytes(column.type):
            columns.append(column.name)
    return columns
