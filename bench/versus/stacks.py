"""What this process's threads were at, row by row: their stacks every 40 ms, counted."""

import sys
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from meanwhile import meanwhile

EVERY_S = 0.04
FRAMES, MOST = 7, 14


class Stacks:
    """Counts of stacks by row and thread; one thread looks at all others."""

    def __init__(self) -> None:
        self.counts: dict[str, dict[str, Counter[str]]] = {}

    @contextmanager
    def of(self, row: str) -> Iterator[None]:
        """Look while `row` is run."""
        seen: dict[str, Counter[str]] = self.counts.setdefault(row, defaultdict(Counter))

        def look() -> None:
            names = {thread.ident: thread.name.partition("_")[0] for thread in threading.enumerate()}
            for ident, frame in sys._current_frames().items():
                if ident != threading.get_ident():
                    seen[names.get(ident, "?")][_told(frame)] += 1

        with meanwhile(look, every_s=EVERY_S):
            yield

    def shares(self) -> dict[str, dict[str, dict[str, float]]]:
        """By row and thread, the commonest stacks with their shares of the times it was looked at."""
        return {
            row: {
                thread: {stack: round(count / found.total(), 4) for stack, count in found.most_common(MOST)}
                for thread, found in threads.items()
            }
            for row, threads in self.counts.items()
        }


def _told(frame: FrameType | None) -> str:
    """The innermost frames, innermost first: file, function and line."""
    told = []
    while frame is not None and len(told) < FRAMES:
        told.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(told)
