"""The README of each fine-tuning set: what lies there, and the command to train on it. Pure text.

Model names are those of InternVL3 with 2 billion parameters; any other size goes as well.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from carscribe.export.report import ImageMode

_MODEL = "OpenGVLab/InternVL3-2B"
_SCRIPT = "shell/internvl3.0/2nd_finetune/internvl3_2b_dynamic_res_2nd_finetune_full.sh"


def trl_readme(folder: Path, rows: Mapping[str, int], images: ImageMode) -> str:
    """Source: trl 1.16, SFTConfig (`max_length` is 1024 unless said otherwise, and a photo takes up to 3,328)."""
    files = "\n".join(f"    {side}={json.dumps(str(folder / f'{side}.jsonl'), ensure_ascii=False)}," for side in rows)
    evaluated = '\n    eval_dataset=rows["held_out"],' if "held_out" in rows else ""
    moved = f"os.chdir({json.dumps(str(folder), ensure_ascii=False)})  # photos are named from here\n"
    script = f"""import os

from datasets import Image, List, load_dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

files = dict(
{files}
)
{moved if images != "none" else ""}rows = load_dataset("json", data_files=files).cast_column("images", List(Image()))
SFTTrainer(
    os.environ.get("MODEL", "{_MODEL}-hf"),
    args=SFTConfig(output_dir="lora", max_length=None, learning_rate=1e-4, per_device_train_batch_size=1),
    train_dataset=rows["train"],{evaluated}
    peft_config=LoraConfig(target_modules=r".*language_model.*\\.(q|k|v|o|gate|up|down)_proj"),
).train()"""
    return _readme(
        "TRL",
        "pip install trl peft datasets pillow torchvision",
        f"Save as `train.py`, then `accelerate launch train.py`:\n\n```python\n{script}\n```\n\n"
        "`max_length=None` matters: at TRL's 1,024 tokens the photo itself is cut off.",
        rows,
        _where(images),
    )


def swift_readme(folder: Path, rows: Mapping[str, int], images: ImageMode, turned: int) -> str:
    """Source: ms-swift 4.6.0, swift/arguments (`--tuner_type` was `--train_type` in 3.x)."""
    held = [f"--val_dataset {_quoted(folder / 'held_out.jsonl')}"] if "held_out" in rows else []
    command = _command(
        f"ROOT_IMAGE_DIR={_quoted(folder)} swift sft" if images != "none" else "swift sft",
        f"--model {_MODEL}-hf --use_hf true",
        "--tuner_type lora --torch_dtype bfloat16",
        f"--dataset {_quoted(folder / 'train.jsonl')}",
        *held,
        "--learning_rate 1e-4 --num_train_epochs 3",
        "--output_dir lora",
    )
    return _readme(
        "ms-swift",
        "pip install ms-swift timm",
        f"```sh\n{command}\n```\n\nCheckpoints without `-hf` get a system prompt, and Carscribe gives "
        "none: `--system ''`.",
        rows,
        _where(images) + _lying(folder, turned),
    )


def llama_factory_readme(folder: Path, rows: Mapping[str, int], images: ImageMode, turned: int) -> str:
    """Source: LLaMA-Factory 0.9.5, hparams (`cutoff_len` 2048, `image_max_pixels` 768 × 768, no `crop_to_patches`)."""
    held = ["--eval_dataset carscribe_held_out --eval_strategy epoch"] if "held_out" in rows else []
    command = _command(
        "llamafactory-cli train --stage sft --do_train true",
        f"--model_name_or_path {_MODEL}-hf",
        f"--dataset_dir {_quoted(folder)} --dataset carscribe_train",
        *held,
        "--template intern_vl --default_system ''",
        "--crop_to_patches true --image_max_pixels 2408448 --cutoff_len 8192",
        "--finetuning_type lora --lora_rank 16 --learning_rate 1e-4 --num_train_epochs 3 --bf16 true",
        "--output_dir lora",
    )
    return _readme(
        "LLaMA-Factory",
        "pip install llamafactory",
        f"```sh\n{command}\n```\n\nThe template is `intern_vl`. Without `--crop_to_patches` and "
        "`--image_max_pixels` (12 tiles) a photo is seen as one small tile; below 4,096 tokens it is cut off.",
        rows,
        _where(images) + _lying(folder, turned),
    )


def internvl_readme(folder: Path, rows: Mapping[str, int], images: ImageMode, turned: int) -> str:
    """Source: InternVL 2410d1d, internvl_chat/shell/internvl3.0/2nd_finetune."""
    command = "\n".join(
        (
            "git clone https://github.com/OpenGVLab/InternVL && cd InternVL/internvl_chat",
            f"# in {_SCRIPT}:",
            f"#   --meta_path {_quoted(folder / 'meta.json')}",
            f"GPUS=8 PER_DEVICE_BATCH_SIZE=4 sh {_SCRIPT}",
        )
    )
    held = "\n\nThe script measures nothing; `meta_held_out.json` is for your own." if "held_out" in rows else ""
    moved = " `meta.json` names this folder: change it there when you move it." if images != "none" else ""
    return _readme(
        "InternVL's own scripts",
        "see internvl_chat/INSTALLATION.md of https://github.com/OpenGVLab/InternVL",
        f"```sh\n{command}\n```\n\nTo train a LoRA, put `--use_llm_lora 16` and `--freeze_llm True` there.{held}",
        rows,
        _where(images) + moved + _lying(folder, turned),
    )


def _readme(trainer: str, install: str, command: str, rows: Mapping[str, int], images: str) -> str:
    sides = {"train": "to learn", "held_out": "held out: no car and no near-duplicate of a photo stands on both sides"}
    files = "\n".join(f"- `{side}.jsonl`: {count:,} rows {sides[side]}" for side, count in rows.items())
    return (
        f"# A fine-tuning set for {trainer}\n\nWritten by `carscribe export`: questions about photographs of cars with "
        f"answers that people approved or corrected.\n\n{files}\n\n{images}\n\n"
        f"## Train\n\nInstall: `{install}`\n\n{command}\n"
    )


def _where(images: ImageMode) -> str:
    if images == "none":
        return "Photos are named by path and lie where they lay when this was written."
    return "Photos are in `images/`."


def _lying(folder: Path, turned: int) -> str:
    if not turned:
        return ""
    mend = f"find {_quoted(folder / 'images')} -type f -exec mogrify -auto-orient {{}} +"
    return (
        f"\n\n{turned:,} photos are turned by EXIF, which this trainer passes over: it would learn them lying. Write "
        f"the set with `--images copy`, then turn the copies for good: `{mend}`"
    )


def _command(*lines: str) -> str:
    return " \\\n  ".join(lines)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
