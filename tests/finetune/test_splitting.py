"""What is measured was never learned: groups and near-duplicates stay on one side."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from carscribe.examples import Example
from carscribe.finetune.splitting import near_duplicates, split


def example(key: str, *groups: str, photo: str = "") -> Example:
    return Example(photo=photo or key, pairs=(), key=key, groups=groups)


@pytest.mark.parametrize("seed", range(6))
def test_examples_that_share_a_group_directly_or_through_others_stand_on_one_side(seed: int) -> None:
    chained = [example("a", "x"), example("b", "x", "y"), example("c", "y", "z"), example("d", "z")]
    others = [example(str(i)) for i in range(16)]
    learned, held = split([*chained, *others], 0.5, seed=seed)
    sides = [{each.key for each in side} for side in (learned, held)]
    assert {len(side & {"a", "b", "c", "d"}) for side in sides} == {0, 4}
    assert len(sides[0]) + len(sides[1]) == 20


def test_the_share_is_kept_as_well_as_groups_allow_and_a_seed_decides_who() -> None:
    examples = [example(str(i)) for i in range(200)]
    held = split(examples, 0.2, seed=1)[1]
    assert len(held) == 40
    assert held == split(examples, 0.2, seed=1)[1]
    assert held != split(examples, 0.2, seed=2)[1]
    assert split(examples, 0.0)[1] == []


def test_the_order_of_examples_does_not_decide_their_side() -> None:
    examples = [example(str(i)) for i in range(50)]
    held = {each.key for each in split(examples, 0.3, seed=3)[1]}
    assert held == {each.key for each in split(examples[::-1], 0.3, seed=3)[1]}


def scene(seed: int) -> Image.Image:
    chance = np.random.default_rng(seed)
    image = Image.new("RGB", (320, 240), tuple(map(int, chance.integers(0, 255, 3))))
    pen = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, w, h = chance.integers(0, 200, 4)
        pen.rectangle((int(x), int(y), int(x + w), int(y + h)), fill=tuple(map(int, chance.integers(0, 255, 3))))
    return image


def test_resized_and_recompressed_copies_are_near_duplicates_and_other_pictures_are_not(tmp_path: Path) -> None:
    scene(1).save(tmp_path / "a.png")
    scene(1).resize((800, 600)).save(tmp_path / "b.jpg", quality=40)
    for i in range(2, 40):
        scene(i).save(tmp_path / f"{i}.png")
    names = ["a.png", "b.jpg", *(f"{i}.png" for i in range(2, 40))]
    found = near_duplicates([example(name, photo=str(tmp_path / name)) for name in names])
    assert found[0] == found[1] == "picture a.png"
    assert set(found[2:]) == {None}
