"""Batches of photos with equal tile counts, and what happens when one does not fit in memory.

Pure policy over an `Engine`: no torch, no files. Photos come in the order they were given, leave in the order they were
answered, and none waits longer than the look-ahead.
"""

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from carscribe.asking_again import asks_again, with_second_answers
from carscribe.engines import Engine, Overlapping, overlapping
from carscribe.errors import EngineError, OutOfMemoryError, PhotoError
from carscribe.plaintext import counted
from carscribe.records import Answer, PhotoFile, PhotoResult, Prompt, Request, TiledPhoto

LOOK_AHEAD_TILES = 2048
"""Tiles that may come in while a photo waits for its batch to fill: 1.2 GB of bytes at 448 px."""


FIRST_SHARE, FIRST_LEAST = 4, 16
"""The first batch is a quarter of one, or so many photos: the device begins while others are still read."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pending:
    """A photo that was read and is to be asked. `index` is its place in what the user gave."""

    index: int
    file: PhotoFile
    photo: TiledPhoto
    prompts: tuple[Prompt, ...]

    @property
    def tiles(self) -> int:
        """How many tiles it was cut into, thumbnail included."""
        return len(self.photo.tiles)

    def answered(
        self, answers: tuple[Answer, ...], seconds: float | None = None, dtype: str | None = None
    ) -> PhotoResult:
        """The result of a photo that was answered in `dtype`, in its share `seconds` of the batch's time."""
        return replace(self._result(), answers=answers, seconds=seconds, dtype=dtype)

    def set_aside(self, reason: str) -> PhotoResult:
        """The result of a photo that was not."""
        return replace(self._result(), error=reason)

    def _result(self) -> PhotoResult:
        return PhotoResult(
            index=self.index,
            file=self.file,
            sha256=self.photo.sha256,
            width_px=self.photo.width_px,
            height_px=self.photo.height_px,
            tiles=self.tiles,
        )


def group_by_tiles(
    stream: Iterable[Pending | PhotoResult],
    size: Callable[[Pending], int],
    *,
    look_ahead_tiles: int = LOOK_AHEAD_TILES,
) -> Iterator[list[Pending] | PhotoResult]:
    """Full batches as soon as there are enough photos of one tile count; what was set aside passes at once.

    `size` says how many photos like this one make a batch; the first one is smaller. When `look_ahead_tiles` have come
    in since a photo came, its batch goes out as it is: so that many tiles are held at most, and results can be put in
    order behind this.
    """
    waiting: OrderedDict[int, list[Pending]] = OrderedDict()  # by tile count, the longest wait first
    since: dict[int, int] = {}
    seen_tiles, begun = 0, False
    for item in stream:
        if isinstance(item, PhotoResult):
            yield item
            continue
        seen_tiles += item.tiles
        since.setdefault(item.tiles, seen_tiles)
        group = waiting.setdefault(item.tiles, [])
        group.append(item)
        oldest = next(iter(waiting))
        full = size(item)
        if len(group) >= (full if begun else min(full, max(FIRST_LEAST, full // FIRST_SHARE))):
            begun = True
            del since[item.tiles]
            yield waiting.pop(item.tiles)
        elif seen_tiles - since[oldest] >= look_ahead_tiles:
            del since[oldest]
            yield waiting.pop(oldest)
    yield from waiting.values()


class Ladder:
    """Answers batches with an engine and steps down when memory runs out.

    Half the batch; at one photo, fewer tiles; at one tile, the photo is set aside. What fitted is remembered: a batch
    that was too large is not tried again, nor one with larger photos. Answers that are none are asked again at once.
    """

    def __init__(
        self,
        engine: Engine,
        cut_again: Callable[[Pending, int], TiledPhoto],
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`cut_again(pending, max_tiles)` reads the photo once more with a smaller grid; it may raise PhotoError.

        `say` is told each step down.
        """
        self._engine = engine
        self._cut_again = cut_again
        self._say = say
        self._expected: dict[tuple[int, int], int] = {}
        self._learned: dict[int, int] = {}
        self._most_tiles: int | None = None

    @property
    def most_grid_tiles(self) -> int | None:
        """The largest grid that memory allows, the thumbnail not counted; None while nothing says otherwise."""
        return None if self._most_tiles is None else max(1, self._most_tiles - 1)

    def size(self, pending: Pending) -> int:
        """How many photos like this one to put into a batch."""
        key = (pending.tiles, len(pending.prompts))
        if key not in self._expected:
            self._expected[key] = self._engine.plan_batch(pending.tiles, pending.prompts).photos
        learned = [rows for tiles, rows in self._learned.items() if tiles <= pending.tiles]
        return max(1, min(self._expected[key], *learned) if learned else self._expected[key])

    def answer(self, batch: Sequence[Pending]) -> Iterator[list[PhotoResult]]:
        """The result of every photo of the batch, answered or set aside, as they come: at once, or in parts."""
        todo = deque([list(batch)])
        while todo:
            rows = todo.popleft()
            limit = self.size(rows[0])
            if len(rows) > limit:
                todo.extendleft(reversed([rows[i : i + limit] for i in range(0, len(rows), limit)]))
                continue
            if self._too_many_tiles(rows[0]):
                yield self._with_fewer_tiles(rows, todo)
                continue
            outcome = self._try(rows)
            if isinstance(outcome, str) and len(rows) == 1:
                outcome = self._try(rows)  # another process may have had the memory for a moment
            if isinstance(outcome, list):
                yield outcome
            elif len(rows) > 1:
                self._learn(rows)
                todo.appendleft(rows)
            elif rows[0].tiles > 1:
                self._most_tiles = rows[0].tiles - 1
                self._say(
                    f"Out of memory with {_size(rows)}; from here on a photo gets fewer. A smaller model holds more."
                )
                todo.appendleft(rows)
            else:
                reason = f"{outcome} One tile alone does not fit: free memory, or pick a smaller model."
                yield [rows[0].set_aside(reason)]

    def answer_all(self, batches: Iterable[list[Pending] | PhotoResult]) -> Iterator[list[PhotoResult]]:
        """The results of batch after batch as they come; what was set aside before passes as it is.

        Where the engine overlaps, a batch is made ready while the device works on the one before it, and begins before
        the answers of that one are read and handed on: the device waits for neither.
        """
        if (engine := overlapping(self._engine)) is not None:
            yield from self._overlapping(engine, batches)
            return
        for batch in batches:
            if isinstance(batch, PhotoResult):
                yield [batch]
            else:
                yield from self.answer(batch)

    def _overlapping(
        self, engine: Overlapping, batches: Iterable[list[Pending] | PhotoResult]
    ) -> Iterator[list[PhotoResult]]:
        before: _Underway | None = None
        waiting: list[tuple[_Underway, list[tuple[Answer, ...]]]] = []  # for a moment when they can be asked again
        try:
            for batch in batches:
                if isinstance(batch, PhotoResult):
                    yield [batch]
                    continue
                coming = None if self._is_too_large(batch) else _Underway(batch, engine)
                if before is not None:
                    if not before.runs():
                        yield from self._smaller(before.rows)
                        before = None
                        coming = None if self._is_too_large(batch) else coming
                    while waiting:
                        yield self._with_seconds(*waiting.pop())
                begun = coming is not None and coming.begins()
                if before is not None:
                    answers = before.work.answers()
                    if asks_again(answers):
                        waiting.append((before, answers))
                    else:
                        yield self._with_seconds(before, answers)
                before = coming if begun else None
                if coming is None:
                    yield from self.answer(batch)
                elif not begun:
                    yield from self._smaller(batch)
            if before is not None:
                if before.runs():
                    waiting.append((before, before.work.answers()))
                else:
                    yield from self._smaller(before.rows)
            while waiting:
                yield self._with_seconds(*waiting.pop())
        except EngineError:  # what was said, or is under way, is not lost with what failed
            if before is not None and (before.ran or (not before.failed and before.runs())):
                waiting.append((before, before.work.answers()))
            for underway, answers in waiting:
                yield underway.results(answers, self._engine.card.dtype)
            raise

    def _is_too_large(self, rows: list[Pending]) -> bool:
        """Whether memory ran out since they were put together, so that they must be taken apart."""
        return len(rows) > self.size(rows[0]) or self._too_many_tiles(rows[0])

    def _smaller(self, rows: list[Pending]) -> Iterator[list[PhotoResult]]:
        """What ran out of memory once, a step down."""
        self._engine.release()
        if len(rows) > 1:
            self._learn(rows)
        yield from self.answer(rows)

    def _learn(self, rows: list[Pending]) -> None:
        self._learned[rows[0].tiles] = len(rows) // 2
        self._say(f"Out of memory with {_size(rows)}; going on with {len(rows) // 2} at once.")

    def _with_seconds(self, underway: "_Underway", answers: list[tuple[Answer, ...]]) -> list[PhotoResult]:
        better = with_second_answers(
            self._engine, underway.requests, answers, self._say, at_once=self.size(underway.rows[0])
        )
        return underway.results(better, self._engine.card.dtype)

    def _try(self, rows: list[Pending]) -> list[PhotoResult] | str:
        """The results, or why memory ran out."""
        requests = _requests(rows)
        started = time.perf_counter()
        try:
            answers = self._engine.answer(requests)
        except (OutOfMemoryError, MemoryError) as error:
            reason = str(error) or "Out of memory."
        else:
            answers = with_second_answers(self._engine, requests, answers, self._say, at_once=self.size(rows[0]))
            return _results(rows, answers, time.perf_counter() - started, self._engine.card.dtype)
        self._engine.release()  # outside the handler, when nothing holds the failed batch's tensors any more
        return reason

    def _too_many_tiles(self, pending: Pending) -> bool:
        return self._most_tiles is not None and pending.tiles > self._most_tiles

    def _with_fewer_tiles(self, rows: list[Pending], todo: deque[list[Pending]]) -> list[PhotoResult]:
        """Cut each photo again into at most the tiles that fit, and put it back; set aside what cannot be read."""
        again: dict[int, list[Pending]] = {}
        unreadable = []
        for row in rows:
            try:
                photo = self._cut_again(row, self.most_grid_tiles or 1)
            except (PhotoError, MemoryError) as error:
                unreadable.append(row.set_aside(str(error) or "Out of memory while reading it again."))
            else:
                again.setdefault(len(photo.tiles), []).append(replace(row, photo=photo))
        todo.extendleft(again.values())
        return unreadable


class _Underway:
    """A batch on its way through an engine that overlaps."""

    def __init__(self, rows: list[Pending], engine: Overlapping) -> None:
        self.rows, self.requests = rows, _requests(rows)
        self.work = engine.work(self.requests)
        self.ran = self.failed = False
        self._began_s = self._ended_s = 0.0

    def begins(self) -> bool:
        """Begin; False when memory ran out."""
        self._began_s = time.perf_counter()
        return _fits(self.work.begin)

    def runs(self) -> bool:
        """Run to the end; False when memory ran out."""
        self.failed = True  # unless it comes to its end
        self.ran = _fits(self.work.run)
        self.failed = not self.ran
        self._ended_s = time.perf_counter()
        return self.ran

    def results(self, answers: list[tuple[Answer, ...]], dtype: str) -> list[PhotoResult]:
        """The results, each with its share of the time from the batch's beginning to its end."""
        return _results(self.rows, answers, self._ended_s - self._began_s, dtype)


def _fits(step: Callable[[], None]) -> bool:
    try:
        step()
    except (OutOfMemoryError, MemoryError):
        return False
    return True


def _results(
    rows: Sequence[Pending], answers: Sequence[tuple[Answer, ...]], seconds: float, dtype: str
) -> list[PhotoResult]:
    return [row.answered(found, seconds / len(rows), dtype) for row, found in zip(rows, answers, strict=True)]


def _requests(rows: Sequence[Pending]) -> list[Request]:
    return [Request(tiles=row.photo.tiles, prompts=row.prompts, seed=row.photo.sha256) for row in rows]


def _size(rows: Sequence[Pending]) -> str:
    return f"{counted(len(rows), 'photo')} of {counted(rows[0].tiles, 'tile')}"
