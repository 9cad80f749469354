"""Bring crawled metadata to the photos it belongs to. Reading it from a file is `read_rows`, from `rows`.

A million photos and a million rows are matched by dictionaries, never by comparing each with each.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import unquote

from carscribe.photos.rows import MetadataRow, looks_like_photo, read_rows
from carscribe.records import Metadata, PhotoFile

__all__ = ["MetadataMatch", "MetadataRow", "match_metadata", "merge_metadata", "read_rows"]

# How sure a match is: more common path parts are surer, the whole relative path is surest, a likeness of names least.
_EXACT = 1_000
_BY_STEM = 0
_BY_NAME = -1
_SEVERAL = -1  # in an index: several photos are called so


@dataclass(frozen=True, slots=True, kw_only=True)
class MetadataMatch:
    """Photos with their metadata, in the order given, and what did not fit.

    `rows_matched` counts the rows that fit at least one photo; the other ones are in `rows_without_photo`, so the two
    add up to `rows_total`. `conflicts` says where rows disagree, and where a row fits several photos and so none.
    """

    files: tuple[PhotoFile, ...]
    rows_matched: int
    rows_total: int
    photos_without_row: tuple[str, ...]
    rows_without_photo: tuple[str, ...]
    conflicts: tuple[str, ...]


def match_metadata(photos: Iterable[PhotoFile], rows: Sequence[MetadataRow]) -> MetadataMatch:
    """Give each photo the metadata of its row.

    A row's image finds the photo that shares the longest end of its path with it, whatever case, Unicode form, slashes
    or leading folders either side has; URLs are taken without query. A bare file name that several folders have finds
    none of them. Failing that, a name without suffix, or the row's own name where it is the photo's stem, if only one
    photo answers to it. Of several rows that fit one photo as well, the first wins, later ones fill its blanks.
    """
    files = tuple(photos)
    index = _Index(files)
    conflicts: list[str] = []
    strengths: dict[int, int] = {}
    claimants: dict[int, list[int]] = {}  # photo -> the rows that fit it best, in order
    for number, row in enumerate(rows):
        for photo, strength in _claims(index, row, conflicts):
            held = strengths.get(photo)
            if held is None or strength > held:
                strengths[photo], claimants[photo] = strength, [number]
            elif strength == held:
                claimants[photo].append(number)
    attached = list(files)
    matched: set[int] = set()
    for photo in sorted(claimants):
        file = files[photo]
        matched.update(claimants[photo])
        metadata, disputes = _settle(file.key, [rows[number] for number in claimants[photo]])
        attached[photo] = PhotoFile(
            location=file.location, key=file.key, metadata=merge_metadata(metadata, file.metadata)
        )
        conflicts += disputes
    return MetadataMatch(
        files=tuple(attached),
        rows_matched=len(matched),
        rows_total=len(rows),
        photos_without_row=tuple(file.key for number, file in enumerate(files) if number not in claimants),
        rows_without_photo=tuple(_label(row) for number, row in enumerate(rows) if number not in matched),
        conflicts=tuple(conflicts),
    )


def merge_metadata(first: Metadata, second: Metadata) -> Metadata:
    """The first metadata, its blanks filled from the second.

    >>> merge_metadata(Metadata(name="Audi A4"), Metadata(name="A4", kind="sedan")).kind
    'sedan'
    """
    if second == Metadata():
        return first
    return Metadata(
        name=first.name if first.name is not None else second.name,
        kind=first.kind if first.kind is not None else second.kind,
        extra={**second.extra, **first.extra},
    )


def _label(row: MetadataRow) -> str:
    """A row in words: "row 3 (kia-k5.jpg)"."""
    what = ", ".join(row.images[:3]) + (", …" if len(row.images) > 3 else "") or row.metadata.name
    return f"{row.where} ({what})" if what else row.where


def _settle(key: str, rows: Sequence[MetadataRow]) -> tuple[Metadata, list[str]]:
    """One metadata from the rows that fit one photo equally well, and a line for each that contradicts the first."""
    first, disputes = rows[0], []
    metadata = first.metadata
    for row in rows[1:]:
        if _disagree(metadata.name, row.metadata.name) or _disagree(metadata.kind, row.metadata.kind):
            said, says = _said(metadata), _said(row.metadata)
            disputes.append(f"{key}: {first.where} says {said}, {row.where} says {says}; {first.where} was taken")
        else:
            metadata = merge_metadata(metadata, row.metadata)
    return metadata, disputes


def _disagree(one: str | None, other: str | None) -> bool:
    return one is not None and other is not None and one != other


def _said(metadata: Metadata) -> str:
    kind = f" ({metadata.kind})" if metadata.kind else ""
    return f"{metadata.name or 'no name'}{kind}"


def _claims(index: "_Index", row: MetadataRow, conflicts: list[str]) -> Iterator[tuple[int, int]]:
    """The photos a row fits, each with how sure that is. Ambiguous images are noted in `conflicts`."""
    found = False
    for image in row.images:
        photo, strength = index.find(image)
        if photo == _SEVERAL:
            conflicts.append(f"{row.where}: {image} fits several photos; write more of its path")
        elif photo is not None:
            yield photo, strength
        # An ambiguous image was looked for and found: the row's name is no better guide.
        found = found or photo is not None
    if not found and row.metadata.name is not None:
        photo = index.by_name.get(_letters(row.metadata.name))
        if photo is not None and photo != _SEVERAL:
            yield photo, _BY_NAME


def _folded(path: str) -> str:
    """A path without case, Unicode form, direction of slashes, and leading `./` or `/`."""
    # The ASCII way is a third of the work, and this runs once for each photo and each row of millions.
    folded = path.lower() if path.isascii() else unicodedata.normalize("NFC", path).casefold()
    folded = folded.replace("\\", "/").lstrip("/")
    if "./" in folded or "//" in folded:
        return "/".join(part for part in folded.split("/") if part not in ("", "."))
    return folded


def _spellings(image: str) -> Iterator[str]:
    """The folded paths a row's image may mean: a URL's path decoded, then as it stands; a plain path the other way."""
    path, is_url = image.strip(), "://" in image
    if is_url:
        address = path.partition("://")[2].partition("?")[0].partition("#")[0]
        path = address.partition("/")[2]
    if "%" not in path:
        yield _folded(path)
        return
    decoded = unquote(path)
    yield from (_folded(decoded), _folded(path)) if is_url else (_folded(path), _folded(decoded))


def _ending(folded: str, parts: int) -> str:
    """The last parts of a folded path."""
    return folded.rpartition("/")[2] if parts == 1 else "/".join(folded.rsplit("/", parts)[-parts:])


def _stem(name: str) -> str:
    """A file name without the suffix of a photo; other dots belong to the name ("id.3")."""
    return name.rpartition(".")[0] if looks_like_photo(name) else name


def _letters(text: str) -> str:
    """Letters and digits alone, without case and accents: "Citroën C-HR" and "citroen_c_hr" are one."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text).casefold() if letter.isalnum())


def _unique(names: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Name -> photo, `_SEVERAL` for a name of more than one."""
    index: dict[str, int] = {}
    for name, photo in names:
        index[name] = photo if name not in index else _SEVERAL
    return index


class _Index:
    """Every way to find a photo by name. What only the last resorts need is built when first asked for."""

    def __init__(self, files: Sequence[PhotoFile]) -> None:
        self._paths = [_folded(file.location) for file in files]
        self._by_written_key = {unicodedata.normalize("NFC", file.key): photo for photo, file in enumerate(files)}
        self._by_key = _unique((_folded(file.key), photo) for photo, file in enumerate(files))
        self._by_ending = list(self._endings())

    def _endings(self) -> Iterator[dict[str, int]]:
        """Ends of paths of one part, then of two for the photos that share the first with another, and so on."""
        shared: Iterable[int] = range(len(self._paths))
        parts = 1
        while True:
            ends = [(_ending(self._paths[photo], parts), photo) for photo in shared]
            if not ends:
                return
            index = _unique(ends)
            yield index
            shared = [p for end, p in ends if index[end] == _SEVERAL and self._paths[p].count("/") >= parts]
            parts += 1

    @cached_property
    def _by_stem(self) -> dict[str, int]:
        return _unique((_stem(_ending(path, 1)), photo) for photo, path in enumerate(self._paths))

    @cached_property
    def by_name(self) -> dict[str, int]:
        """Letters of the file's stem -> photo, or `_SEVERAL`. A stem without letters answers to nothing."""
        named = ((_letters(_stem(_ending(path, 1))), photo) for photo, path in enumerate(self._paths))
        return _unique((name, photo) for name, photo in named if name)

    def find(self, image: str) -> tuple[int | None, int]:
        """The photo a row's image means (None for none, `_SEVERAL` for more than one) and how sure that is."""
        exact = self._by_written_key.get(image if image.isascii() else unicodedata.normalize("NFC", image))
        if exact is not None:
            return exact, _EXACT
        spellings = [spelling for spelling in _spellings(image) if spelling]
        for spelling in spellings:
            photo, strength = self._by_path(spelling)
            if photo is not None:
                return photo, strength
        for spelling in spellings:
            stem = _ending(spelling, 1)
            photo = self._by_stem.get(stem, self._by_stem.get(_stem(stem)))
            if photo is not None:
                return photo, _BY_STEM
        return None, 0

    def _by_path(self, path: str) -> tuple[int | None, int]:
        exact = self._by_key.get(path)
        if exact is not None and exact != _SEVERAL:
            return exact, _EXACT
        photo: int | None = None
        for parts, index in enumerate(self._by_ending[: path.count("/") + 1], start=1):
            longer = index.get(_ending(path, parts))
            if longer is None:
                break  # the shorter end that fitted, if any, is the longest, unique or not
            photo = longer
            if photo != _SEVERAL:
                return photo, _common_end(self._paths[photo], path)
        return photo, 0


def _common_end(one: str, other: str) -> int:
    """How many parts two folded paths share, counted from their ends."""
    length = 0
    for mine, theirs in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if mine != theirs:
            break
        length += 1
    return length
