"""Describes photos with a fake engine in processes that are killed at random moments, then once to the end.

usage: python killed_often.py PHOTOS WORKSPACE KILLS SEED
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from fakes import FakeEngine

import carscribe
import carscribe.keeping  # before the forks: a process that is killed while it imports shows nothing
from carscribe.records import Answer, Request

LONGEST_LIFE_S = 0.3
"""To begin with: longer when a process was killed before it had kept anything, shorter when it had."""


class SlowEngine(FakeEngine):
    """Takes a few milliseconds a batch, so that there are moments to be killed in, and tells each batch."""

    def __init__(self, tell: Callable[[], object]) -> None:
        super().__init__(limit=3)
        self._tell = tell

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        self._tell()
        time.sleep(0.004)
        return super().answer(requests)


def describe(photos: Path, workspace: Path, tell: Callable[[], object] = lambda: None) -> None:
    engine = SlowEngine(tell)
    results = carscribe.describe(photos, workspace=workspace, engine=engine, recipes=["brief", "designer"])
    assert not [result.error for result in results if result.error]


def main(photos: Path, workspace: Path, kills: int, seed: int) -> int:
    moment, longest_s = random.Random(seed), LONGEST_LIFE_S
    for number in range(kills):
        heard, told = os.pipe()
        child = os.fork()
        if not child:
            describe(photos, workspace, partial(os.write, told, b"."))
            os._exit(0)
        os.close(told)
        time.sleep(moment.uniform(0, longest_s))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        batches = len(os.read(heard, 1000))
        os.close(heard)
        longest_s *= 1.2 if batches < 2 else 0.7 if batches > 5 else 1
        if not os.WIFSIGNALED(status):
            sys.stderr.write(f"finished before it could be killed {kills} times: {number}\n")
            return 1
    describe(photos, workspace)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
