"""A check and a swap from beginning to end: from two names to findings, or to a folder."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from carscribe.backbone.checking import Given, check_backbone, swapped_bytes
from carscribe.backbone.findings import Check
from carscribe.backbone.language_model import fetch_language_weights, open_base, open_language_model
from carscribe.backbone.room import refuse_target
from carscribe.engines.checkpoint import fetch_weights
from carscribe.engines.choosing import NEEDED
from carscribe.engines.hub import Hub, Progress, unseen
from carscribe.errors import CheckpointError, MissingExtraError

if TYPE_CHECKING:
    from carscribe.backbone.swapping import Say, Swapped


def open_both(
    base: str, llm: str, *, revision: str | None = None, llm_revision: str | None = None, hub: Hub | None = None
) -> Given:
    """The two models by hub ids or folders; only their small files are fetched. Raises: CheckpointError."""
    opened = open_base(base, revision=revision, hub=hub)
    return Given(base=opened, llm=open_language_model(llm, revision=llm_revision, hub=hub))


def swap_backbone(
    given: Given,
    to: Path,
    *,
    seed: int = 0,
    say: "Say" = lambda _: None,
    progress: Progress = unseen,
    hub: Hub | None = None,
) -> tuple[Check, "Swapped"]:
    """Check, fetch what is missing of the weights, and write the checkpoint to the new folder `to`.

    Raises: CheckpointError when the language model cannot take the place; OutputError for `to`; MissingExtraError.
    """
    if not all(map(find_spec, NEEDED)):
        raise MissingExtraError("Swapping a language model", extra="local")
    check = check_backbone(given)
    if check.verdict == "cannot" or check.chat is None:
        raise CheckpointError(
            f"{given.llm.name} cannot take the place of {given.base.name}'s language model. {check.line.rstrip('.')}. "
            f"All of it: carscribe backbone check {given.base.name} {given.llm.name}"
        )
    refuse_target(to, swapped_bytes(given))
    base = fetch_weights(given.base, progress, hub=hub)
    if not base.has_weights:
        raise CheckpointError(f"{base.name} has no weights as safetensors in {base.folder}. Fetch or copy it again.")
    fetch_language_weights(given.llm, progress, hub=hub)
    from carscribe.backbone.swapping import write_swapped

    return check, write_swapped(given, check.chat, to, seed=seed, say=say)
