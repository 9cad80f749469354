"""Checkpoints and fakes that several tests share."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: models this small lose time to threads

TEXTS = [
    "Describe this car's design briefly and precisely: body type, proportions, surface, lighting, grill, wheels.",
    "What is the body type? Answer in short phrases. sedan hatchback wagon convertible pickup truck sports car",
    "이 자동차의 차체 형태와 비례를 짧은 구로 설명하세요. 세단 해치백 왜건 컨버터블 픽업트럭 은색 회색",
] * 3


@pytest.fixture(scope="session")
def random_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Makes a small random InternVL3 checkpoint, one for each set of options and session."""
    from carscribe.engines.demo_model import write_random_checkpoint

    made: dict[tuple[tuple[str, object], ...], Path] = {}

    def make(**options: object) -> Path:
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("checkpoint")
            write_random_checkpoint(made[key], TEXTS, **options)  # type: ignore[arg-type]
        return made[key]

    return make
