"""Counts tokens as text encoders do. Knows nothing of limits or of what a text is for.

The vocabularies are two published files, byte for byte, compressed with gzip; each has its notice beside it.

- `clip_merges.txt.gz`: merges.txt of openai/clip-vit-large-patch14 (MIT). OpenCLIP's encoders of Stable Diffusion 2 and
  XL have the same vocabulary. The merges are all there is to it: 256 bytes, the same at the end of a word, one entry a
  merge, two special tokens are the 49,408 entries of vocab.json.
- `t5_spiece.model.gz`: spiece.model of google/t5-v1_1-xxl (Apache-2.0), the T5 of Stable Diffusion 3 and FLUX.

Around them the rules are those of `CLIPTokenizer` and `T5Tokenizer` in transformers 5.17, and so are the counts.
"""

import gzip
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from carscribe.records import Language

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_WORDS_REMEMBERED = 1 << 16
_CLIP_MARKS = ("<|startoftext|>", "<|endoftext|>")
_CLIP_WORD = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_T5_SENTINELS = tuple(f"<extra_id_{i}>" for i in reversed(range(100)))
_T5_MARKS = ("<pad>", "</s>", "<unk>")


SAMPLES: Mapping[Language, str] = MappingProxyType(
    {
        "en": "a low and wide stance, slim headlamps, sculpted wheel arches, a floating roof",
        "ko": "낮고 넓은 스탠스, 슬림한 헤드램프, 조각 같은 휠 아치, 플로팅 루프",
    }
)
"""The same said in each language, to see what a language costs an encoder."""


class Encoder(Protocol):
    """What a budget needs to know of a text encoder."""

    @property
    def speaks(self) -> frozenset[Language]:
        """The languages it was trained on."""
        ...

    def count(self, text: str) -> int:
        """Tokens of `text`, without the special tokens that every text gets.

        A literal special token in `text` counts as the encoder takes it: as one. A lone surrogate, which no tokenizer
        takes, counts as U+FFFD.
        """
        ...

    def count_words(self, line: str) -> int:
        """The same count for words with single spaces between them, put together from words seen before.

        For trying things out: where an encoder's words depend on each other it may differ from `count`, which decides.
        """
        ...

    def count_unknown(self, text: str) -> int:
        """How many of the tokens stand for something that the vocabulary has not: of those nothing is read."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TokenizerEncoder:
    """An encoder whose tokenizer the `tokenizers` library runs. `load` is called when something is first counted.

    `lowers` says that the text is put into lower case first; `by_words` that a line's tokens are those of its words,
    each with the space before it.
    """

    speaks: frozenset[Language]
    load: Callable[[], "Tokenizer"]
    unknown_id: int | None = None
    lowers: bool = False
    by_words: bool = True
    _word_tokens: Callable[[str], int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_word_tokens", lru_cache(maxsize=_WORDS_REMEMBERED)(self.count))

    def count(self, text: str) -> int:
        """See `Encoder.count`."""
        return len(self._ids(text))

    def count_words(self, line: str) -> int:
        """See `Encoder.count_words`. CLIP and T5 both cut at white space before anything else, so it is exact."""
        if not self.by_words:
            return self.count(line)
        first, *others = line.split(" ")
        return self._word_tokens(first) + sum(self._word_tokens(f" {word}") for word in others)

    def count_unknown(self, text: str) -> int:
        """See `Encoder.count_unknown`."""
        return sum(number == self.unknown_id for number in self._ids(text))

    def _ids(self, text: str) -> list[int]:
        readable = _without_lone_surrogates(text.lower() if self.lowers else text)
        ids: list[int] = self.load().encode(readable, add_special_tokens=False).ids
        return ids


def tokens_per_character(encoder: Encoder, text: str) -> float:
    """What a text costs, white space not counted as characters.

    >>> round(tokens_per_character(CLIP, SAMPLES["ko"]), 1), round(tokens_per_character(CLIP, SAMPLES["en"]), 1)
    (2.0, 0.3)
    """
    return encoder.count(text) / len("".join(text.split()))


@cache
def clip_tokenizer() -> "Tokenizer":
    """CLIP's tokenizer: NFC, lower case, byte-level pairs; the two special tokens of a text come with `encode`."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    merges = clip_merges()
    start, end = _CLIP_MARKS
    vocabulary = {entry: i for i, entry in enumerate(clip_entries(merges))}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>", unk_token=end))
    spaces = normalizers.Replace(Regex(r"\s+"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), spaces, normalizers.Lowercase()])
    words = pre_tokenizers.Split(Regex(_CLIP_WORD), behavior="removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.post_processor = processors.RobertaProcessing(
        (end, vocabulary[end]), (start, vocabulary[start]), trim_offsets=False, add_prefix_space=False
    )
    # As the published tokenizer_config.json says: the start token is found in lower-cased text, the end token before.
    tokenizer.add_special_tokens([AddedToken(start, normalized=True), AddedToken(end, normalized=False)])
    return tokenizer


@cache
def t5_tokenizer() -> "Tokenizer":
    """T5's tokenizer: NFKC by SentencePiece's own table, pieces by their scores; `</s>` comes with `encode`."""
    from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors

    pieces, characters = sentencepiece(_unpacked("t5_spiece.model.gz"))
    tokenizer = Tokenizer(models.Unigram([*pieces, *((mark, 0.0) for mark in _T5_SENTINELS)], unk_id=2))
    tokenizer.normalizer = normalizers.Precompiled(characters)
    marked = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), marked])
    tokenizer.post_processor = processors.TemplateProcessing("$A </s>", None, [("</s>", 1)])
    tokenizer.add_special_tokens([AddedToken(mark, normalized=False) for mark in (*_T5_MARKS, *_T5_SENTINELS)])
    return tokenizer


def clip_merges() -> list[tuple[str, str]]:
    """CLIP's 48,894 merges, the most frequent first."""
    lines = _unpacked("clip_merges.txt.gz").decode("utf-8").splitlines()[1:]  # the first line is a version
    return [(left, right) for left, right in (line.split(" ") for line in lines)]


def clip_entries(merges: list[tuple[str, str]]) -> list[str]:
    """The 49,408 entries of CLIP's vocabulary in the order of their ids.

    Bytes that print come first, by their value, as themselves; then those that do not, as U+0100 and on.
    """
    printed = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [chr(byte) for byte in printed] + [chr(256 + i) for i in range(256 - len(printed))]
    return [*letters, *(f"{letter}</w>" for letter in letters), *(left + right for left, right in merges), *_CLIP_MARKS]


def _without_lone_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _unpacked(name: str) -> bytes:
    return gzip.decompress((resources.files("carscribe.budgets") / "vocabulary" / name).read_bytes())


def sentencepiece(model: bytes) -> tuple[list[tuple[str, float]], bytes]:
    """Pieces with their scores, and the table of characters, of a SentencePiece model.

    Source: sentencepiece_model.proto. In ModelProto 1 is a piece (1 its text, 2 its score) and 3 the normalizer (2 its
    table); a protocol buffer's own rules are all that is needed to read these four fields.
    """
    pieces: list[tuple[str, float]] = []
    characters = b""
    for number, value in _fields(model):
        if number == 1:
            piece = dict(_fields(value))
            pieces.append((piece[1].decode("utf-8"), struct.unpack("<f", piece[2])[0]))
        elif number == 3:
            characters = dict(_fields(value))[2]
    return pieces, characters


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each field of a protocol buffer; a number inside a field stays undecoded and is empty."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        kind = key & 7
        if kind == 0:
            size, (_, at) = 0, _varint(message, at)
        elif kind == 2:
            size, at = _varint(message, at)
        else:
            size = 4 if kind == 5 else 8
        yield key >> 3, message[at : at + size]
        at += size


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, seven bits a byte, low ones first, and where the next thing is."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


CLIP = TokenizerEncoder(speaks=frozenset({"en"}), load=clip_tokenizer)
T5 = TokenizerEncoder(speaks=frozenset({"en"}), load=t5_tokenizer, unknown_id=2)
