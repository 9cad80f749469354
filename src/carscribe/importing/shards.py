"""Finds photos that are packed: tar shards, Arrow and Parquet; says what a sample of them is."""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from carscribe.errors import PhotosError
from carscribe.named import Named
from carscribe.photos.folders import natural_order, printable
from carscribe.photos.packed import TABLE_ENDINGS, TAR_ENDINGS, packed_ending
from carscribe.photos.rows import PHOTO_SUFFIXES


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One packed file. `label` is its path from what the user gave, without its ending: distinct in an import."""

    path: Path
    label: str

    @property
    def kind(self) -> Literal["tar", "table"]:
        """How it is read."""
        return "tar" if packed_ending(self.path.name) in TAR_ENDINGS else "table"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedPhoto:
    """A photo's bytes, the name that it goes by in its shard, and what is said of it."""

    name: str
    content: bytes
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What belongs together in a shard: mostly one photo. `number` counts the shard's samples from 0."""

    number: int
    key: str
    photos: tuple[PackedPhoto, ...]


@dataclass(slots=True)
class PackedLeftOut:
    """What is not taken of shards, each by the reason. `others` counts members that are no photo, by suffix."""

    damaged: Named
    duplicates: Named
    no_photo: Named
    occupied: Named
    others: Counter[str]

    def __init__(self) -> None:
        self.damaged, self.duplicates, self.no_photo, self.occupied = Named(), Named(), Named(), Named()
        self.others = Counter()


def find_shards(sources: Sequence[Path]) -> tuple[Shard, ...]:
    """The packed files of some sources, those of a folder in natural order, those of a saved dataset in its own.

    A source is a tar, an Arrow or Parquet file, a folder of these, or what datasets' `save_to_disk` leaves.

    Raises: PhotosError when a source has none, or two would go by one label.
    """
    shards = [shard for source in sources for shard in _of_source(source)]
    twice = [label for label, count in Counter(shard.label for shard in shards).items() if count > 1]
    if twice:
        raise PhotosError(
            f"Two of the sources have a shard {twice[0]}: their photos could not be told apart. Import them into two "
            "folders."
        )
    return tuple(shards)


def _of_source(source: Path) -> Iterator[Shard]:
    if source.is_dir():
        found = list(_in_folder(source))
        if not found:
            raise PhotosError(_no_shard(source))
        for path in found:
            below = path.relative_to(source).as_posix()
            yield Shard(path=path, label=printable(below.removesuffix(packed_ending(below) or "")))
    elif not source.exists():
        raise PhotosError(f"{source} does not exist. Check the path.")
    elif (ending := packed_ending(source.name)) is None:
        raise PhotosError(
            f"{source} is no shard by its ending. Shards end in {', '.join(TAR_ENDINGS + TABLE_ENDINGS)}."
        )
    else:
        yield Shard(path=source, label=printable(source.name[: -len(ending)]))


def _in_folder(folder: Path) -> Iterator[Path]:
    if (saved := _names_in(folder / "dataset_dict.json", "splits")) is not None:
        for split in saved:
            yield from _in_folder(folder / str(split))
        return
    if (saved := _names_in(folder / "state.json", "_data_files")) is not None:
        yield from (folder / Path(str(each["filename"])).name for each in saved if isinstance(each, dict))
        return
    for at, folders, names in os.walk(folder):
        folders[:] = sorted((name for name in folders if not name.startswith(".")), key=natural_order)
        for name in sorted(names, key=natural_order):
            if not name.startswith(".") and packed_ending(name):
                yield Path(at, name)


def _names_in(path: Path, key: str) -> list[Any] | None:
    """A list out of one of the files that datasets writes beside its data; None where there is none."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise PhotosError(f"{path} cannot be read: {error}. Save the dataset again.") from None
    names = document.get(key) if isinstance(document, dict) else None
    return names if isinstance(names, list) else None


def _no_shard(folder: Path) -> str:
    endings = ", ".join(TAR_ENDINGS + TABLE_ENDINGS)
    if any(Path(name).suffix.lower() in PHOTO_SUFFIXES for _, _, names in os.walk(folder) for name in names):
        return f"{folder} has its photos as files, and no shard ({endings}): carscribe describe reads it as it is."
    return f"No shard in {folder}. Shards end in {endings}."
