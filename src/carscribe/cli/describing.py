"""`carscribe describe` and `carscribe recipes`."""

from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carscribe.cli.app import (
    INTERRUPTED,
    SOME_SET_ASIDE,
    AsJson,
    Dtype,
    MetadataFile,
    MetadataKeys,
    Photos,
    app,
    column_map,
    print_json,
)
from carscribe.records import PIXEL_LIMIT

if TYPE_CHECKING:
    from carscribe.engines import Engine
    from carscribe.engines.choosing import ModelChoice
    from carscribe.keeping import Job
    from carscribe.output import JsonLines
    from carscribe.pipeline import ModelRequest, RunPlan
    from carscribe.terminal.run import RunView

LENGTHS_OF = 1000
"""Descriptions that are composed to say how long they are."""

LENGTHS_BUDGET = "clip"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    """What is to be asked of a workspace beside what it lacks."""

    retry_failed: bool
    strict: bool
    ask_imported: bool


@app.command()
def describe(
    photos: Photos,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace", "-w", help="A folder that keeps every answer: stop and start at any moment, export later."
        ),
    ] = None,
    metadata: MetadataFile = None,
    metadata_keys: MetadataKeys = None,
    skip_flagged: Annotated[
        Path | None, typer.Option(help="Leave out what `carscribe check` flagged: the file of its --report.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Hub id or folder of an InternVL3 checkpoint, or demo. Left out: the largest that fits."),
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="designer, brief, detailed, or a TOML file of your own. May be given several times."),
    ] = None,
    language: Annotated[list[str] | None, typer.Option(help="en or ko. May be given several times.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Where JSON lines go. [default: descriptions.jsonl; none with -w]"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the output file if there is one.")] = False,
    report: Annotated[
        Path | None,
        typer.Option(help="Also write what was found before the run, as JSON: every row and photo without a partner."),
    ] = None,
    max_tiles: Annotated[
        int | None, typer.Option(min=1, help="The most tiles a photo is cut into, a thumbnail not counted.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N. Left out: a GPU when there is one.")] = None,
    dtype: Dtype = "auto",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="What `carscribe finetune` left for this model: the folder of the training.")
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile/--no-compile",
            help="On a GPU: compile the model's layers once a run turns out long. [default: on]",
            show_default=False,
        ),
    ] = True,
    limit: Annotated[int | None, typer.Option(min=1, help="Describe only the first N photos.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="With -w: try again what failed before.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="With -w: ask again what was answered in another dtype, on another GPU, …"),
    ] = False,
    ask_imported: Annotated[
        bool,
        typer.Option("--ask-imported", help="With -w: ask photos too whose caption was imported: see docs/import.md."),
    ] = False,
    exact_decode: Annotated[
        bool, typer.Option("--exact-decode", help="Decode JPEGs at full size instead of shrinking on load.")
    ] = False,
    pixel_limit: Annotated[int, typer.Option(min=1, help="Set aside photos with more pixels than this.")] = PIXEL_LIMIT,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines to standard output, nothing else there; no file unless -o.")
    ] = False,
) -> None:
    """Describe photographs of cars, into a workspace or as one JSON line a photo."""
    from carscribe.errors import InputError
    from carscribe.output import JsonLines
    from carscribe.pipeline import ModelRequest, ReadSettings, plan_run, write_report
    from carscribe.terminal.run import RunView
    from carscribe.terminal.screen import Screen

    if workspace is None and (retry_failed or strict or ask_imported):
        raise InputError(
            "--retry-failed, --strict and --ask-imported are about what a workspace holds: name one with -w."
        )
    view = RunView(Screen(quiet=as_json))
    plan = plan_run(
        photos,
        metadata=metadata,
        metadata_keys=column_map(metadata_keys),
        skip_flagged=skip_flagged,
        recipes=recipe or ["designer"],
        languages=language or ["en"],
        limit=limit,
        read=ReadSettings(max_tiles=max_tiles, pixel_limit=pixel_limit, exact_decode=exact_decode),
        compare_bytes=workspace is None,
    )
    request = ModelRequest(
        model=model, revision=revision, device=device, dtype=dtype, adapter=adapter, compiled=compiled
    )
    path = output or (None if as_json or workspace else Path("descriptions.jsonl"))
    with JsonLines(path, overwrite=overwrite, echo=as_json) as lines:
        view.show_plan(plan)
        if report:
            write_report(report, plan)
        if workspace is None:
            finished = _into_lines(view, plan, request, lines)
        else:
            wanted = _Wanted(retry_failed=retry_failed, strict=strict, ask_imported=ask_imported)
            finished = _into_workspace(view, plan, request, lines, workspace, wanted)
        if path:
            view.screen.row("Written", str(path))
    if not finished:
        raise typer.Exit(INTERRUPTED)
    if view.tally.failed:
        raise typer.Exit(SOME_SET_ASIDE)


def _into_lines(view: "RunView", plan: "RunPlan", request: "ModelRequest", lines: "JsonLines") -> bool:
    """Ask everything, and write a line a photo; whether it came to its end."""
    from carscribe.interrupts import finish_first
    from carscribe.pipeline import run

    engine = _load(view, request.choose(view.screen.say))
    view.show_engine(engine.card)
    with finish_first() as stopped, view.progress(len(plan.files)) as seen:
        for result in run(plan, engine, view.screen.say, stopped):
            lines.write(result, engine.card, plan.recipes)
            seen([result])
    view.show_results(plan, engine.card)
    view.show_sums(engine.peak_bytes)
    view.show_flagged(view.tally.flagged, "why: `flags` of their JSON lines")
    left = len(plan.files) - view.tally.photos
    if left:
        view.show_stopped(left, goes_on=False)
    return not left


def _into_workspace(
    view: "RunView",
    plan: "RunPlan",
    request: "ModelRequest",
    lines: "JsonLines",
    folder: Path,
    wanted: "_Wanted",
) -> bool:
    """Ask what the workspace lacks, and keep it; whether it came to its end."""
    from carscribe.catalog.workspace import write_workspace
    from carscribe.engines.choosing import ModelChoice
    from carscribe.interrupts import finish_first
    from carscribe.keeping import ask_missing, prepare, results_of
    from carscribe.pipeline import SAMPLE, count_tiles

    say = view.screen.say
    with write_workspace(folder, create=True, say=say) as workspace:
        job = prepare(
            *(workspace, plan, request),
            retry_failed=wanted.retry_failed,
            strict=wanted.strict,
            ask_imported=wanted.ask_imported,
            say=say,
            load=partial(_load, view),
        )
        view.show_work(job.work)
        if not job.work.asks:
            _write_lines(lines, job, None)
            failed = f"; {len(job.work.failed):,} photos failed before" if job.work.failed else ""
            say(f"Nothing to ask: every answer there can be is in {folder}{failed}.")
            _show_flagged(view, job)
            _show_next(view, folder)
            return True
        engine = _load(view, job.model) if isinstance(job.model, ModelChoice) else job.model
        view.show_engine(engine.card)
        tiles = count_tiles([each.file for each in job.work.asks.spread(SAMPLE)], engine.tiling, plan.read)
        if tiles:
            commonest = max(tiles, key=lambda count: tiles[count])
            view.show_batch(tiles, engine.plan_batch(commonest, job.work.asks[0].prompts))
        with (
            finish_first() as stopped,
            closing(ask_missing(job, engine, say=say, stopped=stopped)) as asked,
            view.progress(len(job.work.asks)) as seen,
        ):
            if lines.wanted:
                _write_lines(lines, job, (seen(results) or results for results in asked))
            else:
                for results in asked:
                    seen(results)
        view.show_results(plan, engine.card, partial(results_of, job))
        view.show_sums(engine.peak_bytes)
        _show_lengths(view, job)
        _show_flagged(view, job)
    left = len(job.work.asks) - view.tally.photos
    if left:
        view.show_stopped(left, goes_on=True)
    else:
        _show_next(view, folder)
    return not left


def _load(view: "RunView", choice: "ModelChoice") -> "Engine":
    """The engine, after its weights were fetched if they are not here."""
    view.screen.say(f"Loading {choice.name} …")
    with view.download(choice.name) as fetched:
        return choice.load(say=view.screen.say, progress=fetched)


def _write_lines(lines: "JsonLines", job: "Job", asked: Any) -> None:
    """A line for every photo of the plan, what was kept before among them; nothing where no lines are wanted."""
    from carscribe.keeping import card_of, in_order

    if lines.wanted:
        card = card_of(job)
        for result in in_order(job, asked):
            lines.write(result, card, job.plan.recipes)


def _show_lengths(view: "RunView", job: "Job") -> None:
    """How long the descriptions of this run's photos are for the commonest budget."""
    from carscribe.budgets.composing import compose
    from carscribe.budgets.counting import budget_of
    from carscribe.catalog.reading import kept_photos
    from carscribe.errors import InputError

    budget, language = budget_of(LENGTHS_BUDGET), job.plan.languages[0]
    if not budget.knows(language) and "en" not in job.plan.languages:
        return
    file_ids = [each.file_id for each in islice(job.work.asks, LENGTHS_OF)]
    photos = kept_photos(job.workspace, file_ids=file_ids, recipe=job.plan.recipes[0].id)
    described = []
    for photo in photos:
        with suppress(InputError):  # not asked yet in a language that can be used: no figure is worth an error
            described += [compose(photo.answers, budget, language=language)] if photo.answers else []
    view.show_lengths(described, budget.name, budget.limit)


def _show_flagged(view: "RunView", job: "Job") -> None:
    """How many photos of the workspace have a flag, whenever they were asked."""
    import shlex

    from carscribe.catalog.flagged import count_flagged
    from carscribe.flags import DOUBT

    folder = shlex.quote(str(job.workspace.folder))
    view.show_flagged(count_flagged(job.workspace, DOUBT), f"see: carscribe show {folder} --flagged")


def _show_next(view: "RunView", folder: Path) -> None:
    """What to type next."""
    import shlex

    name = shlex.quote(str(folder))
    view.screen.row("Workspace", f"{folder}")
    view.screen.row("Next", f"carscribe status {name}")
    view.screen.row("", f"carscribe export {name} --format kohya --budget clip --to captions")


@app.command()
def recipes(
    as_json: AsJson = False,
) -> None:
    """List the recipes that come with Carscribe, with their questions."""
    from carscribe.recipes.loading import load_recipe, shipped_recipes

    loaded = [load_recipe(name) for name in shipped_recipes()]
    if as_json:
        rows: list[dict[str, Any]] = [
            {
                "id": recipe.id,
                "version": recipe.version,
                "languages": list(recipe.languages),
                "questions": [
                    {"id": q.id, "text": dict(q.text), "choices": {k: list(v) for k, v in q.choices.items()}}
                    for q in recipe.questions
                ],
            }
            for recipe in loaded
        ]
        print_json(rows)
        return
    for recipe in loaded:
        typer.echo(f"{recipe.id} (version {recipe.version}; {', '.join(recipe.languages)})")
        for question in recipe.questions:
            typer.echo(f"  {question.id}: {question.text[recipe.languages[0]]}")
