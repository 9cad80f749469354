"""What is done with a workspace: status, show, correct; and fit, which needs none."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carscribe.cli.app import AsJson, app, print_json, print_json_list

if TYPE_CHECKING:
    from carscribe.catalog.workspace import Workspace
    from carscribe.exporting import Wish
    from carscribe.records import Description
    from carscribe.terminal.screen import Screen

Folder = Annotated[Path, typer.Argument(metavar="WORKSPACE", help="The folder given to describe with -w.")]
Budget = Annotated[
    str,
    typer.Option(
        help="clip, clip-150, clip-225, t5-128, t5-256, t5-512 or none; a model's: qwen-image, qwen-image-1024, "
        "z-image, flux2, flux2-klein, sana, lumina2, hidream, umt5-512; or FILE:LIMIT with any tokenizer.json."
    ),
]
Tokenizer = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="The tokenizer.json, or a folder with it, that a model's budget counts with. Left out: the Hugging Face "
        "cache's.",
    ),
]
Prefix = Annotated[str, typer.Option(help="Stands before the phrases, whole.")]
Suffix = Annotated[str, typer.Option(help="Stands after the phrases, whole.")]
Trigger = Annotated[str, typer.Option(help="A trigger word: stands first of all.")]
Force = Annotated[
    bool, typer.Option("--force-language", help="Keep a language that the text encoder hardly knows, such as Korean.")
]
RecipeName = Annotated[str | None, typer.Option(help="Which recipe's answers. Left out: the last one asked.")]
LanguageName = Annotated[str | None, typer.Option(help="en or ko. Left out: en where there is one.")]
ModelName = Annotated[str | None, typer.Option(help="Which model's answers. Left out: those of the last run.")]


@app.command()
def status(workspace: Folder, as_json: AsJson = False) -> None:
    """Say how far a workspace is."""
    from carscribe.catalog.flagged import count_flagged
    from carscribe.catalog.locking import writer_of
    from carscribe.catalog.status import status_of
    from carscribe.catalog.workspace import read_workspace
    from carscribe.flags import DOUBT
    from carscribe.terminal.kept import show_status, status_json
    from carscribe.terminal.screen import Screen

    with read_workspace(workspace) as opened:
        found, flagged = status_of(opened), count_flagged(opened, DOUBT)
        writer = writer_of(workspace, network=opened.mount.network)
    if as_json:
        print_json(status_json(found, flagged, writer))
    else:
        show_status(Screen(), workspace, found, flagged, writer)


@app.command()
def show(
    workspace: Folder,
    photo: Annotated[
        str | None, typer.Argument(help="A photo's name or path, a part of it, or its hash. Not with --flagged.")
    ] = None,
    flagged: Annotated[
        bool,
        typer.Option("--flagged", help="The photos with a choice that is against the crawled kind or unsure, and why."),
    ] = False,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --flagged: at most so many photos. [default: 30; all with --json]")
    ] = None,
    budget: Budget = "clip",
    tokenizer: Tokenizer = None,
    recipe: RecipeName = None,
    language: LanguageName = None,
    model: ModelName = None,
    as_json: AsJson = False,
) -> None:
    """Show what is known of a photo, and the description composed of it; or which photos are flagged."""
    from carscribe.catalog.workspace import read_workspace
    from carscribe.errors import InputError

    if flagged == (photo is not None):
        raise InputError(f"Name a photo, or give --flagged, and not both: carscribe show {workspace} PHOTO")
    if limit is not None and not flagged:
        raise InputError("--limit is for --flagged: how many flagged photos to show.")
    with read_workspace(workspace) as opened:
        check_model(opened, model)
        if photo is not None:
            _show_photo(opened, photo, budget, tokenizer, recipe, language, model, as_json=as_json)
        else:
            _show_flagged(opened, limit, recipe, language, model, as_json=as_json)


def _show_photo(
    opened: "Workspace",
    photo: str,
    budget: str,
    tokenizer: Path | None,
    recipe: str | None,
    language: str | None,
    model: str | None,
    *,
    as_json: bool,
) -> None:
    from carscribe.budgets.counting import budget_of
    from carscribe.catalog.reading import find_files, kept_photos
    from carscribe.errors import InputError
    from carscribe.exporting import Wish, wish_for
    from carscribe.terminal.kept import photo_json, show_photo
    from carscribe.terminal.screen import Screen

    limit = budget_of(budget, tokenizer)
    screen = Screen(quiet=as_json)
    found = find_files(opened, photo)
    if not found:
        raise InputError(
            f"No photo in {opened.folder} answers to {photo!r}. Its photos: carscribe export … --format csv"
        )
    if len(found) > 1:
        screen.warn(f"{len(found)} photos answer to {photo!r}; this is the first. Others: {_some(found[1:])}")
    chosen, of_language = wish_for(opened, recipe, language)
    (kept,) = kept_photos(opened, file_ids=[found[0][0]], recipe=recipe, model=model)
    wish = Wish(recipe=chosen, language=of_language, budget=limit)
    answers = tuple(answer for answer in kept.answers if answer.recipe_id == chosen)
    description = _try_to_describe(screen, answers, wish)
    if as_json:
        print_json(photo_json(kept, description))
    else:
        show_photo(screen, kept, description)


def _show_flagged(
    opened: "Workspace",
    limit: int | None,
    recipe: str | None,
    language: str | None,
    model: str | None,
    *,
    as_json: bool,
) -> None:
    from carscribe.catalog.flagged import flagged_files
    from carscribe.exporting import wish_for
    from carscribe.flags import DOUBT, flagged_photos
    from carscribe.terminal.flagged import FLAGGED_SHOWN, flagged_json, show_flagged
    from carscribe.terminal.screen import Screen

    if recipe or language:
        wish_for(opened, recipe, language)  # whether they were asked
    file_ids = flagged_files(opened, DOUBT, recipe=recipe, language=language, model=model)
    shown = file_ids[: limit or (None if as_json else FLAGGED_SHOWN)]
    photos = flagged_photos(opened, shown, recipe=recipe, language=language, model=model)
    if as_json:
        print_json_list(map(flagged_json, photos))
    else:
        show_flagged(Screen(), opened.folder, photos, len(file_ids))


@app.command()
def correct(
    workspace: Folder,
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON, JSONL, CSV or TSV with photo, question, verdict (approved, edited, rejected), text, …"
        ),
    ],
    author: Annotated[str | None, typer.Option(help="Who says so, where the file does not.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take verdicts and corrections from a file. They outlive every later run."""
    from carscribe.catalog.verdicts import VerdictRow
    from carscribe.catalog.verdicts import correct as take
    from carscribe.catalog.workspace import write_workspace
    from carscribe.errors import MetadataError, VerdictsError
    from carscribe.photos.rows import plain_text
    from carscribe.photos.tables import as_one_row, read_table
    from carscribe.terminal.screen import Screen

    screen = Screen(quiet=as_json)
    try:
        table = as_one_row(read_table(file))
    except MetadataError as error:
        raise VerdictsError(str(error)) from None
    if not table:
        raise VerdictsError(f"{file} has no rows.")
    rows = [
        VerdictRow(where=row.where, values={key.strip(): plain_text(value) or "" for key, value in row.fields.items()})
        for row in table
    ]
    with write_workspace(workspace, create=False, say=screen.say) as opened:
        corrected = take(opened, rows, author=author)
    if as_json:
        print_json({"taken": dict(corrected.taken), "same": corrected.same})
        return
    taken = ", ".join(f"{count:,} {decision}" for decision, count in sorted(corrected.taken.items()))
    same = f"; {corrected.same:,} said what counted already" if corrected.same else ""
    screen.result("Taken", f"{taken or 'nothing new'}{same}")


@app.command()
def fit(
    text: Annotated[str, typer.Argument(help="The text; - reads it from standard input.")],
    budget: Budget = "clip",
    tokenizer: Tokenizer = None,
    prefix: Prefix = "",
    suffix: Suffix = "",
    trigger: Trigger = "",
    as_json: AsJson = False,
) -> None:
    """Make a text fit a text encoder: whole phrases, the first ones first, nothing said twice."""
    import sys
    from dataclasses import asdict

    from carscribe.budgets import composing
    from carscribe.budgets.counting import budget_of
    from carscribe.budgets.languages import text_warning
    from carscribe.terminal.screen import Screen

    limit = budget_of(budget, tokenizer)
    given = sys.stdin.read() if text == "-" else text
    screen = Screen(quiet=as_json)
    if warning := text_warning(limit, given):
        screen.warn(warning)
    description = composing.fit(given, limit, prefix=prefix, suffix=suffix, trigger=trigger)
    if as_json:
        print_json(asdict(description) | {"limit": limit.limit})
        return
    typer.echo(description.text)
    counted = "" if description.tokens is None else f"{description.tokens} of {limit.limit} tokens; "
    screen.row(limit.name, f"{counted}left out: {', '.join(description.dropped) or 'nothing'}")
    if description.repeated:
        screen.row("", f"said already: {', '.join(description.repeated)}")


def check_model(workspace: "Workspace", model: str | None) -> None:
    """Raises: InputError for a model that has not answered."""
    from carscribe.catalog.reading import asked_models
    from carscribe.errors import InputError

    if model is not None and model not in (known := asked_models(workspace)):
        raise InputError(f"No model {model!r} has answered in {workspace.folder}, only {', '.join(known)}.")


def _try_to_describe(screen: "Screen", answers: tuple[Any, ...], wish: "Wish") -> "Description | None":
    from carscribe.errors import InputError
    from carscribe.exporting import describe_as

    if not answers:
        return None
    try:
        return describe_as(answers, wish)
    except InputError as error:
        screen.warn(str(error))
        return None


def _some(found: list[tuple[int, str]]) -> str:
    return ", ".join(key for _, key in found[:5]) + (" …" if len(found) > 5 else "")
