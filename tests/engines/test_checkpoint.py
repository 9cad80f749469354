"""A checkpoint is checked from its files before anything large is loaded, and each refusal says what to do."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.local import LocalEngine
from carscribe.engines.prompting import PromptEncoder
from carscribe.errors import CheckpointError
from carscribe.memory import shape_of

Make = Callable[..., Path]


@pytest.fixture
def folder(random_checkpoint: Make, tmp_path: Path) -> Path:
    """A copy of a good checkpoint, to be spoilt."""
    return Path(shutil.copytree(random_checkpoint(), tmp_path / "checkpoint"))


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    for key, value in changes.items():
        if value is None:
            content.pop(key, None)
        else:
            content[key] = value
    path.write_text(json.dumps(content))


def test_everything_that_differs_between_siblings_is_read_from_the_files(folder: Path) -> None:
    edit(
        folder / "preprocessor_config.json",
        image_mean=[0.5, 0.4, 0.3],
        image_std=[0.2, 0.25, 0.3],
        max_patches=6,
        resample=2,
    )
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.mean, checkpoint.std, checkpoint.divisor) == ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3), 255)
    assert (checkpoint.tiling.tile_px, checkpoint.tiling.max_tiles, checkpoint.tiling.resample) == (112, 6, 2)
    assert checkpoint.image_tokens == 16


def test_the_newer_layout_of_processor_files_is_read_too(folder: Path) -> None:
    images = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    edit(folder / "processor_config.json", image_processor=images | {"max_patches": 4})
    assert open_checkpoint(str(folder)).tiling.max_tiles == 4


def test_the_shape_for_planning_comes_from_the_same_config(folder: Path) -> None:
    shape = shape_of(open_checkpoint(str(folder)).config)
    assert (shape.hidden, shape.layers, shape.kv_heads, shape.tile_tokens) == (128, 3, 2, 16)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model_type": "internvl_chat"}, "-hf behind it"),
        ({"model_type": "llava"}, "not an InternVL"),
        ({"image_seq_length": 256}, "contradicts itself"),
    ],
)
def test_a_config_that_cannot_be_run_is_refused(folder: Path, changes: dict[str, Any], says: str) -> None:
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(str(folder))


def test_a_rotary_embedding_that_is_no_table_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["rope_parameters"] = {"rope_type": "longrope", "rope_theta": 1e6}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="longrope"):
        open_checkpoint(str(folder))


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"anything")
    with pytest.raises(CheckpointError, match=r"safetensors; only pytorch_model\.bin"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_broken_config_is_refused_by_name(folder: Path, content: str) -> None:
    (folder / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        open_checkpoint(str(folder))


def test_missing_image_statistics_are_refused(folder: Path) -> None:
    edit(folder / "preprocessor_config.json", image_mean=None)
    with pytest.raises(CheckpointError, match="image_mean"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"image_token_id": None}),
        ("config.json", {"text_config": "qwen2"}),
        ("preprocessor_config.json", {"size": 448}),
        ("preprocessor_config.json", {"rescale_factor": "x"}),
        ("preprocessor_config.json", {"max_patches": []}),
        ("preprocessor_config.json", {"image_std": [0.2, 0.3]}),
    ],
)
def test_configuration_that_is_not_what_it_should_be_is_refused(
    folder: Path, file: str, changes: dict[str, Any]
) -> None:
    edit(folder / file, **changes)
    with pytest.raises(CheckpointError, match=r"Fetch it again|three are needed"):
        open_checkpoint(str(folder))


def test_a_revision_of_a_folder_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="--revision main is for models of a hub"):
        open_checkpoint(str(folder), revision="main")


def test_weights_of_other_sizes_than_the_config_says_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"intermediate_size": 128}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="other sizes"):
        LocalEngine(open_checkpoint(str(folder)), device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer"),
        (lambda f: (f / "chat_template.jinja").unlink(), "chat template"),
        (lambda f: (f / "chat_template.jinja").write_text("{% for %}"), "does not render"),
        (
            lambda f: (f / "chat_template.jinja").rename(f / "chat_template.json"),
            "holds no chat_template",
        ),
        (
            lambda f: (f / "chat_template.jinja").write_text("{{ messages[0]['content'][1]['text'] }}"),
            "placeholders|turn",
        ),
        (lambda f: edit(f / "tokenizer_config.json", start_image_token=None, extra_special_tokens={}), "start_image"),
    ],
)
def test_a_tokenizer_or_template_that_does_not_fit_is_refused(
    folder: Path, spoil: Callable[[Path], object], says: str
) -> None:
    spoil(folder)
    with pytest.raises(CheckpointError, match=says):
        PromptEncoder(open_checkpoint(str(folder))).ids("Wheels?", 1)


def test_weights_that_lack_a_layer_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"num_hidden_layers": 4, "layer_types": ["full_attention"] * 4}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"lacks \d+ weights"):
        LocalEngine(open_checkpoint(str(folder)), device="cpu", dtype="float32")


def test_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="does not load"):
        LocalEngine(open_checkpoint(str(folder)), device="cpu", dtype="float32")


def test_sliding_window_layers_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {
        "use_sliding_window": True,
        "sliding_window": 64,
        "layer_types": ["full_attention", "sliding_attention", "full_attention"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="sliding_attention"):
        LocalEngine(open_checkpoint(str(folder)), device="cpu", dtype="float32")
