"""The demo model comes with Carscribe, is InternVL3 in all but size, and right about rendered cars."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

import carscribe
from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.demo_model import demo_checkpoint
from carscribe.engines.new_checkpoint import SPECIAL_TOKENS, Sizes, train_bpe, write_random_checkpoint
from carscribe.engines.prompting import PromptEncoder
from measure import figures, judged, write_photo
from render_set import LANGUAGES, UNSEEN_FROM

MOST_BYTES = 12_000_000


def test_its_special_tokens_stand_in_internvl3s_order_behind_the_learned_ones() -> None:
    folder = demo_checkpoint()
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    first = len(tokenizer["model"]["vocab"])
    assert [(t["id"], t["content"]) for t in tokenizer["added_tokens"]] == list(enumerate(SPECIAL_TOKENS, first))
    assert set(SPECIAL_TOKENS) == PromptEncoder(open_checkpoint(str(folder))).reserved


def test_its_weights_are_small_and_bfloat16() -> None:
    path = demo_checkpoint() / "model.safetensors"
    assert path.stat().st_size < MOST_BYTES
    with safe_open(path, "pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118 - no mapping


def test_a_new_checkpoint_of_its_sizes_has_the_same_tensors(tmp_path: Path) -> None:
    """What `demo/model.toml` says is what is shipped."""
    from carscribe.finetune.settings import load_settings

    settings = load_settings(Path(__file__).parents[2] / "demo" / "model.toml")
    assert settings.new_model is not None
    bpe = train_bpe(["a"], settings.new_model.vocabulary)
    sizes = Sizes(**settings.new_model.model_dump(exclude={"tokenizer", "vocabulary"}))
    write_random_checkpoint(tmp_path, bpe, sizes=sizes)
    shapes = []
    for folder in (tmp_path, demo_checkpoint()):
        with safe_open(folder / "model.safetensors", "pt") as file:
            names = [name for name in file.keys() if "embed_tokens" not in name and "lm_head" not in name]  # noqa: SIM118
            shapes.append({name: tuple(file.get_slice(name).get_shape()) for name in names})
    assert shapes[0] == shapes[1]


@pytest.fixture(scope="module")
def shares(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, float]]]:
    """What it gets right of a dozen renders that it never saw: see `demo/measure.py` for a thousand."""
    folder = tmp_path_factory.mktemp("renders")
    for seed in range(UNSEEN_FROM, UNSEEN_FROM + 12):
        write_photo(folder, seed)
    results = carscribe.describe(folder, model="demo", recipes=["designer"], languages=LANGUAGES, device="cpu")
    return figures(judged(results))


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_right_about_renders_it_never_saw(language: str, shares: dict[str, dict[str, dict[str, float]]]) -> None:
    aspects = shares[language]["aspects"]
    assert len(aspects) == 8
    assert sum(aspects.values()) / 8 > 0.95
    assert min(aspects.values()) > 0.85
