"""A checkpoint is checked from its files before anything large is loaded, and each refusal says what to do."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from carscribe.engines import identity
from carscribe.engines.checkpoint import fetch_weights, open_checkpoint, weights_identity
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
    with pytest.raises(CheckpointError, match=r"safetensors .*; it has pytorch_model\.bin"):
        open_checkpoint(str(folder))


@pytest.mark.parametrize(
    ("index", "says"),
    [
        ({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}, r"lacks 1 of the 2 .*model-2"),
        ({"weight_map": []}, "names no weights"),
        ({}, "names no weights"),
    ],
)
def test_an_index_without_its_weights_is_refused(folder: Path, index: dict[str, Any], says: str) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(str(folder))


def test_a_folder_has_its_weights_and_needs_no_hub(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    assert checkpoint.has_weights
    assert checkpoint.weight_bytes == (folder / "model.safetensors").stat().st_size
    assert fetch_weights(checkpoint) is checkpoint


TOKEN = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False}


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({}, {}),
        (
            {
                "pad_token": {"__type": "AddedToken", "content": "<pad>", **TOKEN},
                "unk_token": None,
                "add_bos_token": True,
            },
            {},
        ),
        ({"added_tokens_decoder": {"9": {"content": "<img>", "special": False, **TOKEN}}}, {"sep_token": "<sep>"}),
        ({"added_tokens_decoder": {"9": {"content": "<new>", "special": True, **TOKEN}}}, {}),
        ({"extra_special_tokens": ["<more>", "<img>"]}, {}),
        ({"extra_special_tokens": {"image_token": "<one>"}, "additional_special_tokens": ["<unheeded>"]}, {}),
        ({"extra_special_tokens": None, "start_image_token": "<begin>"}, {"cls_token": "<cls>"}),
        ({"extra_special_tokens": ["<a>"]}, {"extra_special_tokens": ["<b>"], "additional_special_tokens": ["<c>"]}),
        ({}, {"additional_special_tokens": ["<x>"], "sep_token": {"content": "<sep>", **TOKEN}}),
    ],
)
def test_reserved_tokens_read_from_the_files_are_those_of_the_loaded_tokenizer(
    folder: Path, config: dict[str, Any], named: dict[str, Any]
) -> None:
    from transformers import AutoTokenizer

    (folder / "special_tokens_map.json").write_text(json.dumps(named))
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    loaded = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    assert open_checkpoint(str(folder)).reserved == loaded


def test_reserved_tokens_are_those_of_the_prompt_encoder(random_checkpoint: Make) -> None:
    checkpoint = open_checkpoint(str(random_checkpoint()))
    assert checkpoint.reserved == PromptEncoder(checkpoint).reserved


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARSCRIBE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(identity, "SETTLED_S", -1)  # as if the files had been written long ago
    return tmp_path / "cache"


def test_the_identity_of_weights_follows_what_decides_an_answer_and_nothing_else(folder: Path, cache: Path) -> None:
    def known() -> str:
        return weights_identity(open_checkpoint(str(folder)))

    first = known()
    assert first.startswith("files:")
    (folder / "README.md").write_text("hello")
    (folder / "trainer_state.json").write_text("{}")
    assert known() == first
    moved = folder.rename(folder.with_name("moved"))
    assert weights_identity(open_checkpoint(str(moved))) == first
    moved.rename(folder)
    seen = {first}
    for name in ("config.json", "generation_config.json", "tokenizer.json", "chat_template.jinja"):
        path = folder / name
        path.write_text(path.read_text() + "\n")
        seen.add(known())
    weights = folder / "model.safetensors"
    before = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))  # as a tool that keeps times does
    seen.add(known())
    assert len(seen) == 6


def test_large_files_are_read_once_and_that_is_said(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "LONG_BYTES", 1_000_000)
    said: list[str] = []
    checkpoint = open_checkpoint(str(folder))
    first = weights_identity(checkpoint, said.append)
    assert weights_identity(checkpoint, said.append) == first
    assert len(said) == 1
    assert "GB" in said[0]
    for memory in cache.glob("*.json"):
        memory.write_text("[broken")
    assert weights_identity(checkpoint, said.append) == first
    assert len(said) == 2


def test_a_folder_of_the_hubs_own_cache_is_known_by_its_commit(folder: Path, tmp_path: Path) -> None:
    commit = "0123456789" * 4
    snapshot = tmp_path / "models--OpenGVLab--InternVL3-1B-hf" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    folder.rename(snapshot)
    assert weights_identity(open_checkpoint(str(snapshot))) == f"hub:{commit}"


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


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./nothing", "No folder ./nothing"),
        ("a/b/c", "No folder a/b/c"),
        ("C:\\models", "No folder"),
        (__file__, "is a file"),
        ("x" * 5000, "cannot be read"),
        ("~no-such-user/x", "cannot be read|No folder"),
        ("Open GVLab/x y", "neither a folder nor a hub id"),
    ],
)
def test_what_is_neither_a_folder_nor_a_hub_id_is_refused(name: str, says: str) -> None:
    with pytest.raises(CheckpointError, match=says) as caught:
        open_checkpoint(name)
    assert "\n" not in str(caught.value)


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
