"""How the text-to-image models of today read a caption: encoder, limit, and what stands around the text. Pure.

Limits, templates and what is dropped of them are those of the diffusers pipelines, version 0.42.1, by file and name:

- Qwen-Image: qwenimage/pipeline_qwenimage.py. `prompt_template_encode_start_idx` 34 drops the template up to the text,
  `tokenizer_max_length` 1024 is the most; what `__call__` keeps of it is `max_sequence_length`, 512 if not said.
- Z-Image: z_image/pipeline_z_image.py, `max_sequence_length` 512, `enable_thinking=True`; nothing is dropped.
- FLUX.2 dev: flux2/pipeline_flux2.py, `max_sequence_length` 512, and `SYSTEM_MESSAGE` of flux2/system_messages.py.
- FLUX.2 klein: flux2/pipeline_flux2_klein.py, `max_sequence_length` 512, `enable_thinking=False`.
- Sana: sana/pipeline_sana.py. `max_sequence_length` 300; of the instruction before the text the first and the last
  token stay (`num_chi_prompt_tokens + max_sequence_length - 2`, `select_index`); the text is put into lower case.
- Lumina-Image 2.0: lumina2/pipeline_lumina2.py, `max_sequence_length` 256, `system_prompt` and "<Prompt Start>".
- HiDream-I1: hidream_image/pipeline_hidream_image.py, `max_sequence_length` 128 for each of its four encoders.
- Wan: wan/pipeline_wan.py, `max_sequence_length` 512 of `__call__`.

The pipelines leave the turns of a chat to the tokenizer's own template. As text they stand in ComfyUI,
comfy/text_encoders/flux.py (`Flux2Tokenizer.llama_template`, `KleinTokenizer.llama_template`) and z_image.py.

What an encoder speaks is what its model card lists: Qwen2.5 ("Multilingual support"), and so Qwen3, which has more
(119, says its technical report); Mistral-Small-3.1 (`language`); umt5 (`language`, those of the others alone);
Llama 3.1 ("Supported languages", eight, none of them Korean); Gemma 2 ("available in English").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from carscribe.records import Language

QWEN_SPEAKS: frozenset[Language] = frozenset(
    {"ar", "de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "th", "vi", "zh"}
)
MISTRAL_SPEAKS: frozenset[Language] = (QWEN_SPEAKS - {"th"}) | {
    "bn", "fa", "hi", "id", "ms", "ne", "pl", "ro", "sr", "sv", "tr", "uk",
}  # fmt: skip
UMT5_SPEAKS: frozenset[Language] = (QWEN_SPEAKS | MISTRAL_SPEAKS) - {"id"}
LLAMA_SPEAKS: frozenset[Language] = frozenset({"de", "en", "es", "fr", "hi", "it", "pt", "th"})
GEMMA_SPEAKS: frozenset[Language] = frozenset({"en"})

_QWEN_USER = "<|im_start|>user\n"
_QWEN_ANSWER = "<|im_end|>\n<|im_start|>assistant\n"
_FLUX2_SYSTEM = (
    "You are an AI that reasons about image descriptions. You give structured responses focusing on object "
    "relationships, object\nattribution and actions without speculation."
)
_LUMINA2_SYSTEM = (
    "You are an assistant designed to generate superior images with the superior degree of image-text alignment based "
    "on textual prompts or user prompts."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A tokenizer.json on the Hugging Face hub."""

    repository: str
    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How one model reads a caption: `before`, the text and `after` go to the encoder, and `limit` tokens are kept.

    `kept` is how many tokens of `before` count against the limit; None: all. All of `after` count: were there no room
    for them, the text would end otherwise than the model has learned. `marks` are special tokens by which the encoder's
    tokenizer is known. `sources` are where its file is found, the one to fetch first.
    """

    name: str
    encoder: str
    limit: int
    before: str = ""
    after: str = ""
    kept: int | None = None
    marks: tuple[str, ...]
    speaks: frozenset[Language]
    lowers: bool = False
    sources: tuple[Source, ...]


_QWEN25_SOURCES = (
    Source(repository="Qwen/Qwen2.5-VL-7B-Instruct", file="tokenizer.json"),
    Source(repository="Qwen/Qwen-Image", file="tokenizer/tokenizer.json"),
)
_GEMMA2_SOURCE = Source(repository="google/gemma-2-2b-it", file="tokenizer.json")


def _qwen_image(name: str, limit: int) -> Reader:
    return Reader(
        name=name,
        encoder="Qwen2.5-VL",
        limit=limit,
        before=_QWEN_USER,
        after=_QWEN_ANSWER,
        kept=0,
        marks=("<|im_start|>", "<|im_end|>"),
        speaks=QWEN_SPEAKS,
        sources=_QWEN25_SOURCES,
    )


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        reader.name: reader
        for reader in (
            _qwen_image("qwen-image", 512),
            _qwen_image("qwen-image-1024", 1024),
            Reader(
                name="z-image",
                encoder="Qwen3",
                limit=512,
                before=_QWEN_USER,
                after=_QWEN_ANSWER,
                marks=("<|im_start|>", "<|im_end|>", "<think>"),
                speaks=QWEN_SPEAKS,
                sources=(
                    Source(repository="Tongyi-MAI/Z-Image-Turbo", file="tokenizer/tokenizer.json"),
                    Source(repository="Tongyi-MAI/Z-Image", file="tokenizer/tokenizer.json"),
                    Source(repository="Qwen/Qwen3-4B", file="tokenizer.json"),
                ),
            ),
            Reader(
                name="flux2-klein",
                encoder="Qwen3",
                limit=512,
                before=_QWEN_USER,
                after=f"{_QWEN_ANSWER}<think>\n\n</think>\n\n",
                marks=("<|im_start|>", "<|im_end|>", "<think>", "</think>"),
                speaks=QWEN_SPEAKS,
                sources=(
                    Source(repository="Qwen/Qwen3-4B", file="tokenizer.json"),
                    Source(repository="Qwen/Qwen3-8B", file="tokenizer.json"),
                    Source(repository="black-forest-labs/FLUX.2-klein-4B", file="tokenizer/tokenizer.json"),
                    Source(repository="black-forest-labs/FLUX.2-klein-9B", file="tokenizer/tokenizer.json"),
                ),
            ),
            Reader(
                name="flux2",
                encoder="Mistral-Small-3",
                limit=512,
                before=f"<s>[SYSTEM_PROMPT]{_FLUX2_SYSTEM}[/SYSTEM_PROMPT][INST]",
                after="[/INST]",
                marks=("<s>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]"),
                speaks=MISTRAL_SPEAKS,
                sources=(
                    Source(repository="black-forest-labs/FLUX.2-dev", file="tokenizer/tokenizer.json"),
                    Source(repository="mistralai/Mistral-Small-3.1-24B-Instruct-2503", file="tokenizer.json"),
                ),
            ),
            Reader(
                name="sana",
                encoder="Gemma 2",
                limit=300,
                before="<bos>User Prompt: ",
                kept=2,
                marks=("<bos>", "<start_of_turn>"),
                speaks=GEMMA_SPEAKS,
                lowers=True,
                sources=(
                    _GEMMA2_SOURCE,
                    Source(
                        repository="Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers",
                        file="tokenizer/tokenizer.json",
                    ),
                ),
            ),
            Reader(
                name="lumina2",
                encoder="Gemma 2",
                limit=256,
                before=f"<bos>{_LUMINA2_SYSTEM} <Prompt Start> ",
                marks=("<bos>", "<start_of_turn>"),
                speaks=GEMMA_SPEAKS,
                sources=(
                    Source(repository="Alpha-VLLM/Lumina-Image-2.0", file="tokenizer/tokenizer.json"),
                    _GEMMA2_SOURCE,
                ),
            ),
            Reader(
                name="hidream",
                encoder="Llama 3.1",
                limit=128,
                before="<|begin_of_text|>",
                marks=("<|begin_of_text|>", "<|eot_id|>"),
                speaks=LLAMA_SPEAKS,
                sources=(
                    Source(repository="meta-llama/Meta-Llama-3.1-8B-Instruct", file="tokenizer.json"),
                    Source(repository="meta-llama/Llama-3.1-8B-Instruct", file="tokenizer.json"),
                ),
            ),
            Reader(
                name="umt5-512",
                encoder="UMT5",
                limit=512,
                after="</s>",
                marks=("</s>",),
                speaks=UMT5_SPEAKS,
                sources=(
                    Source(repository="google/umt5-xxl", file="tokenizer.json"),
                    Source(repository="Wan-AI/Wan2.1-T2V-14B-Diffusers", file="tokenizer/tokenizer.json"),
                ),
            ),
        )
    }
)
"""Every reader by the name of its budget. Their tokenizers are large (Qwen2.5's: 11 MB) or gated: none is shipped."""
