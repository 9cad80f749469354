"""Tiny language models on disk, of several kinds, with tokenizers and templates unlike InternVL3's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from texts import TEXTS

TURNS = (
    "{{ bos_token }}{% for m in messages %}<|turn|>{{ m['role'] }}\n{{ m['content'] | trim }}<|done|>{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)
"""A template that knows texts alone, and writes what begins a text itself."""

NOT_WINDOWED: Mapping[str, dict[str, Any]] = {
    "mistral": {"sliding_window": None},
    "exaone4": {"sliding_window": None, "layer_types": ["full_attention"] * 2},
}
"""What those need in their config whose default is a sliding window."""

SPECIAL = ("<s>", "<|turn|>", "<|done|>")


def write_words(folder: Path, *, template: str | None = TURNS, adds_bos: bool = False, **more: Any) -> dict[str, int]:
    """Tokenizer files; ids by token. `adds_bos`: the tokenizer puts <s> before every text."""
    from tokenizers import AddedToken, processors

    from carscribe.engines.new_checkpoint import train_bpe

    bpe = train_bpe(TEXTS, 420)
    bpe.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    ids = dict(bpe.get_vocab(with_added_tokens=True))
    if adds_bos:
        bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    folder.mkdir(parents=True, exist_ok=True)
    bpe.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "<|done|>"} | more
    config |= {} if template is None else {"chat_template": template}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), "utf-8")
    return ids


def language_config(kind: str, ids: Mapping[str, int], *, width: int = 96, spare: int = 0, **more: Any) -> Any:
    """transformers' config of a tiny model of that kind, with `spare` rows that no token has."""
    from transformers import CONFIG_MAPPING

    sizes = {
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": width // 4,
        "intermediate_size": 160,
        "vocab_size": max(ids.values()) + 1 + spare,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": False,
        "bos_token_id": ids["<s>"],
        "eos_token_id": ids["<|done|>"],
        "pad_token_id": None,
    }
    return CONFIG_MAPPING[kind](**sizes | NOT_WINDOWED.get(kind, {}) | more)


def write_language_model(
    folder: Path, kind: str = "llama", *, words: Mapping[str, Any] | None = None, **options: Any
) -> Path:
    """A whole language model with random weights, widened so that what it says differs; float32."""
    import torch
    from transformers import AutoModelForCausalLM

    ids = write_words(folder, **words or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(language_config(kind, ids, **options)).eval()
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.data.mul_(10.0 if "embed_tokens" in name else 20.0 if "q_proj" in name else 4.0)
    model.save_pretrained(folder)
    return folder
