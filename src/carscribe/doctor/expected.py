"""What an InternVL3 checkpoint's files say, beside what these files are known to say, and our reading beside theirs.

Two kinds of comparison. Facts of the checkpoint: a sibling, a fine-tune or the demo model differs and is none the worse
for it. Our processing against transformers' own on the same checkpoint: there a difference is a defect of Carscribe.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from PIL import Image

from carscribe.engines.checkpoint import Checkpoint, first_line
from carscribe.engines.prompting import PromptEncoder
from carscribe.memory import ModelShape, shape_of
from carscribe.photos.tiles import choose_grid, cut

QUESTION = "What are the wheels like?"

IDS: Mapping[str, int] = {
    "<|im_start|>": 151_644,
    "<|im_end|>": 151_645,
    "<img>": 151_665,
    "</img>": 151_666,
    "<IMG_CONTEXT>": 151_667,
}
VOCABULARY = 151_674
TEMPLATE = f"<|im_start|>user\n<IMG_CONTEXT>\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n"
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BICUBIC = 3

SIZES: Mapping[tuple[int, int, int, int, int], str] = {
    (896, 24, 14, 2, 4864): "InternVL3-1B",
    (1536, 28, 12, 2, 8960): "InternVL3-2B",
    (3584, 28, 28, 4, 18944): "InternVL3-8B",
    (5120, 48, 40, 8, 13824): "InternVL3-14B",
    (5120, 64, 40, 8, 27648): "InternVL3-38B",
    (8192, 80, 64, 8, 29568): "InternVL3-78B",
}
"""Hidden size, layers, heads, key/value heads and MLP of the language models. Source: the checkpoints' config.json."""

GREEDY_SETTINGS: Mapping[str, tuple[Any, ...]] = {
    "repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "bad_words_ids": (None,),
    "suppress_tokens": (None,),
    "forced_eos_token_id": (None,),
}
"""Settings of a generation config that change greedy decoding, and the values with which they change nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One thing as it was expected and as it is. `agrees` is None where it could not be compared: `found` says why."""

    what: str
    expected: str
    found: str
    agrees: bool | None


def family_member(checkpoint: Checkpoint) -> str | None:
    """The name of the InternVL3 that has a checkpoint's sizes; None for any other model."""
    try:
        shape: ModelShape = shape_of(checkpoint.config)
    except KeyError:
        return None
    return SIZES.get((shape.hidden, shape.layers, shape.heads, shape.kv_heads, shape.mlp))


def compare_files(checkpoint: Checkpoint) -> list[Comparison]:
    """Ids, template and configuration, each beside InternVL3's. Raises: CheckpointError without a tokenizer."""
    prompts = PromptEncoder(checkpoint)
    tokenizer = load_tokenizer(checkpoint)
    text, tiling = checkpoint.config.get("text_config") or {}, checkpoint.tiling
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    found = [_same(f"id of {token}", id_, tokenizer.convert_tokens_to_ids(token)) for token, id_ in IDS.items()]
    found += [
        _same("id of the image token in config.json", IDS["<IMG_CONTEXT>"], checkpoint.image_token_id),
        _same("end of turn in the template", IDS["<|im_end|>"], prompts.end_of_turn_id),
        _same("vocabulary", VOCABULARY, text.get("vocab_size")),
        _same("template with a photo and a question", TEMPLATE, _rendered(tokenizer)),
        _same("side of a tile in pixels", 448, tiling.tile_px),
        _same("tokens a tile", 256, checkpoint.image_tokens),
        _same("most tiles but the thumbnail", 12, tiling.max_tiles),
        _same("fewest tiles", 1, tiling.min_tiles),
        _same("resampling (3 is bicubic)", BICUBIC, tiling.resample),
        _same("mean of the pixels", IMAGENET_MEAN, checkpoint.mean),
        _same("standard deviation of the pixels", IMAGENET_STD, checkpoint.std),
        _same("divisor of the bytes", 255.0, round(checkpoint.divisor, 6)),
        _same("rotary embedding", "dynamic", rope.get("rope_type", rope.get("type", "default"))),
        _same("context in tokens", 32_768, checkpoint.context_tokens),
    ]
    return found + list(_generation(checkpoint))


def compare_processing(checkpoint: Checkpoint, picture: Image.Image) -> list[Comparison]:
    """Our tiles, pixels and ids of one photo beside those of transformers' own classes for the checkpoint."""
    return [*_tiles_and_pixels(checkpoint, picture), *_prompt_ids(checkpoint, picture)]


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's tokenizer, as transformers loads it."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False)


def expanded_ids(checkpoint: Checkpoint, tokenizer: Any, text: str, tiles: int) -> list[int]:
    """The ids of one question the documented way: placeholders written out as text, then tokenised."""
    run = f"<img>{'<IMG_CONTEXT>' * (checkpoint.image_tokens * tiles)}</img>"
    ids: list[int] = tokenizer(_rendered(tokenizer, text).replace("<IMG_CONTEXT>", run, 1))["input_ids"]
    return ids


def _same(what: str, expected: object, found: object) -> Comparison:
    return Comparison(what=what, expected=_shown(expected), found=_shown(found), agrees=expected == found)


def _shown(value: object) -> str:
    return value.replace("\n", "\\n") if isinstance(value, str) else str(value)


def _rendered(tokenizer: Any, text: str = QUESTION) -> str:
    content = [{"type": "image"}, {"type": "text", "text": text}]
    rendered: str = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    return rendered


def _generation(checkpoint: Checkpoint) -> Iterator[Comparison]:
    """What generation_config.json says of the end of an answer, and of anything but plain greedy decoding."""
    from transformers import GenerationConfig

    try:
        config = GenerationConfig.from_pretrained(checkpoint.folder)
    except (OSError, ValueError) as error:
        yield Comparison(what="generation config", expected="is there", found=first_line(error), agrees=None)
        return
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    yield Comparison(
        what="end of an answer in generation_config.json",
        expected=str(IDS["<|im_end|>"]),
        found=", ".join(map(str, ends)),
        agrees=IDS["<|im_end|>"] in ends,
    )
    changed = {name: getattr(config, name, None) for name in GREEDY_SETTINGS}
    changed = {name: value for name, value in changed.items() if value not in GREEDY_SETTINGS[name]}
    told = ", ".join(f"{name} {value}" for name, value in changed.items())
    yield Comparison(
        what="settings that Carscribe's greedy decoding leaves out",
        expected="none",
        found=told or "none",
        agrees=not changed,
    )


def _tiles_and_pixels(checkpoint: Checkpoint, picture: Image.Image) -> Iterator[Comparison]:
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil

    try:
        processor = GotOcr2ImageProcessorPil.from_pretrained(checkpoint.folder)
        theirs = processor(picture, crop_to_patches=True, max_patches=checkpoint.tiling.max_tiles, return_tensors="np")[
            "pixel_values"
        ]
    except Exception as error:  # noqa: BLE001 - whatever their class cannot do with the files is told, not raised
        yield _not_compared("pixels of one photo, cut and normalised", error)
        return
    tiles = cut(picture, choose_grid(*picture.size, checkpoint.tiling), checkpoint.tiling)
    mean, std = np.array(checkpoint.mean, np.float32), np.array(checkpoint.std, np.float32)
    ours = ((tiles.astype(np.float32) / checkpoint.divisor - mean) / std).transpose(0, 3, 1, 2)
    what = "tiles of one photo"
    yield Comparison(what=what, expected=str(len(theirs)), found=str(len(ours)), agrees=len(theirs) == len(ours))
    if len(theirs) == len(ours):
        gap = float(np.abs(theirs - ours).max())
        # One unit of a byte is 0.017 of these values: a hundredth of that is rounding.
        yield Comparison(
            what="pixels of one photo", expected="equal", found=f"differ by at most {gap:.2g}", agrees=gap < 2e-4
        )


def _prompt_ids(checkpoint: Checkpoint, picture: Image.Image) -> Iterator[Comparison]:
    prompts, tokenizer = PromptEncoder(checkpoint), load_tokenizer(checkpoint)
    tiles = choose_grid(*picture.size, checkpoint.tiling).tiles
    ours = list(prompts.ids(QUESTION, tiles))
    what = f"ids of one question about a photo of {tiles} tiles"
    yield _ids(f"{what}, placeholders written out", expanded_ids(checkpoint, tokenizer, QUESTION, tiles), ours)
    by_them = f"{what}, by AutoProcessor"
    if find_spec("torchvision") is None:
        reason = "not compared: it needs torchvision, which Carscribe does not"
        yield Comparison(what=by_them, expected="as transformers makes them", found=reason, agrees=None)
        return
    try:
        from transformers import AutoProcessor

        processor = AutoProcessor.from_pretrained(checkpoint.folder, trust_remote_code=False)
        content = [{"type": "image", "image": picture}, {"type": "text", "text": QUESTION}]
        theirs = processor.apply_chat_template(
            [{"role": "user", "content": content}],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            processor_kwargs={"max_patches": checkpoint.tiling.max_tiles},
        )["input_ids"][0]
    except Exception as error:  # noqa: BLE001 - whatever their class cannot do with the files is told, not raised
        yield _not_compared(by_them, error)
        return
    yield _ids(by_them, [int(id_) for id_ in theirs], ours)


def _ids(what: str, theirs: list[int], ours: list[int]) -> Comparison:
    first = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
    found = (
        f"{len(ours)} ids, all equal"
        if theirs == ours
        else f"{len(ours)} ids, the first that differs is number {first}"
    )
    return Comparison(what=what, expected=f"{len(theirs)} ids", found=found, agrees=theirs == ours)


def _not_compared(what: str, error: Exception) -> Comparison:
    reason = " ".join(str(error).split())[:120] or type(error).__name__
    return Comparison(what=what, expected="as transformers makes them", found=f"not compared: {reason}", agrees=None)
