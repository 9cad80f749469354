"""Ctrl-C, and a host's request to end, as a wish to stop after what is under way."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

TOLD = b"\nStopping after this batch. Ctrl-C once more stops at once.\n"


@contextmanager
def finish_first(told: bytes = TOLD) -> Iterator[Callable[[], bool]]:
    """While the block runs, the first SIGINT or SIGTERM sets what the given function returns, and says so
    with `told`.

    The second one raises KeyboardInterrupt, as the first does outside.
    """
    asked = False
    listener = os.getpid()

    def ask(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if os.getpid() != listener:  # a process forked meanwhile: its parent says when it ends
            if number == signal.SIGTERM:
                raise SystemExit(128 + number)
            return
        if asked:
            raise KeyboardInterrupt
        asked = True
        with suppress(OSError, ValueError):
            os.write(sys.stderr.fileno(), told)  # not print: the signal may have come in the middle of one

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
