"""Rows that a program prepared as Parquet: learned as they are, and what is wrong with them is said."""

from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from photos_on_disk import write_photos

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.prompting import PromptEncoder
from carscribe.errors import InputError, PhotoError
from carscribe.finetune.collator import Collator
from carscribe.finetune.rows import collect
from carscribe.finetune.runs import finetune
from carscribe.finetune.settings import Settings

QUICK = Settings(steps=2, batch_photos=2, accumulate=1, max_tiles=1, checkpointing=False, workers=1)


def rows(folder: Path, count: int) -> list[dict[str, Any]]:
    write_photos(folder / "photos", count)
    photos = sorted((folder / "photos").iterdir())
    return [
        {"photo": photo.read_bytes(), "key": str(i), "questions": ["wheels"], "answers": ["red"]}
        for i, photo in enumerate(photos)
    ]


def table(path: Path, content: list[dict[str, Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(content), path)
    return path


@pytest.mark.parametrize(("held_out", "held"), [(0.0, 0), (0.1, 0), (0.5, 2)])
def test_of_prepared_rows_a_share_is_held_out_or_none(held_out: float, held: int, tmp_path: Path) -> None:
    path = table(tmp_path / "rows.parquet", rows(tmp_path, 4))
    data = collect(path, Settings(held_out=held_out), say=lambda _: None)
    assert (len(data.learned), len(data.held or ())) == (4 - held, held)
    assert (data.held is None) == (held == 0)
    assert data.facts["photos"] == 4 - held


def test_tables_that_cannot_be_used_are_said(tmp_path: Path) -> None:
    (tmp_path / "no.parquet").write_bytes(b"PAR1 no table")
    table(tmp_path / "columns.parquet", [{"image": "a.png", "text": "x"}])
    empty = pyarrow.table({name: pyarrow.array([], pyarrow.string()) for name in ("photo", "questions", "answers")})
    pyarrow.parquet.write_table(empty, tmp_path / "empty.parquet")
    for name, says in (("no", "cannot be read"), ("columns", "the columns image, text"), ("empty", "no rows")):
        with pytest.raises(InputError, match=says):
            collect(tmp_path / f"{name}.parquet", Settings(), say=lambda _: None)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl"])
@pytest.mark.parametrize("only", [{"languages": ["ko"]}, {"recipes": ["brief"]}])
def test_rows_that_do_not_say_their_recipe_and_language_cannot_be_chosen_by_it(
    name: str, only: dict[str, list[str]], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match="does not say of which recipe and language a row is"):
        collect(tmp_path / name, Settings(), say=lambda _: None, **only)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"photo": b"no photo"}, "^1 is text"),
        ({"questions": [], "answers": []}, "^1 has no questions"),
        ({"answers": ["a", "b"]}, "not as many answers"),
    ],
)
def test_a_row_that_cannot_be_learned_ends_the_training_in_one_line_with_its_key(
    change: dict[str, Any], says: str, random_checkpoint: Any, tmp_path: Path
) -> None:
    content = rows(tmp_path, 3)
    content[1] |= change
    path = table(tmp_path / "rows.parquet", content)
    with pytest.raises(PhotoError, match=says) as caught:
        finetune(path, str(random_checkpoint()), tmp_path / "run", QUICK, device="cpu")
    assert "\n" not in str(caught.value)


def test_what_is_measured_is_the_same_each_time_and_of_all_questions(random_checkpoint: Any, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(random_checkpoint()))
    (row,) = rows(tmp_path, 1)
    row |= {"questions": ["wheels", "roof", "color", "grille"], "answers": list("1234")}
    encoder = PromptEncoder(checkpoint)
    collator = Collator(encoder, checkpoint.tiling, rows="plain", most_pairs=2, drawn=False)
    drawn = {tuple(collator([row])["labels"].flatten().tolist()) for _ in range(8)}
    assert len(drawn) == 1
    assert encoder.text([token for token in drawn.pop() if token >= 0]) == "13"
