"""Every branch sees what it would see alone, at the positions it would have alone, whatever stands beside it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carscribe.packing import Branch, Layout, bucket_branches, common_prefix, lay_out

TOKENS = st.lists(st.integers(1, 99), min_size=1, max_size=9).map(tuple)
LEAVES = st.lists(st.lists(st.integers(1, 99), min_size=2, max_size=6).map(tuple), max_size=4).map(tuple)
HEADS = ((), (), (1, 2, 3, 4, 5, 6, 7, 8), (1, 2, 3, 4, 5, 6, 7, 8, 9, 9), (7,) * 12)


def branches(head: tuple[int, ...], tokens: tuple[int, ...], leaves: tuple[tuple[int, ...], ...]) -> Branch:
    return Branch(tokens=head + tokens, leaves=leaves)


ROWS = st.lists(
    st.lists(st.builds(branches, st.sampled_from(HEADS), TOKENS, LEAVES), min_size=1, max_size=6),
    min_size=1,
    max_size=4,
)
PREFIX = 50


def seen(layout: Layout, row: int, at: int) -> list[tuple[int, int]]:
    """(position, token) of every branch token that the token at `at` sees, by position."""
    mask = layout.tree_mask[row if len(layout.tree_mask) > 1 else 0, at]
    return sorted((int(layout.position_ids[row, m]), int(layout.token_ids[row, m])) for m in np.flatnonzero(mask))


def alone(tokens: tuple[int, ...]) -> list[tuple[int, int]]:
    return [(PREFIX + i, token) for i, token in enumerate(tokens)]


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_the_last_token_of_an_open_branch_sees_its_own_question_and_nothing_else(rows: list[list[Branch]]) -> None:
    layout = lay_out(rows, prefix_tokens=PREFIX)
    for b, row in enumerate(rows):
        held = [int(i) for i in layout.open_branch[b] if i >= 0]
        assert held == [i for i, branch in enumerate(row) if not branch.leaves]
        for r, index in enumerate(held):
            assert seen(layout, b, layout.last_token[b, r]) == alone(row[index].tokens)
            assert layout.answer_position[b, r] == PREFIX + len(row[index].tokens)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_each_scored_token_is_predicted_from_exactly_what_stands_before_it(rows: list[list[Branch]]) -> None:
    layout = lay_out(rows, prefix_tokens=PREFIX)
    by_leaf: dict[int, list[tuple[int, int, int]]] = {}
    for source, token, leaf in layout.scored:
        by_leaf.setdefault(int(leaf), []).append((*map(int, layout.source[source]), int(token)))
    for number, leaf in enumerate(layout.leaves):
        branch = rows[leaf.row][leaf.branch]
        tokens = branch.leaves[leaf.choice]
        assert tuple(token for _, _, token in by_leaf[number]) == tokens
        for i, (row, at, _) in enumerate(by_leaf[number]):
            assert row == leaf.row
            assert seen(layout, row, at) == alone(branch.tokens + tokens[:i])


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_the_answer_sees_the_real_tokens_of_its_question_only(rows: list[list[Branch]]) -> None:
    layout = lay_out(rows, prefix_tokens=PREFIX)
    for b, row in enumerate(rows):
        masks = layout.stem_mask[b if len(layout.stem_mask) > 1 else 0]
        for r, index in enumerate(layout.open_branch[b]):
            tokens = tuple(int(t) for t in layout.token_ids[b][masks[r]])
            assert tokens == (row[index].tokens if index >= 0 else ())


def test_what_questions_begin_with_is_laid_out_once() -> None:
    english, korean = (1, 2, 3, 4, 5, 6, 7, 8, 9), (11, 12, 13, 14, 15, 16, 17, 18)
    row = [Branch(tokens=(*head, 20 + i, 30 + i)) for head in (english, korean) for i in range(3)]
    row.append(Branch(tokens=(*korean, 40), leaves=((3, 9), (4, 9))))
    row.append(Branch(tokens=(1, 2, 3, 50)))  # too little in common
    layout = lay_out([row, row], prefix_tokens=PREFIX, quantum=1)
    assert layout.token_ids.shape[1] == 9 + 8 + 6 * 2 + (1 + 2) + 4
    assert layout.tree_mask.shape[0] == layout.stem_mask.shape[0] == 1
    assert layout.answer_position[0].tolist() == [PREFIX + n for n in (11, 11, 11, 10, 10, 10, 4)] + [PREFIX]
    apart = lay_out([row, row], prefix_tokens=PREFIX, quantum=1, head_tokens=0)
    assert apart.token_ids.shape[1] == 3 * 11 + 3 * 10 + (9 + 2) + 4


def test_rows_have_masks_of_their_own_when_their_heads_differ_in_length() -> None:
    rows = [[Branch(tokens=(*range(1, length), 50 + i)) for i in range(2)] for length in (10, 12)]
    assert lay_out(rows, prefix_tokens=PREFIX).tree_mask.shape[0] == 2


def test_every_source_is_listed_once_though_all_choices_share_their_stems_end() -> None:
    branch = Branch(tokens=(1, 2), leaves=((3, 9), (4, 9), (5, 6, 9)))
    layout = lay_out([[branch]], prefix_tokens=PREFIX)
    assert len(layout.source) == len({tuple(place) for place in layout.source.tolist()}) == 1 + 1 + 1 + 2


def test_rows_share_one_mask_when_only_open_questions_differ_in_length() -> None:
    rows = [[Branch(tokens=(1,) * length), Branch(tokens=(7, 7), leaves=((3, 9), (4, 9)))] for length in (3, 5, 8)]
    layout = lay_out(rows, prefix_tokens=PREFIX)
    assert layout.tree_mask.shape[0] == 1
    assert layout.stem_mask.shape[0] == 3


def test_rows_have_masks_of_their_own_when_their_choice_stems_differ_in_length() -> None:
    rows = [[Branch(tokens=(1,) * length, leaves=((3, 9), (4, 9)))] for length in (3, 5)]
    assert lay_out(rows, prefix_tokens=PREFIX).tree_mask.shape[0] == 2


@pytest.mark.parametrize(("names", "shapes"), [((3, 4, 5), 1), ((3, 30), 1)])
def test_the_shape_follows_the_longest_row_and_is_rounded(names: tuple[int, ...], shapes: int) -> None:
    rows = [[Branch(tokens=(i, *(1,) * (length - 1))) for i in range(3)] for length in names]
    layout = lay_out(rows, prefix_tokens=PREFIX, quantum=64)
    assert layout.token_ids.shape == (len(names), -(-3 * max(names) // 64) * 64)
    assert layout.open_branch.shape == (len(names), bucket_branches(3)) == (len(names), 4)
    assert len({layout.token_ids.shape}) == shapes


@pytest.mark.parametrize(
    ("prompts", "at_least", "quantum", "expected"),
    [
        ([(1, 2, 3), (1, 2, 4)], 0, 1, 2),
        ([(1, 2, 3)], 0, 1, 2),
        ([(1, 2), (1, 2, 3)], 0, 1, 1),
        ([(1, 2, 3, 4, 5, 6, 7), (1, 2, 3, 4, 5, 6, 8)], 3, 4, 3),
        ([(1, 2, 3, 4, 5, 6, 7), (1, 2, 3, 4, 5, 6, 8)], 2, 4, 6),
        ([(1, 2, 3), (5, 2, 3)], 2, 8, 0),
    ],
)
def test_the_prefix_is_the_common_run_past_the_image_rounded_down(
    prompts: list[tuple[int, ...]], at_least: int, quantum: int, expected: int
) -> None:
    assert common_prefix(prompts, at_least=at_least, quantum=quantum) == expected


@pytest.mark.parametrize("branch", [Branch(tokens=()), Branch(tokens=(1,), leaves=((2,),))])
def test_a_branch_without_tokens_or_a_leaf_without_an_end_is_refused(branch: Branch) -> None:
    with pytest.raises(ValueError, match="needs at least one token"):
        lay_out([[branch]], prefix_tokens=PREFIX)
