"""The pipeline with a workspace: ask only what it lacks, keep every answer as it comes.

    plan_run -> what is wanted -> less what is known -> [load the model] -> ask -> keep -> one result a photo
                └──────────── catalog.planning ────┘                      └─ catalog.writing

The model is loaded only when something is to be asked of it.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from carscribe.batching import Pending
from carscribe.catalog.database import PAGE
from carscribe.catalog.entries import Condition, Provenance
from carscribe.catalog.files import ids_of
from carscribe.catalog.planning import plan_work
from carscribe.catalog.reading import KeptPhoto, kept_photos
from carscribe.catalog.remembering import KnownPhotos, knows_metadata
from carscribe.catalog.status import RunEntry, last_run
from carscribe.catalog.work import Ask, Work
from carscribe.catalog.workspace import Workspace, write_workspace
from carscribe.catalog.writing import Outcome, RunWriter
from carscribe.engines import Engine
from carscribe.engines.checkpoint import weights_identity
from carscribe.engines.choosing import ModelChoice
from carscribe.errors import WorkspaceError
from carscribe.flags import flags_of_photo
from carscribe.memory import held_of
from carscribe.photos.tiles import choose_grid
from carscribe.pipeline import ModelRequest, Prompter, ReadSettings, RunPlan, ask, tiling_for
from carscribe.records import Answer, EngineCard, JudgedAnswer, PhotoFile, PhotoResult, Prompt
from carscribe.tally import Tally

HELD = 256
"""Photos that turned out to be known, or unreadable, and are written down together."""


def _nothing(_: str) -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A run over a workspace: what is wanted, what of it is missing, and what will answer, not loaded yet."""

    plan: RunPlan
    workspace: Workspace
    work: Work
    model: ModelChoice | Engine
    weights: str
    strict: bool

    @property
    def settings(self) -> str:
        """How photos are read, as far as it decides whether they can be."""
        return _settings(self.plan.read)


def describe_into(
    folder: Path,
    plan: RunPlan,
    model: ModelRequest | Engine,
    *,
    retry_failed: bool = False,
    strict: bool = False,
    ask_imported: bool = False,
) -> Iterator[PhotoResult]:
    """One result a photo in the plan's order, from the workspace in `folder`, which is filled on the way.

    Raises: as `carscribe.describe`.
    """
    with write_workspace(folder, create=True) as workspace:
        job = prepare(workspace, plan, model, retry_failed=retry_failed, strict=strict, ask_imported=ask_imported)
        asked: Generator[list[PhotoResult], None, None] | None = None
        if job.work.asks:
            engine = job.model.load() if isinstance(job.model, ModelChoice) else job.model
            asked = ask_missing(job, engine)
        yield from in_order(job, asked)


def prepare(
    workspace: Workspace,
    plan: RunPlan,
    model: ModelRequest | Engine,
    *,
    retry_failed: bool = False,
    strict: bool = False,
    ask_imported: bool = False,
    say: Callable[[str], None] = _nothing,
    load: Callable[[ModelChoice], Engine] = ModelChoice.load,
) -> Job:
    """Find what is missing, and note it as a run. A workspace goes on with its last model unless another is named, and
    with the names and kinds that it has where the run brings no metadata.

    When `strict`, the engine is loaded with `load` first: only it knows how its answers would come about. What was
    imported is an answer like any other, save when `ask_imported`.

    Raises: InputError, CheckpointError, WorkspaceError.
    """
    chosen: ModelChoice | Engine
    if isinstance(model, ModelRequest):
        before = last_run(workspace)
        if before is not None:
            model = _as_before(model, before, say)
        chosen = model.choose(say)
        tiling, reserved = chosen.checkpoint.tiling, chosen.checkpoint.reserved
        name, weights = chosen.name, weights_identity(chosen.checkpoint, say)
        if chosen.checkpoint.revision is None and not chosen.is_demo:
            name = str(chosen.checkpoint.folder.absolute())  # to be found again from another folder
        card, held = _card_unloaded(chosen, weights), held_of(chosen.dtype)
    else:
        chosen, tiling, reserved, name, card = model, model.tiling, model.reserved, model.card.model, model.card
        weights, held = card.weights or f"name:{name}@{card.revision or ''}", held_of(card.dtype)
    same_provenance = None
    if strict:
        if isinstance(chosen, ModelChoice):
            chosen = load(chosen)
        same_provenance = provenance_of(chosen.card, plan.read)
    plan = _with_known_metadata(workspace, plan, say)
    prompter = Prompter(plan.recipes, plan.languages, reserved)
    condition = Condition(
        weights=weights,
        model=name,
        max_tiles=tiling_for(tiling, plan.read.max_tiles).max_tiles,
        held=held or "",
        adapter=card.adapter,
        adapter_folder=card.adapter_folder,
    )
    work = plan_work(
        workspace,
        plan.files,
        prompter.sets,
        condition,
        settings=_settings(plan.read),
        retry_failed=retry_failed,
        strict=same_provenance,
        ask_imported=ask_imported,
        say=say,
    )
    return Job(plan=plan, workspace=workspace, work=work, model=chosen, weights=weights, strict=strict)


def _as_before(model: ModelRequest, before: RunEntry, say: Callable[[str], None]) -> ModelRequest:
    """The model of the last run unless another is named; of the same one the same commit, whatever is newer by now."""
    if model.model is None:
        with_ = f" with {before.adapter}" if before.adapter and model.adapter is None else ""
        held = before.held if model.dtype == "auto" else ""
        in_, or_dtype = (f" in {held}", " or --dtype") if held else ("", "")
        say(f"{before.model}{with_}{in_}, as in the last run of this workspace. Another: --model{or_dtype}.")
        adapter = model.adapter or (Path(before.adapter) if before.adapter else None)
        model = replace(model, model=before.model, adapter=adapter, dtype=held or model.dtype)
    kind, _, commit = before.weights.partition(":")
    of_hub = kind == "hub" and not Path(before.model).is_dir()  # a hub's snapshot may be named by its folder too
    if model.model == before.model and model.revision is None and of_hub:
        say(f"Commit {commit[:12]}, as in the last run of this workspace. Another: --revision, e.g. --revision main.")
        model = replace(model, revision=commit)
    return model


def _with_known_metadata(workspace: Workspace, plan: RunPlan, say: Callable[[str], None]) -> RunPlan:
    if plan.metadata_match is not None or not knows_metadata(workspace):
        return plan
    say("Photos keep the names and kinds that the workspace has of them. Others: --metadata FILE.")
    return replace(plan, files=KnownPhotos(workspace, plan.files))


def ask_missing(
    job: Job,
    engine: Engine,
    *,
    say: Callable[[str], None] = _nothing,
    stopped: Callable[[], bool] = lambda: False,
) -> Generator[list[PhotoResult], None, None]:
    """Ask what is missing; results as they are settled, each in the catalogue before it is yielded.

    A result has the new answers only. However this ends, the run's end is noted.

    Raises: EngineError; WorkspaceError.
    """
    writer = RunWriter(
        job.workspace,
        job.work,
        provenance_of(engine.card, job.plan.read),
        settings=job.settings,
        strict=job.strict,
    )
    file_ids: dict[int, int] = {}
    asked: dict[int, tuple[Prompt, ...]] = {}
    leaders: dict[str, int] = {}
    tally = Tally()
    state = "failed"

    def admit(pending: Pending) -> Pending | PhotoResult:
        missing = writer.missing(pending.photo.sha256, pending.prompts)
        asked[pending.index] = missing
        if not missing:
            return pending.answered(())
        leaders.setdefault(pending.photo.sha256, pending.index)
        return replace(pending, prompts=missing)

    def outcome(result: PhotoResult) -> Outcome:
        prompts = asked.pop(result.index, None)
        return Outcome(
            result=result,
            file_id=file_ids.pop(result.index),
            asked=prompts or (),
            asked_tiles=_asked_tiles(result, engine, job.plan.read),
            reading_failed=prompts is None,
        )

    def begin(each: Ask) -> tuple[int, PhotoFile, tuple[Prompt, ...]]:
        file_ids[each.index] = each.file_id
        return each.index, each.file, each.prompts

    try:
        to_ask = map(begin, job.work.asks)
        with closing(ask(to_ask, engine, job.plan.read, say=say, stopped=stopped, admit=admit)) as settled:
            for results in _in_batches(_behind_their_leaders(settled, leaders)):
                writer.keep([outcome(result) for result in results])
                tally.add(results)
                yield results
        state = "stopped" if tally.photos < len(job.work.asks) else "done"
    except (GeneratorExit, KeyboardInterrupt):
        state = "stopped"
        raise
    finally:
        more = {"catalog_seconds": round(writer.seconds, 3), "peak_bytes": engine.peak_bytes}
        with suppress(WorkspaceError) if state == "failed" else nullcontext():  # what failed first is what is told
            writer.close(state, tally.figures() | more)


def _behind_their_leaders(settled: Iterable[list[PhotoResult]], leaders: dict[str, int]) -> Iterator[list[PhotoResult]]:
    """Results as they come, save that a photo waits for the one that is asked in its stead, and shares its failure.

    `leaders` has, by hash, the photo that is being asked; one that was settled is taken out here.
    """
    waiting: dict[str, list[PhotoResult]] = {}
    failures: dict[str, str] = {}
    for results in settled:
        ready: list[PhotoResult] = []
        for result in results:
            sha256 = result.sha256 or ""
            if sha256 in leaders and not result.answers and result.error is None:
                waiting.setdefault(sha256, []).append(result)
                continue
            if sha256 in failures and not result.answers:  # settled before its leader's failure was written down
                result = replace(result, error=result.error or failures[sha256])
            ready.append(result)
            if leaders.get(sha256) == result.index:
                del leaders[sha256]
                ready += [replace(twin, error=result.error) for twin in waiting.pop(sha256, [])]
                if result.error is not None:
                    failures[sha256] = result.error
        if ready:
            yield ready


def _in_batches(settled: Iterable[list[PhotoResult]]) -> Iterator[list[PhotoResult]]:
    """Results as they come, save that those which took no engine wait for the next that did: a transaction costs."""
    held: list[PhotoResult] = []
    for results in settled:
        held += results
        if len(held) >= HELD or any(result.answers for result in results):
            yield held
            held = []
    if held:
        yield held


def in_order(job: Job, asked: Generator[list[PhotoResult], None, None] | None) -> Iterator[PhotoResult]:
    """One result for every photo of the plan, in its order, all of its answers in it; ends early when `asked` does."""
    waiting = bytearray(len(job.plan.files))
    for index in job.work.asks.indexes:
        waiting[index] = True
    ready: list[int] = []
    try:
        for index in range(len(job.plan.files)):
            while waiting[index]:
                if ready:
                    yield from results_of(job, ready)
                    ready.clear()
                settled = next(asked, None) if asked else None
                if settled is None:
                    return
                for result in settled:
                    waiting[result.index] = False
            ready.append(index)
            if len(ready) == PAGE:
                yield from results_of(job, ready)
                ready.clear()
        for _ in asked or ():  # to its end, where the run is closed
            pass
        yield from results_of(job, ready)
    finally:
        if asked:
            asked.close()


def results_of(job: Job, indexes: Sequence[int]) -> Iterator[PhotoResult]:
    """What the catalogue knows of some photos of the plan, in the order given: answers of earlier runs among them."""
    files = job.plan.files.at(indexes)
    ids = ids_of(job.workspace, job.work.paths, files)
    kept = {photo.file_id: photo for photo in kept_photos(job.workspace, file_ids=ids)}
    for index, file, file_id in zip(indexes, files, ids, strict=True):
        yield _result(job, index, file, kept[file_id])


def _result(job: Job, index: int, file: PhotoFile, photo: KeptPhoto) -> PhotoResult:
    wanted = {(recipe.id, language) for recipe in job.plan.recipes for language in job.plan.languages}
    answers = tuple(
        answer
        for judged in photo.answers
        if (judged.recipe_id, judged.language) in wanted and (answer := counting_answer(judged))
    )
    flags = tuple(flag for flag in flags_of_photo(photo) if (flag.recipe_id, flag.language) in wanted)
    error = None
    if any((recipe, language) in wanted for recipe, _, language in photo.missing):
        error = photo.failure or "has the same bytes as a photo that was set aside"
    return PhotoResult(
        index=index,
        file=file,
        sha256=photo.sha256,
        width_px=photo.width_px,
        height_px=photo.height_px,
        tiles=photo.tiles,
        answers=() if error else answers,
        flags=() if error else flags,
        error=error,
        dtype=" and ".join(sorted({origin.dtype for origin in photo.origins if origin and origin.dtype})) or None,
    )


def counting_answer(judged: JudgedAnswer) -> Answer | None:
    """An answer with the text that counts, a person's where there is one; None when it was rejected.

    What is remarked on an answer is settled when a person has judged it.
    """
    if judged.text is None:
        return None
    if judged.answer is not None:
        return replace(judged.answer, text=judged.text, remark="" if judged.verdict else judged.answer.remark)
    return Answer(
        recipe_id=judged.recipe_id,
        question_id=judged.question_id,
        language=judged.language,
        text=judged.text,
        tokens=0,
        finish="stop",
    )


def card_of(job: Job) -> EngineCard:
    """What answers, as far as it is known while no weights are loaded: without device and dtype."""
    return _card_unloaded(job.model, job.weights) if isinstance(job.model, ModelChoice) else job.model.card


def _card_unloaded(choice: ModelChoice, weights: str) -> EngineCard:
    return EngineCard(
        model=choice.name,
        revision=choice.checkpoint.revision,
        device="",
        dtype="",
        weights=weights,
        adapter=choice.adapter.identity if choice.adapter else "",
        adapter_folder=str(choice.adapter.folder) if choice.adapter else "",
    )


def provenance_of(card: EngineCard, read: ReadSettings) -> Provenance:
    """How answers by this engine come about."""
    versions = dict(card.versions) | ({"decode": "exact"} if read.exact_decode else {})
    return Provenance(dtype=card.dtype, device=card.hardware or card.device, versions=versions)


def _asked_tiles(result: PhotoResult, engine: Engine, read: ReadSettings) -> int:
    """How many tiles the photo would be cut into if memory allowed; 0 for one that could not be read."""
    if result.width_px is None or result.height_px is None:
        return 0
    return choose_grid(result.width_px, result.height_px, tiling_for(engine.tiling, read.max_tiles)).tiles


def _settings(read: ReadSettings) -> str:
    return f"pixel_limit={read.pixel_limit}"
