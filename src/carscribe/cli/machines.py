"""What is about the machine: pull a model, examine all of it."""

from pathlib import Path
from typing import Annotated

import typer

from carscribe.cli.app import AsJson, app, print_json


@app.command()
def pull(
    model: Annotated[str, typer.Argument(help="Hub id, such as OpenGVLab/InternVL3-8B-hf.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit.")] = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a model into the hub's cache: goes on where it stopped."""
    from carscribe.engines.choosing import pull as fetch
    from carscribe.terminal.run import RunView
    from carscribe.terminal.screen import Screen

    view = RunView(Screen(quiet=as_json))
    with view.download(model) as progress:
        pulled = fetch(model, revision, progress)
    checkpoint = pulled.checkpoint
    if as_json:
        print_json(
            {
                "model": checkpoint.name,
                "commit": checkpoint.revision,
                "folder": str(checkpoint.folder),
                "weight_bytes": checkpoint.weight_bytes,
                "was_here": pulled.was_here,
            }
        )
        return
    was_here = "was here already" if pulled.was_here else "is here now"
    row = view.screen.result
    row("Model", f"{checkpoint.name} {was_here}: {checkpoint.weight_bytes / 1e9:.1f} GB")
    row("Commit", checkpoint.revision or "")
    row("Folder", str(checkpoint.folder))
    row("Next", f"carscribe describe PHOTOS --model {checkpoint.name} -w WORKSPACE")


@app.command()
def doctor(
    model: Annotated[
        str | None, typer.Option(help="Also try this checkpoint: its files, and with --photos its words.")
    ] = None,
    photos: Annotated[
        list[Path] | None, typer.Option(help="Photos to try it on, packed against transformers' generate; ten at most.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, cuda or cuda:N. Left out: a GPU when there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")] = "auto",
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    max_tiles: Annotated[int | None, typer.Option(min=1, help="The most tiles a photo is cut into.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="The most photos to try it on.")] = 10,
    html: Annotated[Path, typer.Option(help="Where the page about the trial goes.")] = Path("carscribe-doctor.html"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the page if there is one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Say what stands in the way on this machine; with --model, whether a checkpoint works here as it should."""
    from functools import partial

    from carscribe.budgets.composing import compose
    from carscribe.budgets.counting import budget_of
    from carscribe.doctor.report import Trial, run_doctor
    from carscribe.terminal.run import RunView
    from carscribe.terminal.screen import Screen

    trial = None
    if model is not None or photos:
        trial = Trial(
            model=model,
            photos=tuple(photos or ()),
            compose_description=partial(compose, budget=budget_of("clip"), language="en"),
            device=device,
            dtype=dtype,
            revision=revision,
            max_tiles=max_tiles,
            limit=limit,
            html=html,
            overwrite=overwrite,
        )
    with RunView(Screen(quiet=as_json)).download(model or "") as progress:
        code = run_doctor(trial, as_json=as_json, progress=progress)
    if code:
        raise typer.Exit(code)
