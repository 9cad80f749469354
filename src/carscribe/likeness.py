"""Find photos that are one picture: resized, recompressed or cropped. Pure; knows nothing of files.

A photo is kept as a `Sketch`. Its perceptual hash (64 bits, as imagehash's phash) is looked for among the hashes of all
windows that a crop of another photo may have left, and what is alike to some bits is compared pixel by pixel:

    sketch -> hash of the whole, in tables by parts of its bits
           -> hashes of 441 windows -> a part in common -> few bits apart -> window fitted, sketches compared

Each photo is looked up in tables, never compared with every other one. The hash is computed here and not by imagehash
since that takes a photo at a time: 441 windows would be 441 resizes, where two matrix products give them all.
Source: Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010), for the hash.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

LUMA_PX, CHROMA_PX = 64, 16
"""Sides of a sketch's planes, which are square whatever the photo's proportions are."""

SKETCH_BYTES = LUMA_PX**2 + 2 * CHROMA_PX**2

MOST_CUT, CUT_STEP = 0.25, 0.05
"""Of each side of a photo a crop may take so much in all, and windows are so far apart."""

NEAR_BITS = 12
"""Hashes that differ in at most so many of 64 bits are looked at closer."""

LIKE = 0.94
"""Correlation of two sketches' brightness from which on they are one picture: bench/cleaning.py."""

COLOUR_APART = 12.0
"""Mean difference of colour (of 255, in the sixteenth of the window where it is largest) up to which they are."""

_HASH_SIDE, _HASH_PX = 8, 32
_BAND_BITS = (16, 16, 16, 16)
_FIT_PX, _FIT_ROUNDS, _FIT_STEP = 24, 4, 0.025
_WORTH_FITTING, _TRIED = 0.6, 3
_BLOCK, _LOOKED_AT, _FITTED = 64, 2_000_000, 256
_IN_MEMORY_BYTES = 64 * 2**20

Hashes = NDArray[np.uint64]
Edges = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sketch:
    """A photo made very small. `luma` is uint8 [64, 64], `chroma` uint8 [2, 16, 16]: Y, Cb and Cr."""

    luma: NDArray[np.uint8]
    chroma: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Likely:
    """A photo, another one, and the window of the other one that the first may be."""

    photos: NDArray[np.int64]
    others: NDArray[np.int64]
    windows: NDArray[np.int64]

    def between(self, sets: "_Sets") -> "_Likely":
        """Those of photos that do not hang together yet: of many copies not all pairs are compared."""
        pairs = zip(self.photos.tolist(), self.others.tolist(), strict=True)
        apart = np.fromiter((sets.first(a) != sets.first(b) for a, b in pairs), bool, len(self.photos))
        return _Likely(photos=self.photos[apart], others=self.others[apart], windows=self.windows[apart])


def sketch_of(pixels: NDArray[np.uint8]) -> Sketch:
    """The sketch of an RGB picture, uint8 [height, width, 3]; each of its pixels is a mean."""
    planes = Image.fromarray(pixels).convert("YCbCr")
    luma = planes.getchannel(0).resize((LUMA_PX, LUMA_PX), Image.Resampling.BOX)
    chroma = [planes.getchannel(at).resize((CHROMA_PX, CHROMA_PX), Image.Resampling.BOX) for at in (1, 2)]
    return Sketch(luma=np.asarray(luma), chroma=np.stack([np.asarray(plane) for plane in chroma]))


def joined(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    """For each of `count` entries the first one that it hangs together with, by links between two.

    >>> joined(5, [(1, 2), (2, 4)])
    [0, 1, 1, 3, 1]
    """
    sets = _Sets(count)
    for a, b in links:
        sets.join(a, b)
    return [sets.first(index) for index in range(count)]


class _Sets:
    """Entries that hang together, each set known by its first."""

    def __init__(self, count: int) -> None:
        self._root = list(range(count))

    def first(self, index: int) -> int:
        root = self._root
        while root[index] != index:
            root[index] = index = root[root[index]]
        return index

    def join(self, a: int, b: int) -> None:
        low, high = sorted((self.first(a), self.first(b)))
        self._root[high] = low


class SketchBook:
    """Sketches of any number of photos, 4.5 KiB each, in a temporary file once they are many; a context manager."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 - closed in __exit__
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def add(self, sketch: Sketch) -> int:
        """Keep one more sketch; its number, from 0."""
        self._file.seek(self._count * SKETCH_BYTES)
        self._file.write(sketch.luma.tobytes() + sketch.chroma.tobytes())
        self._count += 1
        return self._count - 1

    def groups(self, *, seen: Callable[[int], None] = lambda _: None, like: float = LIKE) -> list[tuple[int, ...]]:
        """Sketches that are one picture, directly or through others, by number. `seen` is told how many are done."""
        roots = joined(len(self), self.links(seen=seen, like=like))
        members: dict[int, list[int]] = {}
        for index, root in enumerate(roots):
            members.setdefault(root, []).append(index)
        return [tuple(group) for group in members.values() if len(group) > 1]

    def links(self, *, seen: Callable[[int], None] = lambda _: None, like: float = LIKE) -> Iterator[tuple[int, int]]:
        """Pairs of sketches that are one picture: enough of them that `joined` finds every group."""
        hashes = np.concatenate([hashes_of(luma, _WHOLE)[:, 0] for luma in self._blocks()] or [np.zeros(0, np.uint64)])
        _, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
        leaders = first[inverse]
        followers = np.flatnonzero(leaders != np.arange(len(hashes)))
        whole = np.zeros(len(followers), np.int64)
        followed = self._compared(_Likely(photos=followers, others=leaders[followers], windows=whole), like)
        yield from followed
        led = np.zeros(len(hashes), bool)
        led[[max(pair) for pair in followed]] = True
        alone = np.flatnonzero(~led)  # of a thousand copies one is looked up
        tables = _Tables(hashes[alone], alone)
        sets = _Sets(len(hashes))
        for start, luma in zip(range(0, len(self), _BLOCK), self._blocks(), strict=True):
            own = np.flatnonzero(~led[start : start + _BLOCK])
            if own.size:
                likely = tables.likely(hashes_of(luma[own], _WINDOWS), own + start).between(sets)
                for link in self._compared(likely, like):
                    sets.join(*link)
                    yield link
            seen(min(start + _BLOCK, len(self)))

    def _blocks(self) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(self), _BLOCK):
            yield self._read(range(start, min(start + _BLOCK, len(self))))[0]

    def _read(self, numbers: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Brightness [n, 64, 64] and colour [n, 2, 16, 16] of some sketches."""
        read = np.empty((len(numbers), SKETCH_BYTES), np.uint8)
        for place, number in enumerate(numbers):
            if not place or number != numbers[place - 1] + 1:
                self._file.seek(number * SKETCH_BYTES)
            read[place] = np.frombuffer(self._file.read(SKETCH_BYTES), np.uint8)
        luma, chroma = np.split(read, [LUMA_PX**2], axis=1)
        return luma.reshape(-1, LUMA_PX, LUMA_PX), chroma.reshape(-1, 2, CHROMA_PX, CHROMA_PX)

    def _compared(self, likely: _Likely, like: float) -> list[tuple[int, int]]:
        """Those likely pairs that are one picture."""
        links: list[tuple[int, int]] = []
        for start in range(0, len(likely.photos), _FITTED):
            part = slice(start, start + _FITTED)
            photos, others = likely.photos[part], likely.others[part]
            luma, chroma = self._read(photos.tolist())
            other_luma, other_chroma = self._read(others.tolist())
            edges = _EDGES[likely.windows[part]]
            fit = _correlation(luma, other_luma, edges)
            worth = fit >= _WORTH_FITTING
            if not worth.any():
                continue
            fit, edges = _fitted(luma[worth], other_luma[worth], edges[worth])
            apart = _colour_apart(chroma[worth], other_chroma[worth], edges)
            same = (fit >= like) & (apart <= COLOUR_APART)
            links += zip(photos[worth][same].tolist(), others[worth][same].tolist(), strict=True)
        return links


class _Tables:
    """Hashes of whole photos by parts of their bits: who shares the 16 bits of one part is found at once."""

    def __init__(self, hashes: Hashes, numbers: NDArray[np.int64]) -> None:
        self._hashes, self._numbers = hashes, numbers
        self._orders: list[NDArray[np.int64]] = []
        self._starts: list[NDArray[np.int64]] = []
        for band, bits in enumerate(_BAND_BITS):
            keys = _part(hashes, band)
            order = np.argsort(keys, kind="stable")
            self._orders.append(order)
            self._starts.append(np.searchsorted(keys[order], np.arange((1 << bits) + 1)))

    def likely(self, windows: Hashes, numbers: NDArray[np.int64]) -> _Likely:
        """Photos that are nearly one of these `windows`, uint64 [photos, windows]: each pair at most three times."""
        flat, inverse = np.unique(windows, return_inverse=True)
        pairs: list[NDArray[np.int64]] = []
        for band in range(len(_BAND_BITS)):
            starts, keys = self._starts[band], _part(flat, band)
            counts = starts[keys + 1] - starts[keys]
            for part in _portions(counts):
                asked = np.repeat(np.arange(part.start, part.stop), counts[part])
                within = np.arange(len(asked)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
                found = self._orders[band][starts[keys[asked]] + within]
                apart = np.bitwise_count(self._hashes[found] ^ flat[asked])
                near = apart <= NEAR_BITS
                pairs.append(np.stack([apart[near].astype(np.int64), asked[near], found[near]]))
        near_by = np.concatenate(pairs, axis=1)
        _, once = np.unique(near_by[1] * len(self._hashes) + near_by[2], return_index=True)  # found by several parts
        return self._spread(near_by[:, once], inverse.reshape(windows.shape), numbers)

    def _spread(self, pairs: NDArray[np.int64], inverse: NDArray[np.int64], numbers: NDArray[np.int64]) -> _Likely:
        """Of pairs (bits apart, hash, photo), for each owner of such a hash and each photo the nearest windows."""
        pairs = pairs[:, np.lexsort((pairs[2], pairs[1]))]
        places = np.argsort(inverse.ravel(), kind="stable")
        first = np.searchsorted(inverse.ravel()[places], np.arange(inverse.max() + 2))
        many = first[pairs[1] + 1] - first[pairs[1]]
        within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        place = places[np.repeat(first[pairs[1]], many) + within]
        apart, found = np.repeat(pairs[0], many), self._numbers[np.repeat(pairs[2], many)]
        owner, window = numbers[place // inverse.shape[1]], place % inverse.shape[1]
        other = found != owner
        apart, found, owner, window = apart[other], found[other], owner[other], window[other]
        nearest = np.lexsort((window, apart, found, owner))
        owner, found, window = owner[nearest], found[nearest], window[nearest]
        nearer = np.zeros(len(owner), bool)
        nearer[_TRIED:] = (owner[_TRIED:] == owner[:-_TRIED]) & (found[_TRIED:] == found[:-_TRIED])
        return _Likely(photos=found[~nearer], others=owner[~nearer], windows=window[~nearer])


def _part(hashes: Hashes, band: int) -> NDArray[np.int64]:
    """The bits of one part: every fourth, so that each part sees low and high frequencies of both directions."""
    order = np.concatenate([np.arange(start, 64, len(_BAND_BITS)) for start in range(len(_BAND_BITS))])
    start = sum(_BAND_BITS[:band])
    found = np.zeros(hashes.shape, np.int64)
    for place, bit in enumerate(order[start : start + _BAND_BITS[band]]):
        found |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.int64) << place
    return found


def _portions(counts: NDArray[np.int64]) -> Iterator[slice]:
    """Stretches of queries that find at most about two million photos together."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + _LOOKED_AT, side="right")))
        yield slice(start, stop)
        start = stop


def _shares(edges: Edges, size: int, source: int) -> NDArray[np.float32]:
    """Matrices [n, size, source] that take means of `source` pixels over windows `edges` [n, 2] into `size` pixels.

    >>> _shares(np.array([[0.0, 0.5]], np.float32), 1, 4).tolist()
    [[[0.5, 0.5, 0.0, 0.0]]]
    """
    low, high = edges[:, :1] * source, (1 - edges[:, 1:]) * source
    step = (high - low) / size
    starts = (low + step * np.arange(size, dtype=np.float32))[:, :, None]
    ends = starts + step[:, :, None]
    at = np.arange(source, dtype=np.float32)
    over = np.clip(np.minimum(ends, at + 1) - np.maximum(starts, at), 0, None)
    shares: NDArray[np.float32] = (over / over.sum(2, keepdims=True)).astype(np.float32)
    return shares


def _cuts() -> Edges:
    """What may be cut off at both ends of a side, as shares: float32 [cuts, 2], the first cutting nothing."""
    steps = round(MOST_CUT / CUT_STEP)
    pairs = [(a, b) for a in range(steps + 1) for b in range(steps + 1 - a)]
    return np.array(pairs, np.float32) * np.float32(CUT_STEP)


def _transforms(cuts: Edges) -> NDArray[np.float32]:
    """For each cut the product of shrinking it to 32 pixels and of the 8 lowest cosines: float32 [cuts * 8, 64]."""
    angles = np.pi * np.arange(_HASH_SIDE)[:, None] * (2 * np.arange(_HASH_PX) + 1) / (2 * _HASH_PX)
    cosines = np.cos(angles).astype(np.float32)
    return (cosines @ _shares(cuts, _HASH_PX, LUMA_PX)).reshape(-1, LUMA_PX)


_CUTS = _cuts()
_WINDOWS = _transforms(_CUTS)
_WHOLE = _WINDOWS[:_HASH_SIDE]
_EDGES = np.concatenate([np.repeat(_CUTS, len(_CUTS), axis=0), np.tile(_CUTS, (len(_CUTS), 1))], axis=1)
"""Of each window what is cut off: top, bottom, left, right."""


def hashes_of(luma: NDArray[np.uint8], transforms: NDArray[np.float32] = _WHOLE) -> Hashes:
    """Perceptual hashes of sketches' brightness [n, 64, 64]: uint64 [n, windows], or [n, 1] of the whole alone."""
    waves = transforms @ luma.astype(np.float32) @ transforms.T
    cuts = len(transforms) // _HASH_SIDE
    lowest = waves.reshape(-1, cuts, _HASH_SIDE, cuts, _HASH_SIDE).swapaxes(2, 3).reshape(len(luma), cuts**2, -1)
    ordered = np.partition(lowest, (31, 32), axis=2)
    median = (ordered[..., 31] + ordered[..., 32]) / 2
    bits = np.packbits(lowest > median[..., None], axis=2)
    return bits.view(">u8")[..., 0].astype(np.uint64)


def _windowed(planes: NDArray[np.float32], edges: Edges, size: int) -> NDArray[np.float32]:
    """Windows of square planes [n, side, side] as means [n, size, size]."""
    side = planes.shape[-1]
    down, across = _shares(edges[:, :2], size, side), _shares(edges[:, 2:], size, side)
    return np.asarray(down @ planes @ across.swapaxes(1, 2), np.float32)


def _correlation(luma: NDArray[np.uint8], other: NDArray[np.uint8], edges: Edges) -> NDArray[np.float32]:
    """How alike photos are to windows of others, float32 [n]: Pearson's r of their brightness."""
    whole = np.zeros_like(edges)
    mine = _windowed(luma.astype(np.float32), whole, _FIT_PX).reshape(len(luma), -1)
    theirs = _windowed(other.astype(np.float32), edges, _FIT_PX).reshape(len(luma), -1)
    levels = mine.mean(1, keepdims=True), theirs.mean(1, keepdims=True)
    mine, theirs = mine - levels[0], theirs - levels[1]
    norms = np.sqrt((mine**2).sum(1) * (theirs**2).sum(1))
    r: NDArray[np.float32] = (mine * theirs).sum(1) / np.maximum(norms, 1.0)
    plain = np.maximum(np.abs(mine).max(1), np.abs(theirs).max(1)) < 2  # nothing to correlate: only a level to compare
    same_level = np.abs(levels[0] - levels[1]).ravel() < 8
    return np.where(plain, same_level.astype(np.float32), r)


def _fitted(luma: NDArray[np.uint8], other: NDArray[np.uint8], edges: Edges) -> tuple[NDArray[np.float32], Edges]:
    """The correlation when each edge of the window is moved to where it fits best, and the edges."""
    best, edges = _correlation(luma, other, edges), edges.copy()
    step = _FIT_STEP
    for _ in range(_FIT_ROUNDS):
        for edge in range(4):
            for way in (-step, step):
                moved: Edges = edges.copy()
                moved[:, edge] = np.clip(moved[:, edge] + way, 0, MOST_CUT + CUT_STEP)
                fit = _correlation(luma, other, moved)
                better = fit > best
                best, edges[better] = np.maximum(fit, best), moved[better]
        step *= 0.6
    return best, edges


def _colour_apart(chroma: NDArray[np.uint8], other: NDArray[np.uint8], edges: Edges) -> NDArray[np.float32]:
    """How far colours are apart where they are farthest, float32 [n]: in the worst of 4 by 4 fields."""
    whole = np.zeros_like(edges)
    apart = [
        np.abs(
            _windowed(chroma[:, plane].astype(np.float32), whole, 4)
            - _windowed(other[:, plane].astype(np.float32), edges, 4)
        )
        for plane in (0, 1)
    ]
    worst: NDArray[np.float32] = np.maximum(*apart).max((1, 2))
    return worst
