"""Rows of a metadata file one by one, a million of them in flat memory. What is read, and how, is as in `tables`."""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from carscribe.errors import MetadataError
from carscribe.photos.tables import BOMS, RawRow, csv_rows, decode_text, json_line_rows, parquet_rows, read_table

_CHUNK_BYTES = 1 << 16


def stream_table(path: Path) -> Iterator[RawRow]:
    """The rows of a `.jsonl`, `.csv`, `.tsv` or `.parquet` file as they are read; a JSON document is read whole.

    An encoding that does not fit is told before the first row, all else at the row where it stands.

    Raises: as `read_table`.
    """
    match path.suffix.lower():
        case ".parquet":
            yield from parquet_rows(path)
        case ".csv" | ".tsv":
            with path.open(encoding=_encoding(path), newline="") as text:
                yield from csv_rows(path, text)
        case ".jsonl" | ".ndjson" if not _is_one_document(path):
            # Ends of lines are line feeds: JSON text may hold U+2028 and the like unescaped.
            with path.open(encoding=_encoding(path), newline="\n") as text:
                yield from json_line_rows(path, text)
        case _:
            yield from read_table(path)


def _is_one_document(path: Path) -> bool:
    """Whether a file of JSON lines is a list after all, or empty."""
    with _opened(path) as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in {b"[", b""}


def _encoding(path: Path) -> str:
    """The encoding that decodes the whole file, as `decode_text` would take it. Raises: MetadataError."""
    with _opened(path) as file:
        head = file.read(4)
        marked = next((name for mark, name in BOMS if head.startswith(mark)), None)
        for encoding in [marked] if marked else ["utf-8", "cp949"]:
            file.seek(0)
            decoder = codecs.getincrementaldecoder(encoding)()
            try:
                while chunk := file.read(_CHUNK_BYTES):
                    if encoding == "cp949" and b"\0" in chunk:
                        break
                    decoder.decode(chunk)
                else:
                    decoder.decode(b"", final=True)
                    return encoding
            except UnicodeDecodeError:
                continue
    decode_text(path, path.read_bytes())  # it says where, in one line
    raise MetadataError(f"{path} changed while it was read. Run the same command again.")


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise MetadataError(f"{path} does not exist: check the path.") from error
    except OSError as error:
        raise MetadataError(f"{path} cannot be read: {error.strerror or error}.") from error
