"""A language model held against InternVL3's: from configs and tokenizers alone, no weights, no torch."""

from dataclasses import dataclass, replace
from importlib.resources import files

from carscribe.backbone import rules
from carscribe.backbone.findings import Chat, Check, Finding, Packing, Status
from carscribe.backbone.language_model import LanguageModel, Words, template_of
from carscribe.backbone.templates import (
    IMAGE_END,
    IMAGE_START,
    IMAGE_TOKEN,
    QUESTION,
    TemplateFailedError,
    after_answer,
    asked,
    has_date,
    with_image,
)
from carscribe.engines.checkpoint import Checkpoint, first_line
from carscribe.engines.choosing import TYPICAL_ROW
from carscribe.engines.new_checkpoint import CHAT_TEMPLATE
from carscribe.errors import CheckpointError
from carscribe.memory import GIB, ON_GPU, RUNTIME_BYTES, USED_SHARE, ModelShape, batch_bytes, shape_of, weight_bytes

IMAGE_TOKENS = (IMAGE_START, IMAGE_END, IMAGE_TOKEN)
CHATML_TOKENS = ("<|im_start|>", "<|im_end|>")
LANGUAGES = ("ko", "en")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The two models, of which only the small files need be here."""

    base: Checkpoint
    llm: LanguageModel


def check_backbone(given: Given) -> Check:
    """All findings. Raises: CheckpointError when files hold what nobody expects; MissingExtraError without jinja2."""
    try:
        return _checked(given)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"{given.llm.name} or {given.base.name}: its configuration or tokenizer files hold something unexpected "
            f"({type(error).__name__}: {first_line(error)}). Fetch it again, or pick another."
        ) from error


def _checked(given: Given) -> Check:
    base, llm = given.base, given.llm
    text, config = base.config.get("text_config") or {}, llm.config
    most_tiles = base.tiling.max_tiles + (base.tiling.max_tiles > 1)
    findings = [
        rules.architecture(text, config),
        rules.width(text, config),
        rules.positions(text, config),
        rules.context(text, config, tile_tokens=base.image_tokens, most_tiles=most_tiles),
        rules.attention(config),
    ]
    own = Words(base.name, base.folder)
    words: Words | None = None
    chat: Chat | None = None
    try:
        words = Words(llm.name, llm.folder)
    except CheckpointError as error:
        findings.append(_no_words(own, str(error)))
    else:
        chat, of_template = _chat(llm, words)
        findings += [_vocabulary(own, words, config), _image_tokens(words), _end_of_turn(own, words, chat), of_template]
    findings += [
        rules.output_layer(bool(base.config.get("tie_word_embeddings", True)), config),
        rules.dtype(_dtype(base), config),
        _memory(given, most_tiles),
    ]
    return Check(
        base=base.name,
        llm=llm.name,
        findings=tuple(findings),
        packing=tuple(_packing(language, own, words) for language in LANGUAGES),
        chat=chat,
        same_family=words is not None and rules.is_sibling(text, config) and _shares(own, words) == 1.0,
    )


def swapped_shape(given: Given) -> ModelShape:
    """The sizes of the checkpoint that a swap would write. Raises: KeyError when a config lacks one."""
    base, llm = given.base.config, given.llm.config
    text = {**llm, "num_key_value_heads": rules.kv_heads(llm)}
    return shape_of({**base, "text_config": text, "tie_word_embeddings": rules.is_tied(llm)})


def swapped_bytes(given: Given) -> int:
    """How large the checkpoint will be on disk, about; 0 where a config lacks a size, so that nobody can tell."""
    dtype = _dtype(given.base)
    try:
        return weight_bytes(swapped_shape(given), dtype if dtype in ("float32", "float16") else "bfloat16")
    except KeyError:
        return 0


def sample(language: str) -> str:
    """The shipped paragraph of design prose in a language of `LANGUAGES`, about 500 characters."""
    return (files("carscribe.backbone") / "samples" / f"{language}.txt").read_text(encoding="utf-8").strip()


def _chat(llm: LanguageModel, words: Words) -> tuple[Chat, Finding]:
    """The language model's own template with an image part, or ChatML where that does not do."""
    own = template_of(llm, words)
    base_says = "ChatML with an image part"
    reason = "it has none"
    if own is not None:
        for template in (own, with_image(own)):
            try:
                chat, reason = _own_chat(template, words), ""
            except _UnfitError as unfit:
                reason = str(unfit)
                continue
            says = "kept as it is" if template is own else _done_to(own)
            llm_says = "its own, with images" if template is own else "its own, for text"
            status: Status = "fine" if template is own else "work"
            return chat, Finding(topic="chat template", base=base_says, llm=llm_says, status=status, says=says)
    chat = Chat(template=CHAT_TEMPLATE, origin="chatml", tokens=CHATML_TOKENS, end_of_turn=CHATML_TOKENS[1])
    return chat, Finding(
        topic="chat template",
        base=base_says,
        llm="none" if own is None else "one that does not do",
        status="work",
        says=f"{reason}: swap writes ChatML, which fine-tuning has to teach",
    )


class _UnfitError(Exception):
    """Why a template does not do."""


def _own_chat(template: str, words: Words) -> Chat:
    """How a template talks about a photo. Raises: _UnfitError."""
    try:
        prompt, tail = asked(template, words.roles), after_answer(template, words.roles)
    except TemplateFailedError as failure:
        raise _UnfitError(f"it does not render ({failure})") from None
    if prompt.count(IMAGE_TOKEN) != 1 or QUESTION not in prompt.partition(IMAGE_TOKEN)[2]:
        raise _UnfitError("it loses the photo or the question")
    ids = words.ids(tail) if tail else []
    end = next((token for token, i in words.vocabulary.items() if ids and i == ids[0]), None)
    if end is None or end not in words.special:
        raise _UnfitError("it ends no turn of the assistant with a special token")
    return Chat(template=template, origin="own", tokens=(), end_of_turn=end)


def _done_to(template: str) -> str:
    done = ["swap adds the image part"]
    if "enable_thinking" in template:
        done.append("turns thinking off")
    if has_date(template):
        done.append("fixes the date that it would write into every prompt")
    return ", ".join(done)


def _no_words(own: Words, reason: str) -> Finding:
    return Finding(
        topic="vocabulary", base=f"{len(own.vocabulary):,} tokens", llm="unknown", status="impossible", says=reason
    )


def _vocabulary(own: Words, words: Words, config: rules.Config) -> Finding:
    rows, tokens = config.get("vocab_size"), len(words.vocabulary)
    shared = _shares(own, words)
    says = "the same tokens" if shared == 1.0 else f"{shared:.0%} of its tokens are BASE's too"
    if not isinstance(rows, int):
        return Finding(
            topic="vocabulary",
            base=f"{len(own.vocabulary):,} tokens",
            llm=f"{tokens:,} tokens",
            status="impossible",
            says="its config.json names no vocab_size",
        )
    return Finding(
        topic="vocabulary",
        base=f"{len(own.vocabulary):,} tokens",
        llm=f"{tokens:,} tokens, {rows:,} rows",
        status="fine",
        says=says,
    )


def _shares(own: Words, words: Words) -> float:
    """The share of a tokenizer's plain tokens that BASE's has; 1 only where both have the same under the same ids."""
    base, plain = (
        {token: i for token, i in each.vocabulary.items() if token not in each.special} for each in (own, words)
    )
    return 1.0 if base == plain else min(0.999, sum(token in base for token in plain) / max(1, len(plain)))


def _image_tokens(words: Words) -> Finding:
    missing = [token for token in IMAGE_TOKENS if token not in words.special]
    return Finding(
        topic="image tokens",
        base=" ".join(IMAGE_TOKENS),
        llm=" ".join(token for token in IMAGE_TOKENS if token not in missing) or "none",
        status="work" if missing else "fine",
        says=f"swap adds {' '.join(missing)}, their rows at the mean" if missing else "",
    )


def _end_of_turn(own: Words, words: Words, chat: Chat) -> Finding:
    ended = own.roles.get("eos_token") or "not said"
    if chat.origin == "own" and chat.end_of_turn in words.vocabulary:
        return Finding(
            topic="end of turn",
            base=ended,
            llm=f"{chat.end_of_turn} ({words.vocabulary[chat.end_of_turn]})",
            status="fine",
            says="" if chat.end_of_turn == ended else "swap names it in generation_config.json",
        )
    known = chat.end_of_turn in words.special
    return Finding(
        topic="end of turn",
        base=ended,
        llm=chat.end_of_turn if known else "none",
        status="work",
        says="swap names it" if known else f"swap adds {chat.end_of_turn}, which fine-tuning has to teach",
    )


def _memory(given: Given, most_tiles: int) -> Finding:
    try:
        base = _needs(shape_of(given.base.config), most_tiles)
        llm = _needs(swapped_shape(given), most_tiles)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        return Finding(topic="memory", base="", llm="", status="work", says=f"cannot be told: {error} is not said")
    return Finding(
        topic="memory", base=base, llm=llm, status="fine", says=f"in bfloat16, a photo of {most_tiles} tiles"
    )


def _needs(shape: ModelShape, tiles: int) -> str:
    """Bytes of the weights, and of all that one photo takes."""
    weights = weight_bytes(shape, "bfloat16")
    photo = batch_bytes(shape, replace(TYPICAL_ROW, tiles=tiles), "bfloat16", ON_GPU, photos=1).total
    return f"{weights / GIB:.1f} GiB, with a photo {(RUNTIME_BYTES + weights + photo / USED_SHARE) / GIB:.1f}"


def _packing(language: str, own: Words, words: Words | None) -> Packing:
    text = sample(language)
    return Packing(
        language=language,
        base=own.tokens_per_100_characters(text),
        llm=None if words is None else words.tokens_per_100_characters(text),
    )


def _dtype(base: Checkpoint) -> str:
    return str(base.config.get("dtype") or base.config.get("torch_dtype") or "not said")
