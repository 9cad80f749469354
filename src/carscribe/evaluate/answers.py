"""The answers to be evaluated, out of a workspace: the model's own words, whatever people made of them since."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from carscribe.catalog.reading import KeptPhoto, asked_models, asked_recipes, kept_photos
from carscribe.catalog.workspace import Workspace
from carscribe.errors import InputError
from carscribe.records import Answer, JudgedAnswer, Language


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Asked:
    """A question in one language, and whether it is a choice."""

    recipe: str
    question: str
    language: Language
    choice: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """One answer as the model gave it, and to which question. The ids are the catalogue's."""

    answer: Answer
    asked: Asked
    priority: int
    answer_id: int
    condition_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredPhoto:
    """A photo with answers. `keys` and `locations` are those of all files that hold its bytes, the first one first."""

    sha256: str
    keys: tuple[str, ...]
    locations: tuple[str, ...]
    name: str | None
    kind: str | None
    answers: tuple[Said, ...]

    @property
    def key(self) -> str:
        """What it is called."""
        return self.keys[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """All answers of one model in one workspace. `models` are the names of those that gave them, mostly one."""

    workspace: str
    models: tuple[str, ...]
    recipes: tuple[str, ...]
    languages: tuple[Language, ...]
    photos: tuple[AnsweredPhoto, ...]

    @property
    def by_demo_model(self) -> bool:
        """Whether the demo model answered."""
        return "demo" in self.models

    def each(self) -> Iterator[tuple[AnsweredPhoto, Said]]:
        """Every answer with its photo."""
        for photo in self.photos:
            for said in photo.answers:
                yield photo, said


@dataclass(slots=True)
class _Draft:
    """A photo while its files come in."""

    photo: AnsweredPhoto
    keys: list[str] = field(default_factory=list)
    locations: list[str] = field(default_factory=list)


def gather(
    workspace: Workspace, *, recipe: str | None = None, languages: Sequence[Language] = (), model: str | None = None
) -> Answered:
    """Every answer of one model (None: of the last run), each photo once.

    Raises: InputError when nothing was asked, or no such recipe, language or model; WorkspaceError.
    """
    _check(workspace, recipe, languages, model)
    drafts: dict[str, _Draft] = {}
    models: dict[str, None] = {}
    asked: dict[Asked, Asked] = {}
    for kept in kept_photos(workspace, recipe=recipe, model=model):
        answers = _answers(kept, languages, asked)
        if kept.sha256 is None or not answers:
            continue
        models |= dict.fromkeys(origin.model for origin in kept.origins if origin)
        if kept.sha256 not in drafts:
            drafts[kept.sha256] = _Draft(_photo(kept, kept.sha256, answers))
        drafts[kept.sha256].keys.append(kept.file.key)
        drafts[kept.sha256].locations.append(kept.file.location)
    photos = tuple(
        replace(draft.photo, keys=tuple(draft.keys), locations=tuple(draft.locations)) for draft in drafts.values()
    )
    if not photos:
        raise InputError(
            f"No photo of {workspace.folder} has an answer to {recipe or 'its recipes'} yet. Run the same carscribe "
            "describe command to go on."
        )
    return Answered(
        workspace=str(workspace.folder),
        models=tuple(models),
        recipes=tuple(dict.fromkeys(each.recipe for each in asked)),
        languages=tuple(dict.fromkeys(each.language for each in asked)),
        photos=photos,
    )


def as_answered(said: Said) -> JudgedAnswer:
    """An answer for `compose`, as if nobody had judged it."""
    answer = said.answer
    return JudgedAnswer(
        recipe_id=answer.recipe_id,
        question_id=answer.question_id,
        language=answer.language,
        priority=said.priority,
        text=answer.text,
        answer=answer,
    )


def _photo(kept: KeptPhoto, sha256: str, answers: tuple[Said, ...]) -> AnsweredPhoto:
    metadata = kept.file.metadata
    return AnsweredPhoto(
        sha256=sha256, keys=(), locations=(), name=metadata.name, kind=metadata.kind, answers=answers
    )  # fmt: skip


def _answers(kept: KeptPhoto, languages: Sequence[Language], asked: dict[Asked, Asked]) -> tuple[Said, ...]:
    """The model's answers in some languages. `asked` holds one object for each question, however many photos."""
    found: list[Said] = []
    for judged, origin in zip(kept.answers, kept.origins, strict=True):
        if judged.answer is None or origin is None or (languages and judged.language not in languages):
            continue
        question = Asked(
            recipe=judged.recipe_id,
            question=judged.question_id,
            language=judged.language,
            choice=judged.answer.scores is not None,
        )
        found.append(
            Said(
                answer=judged.answer,
                asked=asked.setdefault(question, question),
                priority=judged.priority,
                answer_id=origin.answer_id,
                condition_id=origin.condition_id,
            )
        )
    return tuple(found)


def _check(workspace: Workspace, recipe: str | None, languages: Sequence[Language], model: str | None) -> None:
    folder, asked, models = workspace.folder, asked_recipes(workspace), asked_models(workspace)
    if not asked:
        raise InputError(f"Nothing was asked in {folder} yet: carscribe describe PHOTOS -w {folder}")
    if recipe is not None and recipe not in asked:
        raise InputError(f"Recipe {recipe!r} was not asked in {folder}, only {', '.join(asked)}.")
    spoken = dict.fromkeys(language for of in ([recipe] if recipe else asked) for language in asked[of])
    for language in languages:
        if language not in spoken:
            raise InputError(
                f"Nothing was asked in {language} in {folder}, only in {', '.join(spoken)}. Ask it: carscribe "
                f"describe PHOTOS -w {folder} --language {language}"
            )
    if model is not None and model not in models:
        raise InputError(f"No model {model!r} has answered in {folder}, only {', '.join(models)}.")
