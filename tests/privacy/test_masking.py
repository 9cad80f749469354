"""A box is filled with a colour from around it, and grows outwards; detectors see small pictures."""

import numpy as np
import pytest
from numpy.typing import NDArray
from planted_noise import HEIGHT_PX, PLANTED, WIDTH_PX, ColourDetector, colourful, photo

from carscribe.privacy.boxes import Box, distinct
from carscribe.privacy.masking import MARGIN_PX, Area, Masking, area_of, fill, found_by


def box(left: float, top: float, right: float, bottom: float, score: float = 1.0) -> Box:
    return Box(kind="face", left=left, top=top, right=right, bottom=bottom, score=score)


def noise(height_px: int = 60, width_px: int = 80) -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height_px, width_px, 3), np.uint8)


def test_the_same_is_left_whatever_was_in_the_box() -> None:
    one, other = noise(), noise()
    area = Area(left=20, top=10, right=50, bottom=40)
    other[area.slices] = 255 - other[area.slices]
    before = one.copy()
    fill(one, [area])
    fill(other, [area])
    assert np.array_equal(one, other)
    assert (one[area.slices] == one[10, 20]).all()
    one[area.slices] = before[area.slices]
    assert np.array_equal(one, before), "nothing else was touched"


def test_boxes_side_by_side_say_nothing_of_each_other() -> None:
    one, other = noise(), noise()
    areas = [Area(left=0, top=0, right=40, bottom=60), Area(left=40, top=0, right=72, bottom=60)]
    for area in areas:
        other[area.slices] = 0
    fill(one, areas)
    fill(other, areas)
    assert np.array_equal(one, other)


def test_a_picture_that_is_hidden_whole_is_grey() -> None:
    pixels = noise()
    fill(pixels, [Area(left=0, top=0, right=80, bottom=60)])
    assert (pixels == 128).all()


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        (box(30.9, 30.9, 31.1, 31.1), (22, 22, 40, 40)),
        (box(-50, -50, 3, 3), (0, 0, 11, 11)),
        (box(100, 200, 300, 400), (70, 170, 330, 430)),
        (box(-1e9, -1e9, 1e9, 1e9), (0, 0, 640, 480)),
    ],
)
def test_areas_grow_outwards_and_end_at_the_edges(at: Box, expected: tuple[int, ...]) -> None:
    area = area_of(at, 640, 480)
    assert area is not None
    assert (area.left, area.top, area.right, area.bottom) == expected


@pytest.mark.parametrize("at", [box(-9, 0, 0, 9), box(0, -9, 9, 0), box(640, 0, 650, 9), box(0, 480, 9, 490)])
def test_a_box_outside_is_no_area(at: Box) -> None:
    assert area_of(at, 640, 480) is None


@pytest.mark.parametrize("longer_px", [31, 100, 239, 240, 5000])
def test_a_detector_sees_a_picture_of_its_size_and_its_boxes_come_back_in_full(longer_px: int) -> None:
    detector = ColourDetector(longer_px)
    (found,) = found_by(detector, np.asarray(photo()))
    assert max(detector.shown[0][:2]) == min(longer_px, WIDTH_PX)
    area = area_of(found, WIDTH_PX, HEIGHT_PX)
    assert area is not None
    left, top, right, bottom = PLANTED
    assert area.left <= left
    assert area.top <= top
    assert area.right >= right
    assert area.bottom >= bottom
    slack = 2 * WIDTH_PX / min(longer_px, WIDTH_PX) + MARGIN_PX + 8
    assert area.right - area.left <= right - left + 2 * slack


def test_several_detectors_are_all_asked() -> None:
    from planted_noise import jpeg

    from carscribe.records import PhotoFile

    detectors = [ColourDetector(kind="face"), ColourDetector(50, kind="plate")]
    image = Masking(detectors).mask(PhotoFile(location="a.jpg", key="a.jpg"), "", jpeg(), "PNG")
    assert dict(image.boxes) == {"face": 1, "plate": 1}
    assert image.content.startswith(b"\x89PNG")


def test_of_boxes_on_one_thing_the_surest_stays() -> None:
    same = [box(0, 0, 10, 10, 0.5), box(1, 0, 11, 10, 0.9), box(30, 0, 40, 10, 0.4)]
    assert distinct(same, overlap=0.3) == [same[1], same[2]]
    assert distinct([], overlap=0.3) == []


def test_the_patch_is_told_by_its_colour() -> None:
    left, top, right, bottom = PLANTED
    hidden = np.asarray(photo()).copy()
    assert colourful(hidden).sum() > 0.7 * (right - left) * (bottom - top)
    hidden[top:bottom, left:right] = 0
    assert not colourful(hidden).any()
