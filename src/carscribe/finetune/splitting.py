"""Divide examples so that what is measured was never learned: no near-duplicate and no car stands on both sides."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

from carscribe.examples import Example
from carscribe.likeness import Sketch, SketchBook, joined, sketch_of
from carscribe.photos.decode import preview_photo, read_preview
from carscribe.reading_ahead import read_ahead

_PREVIEW_PX = 256
"""Longer side of what a sketch of 64 pixels is made of."""


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

    Raises: PhotoError for a photo that cannot be read any more.
    """
    with SketchBook() as book:
        for sketch in read_ahead(examples, _sketch):
            book.add(sketch)
        groups = book.groups()
    names: list[str | None] = [None] * len(examples)
    for group in groups:
        for index in group:
            names[index] = f"picture {examples[group[0]].key}"
    return names


def _sketch(example: Example) -> Sketch:
    photo = example.photo
    read = preview_photo(photo, _PREVIEW_PX) if isinstance(photo, bytes) else read_preview(Path(photo), _PREVIEW_PX)
    return sketch_of(read.pixels)


def _roots(groups: Sequence[Iterable[Hashable]]) -> list[int]:
    """For each entry the first entry it hangs together with."""
    first: dict[Hashable, int] = {}
    links = [(first.setdefault(group, index), index) for index, own in enumerate(groups) for group in own]
    return joined(len(groups), links)


def _draw(key: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{key}".encode("utf-8", "surrogatepass")).digest()
