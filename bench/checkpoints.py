"""A checkpoint folder of a real InternVL3's size with random weights: true times and true memory, no words.

The weights are made on the device and saved as safetensors, so that the shipped way of loading them is walked too.

usage: python bench/checkpoints.py FOLDER SIZE [--device cuda] [--tokenizer tokenizer.json]
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, InternVLConfig, InternVLForConditionalGeneration

from carscribe.engines.new_checkpoint import train_bpe, write_processor, write_tokenizer
from carscribe.recipes.loading import load_recipe, shipped_recipes

# hidden, layers, heads, key/value heads, MLP of the language model; the vision tower is the same from 1B to 14B
SIZES = {
    "1B": (896, 24, 14, 2, 4864),
    "2B": (1536, 28, 12, 2, 8960),
    "8B": (3584, 28, 28, 4, 18944),
    "14B": (5120, 48, 40, 8, 13824),
}


def write_sized_checkpoint(folder: Path, size: str, *, device: str, tokenizer_json: Path | None = None) -> float:
    """Write an InternVL3 of `size` in bfloat16 to `folder`; the seconds it took.

    `tokenizer_json` is Qwen2.5's; without it a small BPE stands in, which needs more tokens a question.
    """
    start = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    bpe = Tokenizer.from_file(str(tokenizer_json)) if tokenizer_json else train_bpe(recipe_texts())
    ids = write_tokenizer(folder, bpe)
    write_processor(folder, 448, 256)
    config = InternVLConfig(**config_of(size, ids))
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    torch.manual_seed(0)
    try:
        with torch.device(device):
            model = InternVLForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(default)
    model.generation_config = GenerationConfig(eos_token_id=ids["<|im_end|>"], pad_token_id=ids["<|endoftext|>"])
    model.save_pretrained(folder)
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(written | {"dtype": "bfloat16"}, indent=1))
    return time.perf_counter() - start


def write_apart(folder: Path, size: str, *, device: str, tokenizer_json: Path | None = None) -> None:
    """The same in a process of its own, which leaves nothing on the device."""
    command = [sys.executable, __file__, str(folder), size, "--device", device]
    command += ["--tokenizer", str(tokenizer_json)] if tokenizer_json else []
    subprocess.run(command, check=True)


def recipe_texts() -> list[str]:
    """What a small tokenizer is trained on: all prompts and choices that are shipped."""
    questions = [question for name in shipped_recipes() for question in load_recipe(name).questions]
    texts = [text for question in questions for text in question.text.values()]
    return texts + [choice for question in questions for row in question.choices.values() for choice in row]


def config_of(size: str, ids: dict[str, int]) -> dict[str, Any]:
    """What an `InternVLConfig` of the size is made of; `ids` of the tokens that end, and of an image's."""
    hidden, layers, heads, kv_heads, mlp = SIZES[size]
    text = {
        "model_type": "qwen2",
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "intermediate_size": mlp,
        "vocab_size": 151_674,
        "max_position_embeddings": 32_768,
        "rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e6},
        "tie_word_embeddings": False,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
    }
    vision = {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
        "attention_bias": True,
        "image_size": [448, 448],
        "patch_size": [14, 14],
    }
    return {
        "text_config": text,
        "vision_config": vision,
        "image_token_id": ids["<IMG_CONTEXT>"],
        "image_seq_length": 256,
        "tie_word_embeddings": False,
    }


def main() -> None:
    """One folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("size", choices=list(SIZES))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokenizer", type=Path)
    options = parser.parse_args()
    seconds = write_sized_checkpoint(
        options.folder, options.size, device=options.device, tokenizer_json=options.tokenizer
    )
    print(f"{options.size} written in {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
