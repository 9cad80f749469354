"""Choices asked again: in both orders, and of a picture that shows nothing. For `carscribe evaluate --probe`.

    answers of a workspace -> spread over photos -> [load what answered] -> a grey picture -> photos, in both orders
    └──────────────── plan_probe ─────────────┘      └── as_answered ─┘     └─────────────── probe ───────────────┘

A workspace is read here and never written: what is said now is about its answers, and none of them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from carscribe.batching import Ladder, Pending
from carscribe.catalog.asked import AskedChoice, asked_choices, conditions_of, most_pixels
from carscribe.catalog.entries import Condition
from carscribe.catalog.workspace import Workspace
from carscribe.engines import Engine
from carscribe.engines.checkpoint import weights_identity
from carscribe.engines.choosing import ModelChoice
from carscribe.errors import InputError, OutOfMemoryError
from carscribe.evaluate.answers import Answered, AnsweredPhoto, Asked, Said
from carscribe.evaluate.probes import PassedOver, Prior, Probed, ProbedAnswer
from carscribe.evaluate.reversing import reversed_text
from carscribe.pipeline import ModelRequest, ReadSettings, ask
from carscribe.records import PIXEL_LIMIT, Answer, PhotoFile, PhotoResult, Prompt, TiledPhoto

PROBED_PHOTOS = 100
"""Photos asked again when a user does not say how many: a share of so many is known to ten points either way."""

GREY = 128
"""The middle of a byte: a picture of it is as far from black as from white, and has no edge."""

WORDINGS_TOGETHER = 16
"""Questions asked beside one grey picture: with names in them, every photo has its own."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceToProbe:
    """A choice to be asked again of one photo. `reversed` is None where its words do not list the choices."""

    asked: Asked
    kept: Answer
    given: Prompt
    reversed: Prompt | None

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """What is asked, the order of the recipe first."""
        return (self.given,) if self.reversed is None else (self.given, self.reversed)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoToProbe:
    """A photo, as it was described, with the choices to be asked of it again."""

    file: PhotoFile
    sha256: str
    choices: tuple[ChoiceToProbe, ...]

    @property
    def prompts(self) -> tuple[Prompt, ...]:
        """All that is asked of it."""
        return tuple(prompt for choice in self.choices for prompt in choice.prompts)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePlan:
    """What is to be asked of what, under the `condition` of the answers it is about, known before a model is loaded.

    `grey_tiles` is the commonest number of tiles among the photos. `of_others` counts choices that another condition
    answered: these are not asked.
    """

    workspace: Path
    condition: Condition
    photos: tuple[PhotoToProbe, ...]
    grey_tiles: int
    read: ReadSettings
    of_others: int


def plan_probe(
    workspace: Workspace, answered: Answered, *, photos: int = PROBED_PHOTOS, first: Collection[str] = ()
) -> ProbePlan:
    """Each choice that the newest run's condition answered, with `photos` of its photos, spread evenly.

    Photos whose hash is in `first` (those with labels) are taken before others.

    Raises: InputError when there is no choice; WorkspaceError.
    """
    choices = [(photo, said) for photo, said in answered.each() if said.asked.choice]
    if not choices:
        raise InputError(
            f"No choice was answered in {workspace.folder}, and --probe asks choices again. Ask some, e.g. carscribe "
            f"describe PHOTOS -w {workspace.folder} --recipe designer, or leave out --probe."
        )
    conditions = conditions_of(workspace, {said.condition_id for _, said in choices})
    newest, condition = next(iter(conditions.items()))
    of_newest: dict[Asked, list[tuple[AnsweredPhoto, Said]]] = defaultdict(list)
    for photo, said in choices:
        if said.condition_id == newest:
            of_newest[said.asked].append((photo, said))
    taken = [each for group in of_newest.values() for each in _taken(group, photos, first)]
    as_asked = asked_choices(workspace, [said.answer_id for _, said in taken])
    return ProbePlan(
        workspace=workspace.folder,
        condition=condition,
        photos=tuple(_by_photo(taken, as_asked)),
        grey_tiles=Counter(each.tiles for each in as_asked.values()).most_common(1)[0][0],
        read=ReadSettings(max_tiles=condition.max_tiles, pixel_limit=max(PIXEL_LIMIT, most_pixels(workspace))),
        of_others=sum(said.condition_id != newest for _, said in choices),
    )


def as_answered(
    plan: ProbePlan, *, device: str | None = None, say: Callable[[str], None] = lambda _: None
) -> ModelChoice:
    """The model that answered, its weights looked at and not loaded: the same weights, adapter and commit, or none.

    Raises: InputError when it is not where it was, or is another one by now; CheckpointError, MissingExtraError.
    """
    condition = plan.condition
    model, adapter = Path(condition.model), condition.adapter_folder
    for folder in [model] * model.is_absolute() + [Path(adapter)] * bool(adapter):
        if not folder.is_dir():
            raise InputError(
                f"{folder}, which answered in {plan.workspace}, is not there any more. Put it back (a link will do), "
                "or leave out --probe."
            )
    kind, _, commit = condition.weights.partition(":")
    chosen = ModelRequest(
        model=condition.model,
        revision=commit if kind == "hub" and not model.is_dir() else None,
        device=device,
        dtype=condition.held or "auto",
        adapter=Path(adapter) if adapter else None,
    ).choose(say)
    weights = weights_identity(chosen.checkpoint, say)
    for part, now, then in (
        ("weights or settings", weights, condition.weights),
        ("adapter", chosen.adapter.identity if chosen.adapter else "", condition.adapter),
    ):
        if now != then:
            raise InputError(
                f"{condition.label} is not what answered in {plan.workspace}: its {part} changed since, and what it "
                f"says now tells nothing of those answers. Put the old ones back, or ask anew with carscribe describe "
                f"PHOTOS -w {plan.workspace}, or leave out --probe."
            )
    return chosen


def probe(
    plan: ProbePlan,
    engine: Engine,
    *,
    say: Callable[[str], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
    seen: Callable[[Sequence[PhotoResult]], None] = lambda _: None,
) -> Probed | None:
    """Ask everything of the plan; None when `stopped` said so before the end. `seen` gets photos as they are settled.

    Both orders of a choice are asked of a photo in one batch, so that nothing but the order is different. A photo that
    is gone, has changed or does not fit is passed over.

    Raises: OutOfMemoryError when not even the grey picture fits; EngineError.
    """
    priors = _priors(plan, engine, say)
    results: list[PhotoResult] = []

    def unchanged(pending: Pending) -> Pending | PhotoResult:
        if pending.photo.sha256 != plan.photos[pending.index].sha256:
            return pending.set_aside("has changed since it was described")
        return pending

    to_ask = ((index, photo.file, photo.prompts) for index, photo in enumerate(plan.photos))
    with closing(ask(to_ask, engine, plan.read, say=say, stopped=stopped, admit=unchanged)) as settled:
        for some in settled:
            seen(some)
            results += some
    if len(results) < len(plan.photos):
        return None
    results.sort(key=lambda result: result.index)
    return Probed(
        device=engine.card.hardware or engine.card.device,
        dtype=engine.card.dtype,
        grey_tiles=plan.grey_tiles,
        photos=sum(result.error is None for result in results),
        passed_over=tuple(
            PassedOver(photo=result.file.key, why=result.error) for result in results if result.error is not None
        ),
        of_others=plan.of_others,
        answers=tuple(
            answer
            for photo, result in zip(plan.photos, results, strict=True)
            if result.error is None
            for answer in _probed(photo, result.answers)
        ),
        priors=priors,
    )


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of them, as evenly as can be.

    >>> spread("abcdefgh", 3), spread("ab", 3), spread("ab", 0)
    (['a', 'c', 'f'], ['a', 'b'], [])
    """
    taken = min(count, len(items))
    return [items[place * len(items) // taken] for place in range(taken)]


def _taken(
    answers: Sequence[tuple[AnsweredPhoto, Said]], count: int, first: Collection[str]
) -> list[tuple[AnsweredPhoto, Said]]:
    """Answers of `count` photos: those of `first`, and of others what is left to fill."""
    preferred = spread([each for each in answers if each[0].sha256 in first], count)
    return preferred + spread([each for each in answers if each[0].sha256 not in first], count - len(preferred))


def _by_photo(taken: Iterable[tuple[AnsweredPhoto, Said]], as_asked: dict[int, AskedChoice]) -> Iterator[PhotoToProbe]:
    """Each photo once, with all that is asked of it."""
    photos: dict[str, AnsweredPhoto] = {}
    choices: dict[str, list[ChoiceToProbe]] = defaultdict(list)
    for photo, said in taken:
        photos[photo.sha256] = photo
        choices[photo.sha256].append(_choice(said, as_asked[said.answer_id]))
    for sha256, photo in photos.items():
        yield PhotoToProbe(file=_file(photo), sha256=sha256, choices=tuple(choices[sha256]))


def _file(photo: AnsweredPhoto) -> PhotoFile:
    """The first of a photo's files that is there; where none is, reading the first will say so."""
    named = list(zip(photo.keys, photo.locations, strict=True))
    key, location = next((each for each in named if Path(each[1]).exists()), named[0])
    return PhotoFile(location=location, key=key)


def _choice(said: Said, as_asked: AskedChoice) -> ChoiceToProbe:
    given = Prompt(
        recipe_id=said.asked.recipe,
        question_id=said.asked.question,
        language=said.asked.language,
        text=as_asked.text,
        max_new_tokens=0,
        choices=as_asked.choices,
    )
    text = reversed_text(as_asked.text, as_asked.choices)
    turned = None if text is None else replace(given, text=text, choices=as_asked.choices[::-1])
    return ChoiceToProbe(asked=said.asked, kept=said.answer, given=given, reversed=turned)


def _probed(photo: PhotoToProbe, answers: Iterable[Answer]) -> Iterator[ProbedAnswer]:
    """The answers to all prompts of a photo, two and two."""
    said = iter(answers)
    for choice in photo.choices:
        yield ProbedAnswer(
            sha256=photo.sha256,
            asked=choice.asked,
            text=choice.given.text,
            kept=choice.kept,
            given=next(said),
            reversed=next(said) if choice.reversed is not None else None,
        )


def _priors(plan: ProbePlan, engine: Engine, say: Callable[[str], None]) -> tuple[Prior, ...]:
    """What is said of a grey picture to each choice, in each of its wordings. Raises: OutOfMemoryError, EngineError."""
    asked = {choice.given: choice.asked for photo in plan.photos for choice in photo.choices}
    prompts = list(asked)
    pictures = [
        Pending(
            index=start,
            file=PhotoFile(location="", key="a grey picture"),
            photo=_grey(plan.grey_tiles, engine.tiling.tile_px),
            prompts=tuple(prompts[start : start + WORDINGS_TOGETHER]),
        )
        for start in range(0, len(prompts), WORDINGS_TOGETHER)
    ]
    ladder = Ladder(engine, lambda _, most: _grey(most if most == 1 else most + 1, engine.tiling.tile_px), say)
    found: dict[Prompt, Answer] = {}
    for result in (result for results in ladder.answer(pictures) for result in results):
        if result.error is not None:
            raise OutOfMemoryError(f"Not even a grey picture can be asked. {result.error}")
        found |= zip(prompts[result.index : result.index + len(result.answers)], result.answers, strict=True)
    return tuple(Prior(asked=asked[prompt], text=prompt.text, answer=found[prompt]) for prompt in prompts)


def _grey(tiles: int, tile_px: int) -> TiledPhoto:
    """A plain picture in so many tiles: however it is cut and resized, all of them are alike."""
    pixels = np.full((tiles, tile_px, tile_px, 3), GREY, np.uint8)
    return TiledPhoto(sha256="", width_px=tile_px, height_px=tile_px, tiles=pixels)
