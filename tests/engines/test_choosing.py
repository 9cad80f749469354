"""A model is chosen before it is fetched or loaded, and what cannot be run is said as early as it can be known."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
from fake_hub import COMMIT, NAME, FakeHub, serving

from carscribe.engines.choosing import ALLOCATOR_SETTINGS, choose_model, open_engine
from carscribe.engines.hub import Hub, Transfer
from carscribe.errors import CheckpointError, InputError, MissingExtraError

Make = Callable[..., Path]
WEIGHTS = "model.safetensors"


@pytest.fixture
def served(random_checkpoint: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    huggingface_hub.close_session()  # it keeps the proxies it was made with
    with serving(FakeHub({path.name: path.read_bytes() for path in random_checkpoint().iterdir()})) as hub:
        yield hub


@pytest.fixture
def hub(served: FakeHub, tmp_path: Path) -> Hub:
    return Hub(endpoint=served.endpoint, cache=tmp_path / "hub")


def test_a_hub_model_is_chosen_from_its_small_files_and_fetched_when_it_is_loaded(served: FakeHub, hub: Hub) -> None:
    choice = choose_model(NAME, device="cpu", hub=hub)
    assert (choice.name, choice.checkpoint.revision) == (NAME, COMMIT)
    assert not choice.checkpoint.has_weights
    seen: list[Transfer] = []
    engine = choice.load(progress=seen.append)
    assert seen[-1].done_bytes == len(served.files[WEIGHTS])
    assert (engine.card.model, engine.card.revision, engine.card.dtype) == (NAME, COMMIT, "float32")
    assert engine.card.weights == f"hub:{COMMIT}"
    assert engine.reserved == choice.checkpoint.reserved
    assert engine.tiling == choice.checkpoint.tiling


@pytest.mark.parametrize(
    ("given", "after"),
    [
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}),
        ({"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}, {"PYTORCH_CUDA_ALLOC_CONF": "backend:native"}),
        ({"PYTORCH_ALLOC_CONF": ""}, {"PYTORCH_ALLOC_CONF": ""}),
    ],
)
def test_the_allocator_grows_its_segments_unless_it_was_set_up(
    given: dict[str, str], after: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ALLOCATOR_SETTINGS} | given
    monkeypatch.setattr("os.environ", environment)
    choose_model("demo", device="cpu")
    assert {name: environment[name] for name in ALLOCATOR_SETTINGS if name in environment} == after


def test_a_device_that_is_not_there_is_said_before_the_weights_are_fetched(served: FakeHub, hub: Hub) -> None:
    choice = choose_model(NAME, device="cuda:99", hub=hub)
    with pytest.raises(InputError, match="No device 'cuda:99'"):
        choice.load()
    assert not served.gets(WEIGHTS)


def test_what_cannot_be_loaded_after_all_is_said_when_it_is_loaded(hub: Hub) -> None:
    choice = choose_model(NAME, device="cpu", hub=hub)
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        replace(choice, hub=replace(hub, offline=True)).load()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dtype": "int3"}, "No dtype 'int3'.*auto, bfloat16, float16, float32"),
        ({"device": "gpu 0"}, "No device 'gpu 0'.*cuda:N"),
        ({"device": ""}, "No device ''"),
        ({"device": "cuda:"}, "No device 'cuda:'"),
    ],
)
def test_what_is_no_dtype_or_device_is_refused_before_anything_is_looked_for(
    arguments: dict[str, str], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        choose_model("./nowhere", **arguments)  # type: ignore[arg-type]


def test_the_demo_model_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CARSCRIBE_CACHE", str(tmp_path))
    said: list[str] = []
    choice = choose_model("demo", say=said.append)
    assert (choice.name, choice.is_demo) == ("demo", True)
    assert choice.notes == tuple(said)
    assert "worth nothing" in said[0]
    card = choice.load(say=said.append).card
    assert (card.model, card.knows_renders_alone, card.notes) == ("demo", True, tuple(said))
    with pytest.raises(InputError, match="--revision is for models of a hub"):
        choose_model("demo", revision="main")


def test_opening_an_engine_is_choosing_and_loading(random_checkpoint: Make) -> None:
    engine = open_engine(str(random_checkpoint()), device="cpu")
    assert engine.card.model == str(random_checkpoint())
    assert not engine.card.knows_renders_alone


@pytest.mark.parametrize("missing", ["torch", "transformers", "accelerate", "huggingface_hub"])
def test_a_missing_extra_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'carscribe\[local\]'"):
        choose_model(NAME)


def test_choosing_a_folder_imports_neither_torch_nor_transformers(random_checkpoint: Make) -> None:
    script = (
        "import sys\n"
        "from carscribe.engines.choosing import choose_model\n"
        "from carscribe.engines.checkpoint import weights_identity\n"
        f"choice = choose_model({str(random_checkpoint())!r}, dtype='bfloat16', device='cuda')\n"
        "print(weights_identity(choice.checkpoint)[:6])\n"
        "print(sorted({'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["files:", "[]"]
