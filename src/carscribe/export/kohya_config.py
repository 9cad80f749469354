"""The `--dataset_config` of sd-scripts that goes with an export: what a trainer is to do to captions at every step.

Source: sd-scripts, library/config_util.py (which keys may stand where), train_util.py (`process_caption`).
"""

import json
from pathlib import Path

from carscribe.export.captioning import CaptionSettings

NAME = "dataset_config.toml"


def dataset_config(folder: Path, captions: CaptionSettings, *, with_images: bool) -> str | None:
    """The file's text; None when the captions need no more than `--caption_extension`."""
    if not captions.shuffled and not captions.dropout and not captions.fixed_parts:
        return None
    lines = [
        "# Written by carscribe export, for sd-scripts: --dataset_config. The command says resolution and batch size.",
        "[general]",
        'caption_extension = ".txt"',
    ]
    if captions.shuffled or captions.dropout:
        lines.append("# With --cache_text_encoder_outputs, take out shuffle_caption and caption_dropout_rate.")
    if captions.shuffled:
        lines.append("shuffle_caption = true")
    if captions.fixed_parts:
        lines.append(f"keep_tokens = {captions.fixed_parts}")
    if captions.dropout:
        lines.append(f"caption_dropout_rate = {captions.dropout}")
    lines += ["", "[[datasets]]", "", "[[datasets.subsets]]"]
    if not with_images:
        lines.append("# The folder that the captions were laid over; a subset for each folder below it, too.")
    # A JSON string is a TOML string, but for escapes of surrogate pairs, which are not made here.
    lines.append(f"image_dir = {json.dumps(str(folder.absolute()), ensure_ascii=False)}")
    return "\n".join(lines) + "\n"
