"""What a training gives, however the model was divided while it learned."""

from pathlib import Path
from typing import Any

import pytest
from transformers.integrations.deepspeed import set_hf_deepspeed_config, unset_hf_deepspeed_config

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.errors import InputError
from carscribe.finetune.runs import check_fsdp
from carscribe.finetune.saving import write_checkpoint
from carscribe.finetune.settings import Settings


class ThirdStage:
    """DeepSpeed's settings, as transformers keeps them behind a training."""

    def is_zero3(self) -> bool:
        return True


def test_a_checkpoint_is_written_behind_a_training_in_deepspeeds_third_stage(
    random_checkpoint: Any, tmp_path: Path
) -> None:
    kept = ThirdStage()  # transformers holds it weakly
    set_hf_deepspeed_config(kept)
    try:
        write_checkpoint(open_checkpoint(str(random_checkpoint())), tmp_path / "model")
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
