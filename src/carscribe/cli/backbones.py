"""`carscribe backbone check` and `carscribe backbone swap`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carscribe.cli.app import INTERRUPTED, AsJson, app, print_json

if TYPE_CHECKING:
    from carscribe.backbone.findings import Check

backbone = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Put another language model, a Korean one say, in the place of InternVL3's.",
)
app.add_typer(backbone, name="backbone")

Base = Annotated[
    str, typer.Argument(metavar="BASE", help="The InternVL3 whose vision tower is kept: hub id, folder, or demo.")
]
Llm = Annotated[str, typer.Argument(metavar="LLM", help="The language model: hub id or folder.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit of BASE at the hub.")]
LlmRevision = Annotated[str | None, typer.Option(help="Branch, tag or commit of LLM at the hub.")]


@backbone.command()
def check(
    base: Base, llm: Llm, revision: Revision = None, llm_revision: LlmRevision = None, as_json: AsJson = False
) -> None:
    """Say whether LLM may take the place of BASE's language model, from configs and tokenizers alone."""
    from carscribe.backbone.checking import check_backbone
    from carscribe.backbone.runs import open_both
    from carscribe.terminal.backbone import show_check
    from carscribe.terminal.screen import Screen

    found = check_backbone(open_both(base, llm, revision=revision, llm_revision=llm_revision))
    if as_json:
        print_json(_check_json(found))
    else:
        show_check(Screen(), found)


@backbone.command()
def swap(
    base: Base,
    llm: Llm,
    to: Annotated[Path, typer.Option("--to", help="A new folder for the checkpoint.")],
    revision: Revision = None,
    llm_revision: LlmRevision = None,
    seed: Annotated[int, typer.Option(min=0, help="What a new projector is drawn from.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write the checkpoint with LLM in the place of BASE's language model."""
    from carscribe.backbone.runs import open_both, swap_backbone
    from carscribe.terminal.run import RunView
    from carscribe.terminal.screen import Screen

    screen = Screen(quiet=as_json)
    try:
        given = open_both(base, llm, revision=revision, llm_revision=llm_revision)
        with RunView(screen).download(llm) as progress:
            found, written = swap_backbone(given, to, seed=seed, say=screen.say, progress=progress)
    except KeyboardInterrupt:
        screen.warn(f"Stopped: {to} was not written. What was fetched of the weights is kept.")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        more = {"folder": str(written.folder), "bytes": written.size_bytes, "new_tokens": list(written.new_tokens)}
        print_json(more | {"projector": "new" if written.new_projector else "kept"} | _check_json(found))
        return
    screen.result("Written", f"{written.folder} ({written.size_bytes / 1e9:.2f} GB)")
    screen.result("Projector", "new: it says nothing yet" if written.new_projector else "kept")
    screen.result("New tokens", " ".join(written.new_tokens) or "none")
    if found.chat is not None and found.chat.origin == "chatml":
        screen.result("Template", "ChatML: the language model has none of its own that does")
    screen.result("Verdict", found.line)
    if found.verdict == "projector":
        screen.result("Next", f"carscribe finetune WORKSPACE --model {to} --stage projector --to RUN")


def _check_json(found: "Check") -> dict[str, Any]:
    return {
        "base": found.base,
        "llm": found.llm,
        "verdict": found.verdict,
        "line": found.line,
        "findings": [
            {"topic": each.topic, "base": each.base, "llm": each.llm, "status": each.status, "says": each.says}
            for each in found.findings
        ],
        "tokens_per_100_characters": {each.language: {"base": each.base, "llm": each.llm} for each in found.packing},
        "template": found.chat and found.chat.origin,
        "end_of_turn": found.chat and found.chat.end_of_turn,
    }
