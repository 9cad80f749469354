"""The checkpoint in which another language model has taken the place of InternVL3's: made whole, or not at all.

Kept to the bit are the vision tower, the projector where the width is the same, and the language model's own weights
but for a change of dtype to BASE's. New are the rows of tokens that its tokenizer did not have, each the mean of the
known ones, and a projector where the width is another. An output layer takes up the factor of scaled logits.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from carscribe.backbone.checking import Given
from carscribe.backbone.findings import Chat
from carscribe.backbone.language_model import LanguageModel
from carscribe.backbone.rules import logit_scale
from carscribe.engines.checkpoint import Checkpoint, first_line, open_checkpoint
from carscribe.engines.prompting import PromptEncoder
from carscribe.errors import CheckpointError, OutputError
from carscribe.finetune.run_folder import whole_folder, write_json

NAMED_TOKENS: Mapping[str, str] = {
    "start_image_token": "<img>",
    "end_image_token": "</img>",
    "context_image_token": "<IMG_CONTEXT>",
    "video_token": "<video>",
}
"""What InternVL3's processor asks its tokenizer for. Source: tokenizer_config.json of OpenGVLab/InternVL3-8B-hf."""

PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
ORIGIN = "backbone.json"
"""Says what a checkpoint was made of."""

VISION, PROJECTOR, LAST_LINEAR = "vision_tower.", "multi_modal_projector.", "linear_2.weight"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """What was written: its folder, size, the tokens that are new to the language model, whether the projector is."""

    folder: Path
    size_bytes: int
    new_tokens: tuple[str, ...]
    new_projector: bool


def write_swapped(given: Given, chat: Chat, to: Path, *, seed: int = 0, say: Say = lambda _: None) -> Swapped:
    """Write the checkpoint, which talks as `chat` says, to the folder `to`. All weights are on this machine.

    A new projector is drawn from `seed`.

    Raises: CheckpointError when weights are missing or do not fit their config; OutputError.
    """
    from transformers import GenerationConfig
    from transformers.utils import logging

    logging.disable_progress_bar()
    say(f"Loading {given.llm.name}.")
    language = _language(given.llm)
    tokenizer, new = _tokenizer(given, chat)
    _scaled(language)
    rows = _resized(language, tokenizer, new)
    model, new_projector = _assembled(given, language, tokenizer, rows, seed)
    end_id, pad_id = tokenizer.convert_tokens_to_ids(chat.end_of_turn), tokenizer.pad_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=_ends(end_id, given.llm),
        pad_token_id=end_id if pad_id is None else pad_id,
    )
    say(f"Writing {to}.")
    try:
        with whole_folder(to) as beside:
            model.save_pretrained(beside)
            tokenizer.save_pretrained(beside)
            for name in PROCESSOR_FILES:
                if (given.base.folder / name).exists():
                    (beside / name).write_bytes((given.base.folder / name).read_bytes())
            write_json(beside / ORIGIN, _origin(given, chat, new, new_projector=new_projector))
            PromptEncoder(open_checkpoint(str(beside))).ids("question", 1)  # it can be asked, or is not put in place
            size_bytes = sum(path.stat().st_size for path in beside.iterdir())
    except (OSError, SafetensorError) as error:
        raise OutputError(f"{to} cannot be written: {first_line(error)}. Name another folder with --to.") from None
    return Swapped(folder=to, size_bytes=size_bytes, new_tokens=tuple(new), new_projector=new_projector)


def _assembled(given: Given, language: Any, tokenizer: Any, rows: int, seed: int) -> tuple[Any, bool]:
    """Vision tower and projector before the language model, all in BASE's dtype; whether the projector is new."""
    from transformers import InternVLForConditionalGeneration

    base, kept = given.base, dict(_kept(given.base))
    vision, projector = _part(kept, VISION), _part(kept, PROJECTOR)
    if not vision or LAST_LINEAR not in projector:
        raise CheckpointError(f"{base.name} has no weights of a vision tower and a projector. Fetch it again.")
    dtype = next(tensor.dtype for tensor in vision.values() if tensor.ndim > 1)
    config = _config(given, language, tokenizer, rows, dtype)
    with torch.device("meta"):
        model = InternVLForConditionalGeneration(config)
    parts = model.model
    same_width = len(projector[LAST_LINEAR]) == config.text_config.hidden_size
    try:
        parts.vision_tower.load_state_dict(vision, assign=True)
        if same_width:
            parts.multi_modal_projector.load_state_dict(projector, assign=True)
    except RuntimeError as error:
        raise CheckpointError(f"{base.name} does not load: {first_line(error)} Fetch it again.") from error
    if not same_width:
        parts.multi_modal_projector = _new_projector(config, seed).to(dtype)
    parts.language_model = language.base_model.to(dtype)
    model.lm_head = language.get_output_embeddings().to(dtype)
    return model, not same_width


def _language(llm: LanguageModel) -> Any:
    """The language model with all its weights, in the dtype it is stored in."""
    from transformers import AutoModelForCausalLM

    try:
        model, report = AutoModelForCausalLM.from_pretrained(
            llm.folder,
            dtype="auto",
            device_map="cpu",
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{llm.name} does not load: {first_line(error)}. Fetch it again.") from error
    if lacking := sorted(report["missing_keys"]):
        raise CheckpointError(f"{llm.name} lacks {len(lacking)} weights ({lacking[0]} …). Fetch it again.")
    return model


def _tokenizer(given: Given, chat: Chat) -> tuple[Any, list[str]]:
    """The language model's tokenizer with InternVL3's image tokens and the template, and the tokens it did not have."""
    from tokenizers import AddedToken
    from transformers import AutoTokenizer

    try:
        known = AutoTokenizer.from_pretrained(given.llm.folder, trust_remote_code=False)
        before = set(known.get_vocab())
        tokenizer = AutoTokenizer.from_pretrained(
            given.llm.folder, trust_remote_code=False, extra_special_tokens=dict(NAMED_TOKENS)
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{given.llm.name} has no tokenizer that loads ({first_line(error)}).") from None
    wanted = [*NAMED_TOKENS.values(), *chat.tokens]
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in wanted], special_tokens=True)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or chat.end_of_turn
    tokenizer.chat_template = chat.template
    return tokenizer, [token for token in wanted if token not in before]


@torch.no_grad()
def _scaled(language: Any) -> None:
    """Put into the output layer what the language model multiplies its logits with: InternVL's model does not."""
    scale = logit_scale(language.config.to_dict())
    if scale != 1.0:
        head = language.get_output_embeddings()
        head.weight = nn.Parameter(head.weight * scale, requires_grad=False)


@torch.no_grad()
def _resized(language: Any, tokenizer: Any, new: list[str]) -> int:
    """Give every token a row, those of `new` tokens the mean of the known ones; how many rows there are."""
    embedding, head = language.get_input_embeddings(), language.get_output_embeddings()
    new_ids = tokenizer.convert_tokens_to_ids(new)
    rows = max(len(embedding.weight), 1 + max(tokenizer.get_vocab().values()))
    known = sorted({i for i in tokenizer.get_vocab().values() if i < len(embedding.weight)} - set(new_ids))
    tied = head.weight is embedding.weight
    for layer in (embedding,) if tied else (embedding, head):
        weight = layer.weight
        mean = weight[known].float().mean(0).to(weight.dtype)
        whole = torch.cat([weight, mean.expand(rows - len(weight), -1)])
        whole[new_ids] = mean
        layer.weight = nn.Parameter(whole, requires_grad=False)
    embedding.num_embeddings = head.out_features = rows
    if tied:
        head.weight = embedding.weight
    return int(rows)


def _kept(base: Checkpoint) -> Iterator[tuple[str, torch.Tensor]]:
    """Vision tower and projector from BASE's files, by their names from `VISION` or `PROJECTOR` on.

    Older files have `vision_tower.…`, newer ones `model.vision_tower.…`.
    """
    for path in base.weight_files:
        try:
            with safe_open(path, "pt") as file:
                for name in file.keys():  # noqa: SIM118 - it is no dict
                    for part in (VISION, PROJECTOR):
                        if part in name:
                            yield name[name.index(part) :], file.get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{base.name}: {path} cannot be read: {first_line(error)}. Fetch it again.") from None


def _part(kept: Mapping[str, torch.Tensor], part: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(part): tensor for name, tensor in kept.items() if name.startswith(part)}


def _config(given: Given, language: Any, tokenizer: Any, rows: int, dtype: torch.dtype) -> Any:
    from transformers import InternVLConfig

    base = InternVLConfig.from_pretrained(given.base.folder)
    text = language.config.to_dict()
    for key in ("architectures", "auto_map", "transformers_version", "_name_or_path", "torch_dtype"):
        text.pop(key, None)
    tied = language.get_output_embeddings().weight is language.get_input_embeddings().weight
    text |= {"vocab_size": rows, "tie_word_embeddings": tied, "dtype": dtype}
    config = InternVLConfig(
        vision_config=base.vision_config.to_dict() | {"dtype": dtype},
        text_config=text,
        image_token_id=tokenizer.convert_tokens_to_ids(NAMED_TOKENS["context_image_token"]),
        image_seq_length=base.image_seq_length,
        downsample_ratio=base.downsample_ratio,
        projector_hidden_act=base.projector_hidden_act,
        vision_feature_layer=base.vision_feature_layer,
        vision_feature_select_strategy=base.vision_feature_select_strategy,
        tie_word_embeddings=tied,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config.dtype = dtype
    return config


def _new_projector(config: Any, seed: int) -> Any:
    """A projector with transformers' initial weights for this language model."""
    from transformers.models.internvl.modeling_internvl import InternVLMultiModalProjector

    projector = InternVLMultiModalProjector(config)
    generator = torch.Generator().manual_seed(seed)
    for layer in (projector.linear_1, projector.linear_2):
        nn.init.normal_(layer.weight, std=getattr(config.text_config, "initializer_range", 0.02), generator=generator)
        nn.init.zeros_(layer.bias)
    return projector


def _ends(end_of_turn_id: int, llm: LanguageModel) -> list[int]:
    """The template's end of turn, and what ended the language model's answers before."""
    said = llm.generation.get("eos_token_id", llm.config.get("eos_token_id"))
    own = said if isinstance(said, list) else [] if said is None else [said]
    return list(dict.fromkeys((end_of_turn_id, *own)))


def _origin(given: Given, chat: Chat, new: list[str], *, new_projector: bool) -> dict[str, Any]:
    from carscribe.engines.device import version_of

    return {
        "base": {"name": given.base.name, "revision": given.base.revision},
        "language_model": {"name": given.llm.name, "revision": given.llm.revision},
        "projector": "new" if new_projector else "kept",
        "template": chat.origin,
        "new_tokens": new,
        "versions": {name: version_of(name) for name in ("carscribe", "torch", "transformers")},
    }
