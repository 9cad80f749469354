"""Reads tar shards as webdataset means them: members that follow each other and share a name are one sample.

`dir/0001.jpg`, `dir/0001.json` and `dir/0001.txt` are the sample `dir/0001`: a name ends at the first dot behind its
last slash. Members are read as a stream and never extracted by their names: what becomes a file's name is made safe by
whoever writes it. Source: webdataset, tariterators.py (`base_plus_ext`, `group_by_keys`).
"""

import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from carscribe.errors import MetadataError
from carscribe.importing.shards import PackedLeftOut, PackedPhoto, Sample, Shard
from carscribe.photos.folders import printable
from carscribe.photos.rows import PHOTO_SUFFIXES
from carscribe.photos.tables import decode_text
from carscribe.plaintext import plain_lines

PHOTO_BYTES = 512 << 20
"""A larger member is no photo: it would fill the memory."""

TEXT_BYTES = 16 << 20
"""The same for a member of text."""

TEXTS = ("json", "txt", "text", "caption", "cls")
"""What a sample's members of text end in. That of `json` are fields; `cls` is a field; the others are the caption."""

_NAME = re.compile(r"((?:.*/|)[^./]+)\.([^/]+)")
_DAMAGE = (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError, ValueError)


@dataclass(slots=True)
class _Group:
    """The members of a sample, by their endings. One that is not wanted has photos without bytes."""

    number: int
    key: str
    is_wanted: bool
    photos: list[tuple[str, bytes]] = field(default_factory=list)
    texts: dict[str, bytes] = field(default_factory=dict)
    has_members: bool = False


def tar_samples(shard: Shard, left_out: PackedLeftOut, *, skip: int = 0) -> Iterator[Sample]:
    """The samples of a shard, one in memory at a time; the first `skip` by name alone. `left_out` grows on the way.

    Where the tar is damaged, the samples before and, if a header follows, behind the damage are given.
    """
    group: _Group | None = None
    number = 0
    try:
        with tarfile.open(shard.path, "r:*", ignore_zeros=True) as tar:
            for member in _members(tar, shard, left_out):
                named = _NAME.fullmatch(member.name.removeprefix("./"))
                if named is None or not member.isfile():
                    what = "" if member.isfile() else "(link)" if member.islnk() or member.issym() else "(no file)"
                    if not member.isdir() and number >= skip:
                        left_out.others[what or PurePosixPath(member.name).suffix.lower()] += 1
                    continue
                key, ending = printable(named[1]), named[2]
                if group is None or group.key != key:
                    if group is not None:
                        yield _sample(group, shard, left_out)
                    group, number = _Group(number, key, is_wanted=number >= skip), number + 1
                _read(tar, member, ending, group, shard, left_out)
    except _DAMAGE as error:
        left_out.damaged.add(f"{shard.path.name}: is cut off or damaged after {number:,} samples: {_said(error)}")
    if group is not None:
        yield _sample(group, shard, left_out)


def _members(tar: tarfile.TarFile, shard: Shard, left_out: PackedLeftOut) -> Iterator[tarfile.TarInfo]:
    """The members, none remembered; a stretch that is neither member nor padding is named as damage."""
    end = 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]
        if member.offset > end and _is_damage(tar, end, member.offset):
            left_out.damaged.add(f"{shard.path.name}: a header at byte {end:,} is damaged; its member is lost")
        yield member
        end = member.offset_data + -(-(member.size if member.isreg() else 0) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    # Of a compressed tar the rest would have to be unpacked again.
    if shard.path.suffix.lower() == ".tar" and _is_damage(tar, end, end + tarfile.BLOCKSIZE):
        left_out.damaged.add(f"{shard.path.name}: is no tar from byte {end:,} on")


def _is_damage(tar: tarfile.TarFile, start: int, end: int) -> bool:
    """Whether there is anything but zero bytes between two members."""
    assert tar.fileobj is not None
    tar.fileobj.seek(start)
    return any(tar.fileobj.read(min(end - start, tarfile.BLOCKSIZE)))


def _read(
    tar: tarfile.TarFile, member: tarfile.TarInfo, ending: str, group: _Group, shard: Shard, left_out: PackedLeftOut
) -> None:
    """Read a member into its sample, if it is of any use."""
    suffix = ending.rpartition(".")[2].lower()
    is_photo = f".{suffix}" in PHOTO_SUFFIXES
    if not group.is_wanted:
        group.photos += [(ending, b"")] if is_photo else []
        return
    if not is_photo and suffix not in TEXTS:
        left_out.others[f".{suffix}"] += 1
        return
    where = f"{shard.path.name}: {printable(member.name)}"
    group.has_members = True
    limit = PHOTO_BYTES if is_photo else TEXT_BYTES
    if member.size > limit:
        left_out.damaged.add(f"{where}: has {member.size:,} bytes, more than any such member ({limit:,})")
        return
    file = tar.extractfile(member)
    content = file.read() if file is not None else b""
    if len(content) < member.size:
        left_out.damaged.add(f"{where}: is cut off after {len(content):,} of {member.size:,} bytes")
    elif is_photo:
        group.photos.append((ending, content))
    else:
        group.texts[ending.lower()] = content


def _sample(group: _Group, shard: Shard, left_out: PackedLeftOut) -> Sample:
    """A sample of what was read. Beside a photo `0001.jpg`, `0001.seg.png` is another picture of it, and left out."""
    plain = [photo for photo in group.photos if "." not in photo[0]]
    others = len(group.photos) - len(plain) if plain else 0
    if others and group.is_wanted:
        left_out.others["(another picture of its sample)"] += others
    if not group.photos and group.has_members:
        left_out.no_photo.add(f"{shard.path.name}: {group.key} has no photo beside it")
    photos = tuple(
        PackedPhoto(
            name=f"{group.key}.{ending}",
            content=content,
            fields=_fields(group, ending.rpartition(".")[0], shard, left_out),
        )
        for ending, content in (plain or group.photos)
    )
    return Sample(number=group.number, key=group.key, photos=photos)


def _fields(group: _Group, inner: str, shard: Shard, left_out: PackedLeftOut) -> dict[str, Any]:
    """What the texts of a sample say of its photo `key.INNER.jpg`: those of `key.INNER` before those of `key`."""
    fields: dict[str, Any] = {}
    for kind in TEXTS:
        ending = next((each for each in (f"{inner}.{kind}", kind) if each.lstrip(".") in group.texts), None)
        if ending is None:
            continue
        where = f"{shard.path.name}: {group.key}.{ending.lstrip('.')}"
        try:
            text = decode_text(shard.path, group.texts[ending.lstrip(".")])
            value = json.loads(text) if kind == "json" else plain_lines(text).strip()
        except (MetadataError, ValueError, RecursionError):
            left_out.damaged.add(f"{where}: is no {'JSON' if kind == 'json' else 'text'}; its photo was taken")
            continue
        if kind == "json" and isinstance(value, dict):
            fields |= value
        elif kind in {"json", "cls"} or (value and fields.setdefault("text", value) != value):
            fields.setdefault(kind, value)
    return fields


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
