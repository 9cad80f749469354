"""Something looked at again and again, by a thread of its own, while a bench runs."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def meanwhile(look: Callable[[], object], *, every_s: float) -> Iterator[None]:
    """`look` every so many seconds until the block is left."""
    over = threading.Event()

    def until_over() -> None:
        while not over.wait(every_s):
            look()

    thread = threading.Thread(target=until_over, daemon=True, name="meanwhile")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
