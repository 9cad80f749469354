"""A YOLO in an ONNX file: every form of output is read as what it is, and what is none is refused by name."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from carscribe.errors import InputError, MissingExtraError
from carscribe.privacy.choosing import open_masking
from carscribe.privacy.masking import found_by
from carscribe.privacy.plates import PlateDetector

PLATE = (0.85, 0.5, 0.95, 0.75)
"""Left, top, right, bottom of what the networks below find, as shares of their input."""

SIDE = 64


def network(
    path: Path, output: NDArray[Any], *, names: str = "", half: bool = False, more: Any = None
) -> PlateDetector:
    """A network that says `output`, times the brightest level that it is shown, of every picture."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    kind = onnx.TensorProto.FLOAT16 if half else onnx.TensorProto.FLOAT
    dtype = np.float16 if half else np.float32
    outputs = [output.astype(dtype), *([] if more is None else [more.astype(dtype)])]
    nodes, constants = [onnx.helper.make_node("ReduceMax", ["images"], ["peak"], keepdims=0)], []
    nodes.append(onnx.helper.make_node("Min", ["peak", "one"], ["on"]))
    constants.append(onnx.numpy_helper.from_array(np.array(1, dtype), "one"))
    for number, values in enumerate(outputs):
        constants.append(onnx.numpy_helper.from_array(values, f"values{number}"))
        nodes.append(onnx.helper.make_node("Mul", [f"values{number}", "on"], [f"output{number}"]))
    graph = onnx.helper.make_graph(
        nodes,
        "plates",
        [onnx.helper.make_tensor_value_info("images", kind, [1, 3, SIDE, SIDE])],
        [onnx.helper.make_tensor_value_info(f"output{i}", kind, values.shape) for i, values in enumerate(outputs)],
        constants,
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    if names:
        onnx.helper.set_model_props(model, {"names": names})
    onnx.save(model, str(path))
    return PlateDetector(path)


def centred(
    *, classes: int = 1, plate_class: int = 0, score: float = 0.9, columns: int = 100, masks: int = 0
) -> NDArray[Any]:
    """[1, 4 + classes + masks, columns] with the plate three times over, as a YOLOv8 says it."""
    rows = np.zeros((1, 4 + classes + masks, columns))
    left, top, right, bottom = (SIDE * side for side in PLATE)
    rows[0, 4 + classes :] = 9.0
    for column, less in ((5, 0.0), (6, 0.1), (7, 0.2)):
        rows[0, :4, column] = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
        rows[0, 4 + plate_class, column] = score - less
    return rows


def ended(*, score: float = 0.9, rows: int = 20) -> NDArray[Any]:
    """[1, rows, 6], as a YOLOv10 says it."""
    output = np.zeros((1, rows, 6))
    output[0, 0] = [*(SIDE * side for side in PLATE), score, 0]
    return output


def flat(*, score: float = 0.9) -> NDArray[Any]:
    """[rows, 7], as a YOLOv9 with its selection says it."""
    return np.array([[0, *(SIDE * side for side in PLATE), 0, score]])


FORMS = {
    "v8": (centred(), {}),
    "v8 of several classes": (centred(classes=3, plate_class=2), {"names": "{0: 'car', 1: 'bus', 2: 'License Plate'}"}),
    "v8 in half precision": (centred(), {"half": True}),
    "v8 with masks": (centred(masks=32), {"more": np.zeros((1, 32, 16, 16)), "names": "{0: 'plate'}"}),
    "v10": (ended(), {}),
    "v9 with its selection": (flat(), {"names": "{0: 'License Plate'}"}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(64, 64), (300, 150), (150, 300), (4000, 2000)])
def test_a_plate_comes_back_in_the_picture_s_own_pixels(form: str, size: tuple[int, int], tmp_path: Path) -> None:
    output, options = FORMS[form]
    detector = network(tmp_path / "plates.onnx", output, **options)
    width_px, height_px = size
    (box,) = found_by(detector, np.full((height_px, width_px, 3), 255, np.uint8))
    longer = max(size)  # the picture lies in the middle of a square
    across, down = (longer - width_px) / 2, (longer - height_px) / 2
    expected = [longer * side for side in PLATE]
    found = [box.left + across, box.top + down, box.right + across, box.bottom + down]
    assert np.allclose(found, expected, atol=longer / 30)
    assert box.kind == "plate"
    assert box.score == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("output", [centred(score=0.2), ended(score=0.2), flat(score=0.2), np.zeros((0, 7))])
def test_what_is_unsure_is_left_out(output: NDArray[Any], tmp_path: Path) -> None:
    detector = network(tmp_path / "plates.onnx", output)
    assert detector.find(np.full((64, 64, 3), 255, np.uint8)) == []


def test_the_picture_is_shown_as_numbers_up_to_one(tmp_path: Path) -> None:
    detector = network(tmp_path / "plates.onnx", centred(score=0.5))
    assert detector.find(np.full((64, 64, 3), 255, np.uint8))
    assert not detector.find(np.full((64, 64, 3), 90, np.uint8)), "the score times what was shown"


@pytest.mark.parametrize(
    ("output", "names", "says"),
    [
        (centred(classes=2), "{0: 'person', 1: 'car'}", "finds person, car and no number plates: name another file"),
        (np.zeros((1, 2000, 6)), "", r"answers with \[1, 2000, 6\], which is none of the forms"),
        (np.zeros((1, 3, 8, 8, 6)), "", "none of the forms that are read"),
        (np.zeros((1, 4, 100)), "", "none of the forms that are read"),
    ],
)
def test_what_is_no_plate_detector_is_refused(output: NDArray[Any], names: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        network(tmp_path / "plates.onnx", output, names=names).find(np.full((64, 64, 3), 255, np.uint8))


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "plates.onnx").write_bytes(b"<html>404</html>")
    with pytest.raises(InputError, match="is no ONNX network that can be run") as raised:
        PlateDetector(tmp_path / "plates.onnx")
    assert "\n" not in str(raised.value)
    with pytest.raises(InputError, match="does not exist: name the ONNX file"):
        PlateDetector(tmp_path / "nothing.onnx")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'carscribe\[plates\]'"):
        PlateDetector(tmp_path / "plates.onnx")


def test_the_network_is_named_by_the_environment_where_it_is_not_by_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network(tmp_path / "plates.onnx", ended())
    monkeypatch.setenv("CARSCRIBE_PLATE_MODEL", str(tmp_path / "plates.onnx"))
    assert open_masking("plates") is not None
    with pytest.raises(InputError, match=r"other\.onnx does not exist"):
        open_masking("plates", plate_model=tmp_path / "other.onnx")
