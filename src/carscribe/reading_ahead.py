"""Read in threads what is asked for next. Pure; knows nothing of what is read."""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

READ_AHEAD, READ_AHEAD_A_CORE, MOST_READ_AHEAD = 96, 8, 384
"""Photos that are read before they are asked for: so many, or so many a core. A GPU takes a batch's at once."""

Item = TypeVar("Item")
Found = TypeVar("Found")


def read_ahead(items: Iterable[Item], read: Callable[[Item], Found]) -> Generator[Found, None, None]:
    """`read` over items in threads (Pillow lets go of the interpreter while it decodes), in order, a window ahead."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-photo")
    ahead: deque[Future[Found]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(read, item))
            if len(ahead) >= min(max(READ_AHEAD, READ_AHEAD_A_CORE * workers), MOST_READ_AHEAD):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
