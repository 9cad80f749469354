"""What goes into the catalogue and comes out of it, besides the records that all stages share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath

from carscribe.memory import held_of
from carscribe.records import Language, Prompt, Recipe

IMPORTED = "imported:"
"""What a condition's weights begin with where no model answered: captions that were there. Their origin follows."""

HELD_AS = " as "
"""Between weights and what they were quantised to, where the catalogue names both in one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """The part of an answer's identity that is neither photo nor prompt. `model` is its name, for people.

    `weights` is a hub commit or a hash of files, `held` the dtype they were quantised to or "", `adapter` a hash or "",
    `max_tiles` the largest grid asked for. `adapter_folder` is where the adapter lies.
    """

    weights: str
    model: str
    max_tiles: int
    held: str = ""
    adapter: str = ""
    decoding: str = "greedy"
    adapter_folder: str = ""

    @property
    def label(self) -> str:
        """What answers, for people: the model, the name of the training of an adapter, how it is quantised."""
        at = PurePath(self.adapter_folder)
        training = f" + {at.parent.name if at.name == 'adapter' else at.name}" if self.adapter_folder else ""
        return _as_held(self.model + training, self.held)

    @property
    def held_weights(self) -> str:
        """The weights and how they are held, as the catalogue keeps them.

        >>> Condition(weights="hub:0123", model="demo", max_tiles=12, held="int4").held_weights
        'hub:0123 as int4'
        """
        return _as_held(self.weights, self.held)


def weights_and_held(kept: str) -> tuple[str, str]:
    """`held_weights` taken apart.

    >>> weights_and_held("hub:0123 as int4"), weights_and_held("files:0123")
    (('hub:0123', 'int4'), ('files:0123', ''))
    """
    weights, _, held = kept.rpartition(HELD_AS)
    return (weights, held) if held_of(held) else (kept, "")


def _as_held(what: str, held: str) -> str:
    return f"{what}{HELD_AS}{held}" if held else what


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """How answers came about: kept and shown, no reason to ask again unless a user is strict."""

    dtype: str
    device: str
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PromptSet:
    """A recipe rendered in one language for some metadata. Photos with equal prompts share one set, and one object."""

    recipe: Recipe
    language: Language
    prompts: tuple[Prompt, ...]
