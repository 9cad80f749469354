"""An open answer that is none (a loop, a refusal) is asked once more, at a temperature; a fine one takes its place.

Around an engine's answers to one batch: no files, no workspace. What was asked for stays greedy, so the identity of an
answer does not change by this, and nothing is asked again in a later run because of a remark.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from carscribe.degenerate import degeneracy
from carscribe.engines import Engine
from carscribe.errors import OutOfMemoryError
from carscribe.records import ASKED_AGAIN, Answer, Request

TEMPERATURE = 0.7
"""High enough to leave a loop, low enough to stay with the photo."""


def with_second_answers(
    engine: Engine,
    requests: Sequence[Request],
    firsts: Sequence[tuple[Answer, ...]],
    say: Callable[[str], None] = lambda _: None,
) -> list[tuple[Answer, ...]]:
    """The first answers to a batch, those that are none replaced by a second one or remarked on with the reason.

    All of a batch that are asked again are asked together, at most as much as has just fitted into memory. Should it
    run out all the same, `say` is told, and the first answers stay.

    Raises: NumericsError, EngineError.
    """
    flaws = [_flaws(row) for row in firsts]
    again = [
        replace(request, prompts=tuple(request.prompts[place] for place in found), temperature=TEMPERATURE)
        for request, found in zip(requests, flaws, strict=True)
        if found
    ]
    if not again:
        return list(firsts)
    seconds = iter(_asked(engine, again, say) or [()] * len(again))
    return [_better(row, found, next(seconds)) if found else row for row, found in zip(firsts, flaws, strict=True)]


def _asked(engine: Engine, again: Sequence[Request], say: Callable[[str], None]) -> list[tuple[Answer, ...]] | None:
    """The second answers; None when memory ran out."""
    try:
        return engine.answer(again)
    except (OutOfMemoryError, MemoryError):
        pass
    engine.release()  # outside the handler, when nothing holds the failed batch's tensors any more
    count = sum(len(request.prompts) for request in again)
    say(f"Out of memory while asking {count} answers again; the first ones are kept, each with what is wrong with it.")
    return None


def _flaws(answers: Sequence[Answer]) -> dict[int, str]:
    """Why an open answer is none, by its place."""
    return {
        place: why
        for place, answer in enumerate(answers)
        if answer.finish != "choice" and (why := _flaw(answer)) is not None
    }


def _flaw(answer: Answer) -> str | None:
    return degeneracy(answer.text, answer.language, finish=answer.finish)


def _better(firsts: tuple[Answer, ...], flaws: Mapping[int, str], seconds: Sequence[Answer]) -> tuple[Answer, ...]:
    """The first answers with second ones in their place where these are fine. Without second ones the first stay."""
    chosen = list(firsts)
    for number, (place, why) in enumerate(flaws.items()):
        chosen[place] = replace(firsts[place], remark=why)
        if seconds and _flaw(seconds[number]) is None:
            chosen[place] = replace(seconds[number], remark=ASKED_AGAIN)
    return tuple(chosen)
