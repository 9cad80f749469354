"""Takes photos out of shards into a folder: `images/` and `cars.jsonl`, which `describe` reads as they are.

    find shards -> read samples -> a photo beside, then in its place -> its row -> every thousand, note how far it is

A photo is one in memory at a time. What the note says is done is on disk; after a kill the rows behind it are cut off
and written again, and the photos that they name are found with the same bytes. No file is ever overwritten.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, assert_never

from filelock import FileLock, Timeout

from carscribe.errors import InputError, OutputError
from carscribe.export.names import PART_BYTES, PATH_BYTES, safe_parts, split_suffix
from carscribe.importing.shards import PackedLeftOut, PackedPhoto, Sample, Shard, find_shards
from carscribe.importing.tables import table_samples
from carscribe.importing.tars import tar_samples
from carscribe.photos.rows import row_reader
from carscribe.photos.signature import HEAD_BYTES, describe_stranger, format_of
from carscribe.photos.tables import RawRow
from carscribe.whole_files import write_whole

IMAGES, CARS_FILE = "images", "cars.jsonl"
NOTE, LOCK = ".carscribe-import.json", ".carscribe-import.lock"
"""How far an import is, and what keeps a second one out."""

NOTED_EVERY = 1000
"""Samples after which it is noted how far an import is."""

_PART = ".carscribe-part"


@dataclass(slots=True, kw_only=True)
class ShardNote:
    """How far a shard is: `samples` of it were looked at and gave `photos`. Size and time tell it from another."""

    path: str
    size_bytes: int
    mtime_ns: int
    samples: int = 0
    photos: int = 0
    begun: bool = False
    done: bool = False

    @property
    def is_underway(self) -> bool:
        """Whether rows of it may lie behind those that are noted."""
        return self.begun and not self.done


@dataclass(slots=True, kw_only=True)
class ImportNote:
    """How far an import is. `cars_bytes` of `cars.jsonl` are those of the shards as noted."""

    cars_bytes: int = 0
    shards: dict[str, ShardNote] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedPhotos:
    """What an import left. `photos` are all in the folder, `new` those of this run, `left_out` what this run saw.

    `unmet` are fields that were to hold a name or a kind, and that no photo of this run had.
    """

    folder: Path
    shards: int
    photos: int
    new: int
    left_out: PackedLeftOut
    unmet: tuple[str, ...]
    finished: bool


def import_photos(
    sources: Sequence[Path],
    to: Path,
    *,
    keys: Mapping[str, str] | None = None,
    image: str | None = None,
    seen: Callable[[int], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> ImportedPhotos:
    """Take the photos out of shards into `to`, or go on with that. `keys` says which fields hold "name" and "kind".

    A photo of the shard `train/0001` is `images/train/0001/KEY.jpg`, its row in `cars.jsonl` has its `image`, `name`
    and `kind`, and every other field as it was. `image` is the column of photos where a table has several.

    Raises: PhotosError, OutputError, MissingExtraError.
    """
    shards = find_shards(sources)
    if keys and "image" in keys:
        raise InputError(
            "Of --metadata-keys, image is not for packed photos: --image names a table's column of photos."
        )
    with _sole_import(to) as note:
        _same_shards(shards, note, to)
        unpacker = _Unpacker(to, note, keys or {})
        try:
            finished = unpacker.unpack(shards, image, seen, stopped)
        except OSError as error:
            raise OutputError(
                f"{to} cannot be written: {error.strerror or error}. What is there stays; the same command goes on."
            ) from error
    return ImportedPhotos(
        folder=to,
        shards=len(shards),
        photos=sum(shard.photos for shard in note.shards.values()),
        new=unpacker.new,
        left_out=unpacker.left_out,
        unmet=tuple(sorted(unpacker.unmet)) if unpacker.new else (),
        finished=finished,
    )


@contextmanager
def _sole_import(to: Path) -> Iterator[ImportNote]:
    """The note of the import into a folder, which nobody else writes to. Raises: OutputError."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        others = [entry.name for entry in to.iterdir() if entry.name not in {LOCK, NOTE}]
    except OSError as error:
        raise OutputError(f"{to} cannot be made: {error.strerror or error}. Name another folder with --to.") from None
    if others and not (to / NOTE).is_file():
        raise OutputError(f"{to} holds something else ({', '.join(sorted(others)[:3])}). Name a new folder with --to.")
    lock = FileLock(to / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise OutputError(
            f"Another import writes to {to}. Wait for its end, or name another folder with --to."
        ) from None
    except OSError as error:
        raise OutputError(
            f"{to} cannot be written: {error.strerror or error}. Name another folder with --to."
        ) from None
    try:
        yield _read_note(to / NOTE)
    finally:
        lock.release()


def _read_note(path: Path) -> ImportNote:
    try:
        document = json.loads(path.read_text("utf-8"))
        shards = {label: ShardNote(**each) for label, each in document["shards"].items()}
        return ImportNote(cars_bytes=int(document["cars_bytes"]), shards=shards)
    except FileNotFoundError:
        return ImportNote()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise OutputError(f"{path} is damaged ({error}). Import into a new folder.") from None


def _same_shards(shards: Sequence[Shard], note: ImportNote, to: Path) -> None:
    """Note new shards. Raises: OutputError when one is not the one that was begun."""
    for shard in shards:
        status, path = shard.path.stat(), os.path.abspath(shard.path)  # noqa: PTH100 - links stay as they are
        known = note.shards.setdefault(
            shard.label, ShardNote(path=path, size_bytes=status.st_size, mtime_ns=status.st_mtime_ns)
        )
        if (known.size_bytes, known.mtime_ns) != (status.st_size, status.st_mtime_ns):
            raise OutputError(
                f"{shard.path} is not as it was when its photos were imported into {to} ({known.path}, "
                f"{known.size_bytes:,} bytes). Import it into a new folder."
            )


class _Unpacker:
    """Writes photos and rows. `new` counts the photos of this run; `unmet` are columns of `keys` that none had."""

    def __init__(self, to: Path, note: ImportNote, keys: Mapping[str, str]) -> None:
        self.left_out = PackedLeftOut()
        self.new = 0
        self.unmet = set(keys.values())
        self._to, self._note, self._keys = to, note, keys

    def unpack(
        self, shards: Sequence[Shard], image: str | None, seen: Callable[[int], None], stopped: Callable[[], bool]
    ) -> bool:
        """Whether it came to its end."""
        waiting = [shard for shard in shards if not self._note.shards[shard.label].done]
        if not waiting:
            return True
        _write_note(self._to / NOTE, self._note)  # before anything else is there: the folder is known by it
        with _rows_to(self._to / CARS_FILE, self._note) as cars:
            # The one that was underway first: the rows behind the note are its.
            for shard in sorted(waiting, key=lambda each: not self._note.shards[each.label].begun):
                note = self._note.shards[shard.label]
                if not self._unpack_one(shard, note, cars, image, seen, stopped):
                    return False
        return True

    def _unpack_one(
        self,
        shard: Shard,
        note: ShardNote,
        cars: BinaryIO,
        image: str | None,
        seen: Callable[[int], None],
        stopped: Callable[[], bool],
    ) -> bool:
        folder = f"{IMAGES}/{_safe_path(shard.label)}"
        names: set[int] = set()  # their hashes: of a shard of a million photos, 60 MiB
        first, note.begun = note.samples, True
        _write_note(self._to / NOTE, self._note)
        for sample in self._samples(shard, first, image):
            for photo in sample.photos:
                is_twice = hash(photo.name) in names
                names.add(hash(photo.name))
                if sample.number < first:
                    continue
                if is_twice:
                    self.left_out.duplicates.add(f"{shard.path.name}: {photo.name} is there twice; the first was taken")
                elif self._place(photo, name := f"{folder}/{_safe_path(photo.name)}", shard):
                    cars.write(self._row(photo, name))
                    note.photos += 1
                    self.new += 1
            if sample.number < first:
                continue
            note.samples = sample.number + 1
            seen(1)
            if note.samples % NOTED_EVERY == 0:
                self._keep(cars)
            if stopped():
                self._keep(cars)
                return False
        note.done = True
        self._keep(cars)
        return True

    def _samples(self, shard: Shard, skip: int, image: str | None) -> Iterator[Sample]:
        match shard.kind:
            case "tar":
                return tar_samples(shard, self.left_out, skip=skip)
            case "table":
                return table_samples(shard, self.left_out, skip=skip, image=image)
            case other:
                assert_never(other)

    def _place(self, photo: PackedPhoto, name: str, shard: Shard) -> bool:
        """Write a photo beside, then move it into its place; whether it is there."""
        where = f"{shard.path.name}: {photo.name}"
        head = photo.content[:HEAD_BYTES]
        if format_of(head) is None:
            self.left_out.damaged.add(f"{where} is {describe_stranger(head) if head else 'empty'}")
            return False
        target = self._to / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(target):  # of this import before it was killed; or another photo's
                if target.is_file() and target.read_bytes() == photo.content:
                    return True
                self.left_out.occupied.add(f"{where}: {name} is there with other bytes, and stays")
                return False
        except (FileExistsError, NotADirectoryError):
            self.left_out.occupied.add(f"{where}: a folder of {name} is a file")
            return False
        part = target.parent / _PART
        part.write_bytes(photo.content)
        part.replace(target)
        return True

    def _row(self, photo: PackedPhoto, name: str) -> bytes:
        """A photo's row: its image, name and kind, and each field under its own name, which `original_` may precede."""
        keys = {role: column for role, column in self._keys.items() if column in photo.fields}
        self.unmet.difference_update(keys.values())
        read = row_reader(Path(name), list(photo.fields), keys)
        metadata = read(RawRow(where=photo.name, fields=photo.fields)).metadata
        row: dict[str, Any] = {"image": name}
        for role, value in (("name", metadata.name), ("kind", metadata.kind)):
            if value is not None:
                row[role] = value
        for column, value in photo.fields.items():
            is_other = column in row and row[column] != value
            row[f"original_{column}" if is_other else column] = value
        line = json.dumps(row, ensure_ascii=False, default=str)
        return line.encode("utf-8", "backslashreplace") + b"\n"

    def _keep(self, cars: BinaryIO) -> None:
        """Note how far the import is, with all up to there on disk."""
        cars.flush()
        os.fsync(cars.fileno())
        if hasattr(os, "sync"):  # once for a thousand photos: to wait for each would take longer than to write it
            os.sync()
        self._note.cars_bytes = cars.tell()
        _write_note(self._to / NOTE, self._note)


def _write_note(path: Path, note: ImportNote) -> None:
    write_whole(path, json.dumps(asdict(note), ensure_ascii=False), option="--to")


@contextmanager
def _rows_to(path: Path, note: ImportNote) -> Iterator[BinaryIO]:
    """The file of rows, open behind those that are noted. Raises: OutputError when it was changed since."""
    size = path.stat().st_size if path.exists() else 0
    underway = any(shard.is_underway for shard in note.shards.values())
    if size < note.cars_bytes or (size > note.cars_bytes and not underway):
        raise OutputError(
            f"{path} has {size:,} bytes where the import left {note.cars_bytes:,}: it was changed since. Put it back, "
            "or import into a new folder."
        )
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.truncate(note.cars_bytes)
        file.seek(note.cars_bytes)
        yield file


def _safe_path(name: str) -> str:
    """A name as a path below a folder that every system takes. Where that changes it, a mark tells it from others.

    >>> _safe_path("기아/니로 2.jpg"), _safe_path("../../etc/passwd.jpg")
    ('기아/니로 2.jpg', 'etc/passwd-eeed645d.jpg')
    """
    *folders, file = safe_parts(name)
    path = "/".join((*folders, file))
    if path == name and len(file.encode()) <= PART_BYTES and len(path.encode()) <= PATH_BYTES:
        return path
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    stem, suffix = split_suffix(file)
    stem = stem.encode()[: PART_BYTES - 32].decode("utf-8", "ignore")
    folders = folders if len("/".join(folders).encode()) <= PATH_BYTES - PART_BYTES else []
    return "/".join((*folders, f"{stem}-{mark}{suffix}"))
