"""What a language model's config.json must say if it is to take the place of InternVL3's. Pure.

These are the engine's conditions, known before weights are: the layers' kind, rotary embedding, full causal attention.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from carscribe.backbone.findings import Finding, Status
from carscribe.engines.checkpoint import STATIC_ROPE

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A model_type whose layers were proved to run, fused or else through transformers' own, and what its config means
    where it is silent: whether embedding and output layer are `tied`, the sliding `window`, whether it is `windowed`.
    """

    fused: bool = False
    tied: bool = False
    window: int | None = None
    windowed: bool = True


KINDS: Mapping[str, Kind] = {
    "qwen2": Kind(fused=True, windowed=False),
    "qwen3": Kind(fused=True, windowed=False),
    "llama": Kind(fused=True),
    "mistral": Kind(window=4096),
    "exaone4": Kind(window=4096),
    "hyperclovax": Kind(),
    "gemma": Kind(tied=True),
    "olmo2": Kind(),
    "smollm3": Kind(tied=True, windowed=False),
    "seed_oss": Kind(),
    "ernie4_5": Kind(tied=True),
    "granite": Kind(),
}
"""By transformers' model_type: `tests/backbone/test_swapping.py` holds each to `generate`, and these defaults to its
config class.
"""

ALIBI = frozenset({"bloom", "mpt", "baichuan"})
LEARNED = frozenset({"gpt2", "gpt_neo", "gpt_bigcode", "opt", "xglm", "biogpt"})
STATE_SPACE = frozenset({"mamba", "mamba2", "rwkv", "jamba", "falcon_mamba", "recurrent_gemma", "zamba", "zamba2"})
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
ROOM = 1024
"""Tokens of the context that questions and answers of a photo want beside it."""


def architecture(base: Config, llm: Config) -> Finding:
    """Whether the layers are of a kind that was proved to run."""
    kind = str(llm.get("model_type"))
    reason = _no_decoder(llm, kind)
    says = "" if KINDS.get(kind, Kind(fused=True)).fused else "runs through transformers' own layers, not fused"
    return Finding(
        topic="architecture",
        base=_described(base),
        llm=_described(llm),
        status="impossible" if reason else "fine",
        says=reason or says,
    )


def width(base: Config, llm: Config) -> Finding:
    """Hidden size against the projector's output."""
    made, wanted = base.get("hidden_size"), llm.get("hidden_size")
    status: Status
    if not isinstance(wanted, int):
        status, says = "impossible", "its config.json names no hidden_size"
    elif made == wanted:
        status, says = "fine", "the projector is kept"
    else:
        status, says = "work", f"a new projector to {wanted}, to be trained"
    return Finding(topic="hidden size", base=f"projector to {made}", llm=str(wanted), status=status, says=says)


def positions(base: Config, llm: Config) -> Finding:
    """Rotary embedding of a kind whose angles are a table."""
    kind = rope_type(llm)
    reason = ""
    if llm.get("model_type") in ALIBI or llm.get("alibi") or (llm.get("attn_config") or {}).get("alibi"):
        kind, reason = "ALiBi", "ALiBi adds to attention, which packed rows have no place for"
    elif llm.get("model_type") in LEARNED:
        kind, reason = "learned", "positions are learned, not rotary"
    elif kind not in STATIC_ROPE:
        reason = f"rotary embedding of type {kind!r} is not run"
    return Finding(
        topic="positions",
        base=f"rotary, {rope_type(base)}",
        llm=kind if kind in ("ALiBi", "learned") else f"rotary, {kind}",
        status="impossible" if reason else "fine",
        says=reason,
    )


def context(base: Config, llm: Config, *, tile_tokens: int, most_tiles: int) -> Finding:
    """Room for a photo of `most_tiles` tiles, thumbnail included, and its questions."""
    own, tokens = base.get("max_position_embeddings"), llm.get("max_position_embeddings")
    status: Status = "fine"
    says = f"a photo of {most_tiles} tiles takes {most_tiles * tile_tokens:,} tokens"
    if not isinstance(tokens, int):
        status, says = "impossible", "its config.json names no max_position_embeddings"
    elif tokens < tile_tokens + ROOM:
        status, says = (
            "impossible",
            f"{tokens} tokens hold no photo: one tile and its questions take {ROOM + tile_tokens}",
        )
    elif tokens < most_tiles * tile_tokens + ROOM:
        fitting = (tokens - ROOM) // tile_tokens
        status, says = "work", f"photos of {fitting} tiles at most: describe --max-tiles {max(1, fitting - 1)}"
    return Finding(
        topic="context",
        base=f"{own:,} tokens" if isinstance(own, int) else "not said",
        llm=f"{tokens:,} tokens" if isinstance(tokens, int) else "not said",
        status=status,
        says=says,
    )


def attention(llm: Config) -> Finding:
    """Full causal attention in every layer, and nothing between its products and the softmax."""
    reasons = list(_not_full(llm))
    return Finding(
        topic="attention",
        base="full, causal",
        llm=reasons[0][0] if reasons else "full, causal",
        status="impossible" if reasons else "fine",
        says=reasons[0][1] if reasons else "",
    )


def output_layer(base_tied: bool, llm: Config) -> Finding:
    """Whether embedding and output layer are one weight, and what is done to logits behind it."""
    own, scale = is_tied(llm), logit_scale(llm)
    reason = ""
    if llm.get("final_logit_softcapping"):
        reason = "its logits are capped behind the output layer, which InternVL's model does not do"
    elif own and scale != 1.0:
        reason = f"its logits are scaled by {scale:g}, which an output layer that is the embedding cannot take up"
    says = f"{_tied(own)} it stays" if own != base_tied else ""
    if scale != 1.0:
        says = f"swap multiplies the output layer by {scale:g}, as the model does its logits"
    return Finding(
        topic="output layer",
        base=_tied(base_tied),
        llm=_tied(own),
        status="impossible" if reason else "fine",
        says=reason or says,
    )


def logit_scale(text: Config) -> float:
    """What a model multiplies its logits with. Source: transformers 5.17, modeling_granite, _hyperclovax, _cohere."""
    if text.get("model_type") == "granite":
        return 1 / float(text.get("logits_scaling") or 1.0)
    return float(text.get("logits_scaling") or text.get("logit_scale") or 1.0)


def dtype(base: str, llm: Config) -> Finding:
    """What weights are held in: the checkpoint is in BASE's."""
    own = str(llm.get("dtype") or llm.get("torch_dtype") or "not said")
    says = "" if own == base else f"cast to {base}, as the vision tower is"
    if quantised := llm.get("quantization_config"):
        method = quantised.get("quant_method", "unknown") if isinstance(quantised, Mapping) else "unknown"
        return Finding(
            topic="dtype",
            base=base,
            llm=f"quantised ({method})",
            status="impossible",
            says=f"its weights are quantised ({method}): take the model it was made of",
        )
    return Finding(topic="dtype", base=base, llm=own, status="fine", says=says)


def rope_type(text: Config) -> str:
    """The kind of rotary embedding, older names of it included."""
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    return str(rope.get("rope_type", rope.get("type", "default")))


def is_tied(text: Config) -> bool:
    """Whether embedding and output layer are one weight; by its kind's default where the config does not say."""
    kind = KINDS.get(str(text.get("model_type")), Kind())
    return bool(text.get("tie_word_embeddings", kind.tied))


def is_sibling(base: Config, llm: Config) -> bool:
    """Whether two models have the same layers, so that one may be a further training of the other."""
    names = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    return all(base.get(name) == llm.get(name) for name in names) and kv_heads(base) == kv_heads(llm)


def kv_heads(text: Config) -> Any:
    """Key/value heads; as many as heads where the config names none."""
    return text.get("num_key_value_heads") or text.get("num_attention_heads")


def _no_decoder(llm: Config, kind: str) -> str:
    """Why it is no dense decoder that was proved to run; nothing where it is."""
    if llm.get("is_encoder_decoder"):
        return f"{kind} is an encoder and a decoder; a decoder alone is needed"
    if "vision_config" in llm or "text_config" in llm or "audio_config" in llm:
        return f"{kind} is a model of several modalities; name the language model inside it"
    experts = next((name for name in EXPERTS if (llm.get(name) or 0) > 1), None)
    if experts or "_moe" in kind or kind in ("mixtral", "gpt_oss"):
        many = f" of {llm[experts]} experts" if experts else ""
        return f"{kind} is a mixture{many}: neither the engine's layers nor its memory plan know one"
    if kind in STATE_SPACE:
        return f"{kind} keeps a running state instead of keys and values, so that questions cannot stand beside a photo"
    if kind in KINDS:
        return ""
    if llm.get("auto_map"):
        return f"{kind} needs code of its own from its repository, which is never run"
    return f"layers of type {kind} were never proved to run here; those that were: {', '.join(KINDS)}"


def _not_full(llm: Config) -> Iterator[tuple[str, str]]:
    """(what it has, why that cannot be) for all that is not full causal attention."""
    kinds = set(llm.get("layer_types") or ())
    if other := sorted(kinds - {"full_attention"}):
        yield f"layers of type {', '.join(other)}", f"layers of type {', '.join(other)} cannot be packed"
    kind = KINDS.get(str(llm.get("model_type")), Kind())
    window, most = llm.get("sliding_window", kind.window), llm.get("max_position_embeddings") or 0
    from_layer = llm.get("max_window_layers")
    all_before = isinstance(from_layer, int) and from_layer >= (llm.get("num_hidden_layers") or 0)
    used = llm.get("use_sliding_window", kind.windowed) and not all_before
    if not kinds and isinstance(window, int) and used and window < most:
        yield (
            f"sliding window of {window:,}",
            f"a sliding window of {window:,} tokens is in use: branches lose the photo",
        )
    if llm.get("attn_logit_softcapping"):
        yield "capped logits", "attention's logits are capped, which packed attention does not do"
    if llm.get("is_causal") is False or llm.get("use_bidirectional_attention"):
        yield "both ways", "attention looks ahead: it generates no text"


def _described(text: Config) -> str:
    layers, heads = text.get("num_hidden_layers", "?"), text.get("num_attention_heads", "?")
    return f"{text.get('model_type')}, {layers} layers, {heads} heads ({kv_heads(text) or '?'} key/value)"


def _tied(tied: bool) -> str:
    return "tied" if tied else "untied"
