"""The proof: packed answers are, token for token, what each question gets alone through transformers' `generate`."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from alone import Alone, Recording, Replaying, assert_equals_alone, choice_prompt, open_prompt, photo

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.packing import lay_out
from carscribe.records import Request

QUESTIONS = (
    open_prompt("What are the wheels like?"),
    open_prompt("Describe this car's design briefly and precisely: body type, proportions, surface."),
    open_prompt("\nA question that starts with a new line"),
    open_prompt(" a space", new=3),
    open_prompt("3 digits 2026", new=17),
    open_prompt('"quoted"'),
    open_prompt("휠은 어떤가요? 짧은 구로 답하세요."),
    open_prompt("이 자동차의 색은?", new=1),
)
ALL = 10**6
"""A step of so many answers is the longest that is looked at late, and replayed: all are."""

CHOICES = ("sedan", "sedan car", "SUV", "컨버터블", "white pearl two-tone paint")
BACKBONES = [("qwen2", "dynamic"), ("qwen3", "default")]
Make = Callable[..., Path]


def engine_of(folder: Path) -> Recording:
    return Recording(open_checkpoint(str(folder)), device="cpu", dtype="float32")


@pytest.mark.parametrize(("backbone", "rope"), BACKBONES)
@pytest.mark.parametrize("tiles", [1, 3, 7, 9, 10, 13])
def test_every_branch_equals_its_question_alone(random_checkpoint: Make, backbone: str, rope: str, tiles: int) -> None:
    folder = random_checkpoint(backbone=backbone, rope=rope)
    prompts = (*QUESTIONS, choice_prompt("Which body type?", CHOICES))
    requests = [Request(tiles=photo(seed, tiles), prompts=prompts) for seed in range(2)]
    engine = engine_of(folder)
    assert_equals_alone(engine, Alone(folder), requests)
    said = list(engine.ids.values())
    assert len({tuple(ids) for ids in said}) > len(said) // 2, "a model that always says the same proves nothing"


def test_tiles_of_the_real_size_equal_too(random_checkpoint: Make) -> None:
    folder = random_checkpoint(tile_px=448)
    requests = [Request(tiles=photo(5, 3, tile_px=448), prompts=(*QUESTIONS[:3], choice_prompt("Body?", CHOICES)))]
    assert_equals_alone(engine_of(folder), Alone(folder), requests)


@pytest.mark.parametrize(("quantum", "late"), [(1, 0), (5, 0), (1, ALL), (4, ALL), (4, 16)])
def test_branches_that_end_early_and_late_equal_alone(
    random_checkpoint: Make, tmp_path: Path, quantum: int, late: int
) -> None:
    """With several end tokens the answers end at different steps, so that they are dropped on the way."""
    source = random_checkpoint()
    prompts = tuple(open_prompt(f"Question {i}: {'what wheels ' * (i % 4)}?", new=24) for i in range(12))
    requests = [Request(tiles=photo(seed, 1), prompts=prompts) for seed in range(2)]
    first = engine_of(source)
    first.answer(requests)
    said = np.bincount([token for ids in first.ids.values() for token in ids])
    order = np.random.default_rng(0).permutation(len(said))
    share = (said[order] / said.sum()).cumsum()
    ends = [int(token) for token in order[share < 0.12] if said[token]]  # about one token in eight ends an answer
    folder = tmp_path / "many-ends"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((source / "generation_config.json").read_text())
    (folder / "generation_config.json").write_text(
        json.dumps(config | {"eos_token_id": [config["eos_token_id"], *ends]})
    )
    engine = engine_of(folder)
    engine._entries, engine._late = quantum, late
    step, columns, entries = engine._packed.step, list[int](), list[int]()

    def watched(cache: Any, tokens: torch.Tensor, *rest: Any) -> torch.Tensor:
        columns.append(len(cache.slots))
        entries.append(len(tokens))
        return step(cache, tokens, *rest)

    engine._packed.step = watched  # type: ignore[method-assign]
    assert_equals_alone(engine, Alone(folder), requests)
    assert columns == sorted(columns, reverse=True)
    assert {16, 8} < set(columns), "ended branches are dropped on the way"
    assert entries == sorted(entries, reverse=True)
    assert any(left < 2 * width for left, width in zip(entries, columns, strict=True)), "not in whole columns alone"
    assert all(left % quantum == 0 or left == 2 * width for left, width in zip(entries, columns, strict=True))
    lengths = {len(ids) for ids in engine.ids.values()}
    assert len(lengths) > 4, lengths
    assert min(lengths) < 8 < max(lengths), lengths


def test_a_step_that_was_captured_serves_later_batches(random_checkpoint: Make, tmp_path: Path) -> None:
    folder = random_checkpoint()
    alone = Alone(folder)
    engine = engine_of(folder)
    engine._graphs, engine._entries, engine._late = Replaying(), 4, ALL
    for seed in range(4):
        prompts = tuple(open_prompt(f"{aspect} {seed}?", new=12) for aspect in ("wheels", "lamps", "roof"))
        others = tuple(open_prompt(f"{aspect} {seed}?", new=7) for aspect in ("paint", "glass", "doors", "grille"))
        assert_equals_alone(engine, alone, [Request(tiles=photo(seed + 9 * i, 1), prompts=prompts) for i in range(2)])
        assert_equals_alone(engine, alone, [Request(tiles=photo(seed, 3), prompts=others)])
    captured = engine._graphs.captured
    assert captured >= 2
    assert_equals_alone(engine, alone, [Request(tiles=photo(7, 3), prompts=others)])
    assert engine._graphs.captured == captured, "none in steady state"
    engine.release()
    assert_equals_alone(engine, alone, [Request(tiles=photo(8, 3), prompts=others)])


def test_a_first_batch_is_replayed_once_a_shape_has_lasted_and_long_steps_are_not(random_checkpoint: Make) -> None:
    folder = random_checkpoint()
    for late, new_tokens, captured in ((6, 4, 1), (6, 3, 0), (5, 4, 0)):
        engine = engine_of(folder)
        engine._graphs, engine._entries, engine._late, engine._end_ids = Replaying(), 6, late, (-1,)
        asked = tuple(replace(prompt, max_new_tokens=new_tokens) for prompt in QUESTIONS[:3])
        requests = [Request(tiles=photo(seed, 1), prompts=asked) for seed in range(2)]
        engine.answer(requests)
        assert engine._graphs.captured == captured, (late, new_tokens)
        engine.answer(requests)
        assert engine._graphs.captured == int(late == 6), "what came in a batch before lasts"


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUDA error: out of memory")]
)
def test_without_memory_for_a_graph_steps_go_on_without(random_checkpoint: Make, error: RuntimeError) -> None:
    class Full(Replaying):
        def capture(self, step: Callable[[], None]) -> Any:
            tried.append(step)
            raise error

    folder, tried = random_checkpoint(), list[Callable[[], None]]()
    engine = engine_of(folder)
    engine._graphs, engine._late = Full(), ALL
    for seed in range(4):
        assert_equals_alone(engine, Alone(folder), [Request(tiles=photo(seed, 1), prompts=QUESTIONS[:2])])
    assert len(tried) == 1, "a shape is not tried again and again"
    assert engine._graphs.captured == 0


def test_what_else_goes_wrong_in_a_capture_is_said(random_checkpoint: Make) -> None:
    class Broken(Replaying):
        def capture(self, step: Callable[[], None]) -> Any:
            raise RuntimeError("operation not permitted when stream is capturing")

    engine = engine_of(random_checkpoint())
    engine._graphs, engine._late = Broken(), ALL
    request = Request(tiles=photo(0, 1), prompts=QUESTIONS[:2])
    with pytest.raises(RuntimeError, match="not permitted"):
        engine.answer([request])


def test_layers_of_another_kind_run_through_transformers_own(
    random_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carscribe.engines.layers.KNOWN", frozenset())
    folder = random_checkpoint()
    engine = engine_of(folder)
    assert engine._packed.layers is None
    engine._entries = 5
    prompts = (*QUESTIONS, choice_prompt("Which body type?", CHOICES))
    requests = [Request(tiles=photo(seed, 3), prompts=prompts) for seed in range(2)]
    assert_equals_alone(engine, Alone(folder), requests)


def test_rows_with_different_questions_equal_each_alone(random_checkpoint: Make) -> None:
    folder = random_checkpoint()
    named = [
        open_prompt(f"What are the wheels of this {name} like?")
        for name in ("Kia", "Citroën Berlingo Van", "기아 니로")
    ]
    rows = [
        (*QUESTIONS[:5], named[0], choice_prompt("Body type of this Kia?", CHOICES)),
        (named[1], choice_prompt("Body type of this Citroën Berlingo Van, please?", CHOICES[:3])),
        (choice_prompt("Main colour?", ("은색", "회색", "검은색")), QUESTIONS[6], named[2], QUESTIONS[1]),
        (QUESTIONS[3],),
    ]
    requests = [Request(tiles=photo(i, 3), prompts=row) for i, row in enumerate(rows)]
    assert_equals_alone(engine_of(folder), Alone(folder), requests)


def test_a_shared_instruction_is_read_with_the_photo_and_changes_nothing(random_checkpoint: Make) -> None:
    folder = random_checkpoint()
    instruction = "As an automotive designer, answer in short phrases, without a lead-in, at most twelve words: "
    prompts = tuple(open_prompt(instruction + aspect) for aspect in ("wheels", "grille", "3 lamps", " surface", "휠"))
    request = Request(tiles=photo(1, 1), prompts=prompts)
    engine = engine_of(folder)
    image_end = engine._prompts.image_end(prompts[0].text, 1)
    assert len(engine._encode([request]).prefix) >= image_end + 8
    assert_equals_alone(engine, Alone(folder), [request])


def test_instructions_in_two_languages_are_read_once_each_and_change_nothing(random_checkpoint: Make) -> None:
    folder = random_checkpoint()
    heads = (
        "Answer in short phrases separated by commas, at most twelve words: ",
        "짧은 명사구만 쉼표로 구분해 답하세요: ",
    )
    prompts = [open_prompt(head + aspect) for head in heads for aspect in ("wheels", "\ngrille", "3 lamps", "휠")]
    prompts.insert(3, choice_prompt(heads[1] + "어떤 차인가요?", CHOICES))
    prompts.append(choice_prompt(heads[0] + "which body?", CHOICES))
    requests = [
        Request(tiles=photo(1, 1), prompts=tuple(prompts)),
        Request(tiles=photo(2, 1), prompts=(*prompts[2:], open_prompt("another question altogether"))),
    ]
    engine = engine_of(folder)
    asked = engine._encode(requests)
    apart = sum(len(branch.tokens) for branch in asked.rows[0])
    together = lay_out(asked.rows[:1], prefix_tokens=len(asked.prefix), quantum=1)
    leaves = sum(len(leaf) - 1 for branch in asked.rows[0] for leaf in branch.leaves)
    assert together.token_ids.shape[1] - leaves < 0.7 * apart
    assert_equals_alone(engine, Alone(folder), requests)


@pytest.mark.parametrize(
    ("read_tiles", "asked_tokens", "passes"), [(1, 1, (5, 5)), (6, 400, (3, 3)), (64, 9999, (1, 1))]
)
def test_a_batch_read_and_asked_in_parts_equals_alone(
    random_checkpoint: Make, read_tiles: int, asked_tokens: int, passes: tuple[int, int]
) -> None:
    folder = random_checkpoint()
    body = choice_prompt("Which body type?", CHOICES)
    rows = [(*QUESTIONS[:3], body), (QUESTIONS[1],), (body, QUESTIONS[6]), (body,), (QUESTIONS[3], *QUESTIONS[:2])]
    engine = engine_of(folder)
    engine._limits = replace(engine._limits, read_tiles=read_tiles, asked_tokens=asked_tokens)
    packed, seen = engine._packed, Counter[str]()
    forward = packed._forward

    def watched(cache: Any, *rest: Any) -> torch.Tensor:
        seen["read" if cache.reading else "ask"] += 1
        return forward(cache, *rest)

    packed._forward = watched  # type: ignore[method-assign]
    assert_equals_alone(engine, Alone(folder), [Request(tiles=photo(i, 3), prompts=row) for i, row in enumerate(rows)])
    assert (seen["read"], seen["ask"]) == passes


def test_rows_with_masks_of_their_own_are_asked_in_smaller_parts(
    random_checkpoint: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carscribe.engines.local.MASK_PLACES", 40_000)
    folder = random_checkpoint()
    engine = engine_of(folder)
    rows = [(choice_prompt(f"Body of this {'long ' * i}one?", CHOICES), *QUESTIONS[:2]) for i in range(5)]
    packed, sizes = engine._packed, list[int]()
    ask = packed.ask

    def watched(cache: Any, *rest: Any) -> torch.Tensor:
        sizes.append(len(cache.keys[0]))
        return ask(cache, *rest)

    packed.ask = watched  # type: ignore[method-assign]
    assert_equals_alone(engine, Alone(folder), [Request(tiles=photo(i, 1), prompts=row) for i, row in enumerate(rows)])
    assert sum(sizes) == 5
    assert len(sizes) > 1


def test_questions_padded_to_a_width_that_came_before_equal_alone(random_checkpoint: Make) -> None:
    folder = random_checkpoint()
    engine = engine_of(folder)
    engine._widened = lambda width: width + 24  # type: ignore[method-assign]
    prompts = (*QUESTIONS[:3], choice_prompt("Which body type?", CHOICES))
    assert_equals_alone(engine, Alone(folder), [Request(tiles=photo(i, 3), prompts=prompts) for i in range(2)])


def test_one_question_alone_in_its_batch_equals_alone(random_checkpoint: Make) -> None:
    folder = random_checkpoint()
    alone = Alone(folder)
    for prompt in (QUESTIONS[1], choice_prompt("Which body type?", CHOICES)):
        assert_equals_alone(engine_of(folder), alone, [Request(tiles=photo(2, 7), prompts=(prompt,))])


def test_ids_equal_the_template_with_the_documented_expansion(random_checkpoint: Make) -> None:
    folder = random_checkpoint()
    engine, alone = engine_of(folder), Alone(folder)
    for prompt in QUESTIONS:
        for tiles in (1, 13):
            expected = alone.inputs(photo(0, tiles), prompt.text)["input_ids"][0].tolist()
            assert list(engine._prompts.ids(prompt.text, tiles)) == expected


def test_pixels_equal_the_image_processors_to_the_bit(random_checkpoint: Make) -> None:
    folder = random_checkpoint()
    every_byte = np.arange(256, dtype=np.uint8).repeat(49)[: 112 * 112].reshape(1, 112, 112, 1).repeat(3, -1)
    engine, alone = engine_of(folder), Alone(folder)
    for tiles in (every_byte, photo(0, 9)):
        pixels = torch.cat(list(engine._pixels([Request(tiles=tiles, prompts=())])))
        assert torch.equal(pixels, alone.inputs(tiles, "x")["pixel_values"])


def test_reversed_choices_get_the_same_scores(random_checkpoint: Make) -> None:
    engine = engine_of(random_checkpoint())
    request = [
        Request(tiles=photo(0, 1), prompts=(choice_prompt("Which body type?", choices),))
        for choices in (CHOICES, CHOICES[::-1])
    ]
    (forward,), (backward,) = (engine.answer([r])[0] for r in request)
    assert forward.scores is not None
    assert backward.scores is not None
    assert forward.text == backward.text
    for choice in CHOICES:
        assert forward.scores[choice] == pytest.approx(backward.scores[choice], rel=1e-4)
    assert sum(forward.scores.values()) == pytest.approx(1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_choices_of_one_to_five_tokens_are_scored_to_their_end(random_checkpoint: Make, count: int) -> None:
    folder = random_checkpoint()
    engine, alone = engine_of(folder), Alone(folder)
    text = "Which body type?"
    known = ("SUV", "wagon", "sedan", "coupe", "sports car", "컨버터블", "MPV 7", "X")
    words = {engine._prompts.leaves(text, (word,))[0]: word for word in known}
    candidates = [w for leaf, w in words.items() if len(leaf) == count + 1] or ["9" * count]
    request = Request(tiles=photo(3, 1), prompts=(choice_prompt(text, (candidates[0], "세단")),))
    assert len(engine._prompts.leaves(text, (candidates[0],))[0]) == count + 1
    assert_equals_alone(engine, alone, [request])
