"""What a training gives, however the model was divided while it learned."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.errors import InputError
from carscribe.finetune.runs import check_deepspeed, check_fsdp, finetune
from carscribe.finetune.saving import write_checkpoint
from carscribe.finetune.settings import Settings


class ThirdStage:
    """DeepSpeed's settings, as transformers keeps them behind a training."""

    def is_zero3(self) -> bool:
        return True


def test_a_checkpoint_is_written_behind_a_training_in_deepspeeds_third_stage(
    random_checkpoint: Any, tmp_path: Path
) -> None:
    checkpoint = open_checkpoint(str(random_checkpoint()))
    kept = ThirdStage()  # transformers holds it weakly
    set_hf_deepspeed_config(kept)
    try:
        write_checkpoint(checkpoint, tmp_path / "model")
    finally:
        unset_hf_deepspeed_config()
    assert open_checkpoint(str(tmp_path / "model")).has_weights


@pytest.mark.parametrize(
    ("train", "environment", "on_gpu", "says"),
    [
        ("lora", {}, False, None),
        ("lora", {"ACCELERATE_USE_FSDP": "false"}, False, None),
        ("full", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, False, "not on a CPU"),
        ("lora", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}, True, None),
        ("full", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, True, None),
        ("lora", {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"}, True, "fsdp_version: 2"),
        ("qlora", {"ACCELERATE_USE_FSDP": "true"}, True, "fsdp_version: 2"),
    ],
)
def test_an_fsdp_that_would_lose_the_adapter_or_do_nothing_is_refused(
    train: Any, environment: dict[str, str], on_gpu: bool, says: str | None
) -> None:
    settings = Settings(train=train)
    if says is None:
        check_fsdp(settings, environment, on_gpu=on_gpu)
        return
    with pytest.raises(InputError, match=says):
        check_fsdp(settings, environment, on_gpu=on_gpu)


STAGE_3 = {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"}
GATHERS = {"ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "true"}
AUTO = {"stage": "auto", "stage3_gather_16bit_weights_on_model_save": "auto"}


@pytest.mark.parametrize(
    ("environment", "own", "says"),
    [
        ({}, None, None),
        ({**STAGE_3, "ACCELERATE_USE_DEEPSPEED": "false"}, None, None),
        ({**STAGE_3, "ACCELERATE_DEEPSPEED_ZERO_STAGE": "2"}, None, None),
        (STAGE_3 | GATHERS, None, None),
        (STAGE_3, None, "zero3_save_16bit_model: true under deepspeed_config"),
        (
            STAGE_3 | {"ACCELERATE_DEEPSPEED_ZERO3_SAVE_16BIT_MODEL": "false"},
            None,
            "zero3_save_16bit_model: true under deepspeed_config",
        ),
        (STAGE_3, {"stage": 2}, None),
        (STAGE_3, {"stage": 3, "stage3_gather_16bit_weights_on_model_save": True}, None),
        (STAGE_3 | GATHERS, AUTO, None),
        (
            STAGE_3,
            AUTO,
            "zero3_save_16bit_model: true",
        ),
        (
            STAGE_3 | GATHERS,
            {"stage": 3},
            "stage3_gather_16bit_weights_on_model_save: true under zero_optimization in ",
        ),
    ],
)
def test_a_third_stage_that_could_save_nothing_is_refused(
    environment: dict[str, str], own: dict[str, Any] | None, says: str | None, tmp_path: Path
) -> None:
    if own is not None:
        (tmp_path / "ds.json").write_text(json.dumps({"zero_optimization": own}), "utf-8")
        environment = environment | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": str(tmp_path / "ds.json")}
    if says is None:
        check_deepspeed(environment)
        return
    with pytest.raises(InputError, match=says):
        check_deepspeed(environment)


def test_a_configuration_of_deepspeed_that_cannot_be_read_is_told() -> None:
    with pytest.raises(InputError, match=r"DeepSpeed's configuration gone\.json cannot be read"):
        check_deepspeed(STAGE_3 | {"ACCELERATE_DEEPSPEED_CONFIG_FILE": "gone.json"})


def test_a_training_that_could_save_nothing_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in STAGE_3.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="nothing that was learned could be saved"):
        finetune(tmp_path / "workspace", "demo", tmp_path / "run", Settings(), device="cpu")
    assert not (tmp_path / "run").exists()
