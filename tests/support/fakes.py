"""An engine without a model: what it answers tells what it was asked, and its memory is a number."""

import hashlib
from collections.abc import Sequence

from carscribe.errors import EngineError, OutOfMemoryError
from carscribe.memory import BatchPlan
from carscribe.records import Answer, EngineCard, Prompt, Request, Tiling


class FakeEngine:
    """Answers with a digest of the tiles and the prompt's own text; runs out of memory past `capacity` tiles."""

    def __init__(self, *, limit: int = 4, capacity: int = 10**9, tiling: Tiling | None = None) -> None:
        self.limit = limit
        self.capacity = capacity
        self.batches: list[tuple[int, int]] = []
        """(photos, tiles each) of every batch that was tried."""
        self.failed: list[tuple[int, int]] = []
        self.released = 0
        self.prompts = 0
        """How many prompts were answered."""
        self._tiling = tiling or Tiling(tile_px=28)

    card = EngineCard(model="fake", revision=None, device="cpu", dtype="float32", weights="fake")
    reserved = frozenset({"<|im_end|>"})

    @property
    def tiling(self) -> Tiling:
        return self._tiling

    peak_bytes = None

    def plan_batch(self, tiles: int, prompts: Sequence[Prompt]) -> BatchPlan:
        return BatchPlan(photos=self.limit, tiles=tiles, weight_bytes=0, batch_bytes=0, free_bytes=0)

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        tiles = {len(request.tiles) for request in requests}
        assert len(tiles) == 1, "photos of one batch have the same tile count"
        size = (len(requests), tiles.pop())
        self.batches.append(size)
        if size[0] * size[1] > self.capacity:
            self.failed.append(size)
            raise OutOfMemoryError(f"{size[0]} photos of {size[1]} tiles do not fit.")
        self.prompts += sum(len(request.prompts) for request in requests)
        return [tuple(_answer(request, prompt) for prompt in request.prompts) for request in requests]

    def release(self) -> None:
        self.released += 1


class OverlappingEngine(FakeEngine):
    """A fake whose device works by itself. `events` tells in which order batches went where.

    Memory runs out where `at` says: at a batch's beginning, or in its run. `broken` is the photo (its first pixel)
    whose batch fails with an EngineError, there or when it is made ready.
    """

    overlaps = True

    def __init__(self, *, limit: int = 4, capacity: int = 10**9, at: str = "run", broken: int = -1) -> None:
        super().__init__(limit=limit, capacity=capacity)
        self.at, self.broken = at, broken
        self.events: list[str] = []
        self.busy = False

    def work(self, requests: Sequence[Request]) -> "FakeWork":
        work = FakeWork(self, requests)
        work.step("ready")
        return work

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        assert not self.busy, "the device is at work on another batch"
        return super().answer(requests)


class FakeWork:
    """A batch on its way through an `OverlappingEngine`."""

    def __init__(self, engine: OverlappingEngine, requests: Sequence[Request]) -> None:
        self.engine, self.requests = engine, requests
        self.name = str(requests[0].tiles.flat[0])

    def step(self, name: str) -> None:
        self.engine.events.append(f"{name} {self.name}")
        if name == self.engine.at and self.engine.broken in {int(request.tiles.flat[0]) for request in self.requests}:
            self.engine.busy &= name == "ready"
            raise EngineError("broken")
        size = (len(self.requests), len(self.requests[0].tiles))
        if name == self.engine.at and size[0] * size[1] > self.engine.capacity:
            self.engine.busy = False
            self.engine.failed.append(size)
            raise OutOfMemoryError(f"{size[0]} photos of {size[1]} tiles do not fit.")

    def begin(self) -> None:
        assert not self.engine.busy, "the device is at work on another batch"
        self.engine.busy = True
        self.step("begin")

    def run(self) -> None:
        assert self.engine.busy
        self.step("run")
        self.engine.busy = False

    def answers(self) -> list[tuple[Answer, ...]]:
        self.engine.events.append(f"read {self.name}")
        self.engine.prompts += sum(len(request.prompts) for request in self.requests)
        return [tuple(_answer(request, prompt) for prompt in request.prompts) for request in self.requests]


def digest(tiles: object) -> str:
    return hashlib.sha256(tiles.tobytes()).hexdigest()[:8]  # type: ignore[attr-defined]


def _answer(request: Request, prompt: Prompt) -> Answer:
    scores = {choice: 1 / len(prompt.choices) for choice in prompt.choices} if prompt.choices else None
    return Answer(
        recipe_id=prompt.recipe_id,
        question_id=prompt.question_id,
        language=prompt.language,
        text=prompt.choices[0] if prompt.choices else f"{digest(request.tiles)} {prompt.text}",
        tokens=3,
        finish="choice" if prompt.choices else "stop",
        scores=scores,
        mass=1.0 if scores else None,
    )
