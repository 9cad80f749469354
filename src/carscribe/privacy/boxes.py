"""What is to be hidden in a picture: boxes, who finds them, and which of them are one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

FACE, PLATE = "face", "plate"
"""The kinds that detectors find. A listed box may be of any other kind as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A part of an upright picture, in pixels from its upper left corner; it may reach past the picture's edges."""

    kind: str
    left: float
    top: float
    right: float
    bottom: float
    score: float = 1.0

    def overlap(self, other: "Box") -> float:
        """The area that both have, as a share of the area that they cover together.

        >>> one = Box(kind="face", left=0, top=0, right=2, bottom=2)
        >>> other = Box(kind="face", left=1, top=0, right=3, bottom=2)
        >>> round(one.overlap(other), 3)
        0.333
        """
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        if across <= 0 or down <= 0:
            return 0.0
        both = across * down
        return both / (self._area + other._area - both)

    @property
    def _area(self) -> float:
        return (self.right - self.left) * (self.bottom - self.top)


class Detector(Protocol):
    """Finds what is to be hidden. It is shown pictures of at most `longer_px` on their longer side."""

    longer_px: int

    def find(self, picture: "NDArray[np.uint8]") -> Sequence[Box]:
        """Boxes in pixels of `picture`, which is uint8 [height, width, 3], RGB, upright."""
        ...


def distinct(boxes: Iterable[Box], *, overlap: float) -> list[Box]:
    """Each thing once: of boxes that overlap by more than this share, the one with the best score, best first."""
    kept: list[Box] = []
    for box in sorted(boxes, key=lambda box: -box.score):
        if all(box.overlap(other) <= overlap for other in kept):
            kept.append(box)
    return kept
