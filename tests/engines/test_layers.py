"""Fused layers do what transformers' own do, and are compiled once for all shapes."""

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from alone import choice_prompt, open_prompt, photo
from torch._dynamo.testing import CompileCounter
from transformers import AutoConfig
from transformers.models.llama.modeling_llama import LlamaDecoderLayer
from transformers.models.qwen2.modeling_qwen2 import Qwen2DecoderLayer
from transformers.models.qwen3.modeling_qwen3 import Qwen3DecoderLayer

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.layers import KNOWN, FusedLayer, PatchProjection, fused, gathered, joined
from carscribe.engines.local import LocalEngine
from carscribe.engines.packed import packed_attention
from carscribe.engines.quantised import QuantisedLinear
from carscribe.memory import QUANTISED, Held
from carscribe.records import Request

KINDS = {
    Qwen2DecoderLayer: ("qwen2", {}),
    Qwen3DecoderLayer: ("qwen3", {"head_dim": 24}),
    LlamaDecoderLayer: ("llama", {"attention_bias": True, "mlp_bias": True}),
}
ROWS, TOKENS = 2, 7


@pytest.mark.parametrize(("patch", "bias"), [((14, 14), True), ((8, 4), False)])
@torch.inference_mode()
def test_patches_are_projected_as_by_the_convolution(patch: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(3, 24, kernel_size=patch, stride=patch, bias=bias, dtype=torch.float64)
    own = PatchProjection(convolution)
    assert own.weight.shape[1] % 8 == 0
    pixels = torch.randn(2, 3, 45, 59, dtype=torch.float64)  # a rest at both edges, which a convolution leaves out
    torch.testing.assert_close(own(pixels), convolution(pixels))
    with pytest.raises(ValueError, match="overlap"):
        PatchProjection(torch.nn.Conv2d(3, 24, kernel_size=8, stride=4))


@pytest.fixture
def compiler() -> Iterator[CompileCounter]:
    torch._dynamo.reset()
    yield CompileCounter()
    torch._dynamo.reset()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.__name__))
@torch.inference_mode()
def test_a_fused_layer_equals_the_layer_it_is_made_of(kind: Any) -> None:
    name, more = KINDS[kind]
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = AutoConfig.for_model(name, **sizes, **more, num_hidden_layers=1, attn_implementation="sdpa")
    torch.manual_seed(0)
    layer = kind(config, 0).eval()
    for parameter in layer.parameters():  # norms of ones and biases of zeros would hide what is left out
        parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.ndim == 1))
    width = getattr(config, "head_dim", None) or 16
    hidden = torch.randn(ROWS, TOKENS, 64)
    angle = torch.rand(1, TOKENS, width // 2).repeat(1, 1, 2) * 6
    turn = (angle.cos(), angle.sin())
    found = layer(hidden, position_embeddings=turn, attention_mask=None)
    expected = found if isinstance(found, torch.Tensor) else found[0]
    projected = layer.self_attn.o_proj.weight.data_ptr()
    (own,) = fused([layer]) or []
    assert own.out.weight.data_ptr() == projected, "in the host's memory it may be mapped from a file, and stays there"
    own = gathered(own)
    cos, sin = (x.expand(ROWS, -1, -1).flatten(0, 1) for x in turn)
    states = own.before(hidden.flatten(0, 1), cos, sin)
    query, key, value = (x.view(ROWS, TOKENS, -1, width).transpose(1, 2) for x in states)
    attended, _ = packed_attention(own, query, key, value, None, scaling=own.scaling)
    got = own.after(hidden.flatten(0, 1), attended.reshape(ROWS * TOKENS, -1)).view_as(hidden)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_every_known_kind_is_compared() -> None:
    assert {kind.__name__ for kind in KINDS} == KNOWN


def test_projections_with_and_without_bias_join() -> None:
    parts = [torch.nn.Linear(6, 4), torch.nn.Linear(6, 3, bias=False)]
    x = torch.randn(5, 6)
    whole = joined(parts)
    torch.testing.assert_close(whole(x), torch.cat([part(x) for part in parts], dim=-1))
    assert (whole.in_features, whole.out_features) == (6, 7)
    with pytest.raises(TypeError, match="Embedding"):
        joined([torch.nn.Embedding(2, 2)])


@pytest.mark.parametrize("held", [None, *QUANTISED])
@torch.inference_mode()
def test_a_layers_weights_lie_one_behind_another_as_they_were(held: Held | None) -> None:
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    layer = Qwen2DecoderLayer(AutoConfig.for_model("qwen2", **sizes, num_hidden_layers=1), 0).to(torch.bfloat16)
    if held:
        for part in (layer.self_attn, layer.mlp):
            for name, linear in list(part.named_children()):
                if isinstance(linear, torch.nn.Linear):
                    setattr(part, name, QuantisedLinear.of(held, linear.weight, linear.bias))
    own = FusedLayer(layer)
    before = {name: weight.clone() for name, weight in own.named_parameters()}
    after = dict(gathered(own).named_parameters())
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert {weight.dtype for weight in after.values()} == {weight.dtype for weight in before.values()}
    assert len({weight.untyped_storage().data_ptr() for weight in after.values()}) == 1
    places = sorted((weight.data_ptr(), weight.nbytes) for weight in after.values())
    first = places[0][0]
    assert all((place - first) % 512 == 0 for place, _ in places)
    assert all(next_place - place < count + 512 for (place, count), (next_place, _) in pairwise(places))


def requests_of(photos: int, tiles: int, questions: int, new: int) -> list[Request]:
    prompts = tuple(open_prompt(f"Question {i}: {'what wheels ' * i}?", new=new) for i in range(questions))
    return [
        Request(tiles=photo(i, tiles), prompts=(*prompts, choice_prompt("Body?", ("SUV", "sedan"))))
        for i in range(photos)
    ]


def test_whatever_comes_nothing_is_compiled_twice(
    random_checkpoint: Callable[..., Path], compiler: CompileCounter
) -> None:
    engine = LocalEngine(open_checkpoint(str(random_checkpoint())), device="cpu", dtype="float32")
    mixes = [(2, 3, 4, 6), (3, 1, 2, 9), (1, 7, 1, 3), (4, 2, 6, 12), (2, 1, 3, 20), (1, 1, 1, 3), (9, 1, 1, 4)]
    expected = [[[a.text for a in row] for row in engine.answer(requests_of(*mix))] for mix in mixes]
    engine._packed.compile(compiler)
    warm = compiler.frame_count
    assert 0 < warm <= 4
    got = [[[a.text for a in row] for row in engine.answer(requests_of(*mix))] for mix in mixes]
    assert compiler.frame_count == warm
    assert got == expected
    assert isinstance(engine._packed.layers, list)
    assert all(isinstance(layer, FusedLayer) for layer in engine._packed.layers)


def test_a_long_run_is_compiled_and_a_short_one_not(
    random_checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = list[str]()
    engine = LocalEngine(open_checkpoint(str(random_checkpoint())), device="cpu", dtype="float32", say=said.append)
    compiled = list[None]()
    monkeypatch.setattr(engine._packed, "compile", lambda: compiled.append(None))
    monkeypatch.setattr("os.environ", dict(os.environ))
    clock = iter(range(0, 1000, 8))  # a batch takes 8 s
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    engine._until_compiled_s = 20.0
    counts = []
    for _ in range(5):
        engine.answer(requests_of(1, 1, 1, 2))
        counts.append(len(compiled))
    assert counts == [0, 0, 1, 1, 1]
    assert [line.partition(" ")[0] for line in said] == ["Compiling"]


@pytest.mark.parametrize("listening", [True, False])
def test_a_compiler_that_fails_is_told_of_and_done_without(
    random_checkpoint: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    listening: bool,
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no C compiler")

    said = list[str]()
    say = said.append if listening else None
    engine = LocalEngine(open_checkpoint(str(random_checkpoint())), device="cpu", dtype="float32", say=say)
    requests = requests_of(2, 3, 2, 5)
    expected = engine.answer(requests)
    compile_ = engine._packed.compile
    monkeypatch.setattr(engine._packed, "compile", lambda: compile_(broken))
    monkeypatch.setattr("os.environ", dict(os.environ))
    engine._until_compiled_s = 0.0
    assert engine.answer(requests) == expected
    assert "not compiled" in ("".join(said) if listening else caplog.text)
    assert engine.answer(requests) == expected
    torch._dynamo.reset()
