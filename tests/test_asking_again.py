"""An open answer that is none is asked once more, at a temperature; what comes of it is kept and said."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes import FakeEngine
from workspaces import make_workspace

import carscribe
from carscribe.asking_again import TEMPERATURE, with_second_answers
from carscribe.catalog.reading import kept_photos
from carscribe.catalog.status import last_run
from carscribe.catalog.workspace import read_workspace
from carscribe.engines.choosing import open_engine
from carscribe.engines.decoding import Sampler, draws_of
from carscribe.errors import EngineError, NumericsError, OutOfMemoryError
from carscribe.output import json_line
from carscribe.records import ASKED_AGAIN, Answer, Prompt, Request

LOOP = "red red red red red red red red"


class Looping(FakeEngine):
    """Says a loop to every open question at first; what it says the second time is given."""

    def __init__(self, second: str, *, fails: EngineError | None = None) -> None:
        super().__init__()
        self.second, self.fails = second, fails
        self.asked_again: list[tuple[str, ...]] = []

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        again = requests[0].temperature > 0
        if again and self.fails:
            raise self.fails
        if again:
            assert {request.temperature for request in requests} == {TEMPERATURE}
            self.asked_again += [tuple(prompt.question_id for prompt in request.prompts) for request in requests]
        text = self.second if again else LOOP
        return [
            tuple(answer if answer.scores else replace(answer, text=text, finish="stop") for answer in row)
            for row in super().answer(requests)
        ]


def kept(folder: Path, engine: FakeEngine) -> dict[str, set[tuple[str, str]]]:
    """(text, remark) of the answers in a workspace that an engine filled, by question."""
    workspace = make_workspace(folder, engine=engine)
    found: dict[str, set[tuple[str, str]]] = {}
    with read_workspace(workspace) as opened:
        for photo in kept_photos(opened):
            for judged in photo.answers:
                assert judged.answer is not None
                found.setdefault(judged.question_id, set()).add((judged.answer.text, judged.answer.remark))
    return found


def test_a_second_answer_that_is_fine_takes_the_first_ones_place(tmp_path: Path) -> None:
    engine = Looping("five-spoke wheels")
    found = kept(tmp_path, engine)
    assert found["wheels"] == {("five-spoke wheels", ASKED_AGAIN)}
    assert {remark for _, remark in found["colour"]} == {""}  # a choice is no text
    assert set(engine.asked_again) == {("wheels", "wheels")}  # English and Korean, of each photo
    with read_workspace(tmp_path / "workspace") as opened:
        run = last_run(opened)
    assert run is not None
    assert (run.figures["asked_again"], run.figures["marked"]) == (6, 0)


@pytest.mark.parametrize("fails", [None, OutOfMemoryError("no room"), NumericsError("not finite")])
def test_a_first_answer_stays_and_is_remarked_on_when_the_second_is_none_too_or_cannot_be_had(
    fails: EngineError | None, tmp_path: Path
) -> None:
    found = kept(tmp_path, Looping("…", fails=fails))
    ((text, remark),) = found["wheels"]
    assert text == LOOP
    assert "over and over" in remark
    with read_workspace(tmp_path / "workspace") as opened:
        run = last_run(opened)
    assert run is not None
    assert (run.figures["asked_again"], run.figures["marked"]) == (6, 6)


def test_a_remark_is_no_reason_to_ask_in_a_later_run(tmp_path: Path) -> None:
    kept(tmp_path, Looping("…"))
    engine = Looping("five-spoke wheels")
    kept(tmp_path, engine)
    assert (engine.prompts, engine.asked_again) == (0, [])


@pytest.mark.parametrize(
    ("fails", "says"),
    [
        (OutOfMemoryError("no room"), "Out of memory while asking 1 answers again"),
        (NumericsError("not finite"), "1 answers could not be asked again (not finite)"),
    ],
)
def test_that_second_answers_cannot_be_had_is_said_and_memory_is_freed(fails: EngineError, says: str) -> None:
    engine = Looping("fine", fails=fails)
    prompt = Prompt(recipe_id="own", question_id="wheels", language="en", text="Wheels?", max_new_tokens=8)
    request = Request(tiles=np.zeros((1, 28, 28, 3), np.uint8), prompts=(prompt,))
    said: list[str] = []
    with_second_answers(engine, [request], engine.answer([request]), said.append)
    assert says in said[0]
    assert engine.released == 1


def test_no_more_photos_are_asked_again_together_than_memory_has_allowed_since() -> None:
    engine, sizes = Looping("round lamps"), list[int]()
    prompt = Prompt(recipe_id="own", question_id="wheels", language="en", text="Wheels?", max_new_tokens=8)
    requests = [Request(tiles=np.zeros((1, 28, 28, 3), np.uint8), prompts=(prompt,)) for _ in range(5)]
    firsts, answer = engine.answer(requests), engine.answer

    def counted(asked: Sequence[Request]) -> list[tuple[Answer, ...]]:
        sizes.append(len(asked))
        return answer(asked)

    engine.answer = counted  # type: ignore[method-assign]
    found = with_second_answers(engine, requests, firsts, at_once=2)
    assert sizes == [2, 2, 1]
    assert {row[0].text for row in found} == {"round lamps"}


def test_an_answer_that_its_limit_cut_off_is_remarked_on_and_not_asked_again() -> None:
    engine = FakeEngine()
    prompts = tuple(
        Prompt(recipe_id="own", question_id=name, language="en", text=name, max_new_tokens=8) for name in ("a", "b")
    )
    request = Request(tiles=np.zeros((1, 28, 28, 3), np.uint8), prompts=prompts)
    (row,) = engine.answer([request])
    cut, loop = replace(row[0], text="a low roof and", finish="length"), replace(row[1], text=LOOP, finish="stop")
    before = engine.prompts
    assert [a.remark for a in with_second_answers(engine, [request], [(cut,)])[0]] == ["cut off in the middle"]
    assert engine.prompts == before
    ((first, second),) = with_second_answers(Looping("round lamps"), [request], [(cut, loop)])
    assert (first.text, first.remark) == (cut.text, "cut off in the middle")
    assert (second.text, second.remark) == ("round lamps", ASKED_AGAIN)


def test_a_json_line_has_the_remark(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    (first, *_) = carscribe.describe(tmp_path / "photos", recipes=[tmp_path / "own.toml"], engine=Looping("…"))
    line = json_line(first, FakeEngine().card, ())
    assert '"remark": "one word over and over"' in line
    assert line.count('"remark": null') == 1


def test_drawn_answers_are_the_same_for_a_seed_and_greedy_ones_do_not_change(random_checkpoint: Any) -> None:
    engine = open_engine(str(random_checkpoint()), device="cpu")
    tiles = np.random.default_rng(3).integers(0, 255, (1, 112, 112, 3), np.uint8)
    prompts = tuple(
        Prompt(recipe_id="r", question_id=str(i), language="en", text=f"wheels {i}", max_new_tokens=12)
        for i in range(3)
    )

    def said(temperature: float, seed: str, *, alone: bool = False) -> list[str]:
        request = Request(tiles=tiles, prompts=prompts[:1] if alone else prompts, temperature=temperature, seed=seed)
        return [answer.text for answer in engine.answer([request])[0]]

    greedy = said(0.0, "a")
    assert said(0.0, "b") == greedy
    assert said(3.0, "a") == said(3.0, "a") != greedy
    assert said(3.0, "a") != said(3.0, "b")
    assert said(3.0, "a", alone=True) == said(3.0, "a")[:1]
    mixed = [
        Request(tiles=tiles, prompts=prompts, temperature=3.0, seed="a"),
        Request(tiles=tiles, prompts=prompts),
    ]
    assert [[answer.text for answer in row] for row in engine.answer(mixed)] == [said(3.0, "a"), greedy]


def test_tokens_are_drawn_as_often_as_their_shares_say() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log()[None]
    draws = draws_of("seed", "text", 3000)
    sampler = Sampler(temperatures=torch.ones(1, 1), draws=draws.expand(1, 1, -1))
    entries = torch.zeros(1, dtype=torch.long)
    tokens = [int(sampler.take(logits, entries, torch.tensor([step]))) for step in range(3000)]
    shares = np.bincount(tokens, minlength=3) / 3000
    assert np.abs(shares - (0.5, 0.3, 0.2)).max() < 0.03


def test_nothing_is_asked_again_of_the_renders_that_the_demo_model_knows() -> None:
    photos = Path(__file__).parents[1] / "demo" / "photos" / "images"
    results = list(carscribe.describe(sorted(photos.iterdir())[:3], model="demo", device="cpu", languages=["en", "ko"]))
    assert len(results) == 3
    assert {answer.remark for result in results for answer in result.answers} == {""}
