"""`carscribe finetune`."""

from pathlib import Path
from typing import Annotated

import typer

from carscribe.cli.app import INTERRUPTED, AsJson, app, print_json


@app.command()
def finetune(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="WORKSPACE",
            help="A workspace with approved and corrected answers; or a .jsonl of conversations, or rows as .parquet.",
        ),
    ],
    to: Annotated[Path, typer.Option("--to", help="A new folder for the run; the same one goes on where it stopped.")],
    model: Annotated[str | None, typer.Option(help="Hub id or folder of the checkpoint to train, or demo.")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML with the settings: docs/finetune.md.")] = None,
    stage: Annotated[
        str | None,
        typer.Option(help="lora, qlora, full, or projector: it alone, behind a backbone swap. [default: lora]"),
    ] = None,
    rows: Annotated[str | None, typer.Option(help="packed, plain or turns. [default: packed]")] = None,
    recipe: Annotated[list[str] | None, typer.Option(help="Learn this recipe's answers only. Several times.")] = None,
    language: Annotated[list[str] | None, typer.Option(help="Learn en or ko only. Several times.")] = None,
    epochs: Annotated[float | None, typer.Option(help="How often every photo is learned from.")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The highest learning rate. [default: 1e-4]")] = None,
    batch_photos: Annotated[int | None, typer.Option(help="Photos in a batch on each GPU. [default: 4]")] = None,
    max_tiles: Annotated[int | None, typer.Option(min=1, help="The most tiles a photo is cut into.")] = None,
    checked: Annotated[
        Path | None,
        typer.Option(help="The --report of `carscribe check`: its near-duplicates stay on one side of the split."),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Also write a whole checkpoint, the adapter merged.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Left out: a GPU when there is one.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit of a hub model.")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on what people approved and corrected, by LoRA unless --stage or --config says otherwise."""
    from carscribe.finetune.runs import finetune as train
    from carscribe.finetune.settings import load_settings
    from carscribe.interrupts import finish_first
    from carscribe.terminal.screen import Screen

    screen = Screen(quiet=as_json)
    settings = load_settings(
        config,
        train=stage,
        rows=rows,
        epochs=epochs,
        learning_rate=learning_rate,
        batch_photos=batch_photos,
        max_tiles=max_tiles,
    )
    try:
        outcome = train(
            source,
            model,
            to,
            settings,
            revision=revision,
            device=device,
            recipes=recipe or (),
            languages=language or (),
            merge=merge,
            checked=checked,
            say=screen.say,
            listening=finish_first,
        )
    except KeyboardInterrupt:
        screen.warn(f"Stopped. The same command goes on from the last checkpoint in {to}, if there is one yet.")
        raise typer.Exit(INTERRUPTED) from None
    if not outcome.finished:
        if outcome.tells:
            screen.warn(f"Stopped. The same command goes on from here: {to} has a checkpoint of the last step.")
        raise typer.Exit(INTERRUPTED)
    if not outcome.tells:
        return
    if as_json:
        print_json({"folder": str(outcome.folder), "result": str(outcome.result), "figures": outcome.figures})
        return
    screen.result("Trained", str(outcome.result))
    screen.result("Curves", str(outcome.folder / "curves.png"))
    screen.result("Samples", str(outcome.folder / "samples.json"))
    option = "--model" if outcome.result.name == "model" else f"--model {model} --adapter"
    if settings.train == "projector":
        screen.result("Next", f"carscribe finetune {source} --model {outcome.result} --to LORA")
        return
    screen.result("Next", f"carscribe describe PHOTOS {option} {outcome.result} -w WORKSPACE")
