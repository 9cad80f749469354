"""Checkpoints and fakes that several tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from texts import TEXTS

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: models this small lose time to threads


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a small random InternVL3 checkpoint, one for each set of options and session."""
    from carscribe.engines.new_checkpoint import train_bpe, write_random_checkpoint

    made: dict[tuple[tuple[str, object], ...], Path] = {}

    def make(**options: object) -> Path:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("checkpoint")
            write_random_checkpoint(made[key], train_bpe(TEXTS), **options)  # type: ignore[arg-type]
        return made[key]

    return make
