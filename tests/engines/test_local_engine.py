"""How the engine behaves at its edges: memory, numbers, lengths, special tokens, order, nothing to do."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from alone import choice_prompt, open_prompt, photo

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.choosing import open_engine
from carscribe.engines.local import LocalEngine
from carscribe.engines.packed import CachePool, pad_rows
from carscribe.errors import CheckpointError, EngineError, InputError, NumericsError, OutOfMemoryError
from carscribe.memory import ON_CPU, batch_bytes, plan_batch, shape_of
from carscribe.records import Request

Make = Callable[..., Path]
PROMPTS = (open_prompt("Wheels?"), choice_prompt("Body?", ("sedan", "SUV")), open_prompt("Grille?", new=5))


@pytest.fixture
def engine(random_checkpoint: Make) -> LocalEngine:
    return LocalEngine(open_checkpoint(str(random_checkpoint())), device="cpu", dtype="float32")


def texts(engine: LocalEngine, requests: Sequence[Request]) -> list[list[str]]:
    return [[answer.text for answer in row] for row in engine.answer(requests)]


def test_a_batch_equals_its_photos_one_by_one_in_their_order(engine: LocalEngine) -> None:
    requests = [Request(tiles=photo(seed, 3), prompts=PROMPTS) for seed in range(5)]
    together = texts(engine, requests)
    assert together == [texts(engine, [request])[0] for request in requests]
    assert together[::-1] == texts(engine, requests[::-1])
    assert len({tuple(row) for row in together}) == 5


def test_a_batch_after_another_of_the_same_shape_owes_it_nothing(engine: LocalEngine) -> None:
    first, second = ([Request(tiles=photo(seed, 1), prompts=PROMPTS)] for seed in (1, 2))
    fresh = texts(engine, second)
    engine.release()
    texts(engine, first)
    assert texts(engine, second) == fresh


def test_settings_are_honoured(engine: LocalEngine) -> None:
    (row,) = engine.answer([Request(tiles=photo(0, 1), prompts=(open_prompt("Wheels?", new=7), PROMPTS[2]))])
    assert [answer.tokens for answer in row] == [7, 5]
    assert [answer.finish for answer in row] == ["length", "length"]


def test_a_choice_counts_its_own_tokens_without_the_end(engine: LocalEngine) -> None:
    choices = ("SUV", "white pearl two-tone paint")
    for order in (choices, choices[::-1]):
        (row,) = engine.answer([Request(tiles=photo(0, 1), prompts=(choice_prompt("Body?", order),))])
        leaf = engine._prompts.leaves("Body?", (row[0].text,))[0]
        assert row[0].tokens == len(leaf) - 1
        assert row[0].text == max(row[0].scores or {}, key=(row[0].scores or {}).__getitem__)


def test_scores_do_not_depend_on_how_many_logits_are_made_at_once(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = choice_prompt("Body?", ("sedan", "SUV", "white pearl two-tone paint"))
    requests = [Request(tiles=photo(seed, 1), prompts=(prompt,)) for seed in range(3)]
    together = engine.answer(requests)
    monkeypatch.setattr("carscribe.engines.packed.SCORED_ROWS", 3)
    for (one,), (other,) in zip(together, engine.answer(requests), strict=True):
        assert one.scores == pytest.approx(other.scores, rel=1e-5)


def test_no_requests_and_no_prompts_are_no_work(engine: LocalEngine) -> None:
    assert engine.answer([]) == []
    silent, asked = Request(tiles=photo(0, 1), prompts=()), Request(tiles=photo(1, 1), prompts=PROMPTS)
    assert [len(row) for row in engine.answer([silent, asked, silent])] == [0, 3, 0]


@pytest.mark.parametrize(
    "trouble",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
)
def test_each_way_of_running_out_of_memory_is_one_error_and_the_engine_goes_on(
    engine: LocalEngine, trouble: Exception
) -> None:
    request = Request(tiles=photo(0, 1), prompts=PROMPTS)
    expected = texts(engine, [request])
    ask = engine._packed.ask

    def fail(*_: Any) -> Any:
        raise trouble

    engine._packed.ask = fail  # type: ignore[method-assign]
    with pytest.raises(OutOfMemoryError, match="1 photo of 1 tile") as caught:
        engine.answer([request])
    assert caught.value.__context__ is None, "the failed batch's tensors must not stay alive in the error"
    engine._packed.ask = ask  # type: ignore[method-assign]
    engine.release()
    assert texts(engine, [request]) == expected


def test_other_errors_are_not_taken_for_memory(engine: LocalEngine) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("device-side assert triggered")

    engine._packed.ask = fail  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="device-side"):
        engine.answer([Request(tiles=photo(0, 1), prompts=PROMPTS)])


@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS[1:2]])
def test_output_that_is_not_finite_says_which_dtype_to_take(engine: LocalEngine, prompts: tuple[Any, ...]) -> None:
    with torch.inference_mode():
        engine._packed.model.lm_head.weight[3] = float("inf")
    with pytest.raises(NumericsError, match="--dtype bfloat16"):
        engine.answer([Request(tiles=photo(0, 1), prompts=prompts)])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_later_steps_are_watched_too_and_leave_nothing_behind(random_checkpoint: Make, dtype: str) -> None:
    engine = LocalEngine(open_checkpoint(str(random_checkpoint())), device="cpu", dtype=dtype)
    request = Request(tiles=photo(0, 1), prompts=PROMPTS[:1])
    before = engine.answer([request])
    step, steps = engine._packed.step, list[int]()

    def overflow(*arguments: Any) -> torch.Tensor:
        steps.append(len(steps))
        return step(*arguments) * (float("nan") if len(steps) == 3 else 1.0)

    engine._packed.step = overflow  # type: ignore[method-assign]
    with torch.inference_mode():
        for buffer in engine._packed.caches._buffers:
            buffer[-20:] = float("nan")
    with pytest.raises(NumericsError, match=f"{dtype} is not finite"):
        engine.answer([request])
    engine._packed.step = step  # type: ignore[method-assign]
    assert engine.answer([request]) == before


def test_a_prompt_with_a_special_token_is_refused(engine: LocalEngine) -> None:
    assert {"<|im_end|>", "<IMG_CONTEXT>", "<img>"} <= engine.reserved
    with pytest.raises(EngineError, match="<IMG_CONTEXT>"):
        engine.answer([Request(tiles=photo(0, 1), prompts=(open_prompt("a <IMG_CONTEXT> b"),))])


def test_a_question_longer_than_the_context_is_refused_with_the_numbers(engine: LocalEngine) -> None:
    engine._positions = 100
    with pytest.raises(EngineError, match=r"to \d+ tokens; .* holds 100"):
        engine.answer([Request(tiles=photo(0, 7), prompts=PROMPTS)])


def test_batches_are_limited_by_memory_and_tiles(engine: LocalEngine) -> None:
    assert engine.plan_batch(13, PROMPTS).photos <= engine.plan_batch(1, PROMPTS).photos
    assert engine.plan_batch(13, PROMPTS).photos >= 1


def test_a_batch_is_planned_by_the_parts_that_a_plan_shows(engine: LocalEngine) -> None:
    shape, row = shape_of(engine._packed.model.config.to_dict()), engine._row_shape(3, PROMPTS)
    plan = engine.plan_batch(3, PROMPTS)
    assert plan == plan_batch(shape, row, "float32", plan.free_bytes, ON_CPU)
    parts = batch_bytes(shape, row, "float32", ON_CPU, photos=plan.photos)
    assert (plan.photos, plan.fits) == (ON_CPU.tiles // 3, True)
    assert plan.batch_bytes == parts.prefix_cache + parts.branch_cache + parts.passes


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_other_dtypes_answer_too(random_checkpoint: Make, dtype: str) -> None:
    engine = open_engine(str(random_checkpoint()), device="cpu", dtype=dtype)
    assert engine.card.dtype == dtype
    (row,) = engine.answer([Request(tiles=photo(0, 3), prompts=PROMPTS)])
    assert row[1].scores is not None
    assert sum(row[1].scores.values()) == pytest.approx(1)


def test_without_a_gpu_the_choice_of_model_is_the_smallest_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    said: list[str] = []
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(CheckpointError, match="--model demo"):
        open_engine(say=said.append)
    assert "InternVL3-1B-hf" in said[0]
    assert "no GPU" in said[0]


def test_an_unknown_dtype_or_device_is_bad_input(random_checkpoint: Make) -> None:
    with pytest.raises(InputError, match="No dtype 'int3'"):
        open_engine(str(random_checkpoint()), dtype="int3")
    with pytest.raises(InputError, match="No device 'tpu'"):
        open_engine(str(random_checkpoint()), device="tpu")


def test_batches_that_overlap_are_answered_as_those_that_do_not(engine: LocalEngine) -> None:
    batches = [
        [Request(tiles=photo(10 * i + j, tiles), prompts=PROMPTS[: 1 + i]) for j in range(rows)]
        for i, (tiles, rows) in enumerate([(3, 2), (1, 3), (7, 1)])
    ]
    batches.append([Request(tiles=photo(5, 1), prompts=())])
    expected = [engine.answer(batch) for batch in batches]
    works = [engine.work(batch) for batch in batches]
    found = []
    works[0].begin()
    for before, coming in zip(works, [*works[1:], None], strict=True):
        before.run()
        if coming is not None:
            coming.begin()
        found.append(before.answers())
    assert found == expected
    assert not engine.overlaps


def test_on_a_gpu_widths_that_came_before_are_taken_again(engine: LocalEngine) -> None:
    engine._device = torch.device("cuda")
    assert [engine._widened(width) for width in (400, 392, 376, 408, 384)] == [400, 400, 376, 408, 400]


@pytest.mark.parametrize("tied", [True, False])
def test_rows_that_no_token_has_align_the_output_layer(tied: bool) -> None:
    embedding, head = torch.nn.Embedding(130, 8), torch.nn.Linear(8, 130, bias=False)
    if tied:
        head.weight = embedding.weight
    before, rows = head.weight.detach().clone(), embedding.weight.detach().clone()
    pad_rows(head, embedding)
    assert (len(head.weight), head.out_features) == (192, 192)
    assert torch.equal(head.weight[:130], before)
    assert not head.weight[130:].any()
    assert (embedding.weight is head.weight) == tied
    assert torch.equal(embedding.weight[:130], rows)


def test_they_are_never_said(engine: LocalEngine) -> None:
    packed = engine._packed
    assert len(packed.model.lm_head.weight) > packed.vocabulary
    hidden = torch.randn(2, 3, packed.model.lm_head.in_features)
    assert packed.logits(hidden).shape == (2, 3, packed.vocabulary)


def test_caches_of_one_shape_lie_in_the_same_memory_until_it_grows() -> None:
    pool = CachePool(layers=2, kv_heads=2, width=4, like=torch.zeros(1))
    first = pool.take(3, 8)
    smaller, again = pool.take(2, 8), pool.take(3, 8)
    assert again.keys[1].data_ptr() == first.keys[1].data_ptr()
    assert first.generation == smaller.generation == again.generation
    assert again.keys[0].shape == (3, 2, 8, 4)
    larger = pool.take(4, 8)
    assert larger.generation != first.generation
    pool.free()
    assert pool.take(4, 8).generation not in {larger.generation, first.generation}
