"""The stage that brings a swapped language model to life: only the projector learns, and a LoRA goes on from there."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from language_models import write_language_model
from safetensors.torch import load_file
from workspaces import make_workspace

import carscribe
from carscribe.backbone.runs import open_both, swap_backbone
from carscribe.catalog.verdicts import VerdictRow, correct
from carscribe.catalog.workspace import write_workspace
from carscribe.errors import InputError
from carscribe.finetune.runs import finetune
from carscribe.finetune.settings import Settings, load_settings

QUICK: dict[str, Any] = {
    "learning_rate": 1e-2,
    "schedule": "constant_with_warmup",
    "warmup_share": 0.0,
    "batch_photos": 4,
    "accumulate": 1,
    "max_tiles": 1,
    "checkpointing": False,
    "held_out": 0.0,
    "workers": 0,
    "log_every": 5,
    "save_every": 50,
}


def corrected(folder: Path) -> Path:
    workspace = make_workspace(folder, photos=3)
    rows = [
        {"photo": f"차 {i}.png", "question": "wheels", "language": "en", "verdict": "edited", "text": "red wheels"}
        for i in range(3)
    ]
    with write_workspace(workspace, create=False) as opened:
        correct(opened, [VerdictRow(where=f"row {i}", values=row) for i, row in enumerate(rows)])
    return workspace


def test_only_the_projector_learns_and_a_lora_goes_on_from_what_came_of_it(
    random_checkpoint: Any, tmp_path: Path
) -> None:
    llm = write_language_model(tmp_path / "llm", tie_word_embeddings=True)
    _, swapped = swap_backbone(open_both(str(random_checkpoint()), str(llm)), tmp_path / "swapped")
    workspace, settings = corrected(tmp_path), load_settings(None, **QUICK, train="projector", steps=30)
    stage = finetune(workspace, str(swapped.folder), tmp_path / "stage", settings, device="cpu")
    assert stage.result == tmp_path / "stage" / "model"
    losses = [row["loss"] for row in json.loads((stage.folder / "curves.json").read_text()) if "loss" in row]
    assert float(losses[-1]) < 0.7 * float(losses[0])
    before, after = load_file(swapped.folder / "model.safetensors"), load_file(stage.result / "model.safetensors")
    assert before.keys() == after.keys()
    changed = {name for name, tensor in before.items() if not torch.equal(after[name], tensor.to(torch.bfloat16))}
    assert {name for name in changed if "multi_modal_projector" not in name} == set()
    assert len(changed) == len([name for name in before if "multi_modal_projector" in name])

    lora = finetune(workspace, str(stage.result), tmp_path / "lora", Settings(**QUICK, steps=40), device="cpu")
    results = carscribe.describe(
        tmp_path / "photos",
        recipes=[tmp_path / "own.toml"],
        max_tiles=1,
        device="cpu",
        model=str(stage.result),
        adapter=lora.folder,
        languages=("en",),
    )
    said = [answer.text for result in results for answer in result.answers if answer.question_id == "wheels"]
    assert said == ["red wheels"] * 3


def test_a_projector_stage_that_also_trains_vision_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("vision = true\n")
    with pytest.raises(InputError, match="keeps the vision tower frozen"):
        load_settings(tmp_path / "settings.toml", train="projector")
