"""Divide examples so that what is measured was never learned: no near-duplicate and no car stands on both sides."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from carscribe.errors import MissingExtraError
from carscribe.examples import Example
from carscribe.photos.decode import read_photo, tile_photo
from carscribe.records import Tiling

HASH_SIDE = 8
"""A difference hash of 8 by 8 comparisons: 64 bits. Source: imagehash.dhash."""

NEAR_BITS = 6
"""Photos whose hashes differ in at most so many of 64 bits are taken for one picture."""


def split(examples: Sequence[Example], share: float, *, seed: int = 0) -> tuple[list[Example], list[Example]]:
    """(to learn, held out): about `share` of the examples held out, whole groups at a time, the same for a seed.

    Examples that share a group, directly or through others, stay together.

    >>> examples = [Example(photo=key, pairs=(), key=key, groups=("x",)) for key in "ab"]
    >>> [len(side) for side in split(examples, 0.5)]
    [2, 0]
    """
    wanted = share * len(examples)
    members: dict[int, list[int]] = {}
    for index, root in enumerate(_roots([example.groups for example in examples])):
        members.setdefault(root, []).append(index)
    drawn = sorted(members.values(), key=lambda group: _draw(examples[group[0]].key, seed))
    held: set[int] = set()
    for group in drawn:
        if len(held) + len(group) <= wanted:
            held.update(group)
    learned = [example for index, example in enumerate(examples) if index not in held]
    return learned, [examples[index] for index in sorted(held)]


def near_duplicates(examples: Sequence[Example]) -> list[str | None]:
    """For each example the name of its cluster of near-duplicates; None for one that is like no other.

    Raises: PhotoError for a photo that cannot be read any more, MissingExtraError.
    """
    with ThreadPoolExecutor() as pool:
        hashes = np.array(list(pool.map(_hash, examples)), np.uint64)
    links: list[tuple[int, int]] = []
    for index in range(len(hashes) - 1):
        apart = np.bitwise_count(hashes[index + 1 :] ^ hashes[index])
        links += [(index, index + 1 + int(other)) for other in (apart <= NEAR_BITS).nonzero()[0]]
    linked = {index for link in links for index in link}
    roots = _joined(len(examples), links)
    return [f"picture {examples[root].key}" if index in linked else None for index, root in enumerate(roots)]


def _hash(example: Example) -> int:
    try:
        import imagehash
    except ImportError:
        raise MissingExtraError("Finding near-duplicates", extra="train") from None
    from PIL import Image

    whole = Tiling(max_tiles=1)  # upright and of any format, as the model sees it
    photo = example.photo
    read = tile_photo(photo, whole) if isinstance(photo, bytes) else read_photo(Path(photo), whole)
    return int(str(imagehash.dhash(Image.fromarray(read.tiles[0]), hash_size=HASH_SIDE)), 16)


def _roots(groups: Sequence[Iterable[Hashable]]) -> list[int]:
    """For each entry the first entry it hangs together with."""
    first: dict[Hashable, int] = {}
    links = [(first.setdefault(group, index), index) for index, own in enumerate(groups) for group in own]
    return _joined(len(groups), links)


def _joined(count: int, links: Iterable[tuple[int, int]]) -> list[int]:
    root = list(range(count))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = index = root[root[index]]
        return index

    for a, b in links:
        low, high = sorted((find(a), find(b)))
        root[high] = low
    return [find(index) for index in range(count)]


def _draw(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
