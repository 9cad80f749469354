"""Finds number plates with a YOLO network in an ONNX file that the user has; none comes along.

Read are the outputs that current exporters write, told apart by their shape; anything else is refused by name.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from carscribe.errors import InputError, MissingExtraError
from carscribe.privacy.boxes import PLATE, Box, distinct

LEAST_SCORE = 0.25
"""Boxes below are left out: the threshold that the exporters' own programs use."""

_SAME_PLATE = 0.45
_USUAL_PX = 640
_PADDING = 114
"""The grey beside a picture that is not of the network's shape, as in training. Source: Ultralytics 8, LetterBox."""

_MOST_ENDED_ROWS = 1000
"""A network that ends with its own selection gives some hundred rows; one that does not, thousands."""

_WORDS = ("plate", "number", "licen", "번호판")
"""One of them is in the name of a class that is plates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """What a network said, a row a box, in pixels of its input: float [n, 4] corners, [n] scores, [n] classes."""

    corners: NDArray[np.float32]
    scores: NDArray[np.float32]
    classes: NDArray[np.int64]


class PlateDetector:
    """A network of YOLO's kind in an ONNX file, run by ONNX Runtime on the CPU."""

    def __init__(self, path: Path) -> None:
        """Raises: InputError when the file is no such network; MissingExtraError."""
        try:
            import onnxruntime
        except ImportError:
            raise MissingExtraError("Finding number plates", extra="plates") from None
        if not path.is_file():
            raise InputError(f"{path} does not exist: name the ONNX file of a plate detector. See docs/privacy.md.")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # its warnings about a file are of no use to who did not make the file
        try:
            self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime promises no closed set of exceptions
            raise InputError(f"{path} is no ONNX network that can be run: {_first_line(error)}") from None
        self._path = path
        self._input, self._dtype, self._size_px = self._seen()
        self._has_masks = [len(output.shape) for output in self._session.get_outputs()] == [3, 4]
        self._classes = self._of_plates()
        self.longer_px = max(self._size_px)

    def find(self, picture: NDArray[np.uint8]) -> Sequence[Box]:
        """As `Detector.find`."""
        shown, scale, left_px, top_px = _letterboxed(picture, self._size_px)
        planes = (shown.transpose(2, 0, 1)[None].astype(np.float32) / 255).astype(self._dtype)
        try:
            outputs = self._session.run(None, {self._input: planes})
        except Exception as error:  # noqa: BLE001 - as above
            raise InputError(f"{self._path} failed on a picture: {_first_line(error)}") from None
        rows = self._rows([np.asarray(output) for output in outputs])
        kept = (rows.scores >= LEAST_SCORE) & np.isfinite(rows.corners).all(axis=1)
        if self._classes is not None:
            kept &= np.isin(rows.classes, self._classes)
        corners = (rows.corners[kept] - np.array([left_px, top_px, left_px, top_px], dtype=np.float32)) / scale
        boxes = (
            Box(kind=PLATE, left=left, top=top, right=right, bottom=bottom, score=score)
            for (left, top, right, bottom), score in zip(corners.tolist(), rows.scores[kept].tolist(), strict=True)
            if left < right and top < bottom
        )
        return distinct(boxes, overlap=_SAME_PLATE)

    def _seen(self) -> tuple[str, type[np.floating[Any]], tuple[int, int]]:
        """The input's name, its number type, and the width and height of what the network is shown."""
        inputs = self._session.get_inputs()
        dtypes: dict[str, type[np.floating[Any]]] = {"tensor(float)": np.float32, "tensor(float16)": np.float16}
        if len(inputs) != 1 or inputs[0].type not in dtypes or len(inputs[0].shape) != 4 or inputs[0].shape[1] != 3:
            shown = ", ".join(f"{each.name} {each.shape} {each.type}" for each in inputs)
            raise InputError(
                f"{self._path} takes {shown}; a detector that can be used takes one picture, [1, 3, height, width]. "
                "Export it with a YOLO's own exporter (format=onnx)."
            )
        height_px, width_px = (side if isinstance(side, int) else _USUAL_PX for side in inputs[0].shape[2:])
        return inputs[0].name, dtypes[inputs[0].type], (width_px, height_px)

    def _of_plates(self) -> list[int] | None:
        """The numbers of the classes that are plates; None for all, where the file names no class or one.

        Raises: InputError when it names several and none is a plate.
        """
        names = _names(self._session.get_modelmeta().custom_metadata_map)
        if len(names) < 2:
            return None
        plates = [number for number, name in names.items() if any(word in name.lower() for word in _WORDS)]
        if not plates:
            some = ", ".join(list(names.values())[:5])
            raise InputError(
                f"{self._path} finds {some}{' …' if len(names) > 5 else ''} and no number plates: name another file."
            )
        return plates

    def _rows(self, outputs: list[NDArray[Any]]) -> _Rows:
        """Raises: InputError for an output that is not known."""
        first = outputs[0].astype(np.float32)
        if first.ndim == 2 and first.shape[1] == 7:  # picture, corners, class, score: a YOLOv9 with its selection
            return _Rows(corners=first[:, 1:5], classes=first[:, 5].astype(np.int64), scores=first[:, 6])
        if first.ndim == 3 and first.shape[0] == 1:
            _, rows, columns = first.shape
            if columns == 6 and rows <= _MOST_ENDED_ROWS:  # corners, score, class: YOLOv10, YOLO26
                return _Rows(corners=first[0, :, :4], scores=first[0, :, 4], classes=first[0, :, 5].astype(np.int64))
            masks = outputs[1].shape[1] if self._has_masks else 0
            if rows < columns and rows - masks > 4:  # centre, size, a score a class: YOLOv8, 9, 11, 12
                across, down, width, height = first[0, :4]
                by_class = first[0, 4 : rows - masks]
                corners = np.stack(
                    [across - width / 2, down - height / 2, across + width / 2, down + height / 2], axis=1
                )
                return _Rows(corners=corners, scores=by_class.max(axis=0), classes=by_class.argmax(axis=0))
        shapes = ", ".join(str(list(output.shape)) for output in outputs)
        raise InputError(
            f"{self._path} answers with {shapes}, which is none of the forms that are read: [1, 4 + classes, boxes], "
            "[1, boxes, 6], [boxes, 7]. Export it with a YOLO's own exporter (version 8 or later)."
        )


def _letterboxed(picture: NDArray[np.uint8], size_px: tuple[int, int]) -> tuple[NDArray[np.uint8], float, int, int]:
    """The picture in the middle of a grey one of that width and height; its scale, and where its corner is."""
    height_px, width_px = picture.shape[:2]
    scale = min(size_px[0] / width_px, size_px[1] / height_px)
    inner = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    left_px, top_px = (size_px[0] - inner[0]) // 2, (size_px[1] - inner[1]) // 2
    canvas = Image.new("RGB", size_px, (_PADDING,) * 3)
    canvas.paste(Image.fromarray(picture).resize(inner, Image.Resampling.BILINEAR), (left_px, top_px))
    return np.asarray(canvas), scale, left_px, top_px


def _names(metadata: Mapping[str, str]) -> dict[int, str]:
    """The classes by number, as YOLO's exporters write them: `{0: 'plate'}`; empty where they are not written."""
    try:
        names = ast.literal_eval(metadata.get("names", ""))
    except (ValueError, SyntaxError):
        return {}
    return {int(number): str(name) for number, name in names.items()} if isinstance(names, dict) else {}


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)[:200]
