"""Near-duplicates: found across resize, crop and recompression, by tables and not by comparing each with each."""

import random
from dataclasses import replace

import imagehash
import numpy as np
import pytest
from pictures import encoded
from PIL import Image

from carscribe.likeness import NEAR_BITS, SketchBook, hashes_of, joined, sketch_of
from carscribe.photos.decode import preview_photo
from rendered.attributes import draw_record
from rendered.render import render

CARS = 12


@pytest.fixture(scope="module")
def cars() -> list[Image.Image]:
    return [render(draw_record(872_000_000 + number)) for number in range(CARS)]


def groups_of(pictures: list[Image.Image], *, quality: int = 85) -> list[tuple[int, ...]]:
    with SketchBook() as book:
        for picture in pictures:
            book.add(sketch_of(preview_photo(encoded(picture, "JPEG", quality=quality), 768).pixels))
        return book.groups()


def cropped(picture: Image.Image, cut: float, seed: int) -> Image.Image:
    chance = random.Random(seed)
    left, top = (chance.random() * cut * side for side in picture.size)
    width, height = ((1 - cut) * side for side in picture.size)
    return picture.crop((round(left), round(top), round(left + width), round(top + height)))


def test_different_cars_are_not_joined(cars: list[Image.Image]) -> None:
    assert groups_of(cars) == []


@pytest.mark.parametrize("cut", [0.0, 0.05, 0.12, 0.2])
def test_a_car_and_its_smaller_recompressed_crop_are_one_picture(cars: list[Image.Image], cut: float) -> None:
    copies = [cropped(car, cut, seed) for seed, car in enumerate(cars)]
    copies = [copy.resize((copy.width // 2, copy.height // 2)) for copy in copies]
    assert groups_of([*cars, *copies], quality=60) == [(number, number + CARS) for number in range(CARS)]


def test_copies_of_copies_are_one_group(cars: list[Image.Image]) -> None:
    chain = [cropped(cars[0], cut, 5) for cut in (0.0, 0.15, 0.28, 0.38)]
    assert groups_of([*chain, *cars[1:4]]) == [(0, 1, 2, 3)]


def test_plain_pictures_are_alike_only_in_the_same_shade() -> None:
    plain = [Image.new("RGB", (300, 200), shade) for shade in ("white", "black", "white", (20, 90, 200))]
    assert groups_of(plain) == [(0, 2)]


def test_another_colour_is_another_picture() -> None:
    drawn = draw_record(872_100_000)
    records = [replace(drawn, attributes={**drawn.attributes, "main_colour": colour}) for colour in ("red", "blue")]
    assert groups_of([render(record) for record in records]) == []


def test_hashes_are_those_of_imagehash_to_a_few_bits(cars: list[Image.Image]) -> None:
    for car in cars:
        mine = int(hashes_of(sketch_of(np.asarray(car)).luma[None])[0, 0])
        theirs = int(str(imagehash.phash(car)), 16)
        assert (mine ^ theirs).bit_count() <= NEAR_BITS // 2


def test_hundreds_of_copies_of_one_picture_are_one_group_in_no_time() -> None:
    chance = np.random.default_rng(0)
    picture = np.asarray(Image.fromarray(chance.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96)))
    with SketchBook() as book:
        for _ in range(300):
            noise = chance.integers(-2, 3, picture.shape)
            book.add(sketch_of(np.clip(picture + noise, 0, 255).astype(np.uint8)))
        links = list(book.links())
        assert len(links) < 30_000
        assert [len(group) for group in book.groups()] == [300]


def test_an_empty_book_has_no_groups() -> None:
    with SketchBook() as book:
        assert book.groups() == []


def test_what_hangs_together_is_named_by_its_first() -> None:
    assert joined(6, [(4, 5), (3, 4), (0, 1)]) == [0, 0, 2, 3, 3, 3]
