"""One answer packed beside the same answer alone: at which token they part, and how near a tie that was."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from carscribe.records import Answer, Prompt

if TYPE_CHECKING:
    from carscribe.doctor.alone import Alone
    from carscribe.doctor.shots import Shot


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenComparison:
    """An open question about one photo: packed beside alone.

    `first_difference` counts from 0; None when all tokens are equal. `gap`: how many logits the plain pass puts its own
    token above the packed one there; None when one answer merely goes on longer. `noise`: see `alone.Said`.
    """

    photo: str
    question_id: str
    tokens: int
    noise: float
    first_difference: int | None = None
    plain_word: str = ""
    packed_word: str = ""
    gap: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceComparison:
    """A choice about one photo. `gap` is in log P, by which the plain pass puts its own choice above the packed one."""

    photo: str
    question_id: str
    plain_choice: str
    packed_choice: str
    largest_score_difference: float
    gap: float


def compare_tokens(alone: "Alone", shot: "Shot", prompt: Prompt, packed: tuple[int, ...]) -> TokenComparison:
    """Ask an open question alone and put it beside the tokens that the packed engine said."""
    said = alone.say(shot.photo.tiles, prompt)
    same = TokenComparison(photo=shot.name, question_id=prompt.question_id, tokens=len(said.tokens), noise=said.noise)
    if said.tokens == packed:
        return same
    shorter = min(len(said.tokens), len(packed))
    first = next((i for i in range(shorter) if said.tokens[i] != packed[i]), shorter)
    if first == shorter:
        return replace(same, first_difference=first)
    plain, ours = said.tokens[first], packed[first]
    return replace(
        same,
        first_difference=first,
        plain_word=alone.text([plain]),
        packed_word=alone.text([ours]),
        gap=float(said.logits[first, plain] - said.logits[first, ours]),
    )


def compare_choice(alone: "Alone", shot: "Shot", prompt: Prompt, answer: Answer) -> ChoiceComparison:
    """Score a choice alone and put it beside the packed scores."""
    logs = np.array(alone.choose(shot.photo.tiles, prompt))
    shares = np.exp(logs - logs.max())
    shares /= shares.sum()
    packed = np.array([(answer.scores or {})[choice] for choice in prompt.choices])
    best = int(logs.argmax())
    return ChoiceComparison(
        photo=shot.name,
        question_id=prompt.question_id,
        plain_choice=prompt.choices[best],
        packed_choice=answer.text,
        largest_score_difference=float(np.abs(shares - packed).max()),
        gap=float(logs[best] - logs[prompt.choices.index(answer.text)]),
    )
