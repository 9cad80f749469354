"""What is wrong with single photos: measured so that size, format and contrast do not decide it."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded
from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

from carscribe.check.faults import FAULTS, TITLES, Limits, faults_named, faults_of, limits_with
from carscribe.check.measures import NO_EDGES, PREVIEW_PX, Measures, measure
from carscribe.errors import InputError
from carscribe.photos.decode import preview_photo
from planted import exposed
from rendered.attributes import draw_record
from rendered.render import render


@pytest.fixture(scope="module")
def car() -> Image.Image:
    return render(draw_record(871_000_001))


def measured(picture: Image.Image, *, quality: int = 90) -> Measures:
    return measure(preview_photo(encoded(picture, "JPEG", quality=quality), PREVIEW_PX), too_dark=Limits().dark)


def flags(picture: Image.Image) -> list[str]:
    return [fault.kind for fault in faults_of(measured(picture), Limits())]


def screenshot(picture: Image.Image) -> Image.Image:
    page = Image.new("RGB", (800, 700), "white")
    pen = ImageDraw.Draw(page)
    for row in range(12):
        pen.text((20, 20 + 26 * row), "Compare models and prices of the new sedan near you", fill="black", font_size=18)
    page.paste(picture.resize((500, 350)), (150, 340))
    return page


def test_a_car_as_it_should_be_is_not_flagged(car: Image.Image) -> None:
    assert flags(car) == []


@pytest.mark.parametrize(
    ("spoil", "flag"),
    [
        (lambda p: p.filter(ImageFilter.GaussianBlur(0.004 * p.width)), "blurry"),
        (lambda p: exposed(p, -3.5), "dark"),
        (lambda p: exposed(p, 4), "blown_out"),
        (lambda p: p.resize((200, 150)), "too_small"),
        (lambda p: p.resize((2400, 500)), "odd_aspect"),
        (screenshot, "graphic"),
    ],
)
def test_a_planted_fault_is_flagged(car: Image.Image, spoil, flag: str) -> None:
    assert flag in flags(spoil(car))


@pytest.mark.parametrize("permille", [2.5, 4.0, 6.0])
def test_blur_is_told_in_thousandths_of_the_longer_side_whatever_the_size(car: Image.Image, permille: float) -> None:
    large = car.resize((1500, round(1500 * car.height / car.width)), Image.Resampling.LANCZOS)
    for picture in (car, large):
        blurred = picture.filter(ImageFilter.GaussianBlur(permille / 1000 * picture.width))
        assert measured(blurred).blur == pytest.approx(permille, rel=0.3)


def test_blur_does_not_depend_on_contrast(car: Image.Image) -> None:
    flat = Image.fromarray((100 + np.asarray(car, np.float32) * 0.4).astype(np.uint8))
    assert measured(flat).blur == pytest.approx(measured(car).blur, rel=0.3)


def test_a_picture_without_edges_is_as_blurred_as_can_be_and_of_a_dark_one_nothing_is_said() -> None:
    assert measured(Image.new("RGB", (400, 300), "gray")).blur == NO_EDGES
    assert measured(Image.new("RGB", (400, 300), (9, 9, 9))).blur is None


@pytest.mark.parametrize("size", [(1, 1), (2, 900), (900, 3), (9, 7), (50, 40)])
def test_pictures_of_any_size_are_measured(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)
    found = measured(Image.fromarray(noise))
    assert found.shorter_px == min(size)
    assert 0 <= found.clipped <= 1
    assert 0 <= found.marks <= 1


def test_a_dark_car_on_white_paper_is_not_blown_out() -> None:
    paper = Image.new("RGB", (600, 400), "white")
    pen = ImageDraw.Draw(paper)
    pen.rounded_rectangle((90, 150, 510, 290), 60, fill=(40, 60, 120))
    for x in (180, 420):
        pen.ellipse((x - 45, 245, x + 45, 335), fill=(8, 8, 8))
    assert measured(paper).clipped < 0.05
    assert "blown_out" not in flags(paper)


def test_a_preview_is_upright_in_its_proportions_and_never_enlarged(car: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stream = io.BytesIO()
    car.save(stream, "JPEG", exif=exif)
    preview = preview_photo(stream.getvalue(), 300)
    assert (preview.width_px, preview.height_px) == car.size[::-1]
    assert preview.pixels.shape[0] == 300
    assert preview.pixels.shape[1] == round(300 * car.height / car.width)
    assert preview_photo(stream.getvalue(), 5000).pixels.shape[:2] == car.size


def test_limits_are_changed_by_name_and_a_wrong_one_says_what_there_is() -> None:
    changed = limits_with(["blurry=2.5", "too_small = 300"])
    assert (changed.blurry, changed.too_small, changed.dark) == (2.5, 300, Limits().dark)
    for wrong in ("blury=2", "blurry", "blurry=x", "blurry=-1", "blurry=nan", "unreadable=1"):
        with pytest.raises(InputError, match="too_small, odd_aspect"):
            limits_with([wrong])


def test_every_fault_has_a_title_and_is_known_by_its_name() -> None:
    assert set(TITLES) == set(FAULTS)
    assert faults_named(["blurry", "dark"]) == {"blurry", "dark"}
    with pytest.raises(InputError, match="near_duplicate"):
        faults_named(["twins"])
