"""Prefix and question are tokenised together: whatever a question starts with, cutting the ids loses nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest
from alone import Alone, photo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carscribe.engines.checkpoint import open_checkpoint
from carscribe.engines.local import PREFIX_QUANTUM
from carscribe.engines.new_checkpoint import SPECIAL_TOKENS
from carscribe.engines.prompting import PromptEncoder
from carscribe.packing import common_prefix

STARTS = (
    "\n",
    "\n\n",
    " ",
    "  ",
    "\t",
    "7",
    "2026",
    '"',
    "'",
    "“",
    "휠",
    "이 차",
    "ㄱ",
    "é",
    "Describe ",
    "🚗",
    ".",
    "",
)
SHARED = ("", "As a car designer, answer in short phrases. ", "짧은 구로 답하세요:\n", " ", "1")
QUESTIONS = st.lists(
    st.tuples(st.sampled_from(STARTS), st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12))
    .map("".join)
    .filter(lambda text: not any(token in text for token in SPECIAL_TOKENS)),
    min_size=1,
    max_size=5,
)


@pytest.fixture(scope="module")
def encoder(random_checkpoint: Callable[..., Path]) -> PromptEncoder:
    return PromptEncoder(open_checkpoint(str(random_checkpoint())))


@pytest.fixture(scope="module")
def alone(random_checkpoint: Callable[..., Path]) -> Alone:
    return Alone(random_checkpoint())


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shared=st.sampled_from(SHARED), questions=QUESTIONS, tiles=st.sampled_from([1, 3, 13]))
def test_prefix_and_branch_together_are_the_whole_prompt(
    encoder: PromptEncoder, alone: Alone, shared: str, questions: list[str], tiles: int
) -> None:
    texts = [shared + question for question in questions]
    ids = [encoder.ids(text, tiles) for text in texts]
    image_end = encoder.image_end(texts[0], tiles)
    prefix = common_prefix(ids, at_least=image_end, quantum=PREFIX_QUANTUM)
    longest = common_prefix(ids)
    assert image_end <= prefix <= longest < prefix + PREFIX_QUANTUM
    assert len({row[:prefix] for row in ids}) == 1
    for text, row in zip(texts, ids, strict=True):
        branch = encoder.branch(text, (), row, prefix)
        assert branch.tokens
        assert (*row[:prefix], *branch.tokens) == row
        assert list(row) == alone.inputs(photo(0, tiles), text)["input_ids"][0].tolist()
