"""Weights in fp8, int8 and int4: near the float ones, quantised while they are read, and as large as the plan says."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from alone import choice_prompt, photo
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

import carscribe
from carscribe.doctor.fidelity import examine
from carscribe.engines.adapters import Adapter, merged, open_adapter
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.choosing import choose_model
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.engines.device import refuse_without_fp8
from carscribe.engines.local import LocalEngine, _load_model
from carscribe.engines.new_checkpoint import Sizes
from carscribe.engines.quantised import QuantisedLinear
from carscribe.engines.quantising import quantise
from carscribe.errors import CheckpointError, InputError, NumericsError
from carscribe.memory import (
    QUANTISED,
    Held,
    dequantised_bytes,
    int4_group,
    layer_bytes,
    projection_bytes,
    shape_of,
    weight_bytes,
)
from carscribe.records import Request
from measure import figures, judged, write_photo
from render_set import UNSEEN_FROM

Make = Callable[..., Path]
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
CPU = torch.device("cpu")


def random_weight(outputs: int, inputs: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    """A float weight, with a row of zeros, one of one sign, and one that is much larger."""
    weight = 0.05 * torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))
    weight[0] = 0
    weight[1] = weight[1].abs()
    weight[2] *= 1000
    return weight.to(dtype)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("inputs", [16, 48, 448, 1024])
def test_each_weight_is_within_half_a_step_of_the_float_one(dtype: torch.dtype, inputs: int) -> None:
    weight = random_weight(32, inputs, dtype)
    exact, rounding = weight.double(), 4 * torch.finfo(dtype).eps
    for held, steps in (("fp8", 16), ("int8", 254), ("int4", 15)):
        values = QuantisedLinear.of(held, weight).dequantised().double()  # type: ignore[arg-type]
        off = (values - exact).abs()
        match held:
            case "fp8":  # of each value by itself: half of the last of three bits
                allowed = exact.abs() / steps + exact.abs().amax(-1, keepdim=True) * 2**-18
            case "int8":
                allowed = exact.abs().amax(-1, keepdim=True) / steps
            case _:  # a whole step, where the zero was rounded against the largest
                groups = exact.view(32, -1, int4_group(inputs))
                span = groups.amax(-1).clamp(min=0) - groups.amin(-1).clamp(max=0)
                allowed = (span / steps).repeat_interleave(int4_group(inputs), 1)
        assert bool((off <= allowed * (1 + rounding) + rounding * exact.abs().amax(-1, keepdim=True)).all()), held
        assert bool((values[0] == 0).all()), held


@pytest.mark.parametrize("held", ["int8", "int4"])
def test_a_weight_of_zero_stays_zero(held: Held) -> None:
    weight = random_weight(8, 128).abs() + 1
    weight[:, 5] = 0
    assert bool((QuantisedLinear.of(held, weight).dequantised()[:, 5] == 0).all())


@pytest.mark.parametrize("held", QUANTISED)
def test_inputs_a_thousand_times_their_sisters_do_not_multiply_what_is_rounded(held: Held) -> None:
    model = _load_model(open_checkpoint(str(demo_checkpoint())), "cpu", "float32")
    weight = model.model.language_model.layers[1].mlp.up_proj.weight.detach()
    larger = torch.ones(256)
    larger[[32, 96, 160, 224]] = torch.tensor([128.0, 256.0, 512.0, 1024.0])
    x = torch.randn(200, 256, generator=torch.Generator().manual_seed(2))
    expected = x @ weight.T
    off = QuantisedLinear.of(held, weight / larger)(x * larger) - expected
    assert float(off.norm() / expected.norm()) < 0.25


@pytest.mark.parametrize("held", QUANTISED)
@pytest.mark.parametrize("dtype", FLOATS)
def test_a_projection_multiplies_as_a_linear_layer_does(held: Held, dtype: torch.dtype) -> None:
    weight, bias = random_weight(48, 256, dtype), torch.randn(48).to(dtype)
    x = torch.randn(2, 7, 256, generator=torch.Generator().manual_seed(1)).to(dtype)
    layer = QuantisedLinear.of(held, weight, bias)
    assert (layer.in_features, layer.out_features, layer(x).shape, layer(x).dtype) == (256, 48, (2, 7, 48), dtype)
    expected = F.linear(x.double(), weight.double(), bias.double())
    off = (layer(x).double() - expected).pow(2).mean((0, 1)).sqrt() / expected.pow(2).mean((0, 1)).sqrt()
    assert float(off[1:].mean()) < {"fp8": 0.05, "int8": 0.01, "int4": 0.1}[held]
    assert bool((layer(x)[..., 0] == bias[0]).all())


@pytest.mark.parametrize("held", QUANTISED)
@pytest.mark.parametrize("biased", [True, False])
def test_joined_projections_equal_separate_ones_to_the_bit(held: Held, biased: bool) -> None:
    parts = [
        QuantisedLinear.of(held, random_weight(rows, 96, seed=rows), torch.randn(rows) if biased and rows > 8 else None)
        for rows in (32, 8, 16)
    ]
    x = torch.randn(5, 96)
    whole = QuantisedLinear.joined(parts)
    assert whole.bias is None or whole.bias.dtype == parts[0].bias.dtype  # type: ignore[union-attr]
    assert (whole.out_features, whole.bias is None) == (56, not biased)
    assert torch.equal(whole.dequantised(), torch.cat([part.dequantised() for part in parts]))
    expected = torch.cat([part(x) for part in parts], -1)
    torch.testing.assert_close(whole(x), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    with pytest.raises(ValueError, match="same input, held alike"):
        QuantisedLinear.joined([parts[0], QuantisedLinear.of(held, random_weight(8, 48))])


def e4m3_values() -> np.ndarray:
    """What the 127 numbers of e4m3 without a sign stand for, by its definition: 4 bits of exponent, bias 7, 3 of it."""
    exponent, mantissa = np.divmod(np.arange(127), 8)
    return np.where(exponent > 0, 2.0 ** (exponent - 7) * (1 + mantissa / 8), 2.0**-6 * mantissa / 8)


def to_e4m3(values: np.ndarray) -> np.ndarray:
    """The nearest e4m3, of two as near the one with an even last bit."""
    table = e4m3_values()
    above = np.searchsorted(table, np.abs(values)).clip(1, len(table) - 1)
    low, high = table[above - 1], table[above]
    up = np.abs(values) - low > high - np.abs(values)
    tie = np.abs(values) - low == high - np.abs(values)
    return np.sign(values) * np.where(up | (tie & (above % 2 == 0)), high, low)


def by_row_in_e4m3(rows: np.ndarray) -> np.ndarray:
    scale = np.maximum((np.abs(rows).max(-1, keepdims=True) / np.float32(448)).astype(np.float32), np.float32(1e-30))
    return to_e4m3((rows / scale).astype(np.float32)).astype(np.float64) * scale


def test_fp8_equals_arithmetic_written_down_without_torch() -> None:
    assert e4m3_values().max() == 448
    weight, x = random_weight(24, 80), torch.randn(9, 80, generator=torch.Generator().manual_seed(3))
    x[4] *= 1e4
    x[5, ::2] *= 1e-4
    expected = by_row_in_e4m3(x.numpy()) @ by_row_in_e4m3(weight.numpy()).T
    found = QuantisedLinear.of("fp8", weight)(x).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9), reason="no GPU with fp8"
)
def test_fp8_on_a_gpu_equals_the_same_numbers_on_a_cpu() -> None:
    weight, bias = random_weight(64, 256, torch.bfloat16), torch.randn(64, dtype=torch.bfloat16)
    x = torch.randn(3, 5, 256, dtype=torch.bfloat16)
    here, there = QuantisedLinear.of("fp8", weight, bias), QuantisedLinear.of("fp8", weight.cuda(), bias.cuda())
    steps = there.weight.cpu().view(torch.uint8).int() - here.weight.view(torch.uint8).int()
    assert steps.abs().max() <= 1, "a division may be rounded otherwise there"
    assert (steps != 0).float().mean() < 0.01
    torch.testing.assert_close(there(x.cuda()).cpu(), here(x), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("held", QUANTISED)
def test_what_is_not_finite_stays_so_in_its_own_row(held: Held, value: float) -> None:
    layer = QuantisedLinear.of(held, 1 + torch.rand(16, 32))
    x = torch.randn(3, 32)
    x[1, 4] = value
    finite = torch.isfinite(layer(x)).all(-1).tolist()
    assert finite == [True, False, True]


@pytest.mark.parametrize("held", QUANTISED)
def test_a_projection_is_one_graph_for_any_number_of_rows(held: Held) -> None:
    layer = QuantisedLinear.of(held, random_weight(32, 64))
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    with torch.inference_mode():
        for rows in (3, 8, 21):
            x = torch.randn(rows, 64)
            torch.testing.assert_close(compiled(x), layer(x))


@pytest.mark.parametrize("held", QUANTISED)
def test_an_engine_of_fused_layers_compiles_them_once_and_answers_alike(held: Held, random_checkpoint: Make) -> None:
    engine = LocalEngine(open_checkpoint(str(random_checkpoint())), device="cpu", dtype=held)
    assert any(isinstance(module, QuantisedLinear) for module in engine._packed.layers[0].modules())  # type: ignore[index]
    requests = [Request(tiles=photo(seed, 1), prompts=(choice_prompt("Body?", ("sedan", "SUV")),)) for seed in (1, 2)]
    plain = engine.answer(requests)
    torch._dynamo.reset()
    compiler = CompileCounter()
    engine._packed.compile(compiler)
    engine.answer(requests[:1])
    warm = compiler.frame_count
    assert engine.answer(requests) == plain
    assert compiler.frame_count == warm > 0
    torch._dynamo.reset()


def test_too_few_inputs_for_int4_are_said_with_another_dtype(random_checkpoint: Make) -> None:
    narrow = open_checkpoint(str(random_checkpoint(sizes=Sizes(mlp=200))))
    with pytest.raises(CheckpointError, match=r"multiple of 16 inputs; one has 200\. Give --dtype int8"):
        LocalEngine(narrow, device="cpu", dtype="int4")
    assert LocalEngine(narrow, device="cpu", dtype="fp8").card.dtype == "fp8"


def held_layers(model: Any) -> dict[str, QuantisedLinear]:
    return {name: module for name, module in model.named_modules() if isinstance(module, QuantisedLinear)}


def bytes_of(*modules: torch.nn.Module) -> int:
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


@pytest.mark.parametrize("computing", ["float32", "bfloat16"])
@pytest.mark.parametrize("held", QUANTISED)
def test_a_loaded_model_takes_the_bytes_that_were_planned(held: Held, computing: str) -> None:
    checkpoint = open_checkpoint(str(demo_checkpoint()))
    shape = shape_of(checkpoint.config)
    plain, model = _load_model(checkpoint, "cpu", computing), _load_model(checkpoint, "cpu", computing, held)
    layers = held_layers(model)
    assert len(layers) == 7 * shape.layers
    biases = sum(layer.bias.nbytes for layer in layers.values() if layer.bias is not None)
    assert bytes_of(*layers.values()) - biases == layer_bytes(shape, held, computing)
    saved = layer_bytes(shape, computing, computing) - layer_bytes(shape, held, computing)
    assert bytes_of(plain) - bytes_of(model) == saved > 0
    not_counted = bytes_of(plain) - weight_bytes(shape, computing)  # biases, norms, embeddings of patches and places
    assert bytes_of(model) - not_counted == weight_bytes(shape, held, computing)
    assert {parameter.dtype for parameter in model.model.vision_tower.parameters()} == {getattr(torch, computing)}
    largest = max(layer.dequantised().nbytes for layer in layers.values())
    assert largest <= dequantised_bytes(shape, held, "float32")


def test_a_loaded_model_holds_what_its_weights_become_one_by_one(random_checkpoint: Make) -> None:
    checkpoint = open_checkpoint(str(random_checkpoint()))
    plain, model = _load_model(checkpoint, "cpu", "float32"), _load_model(checkpoint, "cpu", "float32", "int4")
    for name, layer in held_layers(model).items():
        linear = plain.get_submodule(name)
        assert torch.equal(layer.dequantised(), QuantisedLinear.of("int4", linear.weight).dequantised())
        assert layer.bias is None or torch.equal(layer.bias, linear.bias)
    quantise(plain, "int4", CPU)
    for (name, one), other in zip(plain.state_dict().items(), model.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


LOADING = """
import sys, threading, time
import torch
from transformers import InternVLForConditionalGeneration
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.local import _load_model
from carscribe.engines import quantising
def held_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon")) / 1024
folder, computing, held = sys.argv[1:]
most, before, done = 0.0, held_mib(), threading.Event()
def watch():
    global most
    while not done.wait(0.001):
        most = max(most, held_mib())
watching = threading.Thread(target=watch)
watching.start()
model = _load_model(open_checkpoint(folder), "cpu", computing, held or None)
done.set(); watching.join()
tensors = [*model.parameters(), *model.buffers()]
print(max(most, held_mib()) - before, sum(tensor.nbytes for tensor in tensors) / 2**20)
"""
"""Prints the most memory that loading took, file pages not counted, and what the tensors are: MiB."""


def loaded(folder: Path, computing: str, held: str) -> tuple[float, float]:
    # Freed blocks go back at once, so that what is measured is what is held.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", LOADING, str(folder), computing, held]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    most, tensors = map(float, done.stdout.split())
    return most, tensors


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read memory from")
def test_loading_never_holds_the_whole_model_unquantised(random_checkpoint: Make, tmp_path: Path) -> None:
    sizes = Sizes(hidden=1024, layers=8, heads=16, kv_heads=4, mlp=3072)
    folder = in_parts(random_checkpoint(sizes=sizes), tmp_path / "parts", "40MB")
    assert len(list(folder.glob("*.safetensors"))) >= 4
    whole_mib = sum(file.stat().st_size for file in folder.glob("*.safetensors")) / 2**20
    assert whole_mib > 180
    most, tensors = loaded(folder, "float32", "int4")
    largest_mib = 1024 * 3072 * 4 / 2**20
    assert most < tensors + 4 * largest_mib < 0.7 * whole_mib
    assert loaded(folder, "float32", "")[0] > 1.9 * whole_mib  # what is measured does show a whole model


def in_parts(folder: Path, to: Path, part: str) -> Path:
    """A copy of a checkpoint in bfloat16, in several files."""
    model = _load_model(open_checkpoint(str(folder)), "cpu", "bfloat16")
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns("*.safetensors"))
    model.save_pretrained(to, max_shard_size=part)
    return to


@pytest.mark.parametrize("held", QUANTISED)
def test_a_missing_weight_is_told_as_without_quantising(held: Held, random_checkpoint: Make, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = Path(shutil.copytree(random_checkpoint(), tmp_path / "checkpoint"))
    weights = load_file(folder / "model.safetensors")
    names = [name for name in weights if "language_model" in name and "layers.1." in name and "down_proj" in name]
    save_file(
        {name: weights[name] for name in weights if name not in names}, folder / "model.safetensors", {"format": "pt"}
    )
    said = []
    for dtype in ("float32", held):
        with pytest.raises(CheckpointError, match=r"lacks 1 weights .*down_proj") as caught:
            LocalEngine(open_checkpoint(str(folder)), device="cpu", dtype=dtype)
        said.append(str(caught.value))
    assert said[0] == said[1]


@pytest.mark.parametrize("change", [{"intermediate_size": 128}, {"vocab_size": 100}])
def test_weights_of_other_sizes_are_refused_as_without_quantising(
    random_checkpoint: Make, tmp_path: Path, change: dict[str, int]
) -> None:
    folder = Path(shutil.copytree(random_checkpoint(), tmp_path / "checkpoint"))
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= change
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="other sizes"):
        LocalEngine(open_checkpoint(str(folder)), device="cpu", dtype="int8")


def write_adapter(checkpoint: Path, to: Path) -> Adapter:
    """A LoRA with random weights on the language layers."""
    from peft import LoraConfig, get_peft_model
    from transformers import InternVLForConditionalGeneration

    targets = r".*language_model\.layers\.\d+\.(self_attn\.[qkvo]_proj|mlp\.(gate|up|down)_proj)"
    model = InternVLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        shell = get_peft_model(model, LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
    shell.save_pretrained(to)
    return open_adapter(to)


@pytest.mark.parametrize("held", QUANTISED)
def test_an_adapter_is_merged_before_weights_are_quantised(held: Held, random_checkpoint: Make, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(str(random_checkpoint()))
    adapter = write_adapter(checkpoint.folder, tmp_path / "lora")
    request = Request(tiles=photo(0, 1), prompts=(choice_prompt("Body?", ("sedan", "SUV")),))

    def asked(dtype: str, adapter: Adapter | None) -> dict[str, float]:
        engine = LocalEngine(checkpoint, device="cpu", dtype=dtype, adapter=adapter)
        return dict(engine.answer([request])[0][0].scores or {})

    expected = _load_model(checkpoint, "cpu", "float32")
    expected = merged(expected, adapter)
    before = expected.model.language_model.layers[1].mlp.up_proj.weight.clone()
    quantise(expected, held, CPU)
    up = expected.model.language_model.layers[1].mlp.up_proj
    assert torch.equal(up.dequantised(), QuantisedLinear.of(held, before).dequantised())
    assert asked(held, adapter) != asked(held, None)
    if held == "int8":
        assert asked(held, adapter)["SUV"] == pytest.approx(asked("float32", adapter)["SUV"], abs=0.1)


@pytest.mark.parametrize("held", QUANTISED)
def test_the_demo_model_is_right_about_renders_in_it(held: Held, renders: Path) -> None:
    results = list(carscribe.describe(renders, model="demo", recipes=["designer"], device="cpu", dtype=held))
    assert {result.dtype for result in results} == {held}
    aspects = figures(judged(results))["en"]["aspects"]
    assert sum(aspects.values()) / 8 > 0.93


@pytest.fixture(scope="module")
def renders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("renders")
    for seed in range(UNSEEN_FROM, UNSEEN_FROM + 6):
        write_photo(folder, seed)
    return folder


def test_a_batch_is_planned_with_the_weights_as_they_are_held() -> None:
    engine = LocalEngine(open_checkpoint(str(demo_checkpoint())), device="cpu", dtype="int4")
    shape = shape_of(engine._packed.model.config.to_dict())
    plan = engine.plan_batch(1, (choice_prompt("Body?", ("sedan", "SUV")),))
    assert plan.weight_bytes == weight_bytes(shape, "int4", "float32")
    assert plan.fits


def test_quantising_is_never_chosen_by_itself_and_said_when_it_is_asked_for() -> None:
    said: list[str] = []
    card = choose_model("demo", device="cpu", dtype="int8", say=said.append).load(say=said.append).card
    assert (card.dtype, card.notes) == ("int8", tuple(said))
    assert sum("Not measured on real weights" in note for note in said) == 1
    assert choose_model("demo", device="cpu").load().card.dtype == "float32"


def test_a_gpu_without_fp8_is_refused_with_what_to_take_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_without_fp8(CPU)
    gpu = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA A100")
    for capability, fine in (((8, 0), False), ((8, 9), True), ((9, 0), True), ((7, 5), False)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _, found=capability: found)
        if fine:
            refuse_without_fp8(gpu)
            continue
        with pytest.raises(InputError, match=r"A100 does not multiply in fp8: .* 8\.9 is needed .*--dtype int8"):
            refuse_without_fp8(gpu)
    monkeypatch.setattr(torch, "version", SimpleNamespace(hip="7.0"))
    with pytest.raises(InputError, match="NVIDIA GPUs alone"):
        refuse_without_fp8(gpu)


def test_what_overflows_is_said_and_not_answered(random_checkpoint: Make) -> None:
    engine = LocalEngine(open_checkpoint(str(random_checkpoint())), device="cpu", dtype="int8")
    with torch.inference_mode():
        engine._packed.model.lm_head.weight[3] = float("inf")
    with pytest.raises(NumericsError, match="--dtype bfloat16"):
        engine.answer([Request(tiles=photo(0, 1), prompts=(choice_prompt("Body?", ("sedan", "SUV")),))])


def test_a_trial_against_generate_has_no_quantised_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="transformers' generate, which has no int8"):
        examine("demo", tmp_path, compose_description=lambda _: None, dtype="int8")  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize(("outputs", "inputs"), [(48, 448), (16, 1024), (8, 16)])
@pytest.mark.parametrize("held", QUANTISED)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_projection_takes_the_bytes_that_are_counted(outputs: int, inputs: int, held: Held, dtype: str) -> None:
    layer = QuantisedLinear.of(held, random_weight(outputs, inputs, getattr(torch, dtype)))
    assert bytes_of(layer) == projection_bytes(outputs, inputs, held, dtype)
