"""The formats of fine-tuning sets: what a row of each trainer says of a photo and its pairs. Pure.

Knows nothing of how files get onto the disk, nor of who approved an answer.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carscribe.examples import Pair
from carscribe.export.report import ImageMode
from carscribe.export.set_readmes import internvl_readme, llama_factory_readme, swift_readme, trl_readme
from carscribe.records import Tiling

TRAIN, HELD_OUT = "train", "held_out"
"""The two sides; each is a `.jsonl` of that name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A photo as a row names it: its path as the trainer wants it, and its size after rotation."""

    path: str
    width_px: int
    height_px: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenSet:
    """What is there when all rows are written: rows by side, and the folder that relative paths start from."""

    folder: Path
    root: str
    images: ImageMode
    rows: Mapping[str, int]
    turned: int


Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFormat:
    """A format by what its trainer does. `beside` gives the further files, by name.

    `learns_turns`: it learns every answer of a conversation, so that all pairs of a photo may be one. `rooted`: paths
    are relative to a root that the set names. `upright`: it turns photos as EXIF says.
    """

    summary: str
    learns_turns: bool
    rooted: bool
    upright: bool
    row: Callable[[Shown, Sequence[Pair], int], Row]
    beside: Callable[[WrittenSet], Mapping[str, str]]


def _trl_row(photo: Shown, pairs: Sequence[Pair], _number: int) -> Row:
    """TRL's prompt-completion form, whose loss is on the completion. TRL itself puts the image before the question.

    Source: trl 1.16, data_utils.py, prepare_multimodal_messages.
    """
    (pair,) = pairs
    return {
        "images": [photo.path],
        "prompt": [{"role": "user", "content": pair.question}],
        "completion": [{"role": "assistant", "content": pair.answer}],
    }


def _swift_row(photo: Shown, pairs: Sequence[Pair], _number: int) -> Row:
    """No line break behind `<image>`: the template brings one.

    Source: ms-swift 4.6.0, template/templates/internvl.py, replace_tag.
    """
    return {"messages": _messages("<image>", pairs), "images": [photo.path]}


def _llama_factory_row(photo: Shown, pairs: Sequence[Pair], _number: int) -> Row:
    """A line break behind `<image>`, as models were taught: the plugin brings none.

    Source: LLaMA-Factory 0.9.5, data/mm_plugin.py, InternVLPlugin.
    """
    return {"messages": _messages("<image>\n", pairs), "images": [photo.path]}


def _internvl_row(photo: Shown, pairs: Sequence[Pair], number: int) -> Row:
    """Source: InternVL 2410d1d, internvl_chat/internvl/train/internvl_chat_finetune.py, LazySupervisedDataset."""
    senders = {"user": "human", "assistant": "gpt"}
    return {
        "id": number,
        "image": photo.path,
        "width": photo.width_px,
        "height": photo.height_px,
        "conversations": [
            {"from": senders[each["role"]], "value": each["content"]} for each in _messages("<image>\n", pairs)
        ],
    }


def _messages(placeholder: str, pairs: Sequence[Pair]) -> list[dict[str, str]]:
    """Question and answer in turn, what stands for the photo before the first."""
    messages = [
        message
        for pair in pairs
        for message in ({"role": "user", "content": pair.question}, {"role": "assistant", "content": pair.answer})
    ]
    messages[0]["content"] = placeholder + messages[0]["content"]
    return messages


def _beside_trl(written: WrittenSet) -> dict[str, str]:
    return {"README.md": trl_readme(written.folder, written.rows, written.images)}


def _beside_swift(written: WrittenSet) -> dict[str, str]:
    return {"README.md": swift_readme(written.folder, written.rows, written.images, written.turned)}


def _beside_llama_factory(written: WrittenSet) -> dict[str, str]:
    """`dataset_info.json`, by which LLaMA-Factory finds and reads the rows. Source: its 0.9.5, data/parser.py."""
    entries = {
        f"carscribe_{side}": {
            "file_name": f"{side}.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "images": "images"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        }
        for side in written.rows
    }
    readme = llama_factory_readme(written.folder, written.rows, written.images, written.turned)
    return {"dataset_info.json": _json(entries), "README.md": readme}


def _beside_internvl(written: WrittenSet) -> dict[str, str]:
    """A meta file a side: InternVL's script takes one, and trains on all that it names."""
    metas = {
        _meta_name(side): _json(
            {
                f"carscribe_{side}": {
                    "root": written.root,
                    "annotation": str(written.folder / f"{side}.jsonl"),
                    "data_augment": False,  # True would re-encode photos as poor JPEG
                    "max_dynamic_patch": Tiling().max_tiles,
                    "repeat_time": 1,
                    "length": rows,
                }
            }
        )
        for side, rows in written.rows.items()
    }
    readme = internvl_readme(written.folder, written.rows, written.images, written.turned)
    return {**metas, "README.md": readme}


def _meta_name(side: str) -> str:
    return "meta.json" if side == TRAIN else f"meta_{side}.json"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


SET_FORMATS: Mapping[str, SetFormat] = {
    "trl": SetFormat(
        summary="images, prompt and completion, for TRL's SFTTrainer",
        learns_turns=False,
        rooted=False,
        upright=True,
        row=_trl_row,
        beside=_beside_trl,
    ),
    "ms-swift": SetFormat(
        summary="messages and images, for swift sft",
        learns_turns=True,
        rooted=False,
        upright=False,
        row=_swift_row,
        beside=_beside_swift,
    ),
    "llama-factory": SetFormat(
        summary="messages and images with dataset_info.json, for llamafactory-cli train",
        learns_turns=True,
        rooted=False,
        upright=False,
        row=_llama_factory_row,
        beside=_beside_llama_factory,
    ),
    "internvl": SetFormat(
        summary="conversations and meta.json, for OpenGVLab's own scripts",
        learns_turns=True,
        rooted=True,
        upright=False,
        row=_internvl_row,
        beside=_beside_internvl,
    ),
}
"""Every format of a fine-tuning set by its name."""
