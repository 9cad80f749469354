"""Encoders counted with a tokenizer.json: the file that was named, or what is in the Hugging Face cache already.

Nothing is fetched and nothing guessed: a count that is too low would lose the end of a description without a word, and
the bound that holds for byte-level vocabularies, a token a byte, would leave an English text a quarter of its room.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from carscribe.budgets.encoders import SAMPLES, TokenizerEncoder, tokens_per_character
from carscribe.budgets.readers import UMT5_SPEAKS, Reader
from carscribe.errors import InputError
from carscribe.records import Language

if TYPE_CHECKING:
    from tokenizers import Tokenizer

FILE = "tokenizer.json"
SPELLED_IN_BYTES = 1.5
"""Tokens a Hangul character from which on a vocabulary hardly has Korean: CLIP's takes 2.0, Qwen2.5's 1.3."""


def encoder_for(reader: Reader, named: Path | None = None) -> TokenizerEncoder:
    """The encoder of a model, by the file that was `named`, a tokenizer.json or a folder with one; else by the cache's.

    Raises:
        InputError: there is no file, it cannot be read, or is another encoder's.
    """
    path = tokenizer_file(named) if named else cached_file(reader)
    if path is None:
        raise InputError(_what_to_fetch(reader))
    tokenizer = load_tokenizer(path)
    missing = [mark for mark in reader.marks if tokenizer.token_to_id(mark) is None]
    encoder = replace(_encoder(tokenizer, speaks=reader.speaks), lowers=reader.lowers)
    if missing:
        raise InputError(f"{path} is not the tokenizer of {reader.encoder}: it has no {missing[0]}. {_fetch(reader)}")
    if "ko" in reader.speaks and encoder.count_unknown(SAMPLES["ko"]):
        raise InputError(f"{path} is not the tokenizer of {reader.encoder}: it has no Hangul. {_fetch(reader)}")
    return encoder


def encoder_of_file(named: Path) -> tuple[TokenizerEncoder, int]:
    """An encoder of which nothing is known but its file, and how many special tokens that adds to every text.

    It is taken to speak whatever its vocabulary has room for.

    Raises:
        InputError: there is no such file, or it cannot be read.
    """
    tokenizer = load_tokenizer(tokenizer_file(named))
    encoder = _encoder(tokenizer, speaks=UMT5_SPEAKS)
    if encoder.count_unknown(SAMPLES["ko"]) or tokens_per_character(encoder, SAMPLES["ko"]) >= SPELLED_IN_BYTES:
        encoder = replace(encoder, speaks=encoder.speaks - {"ko"})
    return encoder, tokenizer.num_special_tokens_to_add(is_pair=False)


def tokenizer_file(named: Path) -> Path:
    """The tokenizer.json that was named: by itself, by its folder, or by the folder of a whole model.

    Raises:
        InputError: it is not there.
    """
    try:
        named = named.expanduser()
        if named.is_file():
            return named
        folder = named.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder that is closed, a ~ of nobody
        raise InputError(f"{named} cannot be looked at ({error}). Name a {FILE}, or a folder that holds one.") from None
    if not folder:
        raise InputError(f"There is no {named}. Name a {FILE}, or a folder that holds one.")
    for path in (named / FILE, named / "tokenizer" / FILE):
        if path.is_file():
            return path
    raise InputError(
        f"{named} holds no {FILE}. Where a tokenizer is in older files (vocab.json, tokenizer.model), transformers "
        f"writes one: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(NEW_FOLDER)."
    )


def cached_file(reader: Reader) -> Path | None:
    """Where the Hugging Face cache has the reader's tokenizer; None where it has not. The hub is not asked."""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:  # counting needs no hub, and those who have a cache have the library
        return None
    for source in reader.sources:
        found = try_to_load_from_cache(source.repository, source.file)
        if isinstance(found, str):
            return Path(found)
    return None


def load_tokenizer(path: Path) -> "Tokenizer":
    """The tokenizer of a file, which counts whole texts: what the file says of cutting and padding is switched off.

    Raises:
        InputError: the file is no tokenizer.json.
    """
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - tokenizers raises nothing narrower
        raise InputError(f"{path} is no {FILE} that can be read ({error}). Fetch it again, or name another.") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _encoder(tokenizer: "Tokenizer", *, speaks: frozenset[Language]) -> TokenizerEncoder:
    encoder = TokenizerEncoder(speaks=speaks, load=lambda: tokenizer, unknown_id=_unknown_id(tokenizer))
    exact = all(encoder.count_words(sample) == encoder.count(sample) for sample in SAMPLES.values())
    return encoder if exact else replace(encoder, by_words=False)


def _unknown_id(tokenizer: "Tokenizer") -> int | None:
    """What stands for a character that the vocabulary has not; None where there is no such token.

    A character of no script asks for it, since Unigram models do not say which it is.
    """
    named = getattr(tokenizer.model, "unk_token", None)
    if named:
        number: int | None = tokenizer.token_to_id(named)
        return number
    marks = {name: tokenizer.token_to_id(name) for name in ("<unk>", "[UNK]")}
    ids = set(tokenizer.encode("\U0010fffd", add_special_tokens=False).ids)
    return next((number for number in marks.values() if number in ids), None)


def _what_to_fetch(reader: Reader) -> str:
    return (
        f"{reader.name} is counted with {reader.encoder}'s own tokenizer, which is not in the Hugging Face cache. "
        f"{_fetch(reader)}"
    )


def _fetch(reader: Reader) -> str:
    first = reader.sources[0]
    others = "".join(f", or {source.file} of {source.repository}" for source in reader.sources[1:2])
    return (
        f"Fetch it: hf download {first.repository} {first.file}{others}. It is found there; or name the file with "
        f"--tokenizer FILE."
    )
