"""What answers prompts about photos.

One protocol. `local` runs a checkpoint with torch; tests have fakes. An engine gets tiles and prompts and gives
answers: it knows nothing of files, metadata, recipes or where answers are kept.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from carscribe.memory import BatchPlan
from carscribe.records import Answer, EngineCard, Prompt, Request, Tiling


class Engine(Protocol):
    """Answers batches of requests whose photos have the same number of tiles."""

    @property
    def card(self) -> EngineCard:
        """What answers: model, revision, device, dtype."""
        ...

    @property
    def tiling(self) -> Tiling:
        """How the model wants photos cut."""
        ...

    @property
    def reserved(self) -> frozenset[str]:
        """Texts that a prompt must not hold: the model's special tokens."""
        ...

    @property
    def peak_bytes(self) -> int | None:
        """The most memory taken so far, in bytes, on the device that answers; None where nobody counts."""
        ...

    def plan_batch(self, tiles: int, prompts: Sequence[Prompt]) -> BatchPlan:
        """How many photos of `tiles` tiles, asked `prompts` each, are expected to fit in one batch (at least 1)."""
        ...

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        """The answers to each request's prompts, in their order; open ones at the request's temperature.

        Raises: OutOfMemoryError, after which a smaller batch may be tried; NumericsError; EngineError.
        """
        ...

    def release(self) -> None:
        """Free what is kept between batches, after an OutOfMemoryError."""
        ...


class Work(Protocol):
    """A batch on its way through an engine, made ready: begun, run to its end, and read, in this order."""

    def begin(self) -> None:
        """Start what waits for nothing, where the device works by itself. Raises: as `Engine.answer`."""
        ...

    def run(self) -> None:
        """All that the device does for the batch; then another one may begin. Raises: as `Engine.answer`."""
        ...

    def answers(self) -> list[tuple[Answer, ...]]:
        """What `Engine.answer` returns."""
        ...


@runtime_checkable
class Overlapping(Protocol):
    """An engine whose device works on a batch that has begun while this process makes the next one ready."""

    @property
    def overlaps(self) -> bool:
        """Whether it does so here."""
        ...

    def work(self, requests: Sequence[Request]) -> Work:
        """A batch made ready. Of all batches at most one is between its beginning and the end of its run."""
        ...


def overlapping(engine: Engine) -> Overlapping | None:
    """The engine as one that overlaps; None where it does not."""
    return engine if isinstance(engine, Overlapping) and engine.overlaps else None
