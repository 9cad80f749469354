"""`carscribe import photos` and `carscribe import captions`."""

from pathlib import Path
from typing import Annotated

import typer

from carscribe.cli.app import INTERRUPTED, SOME_SET_ASIDE, AsJson, MetadataKeys, app, column_map, print_json

importing = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Take in what other tools made: photos out of tar shards, Arrow and Parquet; captions as answers.",
)
app.add_typer(importing, name="import")


@importing.command()
def photos(
    shards: Annotated[
        list[Path],
        typer.Argument(help="Tar shards, Parquet or Arrow files, folders of them, a dataset that was saved to disk."),
    ],
    to: Annotated[Path, typer.Option("--to", help="A new folder for images/ and cars.jsonl, or one to go on with.")],
    metadata_keys: Annotated[
        str | None,
        typer.Option(help="Which of their fields hold what, e.g. name=title,kind=label.", metavar="MAP"),
    ] = None,
    image: Annotated[
        str | None, typer.Option(help="The column of photos, where a table has several.", metavar="COLUMN")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take photos out of tar shards (webdataset), Parquet, Arrow or a saved dataset, with all that is said of them."""
    from carscribe.importing.unpacking import import_photos
    from carscribe.interrupts import finish_first
    from carscribe.terminal.imported import counted, photos_json, show_photos
    from carscribe.terminal.screen import Screen

    screen = Screen(quiet=as_json)
    with finish_first(b"\nStopping. Ctrl-C once more stops at once.\n") as stopped, counted(screen, "samples") as seen:
        found = import_photos(shards, to, keys=column_map(metadata_keys), image=image, seen=seen, stopped=stopped)
    if as_json:
        print_json(photos_json(found))
    else:
        show_photos(screen, found)
    if not found.finished:
        raise typer.Exit(INTERRUPTED)
    if any((found.left_out.damaged.count, found.left_out.occupied.count, found.left_out.no_photo.count)):
        raise typer.Exit(SOME_SET_ASIDE)


@importing.command()
def captions(
    photos: Annotated[
        Path, typer.Argument(help="The folder of the photos, or a table of photos with captions (.jsonl, .csv, …).")
    ],
    workspace: Annotated[
        Path, typer.Option("--workspace", "-w", help="The workspace that the captions go into; made if there is none.")
    ],
    captions_at: Annotated[
        Path | None,
        typer.Option(
            "--captions",
            help="A table with image and caption, or a folder of .txt and .caption files. Left out: beside the photos.",
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from", help="What made them, e.g. taggui or joycaption. Left out: kohya, imagefolder, csv or jsonl."
        ),
    ] = None,
    recipe: Annotated[str, typer.Option(help="The recipe that they answer, or a TOML file of your own.")] = "brief",
    question: Annotated[
        str | None, typer.Option(help="The question that they answer. Left out: the recipe's only one.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="en or ko. Left out: ko for a caption in Hangul, else en.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="The column of a table that holds the captions.")] = None,
    metadata_keys: MetadataKeys = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Take captions in place of others that were imported before.")
    ] = False,
    approved: Annotated[
        bool, typer.Option("--approved", help="A person has read them: take them as approved answers.")
    ] = False,
    author: Annotated[str | None, typer.Option(help="Who approved them.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take captions as answers: kohya, TagGUI and JoyCaption texts, imagefolder, CSV, JSON lines, Parquet."""
    from carscribe.catalog.workspace import write_workspace
    from carscribe.errors import InputError
    from carscribe.importing.captions import find_captions
    from carscribe.importing.taking import CaptionRequest, look_ahead, take_captions
    from carscribe.interrupts import finish_first
    from carscribe.terminal.imported import captions_json, counted, show_captions
    from carscribe.terminal.screen import Screen

    if author is not None and not approved:
        raise InputError("--author says who approved the captions: give --approved too, or leave it out.")
    request = CaptionRequest(
        source=find_captions(photos, captions_at),
        recipe=recipe,
        question=question,
        language=language,
        origin=from_,
        column=column,
        keys=column_map(metadata_keys),
        replace=replace,
        approved=approved,
        author=author,
    )
    screen, ahead = Screen(quiet=as_json), look_ahead(request)
    if ahead.some:
        with (
            write_workspace(workspace, create=True, say=screen.say) as opened,
            finish_first() as stopped,
            counted(screen, "captions") as seen,
        ):
            found = take_captions(opened, ahead, seen=seen, stopped=stopped)
    else:
        found = ahead.none_taken()
    if as_json:
        print_json(captions_json(found))
    else:
        show_captions(screen, workspace, photos, found)
    if not found.finished:
        raise typer.Exit(INTERRUPTED)
    left_out = found.left_out
    if any((left_out.without_photo.count, left_out.unreadable.count, found.taken.unreadable.count)):
        raise typer.Exit(SOME_SET_ASIDE)
