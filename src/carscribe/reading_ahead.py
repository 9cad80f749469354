"""Read in threads what is asked for next. Pure; knows nothing of what is read."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from carscribe.cores import usable_cores

READ_AHEAD, READ_AHEAD_A_CORE, MOST_READ_AHEAD = 96, 8, 384
"""What is read before it is asked for: so much, or so much a core, up to a limit."""

Item = TypeVar("Item")
Found = TypeVar("Found")


def read_ahead(
    items: Iterable[Item],
    read: Callable[[Item], Found],
    *,
    taken_at_once: Callable[[], int] = lambda: 0,
    sparing: bool = False,
) -> Generator[Found, None, None]:
    """`read` over items in threads (Pillow lets go of the interpreter while it decodes), in order, a window ahead.

    `taken_at_once` is how many will be asked for in a row as soon as they can be had: the window holds so many at
    least. It is asked again for each item. `sparing` leaves a core in eight, one at least, to who takes what was read,
    and must not wait for its turn: to launch a GPU's work, say.
    """
    least = least_read_ahead()
    cores = usable_cores()
    threads = readers_beside_another(cores) if sparing else cores
    pool = ThreadPoolExecutor(threads, thread_name_prefix="read-photo")
    ahead: deque[Future[Found]] = deque()
    try:
        for item in items:
            ahead.append(pool.submit(read, item))
            while len(ahead) >= max(least, taken_at_once() + 1):
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def least_read_ahead() -> int:
    """How much is read ahead on this machine, however little is taken at once."""
    return min(max(READ_AHEAD, READ_AHEAD_A_CORE * usable_cores()), MOST_READ_AHEAD)


def readers_beside_another(cores: int) -> int:
    """How many threads read where cores are spared.

    >>> [readers_beside_another(cores) for cores in (1, 2, 4, 16, 64)]
    [1, 1, 3, 14, 56]
    """
    return max(1, cores - max(1, cores // 8))
