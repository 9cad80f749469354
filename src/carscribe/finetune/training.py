"""TRL's SFTTrainer over our rows."""

from pathlib import Path
from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from carscribe.engines.checkpoint import Checkpoint
from carscribe.finetune.attention import branch_mask
from carscribe.finetune.collator import Collator
from carscribe.finetune.settings import Settings


class PhotoTrainer(SFTTrainer):  # type: ignore[misc]  # trl is untyped
    """TRL's trainer and its loss, on batches that `Collator` made: photos are scaled on the trainer's device."""

    data_collator: Any

    def __init__(self, *, checkpoint: Checkpoint, measured_collator: Collator | None = None, **options: Any) -> None:
        """`measured_collator` makes the batches that progress is measured on: the same each time."""
        super().__init__(**options)
        self._measured_collator = measured_collator or self.data_collator
        self._mean, self._std = torch.tensor(checkpoint.mean), torch.tensor(checkpoint.std)
        self._divisor = checkpoint.divisor
        text = self.model.config.get_text_config()
        self._heads_per_kv = text.num_attention_heads // text.num_key_value_heads

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """As ever, with the collator for what is measured."""
        learned = self.data_collator
        self.data_collator = self._measured_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = learned

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """The batch on the device; there pixels are scaled, from uint8 [tiles, px, px, 3] to float [tiles, 3, px, px],
        and the mask of packed rows is spread out: see `attention.branch_mask`.
        """
        found: dict[str, Any] = super()._prepare_inputs(inputs)
        pixels = found["pixel_values"]
        if pixels.dtype == torch.uint8:
            scaled = (pixels.float() / self._divisor - self._mean.to(pixels.device)) / self._std.to(pixels.device)
            found["pixel_values"] = scaled.permute(0, 3, 1, 2).contiguous()
        if "own_prefix" in found:
            found["attention_mask"] = branch_mask(
                found["attention_mask"],
                found.pop("own_prefix"),
                prefix_tokens=found["prefix_tokens"],
                heads_per_kv=self._heads_per_kv,
            )
        return found


def trainer_config(settings: Settings, folder: Path, *, device: str, measured: bool) -> SFTConfig:
    """TRL's settings, so that our rows pass through it untouched: nothing is tokenised, truncated or left out."""
    cuda = device.startswith("cuda")
    config = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_photos,
        per_device_eval_batch_size=settings.batch_photos,
        gradient_accumulation_steps=settings.accumulate,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.schedule,
        warmup_steps=settings.warmup_share,
        weight_decay=settings.weight_decay,
        adam_beta2=settings.beta2,
        max_grad_norm=settings.most_grad_norm,
        num_train_epochs=settings.epochs,
        max_steps=settings.steps or -1,
        bf16=cuda and settings.dtype != "float32",
        use_cpu=not cuda,
        gradient_checkpointing=settings.checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if settings.checkpointing else None,
        torch_compile=settings.compile,
        logging_steps=settings.log_every,
        save_strategy="steps",
        save_steps=settings.save_every,
        save_total_limit=settings.keep_checkpoints,
        eval_strategy="steps" if measured else "no",
        eval_steps=settings.save_every,
        prediction_loss_only=True,
        ddp_find_unused_parameters=False,  # every batch has photos
        dataloader_num_workers=settings.workers,
        dataloader_persistent_workers=settings.workers > 0,
        dataloader_pin_memory=cuda,
        accelerator_config={"dispatch_batches": False},
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        packing=False,
        seed=settings.seed,
        report_to="none",
        disable_tqdm=True,
    )
    config._n_gpu = min(config.n_gpu, 1)  # else all GPUs of a host share a batch, cut where rows and tiles are not
    return config
