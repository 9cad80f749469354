"""The typer application, and what its commands share."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

SOME_SET_ASIDE = 3
INTERRUPTED = 130

AsJson = Annotated[bool, typer.Option("--json", help="JSON to standard output.")]
Dtype = Annotated[
    str,
    typer.Option(help="auto, bfloat16, float16 or float32; or, never by itself, fp8, int8 or int4: quantised weights."),
]
Photos = Annotated[
    list[Path],
    typer.Argument(help="A folder, a photo, or a list of paths (.jsonl, .json, .csv, .tsv, .parquet); several too."),
]
MetadataFile = Annotated[
    Path | None, typer.Option(help="What was crawled with the photos: name and kind, as JSON, JSONL, CSV or TSV.")
]
MetadataKeys = Annotated[
    str | None,
    typer.Option(help="Which of its columns hold what, e.g. name=title,kind=segment,image=src.", metavar="MAP"),
]

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


def print_json(value: object) -> None:
    """A value as JSON on standard output, non-ASCII as it is."""
    import json

    typer.echo(json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8", "backslashreplace"))


def print_json_list(values: Iterable[object]) -> None:
    """A list as JSON, each value as it comes: a workspace may have a million of them."""
    import json

    before = "["
    for value in values:
        text = json.dumps(value, ensure_ascii=False, indent=1).replace("\n", "\n ")
        typer.echo(f"{before}\n {text}".encode("utf-8", "backslashreplace"), nl=False)
        before = ","
    typer.echo("[]" if before == "[" else "\n]")


def column_map(text: str | None) -> dict[str, str] | None:
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
