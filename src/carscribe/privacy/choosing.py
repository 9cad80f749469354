"""From what a user asks for to a masking: which detectors, with which weights, and which boxes."""

import os
from pathlib import Path

from carscribe.errors import InputError
from carscribe.privacy.boxes import Detector
from carscribe.privacy.faces import FaceDetector
from carscribe.privacy.listed import read_boxes
from carscribe.privacy.masking import Masking
from carscribe.privacy.plates import PlateDetector

KINDS = ("faces", "plates")

PLATE_MODEL = "CARSCRIBE_PLATE_MODEL"
"""The environment variable that names the plate detector where the user does not."""


def open_masking(kinds: str | None, *, boxes: Path | None = None, plate_model: Path | None = None) -> Masking | None:
    """Detectors for `kinds` ("faces", "plates", "faces,plates"), and the boxes of a file; None for neither.

    Without `plate_model` that of `PLATE_MODEL` is taken.

    Raises: InputError for kinds that there are not, plates without a network that finds them or the other way round, or
    a file with rows that are no boxes; MetadataError; MissingExtraError.
    """
    if kinds is None and boxes is None and plate_model is None:
        return None
    wished = [] if kinds is None else [kind.strip().lower() for kind in kinds.split(",")]
    if unknown := [kind for kind in wished if kind not in KINDS]:
        raise InputError(f"--mask takes {', '.join(KINDS)}, or both with a comma between, not {unknown[0]!r}.")
    detectors: list[Detector] = []
    if plate_model is not None and "plates" not in wished:
        raise InputError("--plate-model finds plates, and none are asked for: add --mask plates, or leave it out.")
    if "plates" in wished:
        named = plate_model or os.environ.get(PLATE_MODEL)
        if not named:
            raise InputError(
                "--mask plates needs a network that finds them, and none comes along: name its ONNX file with "
                "--plate-model FILE (docs/privacy.md says where to get one), or list the plates with --boxes FILE and "
                "leave plates out."
            )
        detectors.append(PlateDetector(Path(named)))
    if "faces" in wished:
        detectors.append(FaceDetector())
    return Masking(detectors, None if boxes is None else read_boxes(boxes))
