"""The stand-in checkpoint is made once, whole, and in the user's cache."""

import json
from pathlib import Path

import pytest
from texts import TEXTS

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.demo_model import cache_folder, demo_checkpoint
from carscribe.engines.new_checkpoint import SPECIAL_TOKENS
from carscribe.engines.prompting import PromptEncoder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CARSCRIBE_CACHE", str(tmp_path / "캐시 folder"))
    return cache_folder()


def test_it_is_made_at_first_use_and_found_at_the_next(cache: Path) -> None:
    folder = demo_checkpoint(TEXTS)
    assert folder.parent == cache
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert demo_checkpoint(TEXTS) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    assert [path.name for path in cache.iterdir()] == [folder.name], "nothing half-made is left beside it"


def test_half_a_folder_of_a_run_that_was_killed_is_made_anew(cache: Path) -> None:
    folder = demo_checkpoint(TEXTS)
    (folder / "model.safetensors").unlink()
    assert (demo_checkpoint(TEXTS) / "model.safetensors").exists()


def test_other_texts_are_another_model(cache: Path) -> None:
    assert demo_checkpoint(TEXTS) != demo_checkpoint([*TEXTS, "one more"])


def test_its_special_tokens_stand_in_internvl3s_order_behind_the_learned_ones(cache: Path) -> None:
    folder = demo_checkpoint(TEXTS)
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    first = len(tokenizer["model"]["vocab"])
    assert [(t["id"], t["content"]) for t in tokenizer["added_tokens"]] == list(enumerate(SPECIAL_TOKENS, first))
    assert set(SPECIAL_TOKENS) == PromptEncoder(open_checkpoint(str(folder))).reserved
