"""A new checkpoint of InternVL3's architecture, in any size, with random weights: to be trained, or for tests.

Tokenizer, chat template, image processor and weights are files in the format of OpenGVLab/InternVL3-*-hf. The tokenizer
is a byte-level BPE trained here on the texts it is given, the special tokens in InternVL3's order behind the learned
ones.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from carscribe.engines.checkpoint import first_line
from carscribe.errors import CheckpointError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>"),
    *("<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>"),
    *("<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>"),
    *("<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<img>", "</img>", "<IMG_CONTEXT>"),
    *("<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>", "<video>"),
)
"""Source: tokenizer_config.json of OpenGVLab/InternVL3-8B-hf, ids 151643 to 151674."""

CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if part['type'] == 'image' -%}{{- '<IMG_CONTEXT>\\n' -}}
{%- elif part['type'] == 'text' -%}{{- part['text'] -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
"""ChatML without a default system prompt; an image becomes a placeholder and a new line."""

PRE_TOKENS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How Qwen2 splits text before BPE: a digit at a time, a new line apart from what follows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """The sizes of a checkpoint. The defaults are tiny: a test reads a photo with it in milliseconds."""

    tile_px: int = 112
    patch_px: int = 14
    most_tiles: int = 12
    vision_hidden: int = 64
    vision_layers: int = 2
    vision_heads: int = 4
    vision_mlp: int = 128
    hidden: int = 128
    layers: int = 3
    heads: int = 8
    kv_heads: int = 2
    mlp: int = 256


def write_random_checkpoint(
    folder: Path,
    bpe: "Tokenizer",
    *,
    sizes: Sizes | None = None,
    backbone: str = "qwen2",
    rope: str = "dynamic",
    tile_px: int | None = None,
    seed: int = 0,
    widened: bool = True,
) -> None:
    """Write a random InternVL3 checkpoint to `folder`, with the tokenizer of `train_bpe` or `bpe_of`.

    `backbone` is transformers' model_type of the language model ("qwen2", "qwen3"), `rope` its rotary embedding.
    `widened` weights make what it says differ from photo to photo, so that a mix-up shows; one that is to be trained
    wants transformers' own initial weights.
    """
    sizes = sizes or Sizes()
    sizes = sizes if tile_px is None else replace(sizes, tile_px=tile_px)
    import torch
    from transformers import GenerationConfig, InternVLConfig, InternVLForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()

    ids = write_tokenizer(folder, bpe)
    text_config = {
        "model_type": backbone,
        "hidden_size": sizes.hidden,
        "num_hidden_layers": sizes.layers,
        "num_attention_heads": sizes.heads,
        "num_key_value_heads": sizes.kv_heads,
        "head_dim": sizes.hidden // sizes.heads,
        "intermediate_size": sizes.mlp,
        "vocab_size": max(ids.values()) + 1,
        "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": rope, "rope_theta": 1e6} | ({"factor": 2.0} if rope == "dynamic" else {}),
        "tie_word_embeddings": False,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
    }
    vision_config = {
        "hidden_size": sizes.vision_hidden,
        "num_hidden_layers": sizes.vision_layers,
        "num_attention_heads": sizes.vision_heads,
        "intermediate_size": sizes.vision_mlp,
        "attention_bias": True,
        "image_size": [sizes.tile_px, sizes.tile_px],
        "patch_size": [sizes.patch_px, sizes.patch_px],
    }
    image_tokens = (sizes.tile_px // sizes.patch_px) ** 2 // 4
    config = InternVLConfig(
        vision_config=vision_config,
        text_config=text_config,
        image_token_id=ids["<IMG_CONTEXT>"],
        image_seq_length=image_tokens,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = InternVLForConditionalGeneration(config).eval()
        for name, parameter in model.named_parameters():
            if widened and parameter.ndim > 1:
                parameter.data.mul_(_widening(name))
    model.generation_config = GenerationConfig(eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"])
    model.save_pretrained(folder)
    write_processor(folder, sizes.tile_px, image_tokens, sizes.most_tiles)


def _widening(name: str) -> float:
    """How much wider than transformers' initial weights a random model's must be.

    At their own scale it says one token over and over, whatever it sees; at these, what it says differs from photo to
    photo and from question to question, so that a mix-up shows.
    """
    if "embed_tokens" in name:
        return 10.0
    if "q_proj" in name or "k_proj" in name:
        return 6.0 if "vision" in name else 20.0
    return 6.0 if "vision" in name or "projector" in name else 4.0


def train_bpe(texts: Iterable[str], vocabulary: int = 2048) -> "Tokenizer":
    """A byte-level BPE of at most so many tokens that splits text as Qwen2 does, without special tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.NFC()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRE_TOKENS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return bpe


def bpe_of(folder: Path) -> "Tokenizer":
    """The tokenizer of a checkpoint. Raises: CheckpointError when its file cannot be read."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # tokenizers raises nothing narrower
        raise CheckpointError(f"{folder / 'tokenizer.json'} cannot be read: {first_line(error)}.") from error


def write_tokenizer(folder: Path, bpe: "Tokenizer") -> dict[str, int]:
    """Write tokenizer and chat template files as InternVL3-*-hf has them; the special tokens' ids."""
    from tokenizers import AddedToken

    bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    bpe.save(str(folder / "tokenizer.json"))
    named = {
        "start_image_token": "<img>",
        "end_image_token": "</img>",
        "context_image_token": "<IMG_CONTEXT>",
        "video_token": "<video>",
    }
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "padding_side": "left",
            "clean_up_tokenization_spaces": False,
            "extra_special_tokens": named,
            **named,
        },
    )
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE, encoding="utf-8")
    vocabulary = bpe.get_vocab(with_added_tokens=True)
    return {token: vocabulary[token] for token in SPECIAL_TOKENS}


def write_processor(folder: Path, tile_px: int, image_tokens: int, most_tiles: int = 12) -> None:
    """Write the image processor's files as InternVL3-*-hf has them, for tiles of `tile_px`."""
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "processor_class": "InternVLProcessor",
            "crop_to_patches": False,
            "min_patches": 1,
            "max_patches": most_tiles,
            "size": {"height": tile_px, "width": tile_px},
            "do_resize": True,
            "do_rescale": True,
            "do_normalize": True,
            "do_convert_rgb": True,
            "rescale_factor": 1 / 255,
            "image_mean": [0.485, 0.456, 0.406],
            "image_std": [0.229, 0.224, 0.225],
            "resample": 3,
        },
    )
    _write_json(
        folder / "processor_config.json", {"processor_class": "InternVLProcessor", "image_seq_length": image_tokens}
    )


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
