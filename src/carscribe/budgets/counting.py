"""Budgets: how much of a description a text encoder takes in. Knows nothing of answers or phrases.

What lies past the limit is dropped by the encoder without a word. Each limit counts what its readers count:

- `clip`: all 77 positions of CLIP's text encoder, so 75 tokens and the two special ones. Source: `model_max_length` 77
  in the tokenizer_config.json of openai/clip-vit-large-patch14 and of every Stable Diffusion with a CLIP encoder.
- `clip-150`, `clip-225`: the tokens themselves, none special, as kohya's `--max_token_length 150` and `225` mean them.
  sd-scripts tokenizes with two more (152, 227), cuts what lies between every 75 tokens, wherever that is, and encodes
  each piece with its own two special tokens. Source: kohya-ss/sd-scripts, library/strategy_sd.py (`max_length + 2`)
  and library/strategy_base.py (`_get_input_ids`).
- `t5-128`, `t5-256`, `t5-512`: T5's tokens with the one `</s>` at the end. Source: `max_sequence_length` of the
  diffusers pipelines, 128 for HiDream-I1 and Bria 3.2, 256 for Stable Diffusion 3 and FLUX.1 schnell, 512 for FLUX.1
  dev; kohya's `--t5xxl_max_token_length`.
- The budgets of `readers`: what a model keeps of its template and the text together.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from carscribe.budgets.encoders import CLIP, T5, Encoder
from carscribe.budgets.readers import READERS, Reader
from carscribe.errors import InputError
from carscribe.records import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `limit` tokens of `encoder`, of which `specials` are not the text's own; no bounds without an encoder.

    `counts` says in words what the limit counts. Where a template stands around the text, the text is counted between
    `before` and `after`, which alone take `apart` tokens.
    """

    name: str
    counts: str
    limit: int | None = None
    specials: int = 0
    encoder: Encoder | None = None
    before: str = ""
    after: str = ""
    apart: int = 0

    def count(self, text: str) -> int | None:
        """Tokens of `text`, to be held against `limit`; None where nothing counts.

        >>> BUDGETS["clip"].count("compact SUV"), BUDGETS["clip-150"].count("compact SUV"), BUDGETS["none"].count("SUV")
        (4, 2, None)
        """
        if self.encoder is None:
            return None
        return self.encoder.count(f"{self.before}{text}{self.after}") - self.apart + self.specials

    def knows(self, language: Language) -> bool:
        """Whether a text in `language` says anything to the encoder.

        >>> BUDGETS["clip"].knows("en"), BUDGETS["clip"].knows("ko"), BUDGETS["none"].knows("ko")
        (True, False, True)
        """
        return self.encoder is None or language in self.encoder.speaks


BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {
        budget.name: budget
        for budget in (
            Budget(name="clip", limit=77, specials=2, encoder=CLIP, counts="its 2 special tokens included"),
            Budget(name="clip-150", limit=150, encoder=CLIP, counts="without special tokens"),
            Budget(name="clip-225", limit=225, encoder=CLIP, counts="without special tokens"),
            Budget(name="t5-128", limit=128, specials=1, encoder=T5, counts="its end token included"),
            Budget(name="t5-256", limit=256, specials=1, encoder=T5, counts="its end token included"),
            Budget(name="t5-512", limit=512, specials=1, encoder=T5, counts="its end token included"),
            Budget(name="none", counts="nothing is counted"),
        )
    }
)
"""The budgets that need no file, by name, an encoder's smallest first; `none` takes everything."""


def budget_of(name: str, tokenizer: Path | None = None) -> Budget:
    """The budget of that name, in any case: one of `BUDGETS`, a model's of `READERS`, or "FILE:LIMIT".

    `tokenizer` is the file, or folder, of a model's tokenizer; left out, it is looked for in the Hugging Face cache.
    FILE is the same of any other encoder; the budget is called after it, or after the folder, without its path.

    Raises:
        InputError: there is none, and it names the nearest and all; a tokenizer's file is missing, is not wanted or
            cannot be used.
    """
    known = name.strip().lower()
    if known in READERS:
        return _budget_of_reader(READERS[known], tokenizer)
    if known not in BUDGETS:
        budget = _budget_of_file(name.strip())
        if tokenizer is not None:
            raise InputError("FILE:LIMIT names its tokenizer itself: leave out --tokenizer.")
        return budget
    if tokenizer is not None:
        raise InputError(
            f"{known} needs no tokenizer file: leave out --tokenizer, or take a budget that does: "
            f"{', '.join(READERS)}, or FILE:LIMIT."
        )
    return BUDGETS[known]


def _budget_of_reader(reader: Reader, tokenizer: Path | None) -> Budget:
    from carscribe.budgets.tokenizer_files import encoder_for

    encoder = encoder_for(reader, tokenizer)
    before, after = encoder.count(reader.before), encoder.count(reader.after)
    kept = before if reader.kept is None else reader.kept
    return Budget(
        name=reader.name,
        limit=reader.limit,
        specials=kept + after,
        encoder=encoder,
        counts=f"{kept + after} of its template included",
        before=reader.before,
        after=reader.after,
        apart=before + after,
    )


def _budget_of_file(name: str) -> Budget:
    """Raises: InputError when `name` is not FILE:LIMIT, or the file cannot be used."""
    from carscribe.budgets.tokenizer_files import FILE, encoder_of_file

    file, _, limit = name.rpartition(":")
    if not file or not limit.isdecimal():
        if "/" in name or "\\" in name or name.endswith(".json"):
            raise InputError(f"{name} says no limit: write FILE:LIMIT, such as {FILE}:512.")
        raise InputError(_unknown(name))
    encoder, specials = encoder_of_file(Path(file))
    if int(limit) <= specials:
        raise InputError(f"{name} leaves no room: {specials} of the {int(limit)} tokens are special tokens.")
    path = Path(file).absolute()
    called = path.parent.name if path.name == FILE else path.name
    return Budget(
        name=f"{called}:{int(limit)}",
        limit=int(limit),
        specials=specials,
        encoder=encoder,
        counts=f"its {specials} special tokens included" if specials else "it adds no special tokens",
    )


def _unknown(name: str) -> str:
    every = (*BUDGETS, *READERS)
    near = difflib.get_close_matches(name.lower(), every, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    return f"There is no budget {name!r}.{guess} Known: {', '.join(every)}, and FILE:LIMIT with a tokenizer.json."
