"""An engine whose answers are written down, and a workspace of photos that are known by a number."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from fakes import FakeEngine
from PIL import Image

import carscribe
from carscribe.records import Answer, EngineCard, Prompt, Request

Script = Mapping[tuple[int, str, str], str | Mapping[str, float]]
"""(photo, question, language) -> the text of an open answer, or the scores of a choice by its words."""


class ScriptedEngine(FakeEngine):
    """Answers what is written; what is not, with an empty text or the first choice."""

    def __init__(
        self,
        script: Script,
        *,
        model: str = "scripted",
        cut: frozenset[tuple[int, str]] = frozenset(),
        masses: Mapping[tuple[int, str], float] | None = None,
    ) -> None:
        super().__init__()
        self.script, self.cut = script, cut
        self.masses = masses or {}
        """(photo, question) -> the mass of a choice; 0.9 of the others."""
        self.card = EngineCard(model=model, revision=None, device="cpu", dtype="float32", weights=model)

    def answer(self, requests: Sequence[Request]) -> list[tuple[Answer, ...]]:
        return [tuple(self._one(_number(request), prompt) for prompt in request.prompts) for request in requests]

    def _one(self, photo: int, prompt: Prompt) -> Answer:
        said = self.script.get((photo, prompt.question_id, prompt.language), "")
        scores = None
        if prompt.choices:
            given = said if isinstance(said, Mapping) else {said or prompt.choices[0]: 1.0}
            rest = (1 - sum(given.values())) / max(1, len(prompt.choices) - len(given))
            scores = {choice: given.get(choice, rest) for choice in prompt.choices}
            said = max(scores, key=scores.__getitem__)
        return Answer(
            recipe_id=prompt.recipe_id,
            question_id=prompt.question_id,
            language=prompt.language,
            text=str(said),
            tokens=len(str(said).split()),
            finish="choice" if scores else "length" if (photo, prompt.question_id) in self.cut else "stop",
            scores=scores,
            mass=self.masses.get((photo, prompt.question_id), 0.9) if scores else None,
        )


def _number(request: Request) -> int:
    """A photo's number: its colour, as it was painted."""
    red, green, blue = (round(float(v) / 8) for v in request.tiles[0].reshape(-1, 3).mean(axis=0))
    return red + 30 * green + 900 * blue


def paint_photos(folder: Path, count: int) -> Path:
    """`count` photos of one colour each, called `car-0.png` and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        colour = (8 * (number % 30), 8 * (number // 30 % 30), 8 * (number // 900))
        Image.fromarray(np.full((28, 28, 3), colour, np.uint8)).save(folder / f"car-{number}.png")
    return folder


def scripted_workspace(
    folder: Path,
    script: Script,
    *,
    photos: int,
    name: str = "workspace",
    model: str = "scripted",
    cut: frozenset[tuple[int, str]] = frozenset(),
    **options: object,
) -> Path:
    """`folder`/name, asked `designer` in both languages about `folder`/photos."""
    if not (folder / "photos").exists():
        paint_photos(folder / "photos", photos)
    engine = ScriptedEngine(script, model=model, cut=cut)
    chosen: dict[str, object] = {"recipes": ["designer"], "languages": ["en", "ko"], "engine": engine} | options
    describe: Callable[..., object] = carscribe.describe
    for _ in describe(folder / "photos", workspace=folder / name, **chosen):  # type: ignore[attr-defined]
        pass
    return folder / name
