"""An open answer that is none (a loop, a refusal) is asked once more, at a temperature; a fine one takes its place.

One that its limit cut off is remarked on and not asked again: a model that says much would be asked everything twice,
and say as much. Around an engine's answers to one batch: no files, no workspace. What was asked for stays greedy, so
the identity of an answer does not change by this, and nothing is asked again in a later run because of a remark.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from carscribe.degenerate import CUT_OFF, degeneracy
from carscribe.engines import Engine
from carscribe.errors import EngineError, OutOfMemoryError
from carscribe.records import ASKED_AGAIN, Answer, Request

TEMPERATURE = 0.7
"""High enough to leave a loop, low enough to stay with the photo."""


def with_second_answers(
    engine: Engine,
    requests: Sequence[Request],
    firsts: Sequence[tuple[Answer, ...]],
    say: Callable[[str], None] = lambda _: None,
    *,
    at_once: int | None = None,
) -> list[tuple[Answer, ...]]:
    """The first answers to a batch, those that are none replaced by a second one or remarked on with the reason.

    Photos that are asked again are asked together, `at_once` of them where memory has allowed no more since. Should it
    run out all the same, or should the engine fail, `say` is told, and the first answers stay.
    """
    flaws = [_flaws(row) for row in firsts]
    places = [tuple(place for place, why in found.items() if why != CUT_OFF) for found in flaws]
    again = [
        replace(request, prompts=tuple(request.prompts[place] for place in asked), temperature=TEMPERATURE)
        for request, asked in zip(requests, places, strict=True)
        if asked
    ]
    most = at_once or max(1, len(again))
    parts = [again[start : start + most] for start in range(0, len(again), most)]
    rows = iter([row for part in parts for row in _asked(engine, part, say) or [()] * len(part)])
    seconds = [dict(zip(asked, next(rows), strict=False)) if asked else {} for asked in places]
    return [_better(row, found, new) for row, found, new in zip(firsts, flaws, seconds, strict=True)]


def asks_again(firsts: Sequence[tuple[Answer, ...]]) -> bool:
    """Whether any of these answers would be asked again: whether `with_second_answers` needs the engine."""
    return any(why != CUT_OFF for row in firsts for why in _flaws(row).values())


def _asked(engine: Engine, again: Sequence[Request], say: Callable[[str], None]) -> list[tuple[Answer, ...]] | None:
    """The second answers; None when there are none."""
    count = sum(len(request.prompts) for request in again)
    kept = "the first ones are kept, each with what is wrong with it."
    try:
        return engine.answer(again)
    except (OutOfMemoryError, MemoryError):
        why = f"Out of memory while asking {count} answers again; {kept}"
    except EngineError as error:
        why = f"{count} answers could not be asked again ({error}); {kept}"
    engine.release()  # outside the handlers, when nothing holds the failed batch's tensors any more
    say(why)
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


def _better(firsts: tuple[Answer, ...], flaws: Mapping[int, str], seconds: Mapping[int, Answer]) -> tuple[Answer, ...]:
    """The first answers, by their place those that are none remarked on, or a second one there that is fine."""
    chosen = list(firsts)
    for place, why in flaws.items():
        chosen[place] = replace(firsts[place], remark=why)
        if place in seconds and _flaw(seconds[place]) is None:
            chosen[place] = replace(seconds[place], remark=ASKED_AGAIN)
    return tuple(chosen)
