"""The command line: a command parses, calls one function, prints. Nothing heavy is imported before a command runs.

Exit codes: 0 all photos answered; 1 the run could not start or go on; 2 the command line was wrong; 3 done, but some
photos were set aside; 130 interrupted.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from carscribe.records import PIXEL_LIMIT

SOME_SET_ASIDE = 3

app = typer.Typer(
    name="carscribe",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help is plain text: rich would take a third of its time
    help="Writes what an automotive designer needs to know about each photograph of a car.",
)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"carscribe {version('carscribe')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    pass


@app.command()
def describe(
    photos: Annotated[
        list[Path],
        typer.Argument(
            help="A folder, a photo, or a list of paths (.jsonl, .json, .csv, .tsv, .parquet); several too."
        ),
    ],
    metadata: Annotated[
        Path | None, typer.Option(help="What was crawled with the photos: name and kind, as JSON, JSONL, CSV or TSV.")
    ] = None,
    metadata_keys: Annotated[
        str | None,
        typer.Option(help="Which of its columns hold what, e.g. name=title,kind=segment,image=src.", metavar="MAP"),
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
        Path | None, typer.Option("--output", "-o", help="Where the JSON lines go. [default: descriptions.jsonl]")
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
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Describe only the first N photos.")] = None,
    exact_decode: Annotated[
        bool, typer.Option("--exact-decode", help="Decode JPEGs at full size instead of shrinking on load.")
    ] = False,
    pixel_limit: Annotated[int, typer.Option(min=1, help="Set aside photos with more pixels than this.")] = PIXEL_LIMIT,
    as_json: Annotated[
        bool, typer.Option("--json", help="JSON lines to standard output, nothing else there; no file unless -o.")
    ] = False,
) -> None:
    """Describe photographs of cars and write one JSON line a photo."""
    from carscribe.engines.choosing import open_engine
    from carscribe.errors import InputError
    from carscribe.output import JsonLines
    from carscribe.pipeline import ReadSettings, demo_texts, plan_run, run, write_report
    from carscribe.terminal import Terminal

    terminal = Terminal(quiet=as_json)
    keys = _keys(metadata_keys)
    if not photos:
        raise InputError("No photos were given.")
    plan = plan_run(
        photos,
        metadata=metadata,
        metadata_keys=keys,
        recipes=recipe or ["designer"],
        languages=language or ["en"],
        limit=limit,
        read=ReadSettings(max_tiles=max_tiles, pixel_limit=pixel_limit, exact_decode=exact_decode),
    )
    path = output or (None if as_json else Path("descriptions.jsonl"))
    with JsonLines(path, overwrite=overwrite, echo=as_json) as lines:
        terminal.show_plan(plan)
        if report:
            write_report(report, plan)
        with terminal.loading(model):
            engine = open_engine(
                model, demo_texts=demo_texts(), revision=revision, device=device, dtype=dtype, say=terminal.say
            )
        terminal.show_engine(engine.card)
        with terminal.progress(len(plan.files)) as seen:
            for result in run(plan, engine, terminal.say):
                lines.write(result, engine.card, plan.recipes)
                seen(result)
    terminal.show_results(plan, engine.card, path)
    if terminal.set_aside:
        raise typer.Exit(SOME_SET_ASIDE)


@app.command()
def recipes(
    as_json: Annotated[bool, typer.Option("--json", help="JSON to standard output.")] = False,
) -> None:
    """List the recipes that come with Carscribe, with their questions."""
    import json

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
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
        return
    for recipe in loaded:
        typer.echo(f"{recipe.id} (version {recipe.version}; {', '.join(recipe.languages)})")
        for question in recipe.questions:
            typer.echo(f"  {question.id}: {question.text[recipe.languages[0]]}")


def main() -> None:
    """Run the command line. Carscribe's own errors become one line; an interrupt says what is kept."""
    from carscribe.errors import CarscribeError

    try:
        app()
    except CarscribeError as error:
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _keys(text: str | None) -> dict[str, str] | None:
    """`name=title,image=src` as a mapping. Raises: InputError when it is not of that form."""
    from carscribe.errors import InputError

    if text is None:
        return None
    pairs = [part.partition("=") for part in text.split(",")]
    keys = {role.strip(): column.strip() for role, _, column in pairs}
    if not all(keys.values()) or not keys.keys() <= {"name", "kind", "image"} or len(keys) < len(pairs):
        raise InputError(
            f"--metadata-keys {text!r} should look like name=title,kind=segment,image=src: name, kind and image, each "
            "at most once, each with a column of the metadata file."
        )
    return keys
