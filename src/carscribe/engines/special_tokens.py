"""A tokenizer's special tokens, read from its files: texts that mean something of their own to the model.

The same set that transformers' tokenizer has once it is loaded, which takes torch and seconds.
"""

from collections.abc import Iterator, Mapping
from typing import Any


def special_tokens(tokenizer: Mapping[str, Any], config: Mapping[str, Any], named: Mapping[str, Any]) -> frozenset[str]:
    """The special tokens in what tokenizer.json, tokenizer_config.json and special_tokens_map.json hold.

    As in transformers, `named` is heeded only where tokenizer_config.json lists no added tokens, and what it lists
    counts instead of what tokenizer.json says of the same token.

    >>> tokenizer = {"added_tokens": [{"content": "<img>", "special": True}, {"content": "<tool>", "special": False}]}
    >>> sorted(special_tokens(tokenizer, {"eos_token": "<end>"}, {}))
    ['<end>', '<img>']
    """
    listed = config.get("added_tokens_decoder")
    named = named if listed is None else {}
    flagged = (*tokenizer.get("added_tokens", ()), *(listed or {}).values())
    special = {str(token["content"]): bool(token["special"]) for token in flagged}
    extra = config.get("extra_special_tokens", config.get("additional_special_tokens")) or ()
    older = () if isinstance(extra, list) else named.get("additional_special_tokens") or ()
    roles = [value for key, value in {**config, **named}.items() if key.endswith("_token")]
    for tokens in (extra, older, named.get("extra_special_tokens") or ()):
        if isinstance(tokens, dict):
            roles += tokens.values()
        else:
            special = dict.fromkeys(map(_content, tokens), True) | special
    special |= dict.fromkeys(_contents(roles), True)
    return frozenset(token for token, is_special in special.items() if is_special)


def _contents(roles: list[Any]) -> Iterator[str]:
    """What fills a role; one that is empty, or a switch such as `add_bos_token`, names no token."""
    return (_content(role) for role in roles if isinstance(role, str | dict))


def _content(token: str | Mapping[str, Any]) -> str:
    return token if isinstance(token, str) else str(token["content"])
