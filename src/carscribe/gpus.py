"""What vendors' data sheets say of GPUs, found by the names that people and drivers give them.

Knows nothing of the GPU at hand, nor of models. The table is `gpus.toml`, which says what each figure is.
"""

import difflib
import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

from carscribe.errors import InputError

MIB = 2**20
DRIVER_BYTES = 512 * MIB
"""What the driver may keep of a GPU that nobody uses: a round figure, not measured."""

NOISE = frozenset(
    {"nvidia", "amd", "geforce", "tesla", "quadro", "instinct", "gpu", "graphics", "generation", "edition", "card"}
    | {"gb", "gib"}
)
"""Words that tell no GPU from another."""

MEMORY_KINDS = re.compile(r"hbm2e?")
PARTS = re.compile(r"(rtx|sxm|pcie|nvl|ada|pro|gib|gb)")
"""Words that people write together with what stands beside them: "h100sxm", "rtx4090", "80gb"."""


NAMES_SHOWN = 6
"""GPUs that an error lists."""


BFLOAT16_FROM, FP8_FROM = (8, 0), (8, 9)
"""The oldest compute capabilities of NVIDIA's that compute in bfloat16, and that multiply in 8-bit floats (Ada)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSheet:
    """One GPU as its vendor describes it. `matrix_tflops` are dense, of 16-bit floats; `also` are words of its names.

    `bfloat16` and `fp8` are whether it computes in them. `memory_mib` is what the driver shows, `memory_gb` what it is
    sold as. `source` is where the figures are from.
    """

    name: str
    memory_gb: int
    memory_mib: int
    bandwidth_gb_per_s: float
    matrix_tflops: float
    bfloat16: bool
    fp8: bool
    source: str
    also: tuple[str, ...] = ()
    remark: str = ""

    @property
    def memory_bytes(self) -> int:
        """All of its memory, as the driver shows it."""
        return self.memory_mib * MIB

    @property
    def own_words(self) -> frozenset[str]:
        """The words of its name."""
        return words_of(self.name)

    @property
    def words(self) -> frozenset[str]:
        """All words that a name of it may hold."""
        return self.own_words | {*self.also, str(self.memory_gb)}


@cache
def data_sheets() -> tuple[DataSheet, ...]:
    """All GPUs of the table, smallest memory first."""
    text = (resources.files("carscribe") / "gpus.toml").read_text(encoding="utf-8")
    return tuple(DataSheet(**{**table, "also": tuple(table.get("also", ()))}) for table in tomllib.loads(text)["gpus"])


def words_of(name: str) -> frozenset[str]:
    """The words of a GPU's name that tell it from others, in lower case.

    >>> sorted(words_of("NVIDIA A100-SXM4-80GB")), sorted(words_of("h100sxm")), sorted(words_of("RTX A6000"))
    (['80', 'a100', 'sxm'], ['h100', 'sxm'], ['a6000', 'rtx'])
    """
    plain = re.sub(r"sxm\d", "sxm", MEMORY_KINDS.sub(" ", name.lower()))
    return frozenset(re.findall(r"[a-z0-9]+", PARTS.sub(r" \1 ", plain))) - NOISE


def matching(name: str) -> tuple[DataSheet, ...]:
    """The GPUs that `name` may mean; one alone when it says all words of that one's name and of no other's."""
    asked = words_of(name)
    found = tuple(sheet for sheet in data_sheets() if asked and asked <= sheet.words)
    said = [sheet for sheet in found if sheet.own_words <= asked]
    return tuple(said) if len(said) == 1 else found


def find_gpu(name: str) -> DataSheet:
    """The GPU that a person means by `name`, such as "rtx 4090", "4090", "a100-80gb" or "NVIDIA H100 80GB HBM3".

    Raises: InputError when the table has none or several of that name; it lists those that come near.
    """
    found = matching(name)
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{name!r} may be {_either(found)}. Name one of them.")
    near = _near(name)
    advice = f"Near it: {', '.join(near)}." if near else "`carscribe plan --gpu list` shows all."
    raise InputError(f"No GPU {name!r} in the table. {advice}")


def _either(found: tuple[DataSheet, ...]) -> str:
    names = [sheet.name for sheet in found]
    more = f"one of {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else names.pop()
    return f"{', '.join(names[:NAMES_SHOWN])} or {more}"


def _near(name: str) -> list[str]:
    """Names of GPUs that share a word with `name`, else that are spelt like it."""
    asked = words_of(name) - {"rtx"}
    sharing = [sheet.name for sheet in data_sheets() if asked & sheet.own_words]
    spelt = {sheet.name.lower(): sheet.name for sheet in data_sheets()}
    spelt |= {
        word: sheet.name for sheet in data_sheets() for word in sheet.own_words if len(word) > 2 and word != "rtx"
    }
    alike = [spelt[match] for word in (name.lower(), *asked) for match in difflib.get_close_matches(word, spelt, n=4)]
    return list(dict.fromkeys([*sharing, *alike]))[:NAMES_SHOWN]
