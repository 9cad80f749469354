"""Names that differ only in how they are spelt: case, width, accents, spaces, hyphens, a letter or two."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import numpy as np

from carscribe.errors import MissingExtraError
from carscribe.likeness import joined

_PARTS = re.compile(r"\d+|[^\W\d_]+")

LETTERS_FOR_ONE_EDIT, LETTERS_FOR_TWO = 5, 9
"""Words of so many letters (of Hangul: of its parts) may differ in one, or in two, and be one word."""

_BLOCK = 1024


@lru_cache(maxsize=65_536)
def words_of(name: str) -> tuple[str, ...]:
    """The words and numbers of a name, without case, width and accents; Hangul in its parts.

    >>> words_of("Citroën Ｃ３") == words_of("CITROEN c-3")
    True
    """
    plain = unicodedata.normalize("NFKD", name).casefold()
    return tuple(_PARTS.findall("".join(letter for letter in plain if not unicodedata.combining(letter))))


def one_spelling(name: str) -> str:
    """A name without what spelling adds to it: the same for "IONIQ 5" and "Ioniq5"."""
    return "".join(words_of(name))


def respelt(names: Mapping[str, int]) -> list[tuple[str, ...]]:
    """Groups of names that are one by another spelling; the commonest first, `names` being how often each is there.

    Numbers, and words of fewer letters than a slip can be told in, must be the same: an A4 is no A6, a GLC no GLE.

    Raises: MissingExtraError.
    """
    words = dict.fromkeys(word for name in names for word in words_of(name) if _may_slip(word))
    alike = _alike(list(words))
    listed = list(names)
    first: dict[tuple[str, str], int] = {}
    links = []
    for place, name in enumerate(listed):
        as_written, as_meant = one_spelling(name), "".join(alike.get(word, word) for word in words_of(name))
        for key in (("written", as_written), ("meant", as_meant)) if as_written else ():
            links.append((first.setdefault(key, place), place))
    groups: dict[int, list[str]] = {}
    for name, root in zip(listed, joined(len(listed), links), strict=True):
        groups.setdefault(root, []).append(name)
    return [tuple(sorted(group, key=lambda name: (-names[name], name))) for group in groups.values() if len(group) > 1]


def _may_slip(word: str) -> bool:
    return not word[0].isdigit() and len(word) >= LETTERS_FOR_ONE_EDIT


def _alike(words: Sequence[str]) -> dict[str, str]:
    """For each word the first that it is alike to, itself left out."""
    try:
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import cdist
    except ImportError:
        raise MissingExtraError("Comparing how names are spelt", extra="check") from None
    ordered = sorted(words, key=len)
    lengths = np.array([len(word) for word in ordered])
    links: list[tuple[int, int]] = []
    for start in range(0, len(ordered), _BLOCK):
        block = ordered[start : start + _BLOCK]
        stop = int(np.searchsorted(lengths, lengths[start + len(block) - 1] + 2, side="right"))
        edits = cdist(block, ordered[start:stop], scorer=OSA.distance, score_cutoff=2, dtype=np.uint8)
        shorter = np.minimum(lengths[start : start + len(block), None], lengths[None, start:stop])
        allowed = np.where(shorter >= LETTERS_FOR_TWO, 2, 1)
        links += [(start + int(a), start + int(b)) for a, b in zip(*np.nonzero(edits <= allowed), strict=True) if a < b]
    roots = joined(len(ordered), links)
    return {ordered[index]: ordered[root] for index, root in enumerate(roots) if index != root}


def count_names(names: Iterable[str | None]) -> Counter[str]:
    """How often each name is there."""
    return Counter(name for name in names if name and name.strip())
