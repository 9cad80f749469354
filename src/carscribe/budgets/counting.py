"""Budgets: how much of a description a text encoder takes in. Knows nothing of answers or phrases.

What lies past the limit is dropped by the encoder without a word. Each limit counts what its readers count:

- `clip`: all 77 positions of CLIP's text encoder, so 75 tokens and the two special ones. Source: `model_max_length` 77
  in the tokenizer_config.json of openai/clip-vit-large-patch14 and of every Stable Diffusion with a CLIP encoder.
- `clip-150`, `clip-225`: the tokens themselves, none special, as kohya's `--max_token_length 150` and `225` mean them.
  sd-scripts tokenizes with two more (152, 227), cuts what lies between every 75 tokens, wherever that is, and encodes
  each piece with its own two special tokens. Source: kohya-ss/sd-scripts, library/strategy_sd.py (`max_length + 2`)
  and library/strategy_base.py (`_get_input_ids`).
- `t5-256`, `t5-512`: T5's tokens with the one `</s>` at the end. Source: `max_sequence_length` of the diffusers
  pipelines, 256 for Stable Diffusion 3 and FLUX.1 schnell, 512 for FLUX.1 dev; kohya's `--t5xxl_max_token_length`.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from carscribe.budgets.encoders import CLIP, T5, Encoder
from carscribe.errors import InputError
from carscribe.records import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most `limit` tokens of `encoder`, of which `specials` are its special tokens; no bounds without an encoder.

    `counts` says in words what the limit counts.
    """

    name: str
    counts: str
    limit: int | None = None
    specials: int = 0
    encoder: Encoder | None = None

    def count(self, text: str) -> int | None:
        """Tokens of `text`, to be held against `limit`; None where nothing counts.

        >>> BUDGETS["clip"].count("compact SUV"), BUDGETS["clip-150"].count("compact SUV"), BUDGETS["none"].count("SUV")
        (4, 2, None)
        """
        return None if self.encoder is None else self.encoder.count(text) + self.specials

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
            Budget(name="t5-256", limit=256, specials=1, encoder=T5, counts="its end token included"),
            Budget(name="t5-512", limit=512, specials=1, encoder=T5, counts="its end token included"),
            Budget(name="none", counts="nothing is counted"),
        )
    }
)
"""Every budget by its name, the smallest first; `none` takes everything."""


def budget_of(name: str) -> Budget:
    """The budget of that name, in any case.

    Raises:
        InputError: there is none; it names the nearest and all.
    """
    known = name.strip().lower()
    if known in BUDGETS:
        return BUDGETS[known]
    near = difflib.get_close_matches(known, BUDGETS, n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    raise InputError(f"There is no budget {name!r}.{guess} Known: {', '.join(BUDGETS)}.")
