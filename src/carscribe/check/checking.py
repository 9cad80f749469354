"""The check itself: read every photo once, in threads, and say what is wrong with it and with the set.

Of a photo that has no fault only its hash, its size and a sketch are kept: 50 bytes in memory and 4.5 KiB in a file.
"""

import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from carscribe.check.faults import FAULTS, METADATA_FAULTS, Fault, FaultKind, Limits, faults_of
from carscribe.check.measures import PREVIEW_PX, Measures, measure
from carscribe.check.report import CheckedPhoto, Group, Member, Report, Respelt
from carscribe.check.spelling import count_names, one_spelling, respelt
from carscribe.errors import InputError, PhotoError
from carscribe.evaluate.vocabulary import shipped_vocabulary
from carscribe.found import PhotoList, Photos
from carscribe.likeness import Sketch, SketchBook, sketch_of
from carscribe.photos.decode import read_preview
from carscribe.pipeline import match_photos
from carscribe.reading_ahead import read_ahead
from carscribe.records import PIXEL_LIMIT, PhotoFile


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRequest:
    """What to check. `kept` are faults for which `describe` is not to skip a photo."""

    sources: tuple[Path, ...]
    metadata: Path | None = None
    metadata_keys: Mapping[str, str] | None = None
    limits: Limits = field(default_factory=Limits)
    kept: frozenset[FaultKind] = frozenset()
    limit: int | None = None
    pixel_limit: int = PIXEL_LIMIT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Looked:
    """What is left of a photo once it was looked at."""

    size_bytes: int
    sha256: bytes = b""
    width_px: int = 0
    height_px: int = 0
    sketch: Sketch | None = None
    measures: Measures | None = None
    error: str = ""


@dataclass(slots=True)
class _Seen:
    """What is kept of all photos, side by side by their places; `faults` of the flagged ones alone.

    `first` has the place of the first photo of some bytes, `twins` those of the others by it. `sketched` are the places
    of the photos that sketches were made of.
    """

    hashes: bytearray = field(default_factory=bytearray)
    bytes_: "array[int]" = field(default_factory=lambda: array("Q"))
    widths: "array[int]" = field(default_factory=lambda: array("L"))
    heights: "array[int]" = field(default_factory=lambda: array("L"))
    faults: dict[int, list[Fault]] = field(default_factory=dict)
    first: dict[bytes, int] = field(default_factory=dict)
    twins: dict[int, list[int]] = field(default_factory=dict)
    sketched: "array[int]" = field(default_factory=lambda: array("L"))

    def __len__(self) -> int:
        return len(self.bytes_)

    def sha256(self, place: int) -> str | None:
        """The hash of a photo's bytes; None where it could not be read."""
        own = self.hashes[32 * place : 32 * place + 32]
        return own.hex() if any(own) else None

    def flag(self, place: int, fault: Fault) -> None:
        """Note one more fault of a photo."""
        self.faults.setdefault(place, []).append(fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """Places of photos that are one picture, the one to keep first."""

    why: Literal["same_bytes", "near_duplicate"]
    places: tuple[int, ...]


def check(
    request: CheckRequest,
    *,
    found: Callable[[int], None] = lambda _: None,
    read: Callable[[int], None] = lambda _: None,
    compared: Callable[[int, int], None] = lambda _, __: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Report:
    """Look at every photo and report. `found` is told how many there are, `read` and `compared` how many are done.

    Raises: InputError before the first photo is read; MissingExtraError when there are names and no rapidfuzz.
    """
    if request.limit is not None and request.limit < 1:
        raise InputError(f"--limit must be at least 1, not {request.limit}.")
    started = time.monotonic()
    matched = match_photos(request.sources, metadata=request.metadata, metadata_keys=request.metadata_keys)
    files = matched.files if request.limit is None else PhotoList(islice(matched.files, request.limit))
    match = matched.match
    found(len(files))
    names = count_names(file.metadata.name for file in files)
    spellings = tuple(_respelt(names))
    seen = _Seen()
    with SketchBook() as book:
        for looked in _look(files, request, stopped):
            _note(seen, book, looked, request.limits)
            read(len(seen))
        groups = list(_groups(seen, book, request.limits, compared))
    for group in groups:
        _flag_group(seen, group, files)
    unknown = _flag_kinds(seen, files)
    return Report(
        photos=len(files),
        read=len(seen),
        stopped=len(seen) < len(files),
        seconds=time.monotonic() - started,
        limits=request.limits,
        flagged=tuple(_flagged(seen, files, request.kept)),
        groups=tuple(_told(group, seen, files) for group in groups),
        spellings=spellings,
        unknown_kinds=unknown,
        conflicts=match.conflicts if match else (),
        rows_without_photo=len(match.rows_without_photo) if match else 0,
        photos_without_row=len(match.photos_without_row) if match else 0,
    )


def _look(files: Photos, request: CheckRequest, stopped: Callable[[], bool]) -> Iterator[_Looked]:
    """Every photo in turn, read and measured in threads; ends early when `stopped` says so."""

    def look(file: PhotoFile) -> _Looked:
        try:
            size_bytes = file.path.stat().st_size
        except (OSError, ValueError):
            size_bytes = 0
        try:
            preview = read_preview(file.path, PREVIEW_PX, pixel_limit=request.pixel_limit)
            return _Looked(
                size_bytes=size_bytes,
                sha256=bytes.fromhex(preview.sha256),
                width_px=preview.width_px,
                height_px=preview.height_px,
                sketch=sketch_of(preview.pixels),
                measures=measure(preview, too_dark=request.limits.dark),
            )
        except (PhotoError, MemoryError) as error:
            return _Looked(size_bytes=size_bytes, error=str(error) or "does not fit in memory")

    with closing(read_ahead(files, look)) as looked:
        for each in looked:
            yield each
            if stopped():
                return


def _note(seen: _Seen, book: SketchBook, looked: _Looked, limits: Limits) -> None:
    """Keep of one more photo what is needed, and its faults."""
    place = len(seen)
    seen.hashes += looked.sha256 or bytes(32)
    seen.bytes_.append(looked.size_bytes)
    seen.widths.append(looked.width_px)
    seen.heights.append(looked.height_px)
    if looked.measures is None or looked.sketch is None:
        seen.flag(place, Fault(kind="unreadable", says=looked.error))
        return
    for fault in faults_of(looked.measures, limits):
        seen.flag(place, fault)
    first = seen.first.setdefault(looked.sha256, place)
    if first == place:
        book.add(looked.sketch)
        seen.sketched.append(place)
    else:
        seen.twins.setdefault(first, []).append(place)


def _groups(seen: _Seen, book: SketchBook, limits: Limits, compared: Callable[[int, int], None]) -> Iterator[_Group]:
    """Photos that are one picture, by the place of the first. Those with the same bytes stand in one group each; where
    others are nearly alike to them, all of them stand in a second one too."""
    for first, others in seen.twins.items():
        yield _Group(why="same_bytes", places=(first, *others))
    count = len(book)
    for numbers in book.groups(seen=lambda done: compared(done, count), like=limits.near_duplicate):
        places = sorted(place for number in numbers for place in _with_twins(seen, seen.sketched[number]))
        best = max(
            places, key=lambda place: (place not in seen.faults, seen.widths[place] * seen.heights[place], -place)
        )
        yield _Group(why="near_duplicate", places=(best, *(place for place in places if place != best)))


def _with_twins(seen: _Seen, place: int) -> list[int]:
    return [place, *seen.twins.get(place, [])]


def _flag_group(seen: _Seen, group: _Group, files: Photos) -> None:
    """Flag all of a group but the one to keep, and all where their metadata disagree."""
    best = files[group.places[0]]
    same = "has the same bytes as" if group.why == "same_bytes" else "is one picture with"
    flagged = [place for place in group.places[1:] if not _is_flagged(seen, place, group.why)]
    for place in flagged:
        seen.flag(place, Fault(kind=group.why, says=f"{same} {best.key}"))
    members = [(place, files[place]) for place in group.places]
    names = Counter(one_spelling(file.metadata.name) for _, file in members if file.metadata.name)
    kinds = [shipped_kinds(file.metadata.kind) for _, file in members if file.metadata.kind]
    known = [kind for kind in kinds if kind]
    told: list[tuple[FaultKind, str]] = []
    if len(names) > 1:
        said = " and ".join(dict.fromkeys(file.metadata.name for _, file in members if file.metadata.name))
        told.append(("two_names", f"one picture is called {said}"))
    if known and not frozenset.intersection(*known):
        said = " and ".join(dict.fromkeys(file.metadata.kind for _, file in members if file.metadata.kind))
        told.append(("two_kinds", f"one picture is said to be of the kinds {said}"))
    for kind, says in told:
        for place, _ in members:
            if not _is_flagged(seen, place, kind):
                seen.flag(place, Fault(kind=kind, says=says))


def _is_flagged(seen: _Seen, place: int, kind: FaultKind) -> bool:
    return any(fault.kind == kind for fault in seen.faults.get(place, ()))


def shipped_kinds(kind: str) -> frozenset[str]:
    """The body types that a crawled kind means, in either language; empty for one that is not known.

    >>> sorted(shipped_kinds("RV")), sorted(shipped_kinds("화물"))
    (['minivan', 'suv', 'van'], [])
    """
    return frozenset(shipped_vocabulary().attributes["body_type"].values_of(kind))


def _flag_kinds(seen: _Seen, files: Photos) -> dict[str, int]:
    """Flag photos whose kind is none that is known; how many there are of each such kind."""
    unknown: Counter[str] = Counter()
    known: dict[str, bool] = {}
    for place in range(len(seen)):
        kind = files[place].metadata.kind
        if kind is None:
            continue
        if kind not in known:
            known[kind] = bool(shipped_kinds(kind))
        if not known[kind]:
            unknown[kind] += 1
            seen.flag(place, Fault(kind="unknown_kind", says=f"{kind!r} is no body type that is known"))
    return dict(unknown.most_common())


def _respelt(names: Counter[str]) -> Iterator[Respelt]:
    for group in respelt(names) if len(names) > 1 else ():
        yield Respelt(names=tuple((name, names[name]) for name in group))


def _flagged(seen: _Seen, files: Photos, kept: frozenset[FaultKind]) -> Iterator[CheckedPhoto]:
    for place in sorted(seen.faults):
        faults = tuple(sorted(seen.faults[place], key=lambda fault: FAULTS.index(fault.kind)))
        file = files[place]
        yield CheckedPhoto(
            key=file.key,
            location=file.location,
            size_bytes=seen.bytes_[place],
            sha256=seen.sha256(place),
            width_px=seen.widths[place],
            height_px=seen.heights[place],
            faults=faults,
            skip=any(fault.kind not in kept and fault.kind not in METADATA_FAULTS for fault in faults),
        )


def _told(group: _Group, seen: _Seen, files: Photos) -> Group:
    members = [(files[place], seen.sha256(place) or "") for place in group.places]
    return Group(
        why=group.why,
        keep=members[0][0].key,
        members=tuple(Member(key=file.key, location=file.location, sha256=sha256) for file, sha256 in members),
    )
