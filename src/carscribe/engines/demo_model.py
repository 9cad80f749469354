"""The stand-in checkpoint behind `--model demo`: InternVL3's architecture, small, with random weights.

Everything about it is real but its words: tokenizer, chat template, image processor and weights are files in the format
of OpenGVLab/InternVL3-*-hf, so that the whole way of a photo can be walked on a CPU without a hub. Its tokenizer is a
byte-level BPE trained here on the texts it is given, the special tokens in InternVL3's order behind the learned ones.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VERSION = 1
"""Raised when anything below changes what is written, so that an old folder is not taken for a new one."""

VOCABULARY = 2048
TILE_PX, PATCH_PX = 112, 14

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


def demo_checkpoint(texts: Iterable[str]) -> Path:
    """The folder of the stand-in checkpoint whose tokenizer knows `texts`, made at first use in the user's cache."""
    texts = list(texts)
    known = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8]
    folder = cache_folder() / f"demo-model-{VERSION}-{known}"
    if not (folder / "model.safetensors").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        write_random_checkpoint(beside, texts)
        try:
            beside.replace(folder)
        except OSError:  # another process was first, or left half a folder: ours is whole
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(beside, folder)
    return folder


def cache_folder() -> Path:
    """Where Carscribe keeps what it can make again: CARSCRIBE_CACHE, else `carscribe` in the user's cache folder."""
    if own := os.environ.get("CARSCRIBE_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return (Path(base) if base else Path.home() / ".cache") / "carscribe"


def write_random_checkpoint(
    folder: Path,
    texts: Iterable[str],
    *,
    backbone: str = "qwen2",
    rope: str = "dynamic",
    tile_px: int = TILE_PX,
    seed: int = 0,
) -> None:
    """Write a small random InternVL3 checkpoint to `folder`.

    `backbone` is transformers' model_type of the language model ("qwen2", "qwen3"), `rope` its rotary embedding.
    """
    import torch
    from transformers import GenerationConfig, InternVLConfig, InternVLForConditionalGeneration
    from transformers.utils import logging

    logging.disable_progress_bar()

    ids = write_tokenizer(folder, train_bpe(texts))
    text_config = {
        "model_type": backbone,
        "hidden_size": 128,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "intermediate_size": 256,
        "vocab_size": max(ids.values()) + 1,
        "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": rope, "rope_theta": 1e6} | ({"factor": 2.0} if rope == "dynamic" else {}),
        "tie_word_embeddings": False,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
    }
    vision_config = {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 128,
        "attention_bias": True,
        "image_size": [tile_px, tile_px],
        "patch_size": [PATCH_PX, PATCH_PX],
    }
    config = InternVLConfig(
        vision_config=vision_config,
        text_config=text_config,
        image_token_id=ids["<IMG_CONTEXT>"],
        image_seq_length=(tile_px // PATCH_PX) ** 2 // 4,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = InternVLForConditionalGeneration(config).eval()
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(_widening(name))
    model.generation_config = GenerationConfig(eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"])
    model.save_pretrained(folder)
    write_processor(folder, tile_px)


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


def train_bpe(texts: Iterable[str]) -> "Tokenizer":
    """A byte-level BPE that splits text as Qwen2 does, without special tokens."""
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
        vocab_size=VOCABULARY, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return bpe


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


def write_processor(folder: Path, tile_px: int) -> None:
    """Write the image processor's files as InternVL3-*-hf has them, for tiles of `tile_px`."""
    _write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "GotOcr2ImageProcessorFast",
            "processor_class": "InternVLProcessor",
            "crop_to_patches": False,
            "min_patches": 1,
            "max_patches": 12,
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
    image_tokens = (tile_px // PATCH_PX) ** 2 // 4
    _write_json(
        folder / "processor_config.json", {"processor_class": "InternVLProcessor", "image_seq_length": image_tokens}
    )


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
