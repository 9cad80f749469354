"""`carscribe export`: descriptions for trainers of images and for people, or questions with answers for fine-tuning."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carscribe.cli.app import AsJson, app, print_json
from carscribe.cli.workspaces import Budget, Folder, Force, ModelName, Prefix, Suffix, Tokenizer, Trigger, check_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carscribe.export import ExportReport, Noted, SetReport
    from carscribe.exporting import Counts, Wish
    from carscribe.privacy.masking import Masking
    from carscribe.terminal.screen import Screen

_NAMED = 5
_OF_SETS = "of trl, ms-swift, llama-factory and internvl"


@dataclass(frozen=True, slots=True, kw_only=True)
class _SetOptions:
    """What may be said of a fine-tuning set."""

    recipes: tuple[str, ...]
    languages: tuple[str, ...]
    held_out: float
    seed: int
    turns: bool
    images: str | None
    overwrite: bool
    masking: "Masking | None"


@app.command()
def export(
    workspace: Folder,
    to: Annotated[Path, typer.Option(help="The folder to write into.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="Descriptions: imagefolder, kohya, csv or jsonl. Fine-tuning sets: trl, ms-swift, llama-factory or "
            "internvl.",
        ),
    ] = "imagefolder",
    budget: Budget = "clip",
    tokenizer: Tokenizer = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="Which recipe's answers. Left out: the last one asked; for a fine-tuning set, all."),
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="en or ko. Left out: en where there is one; for a fine-tuning set, all."),
    ] = None,
    model: ModelName = None,
    prefix: Prefix = "",
    suffix: Suffix = "",
    trigger: Trigger = "",
    force_language: Force = False,
    approved_only: Annotated[
        bool, typer.Option("--approved-only", help="Only answers that a person approved or edited.")
    ] = False,
    held_out: Annotated[
        float | None, typer.Option(help=f"The share of photos held out, {_OF_SETS}. [default: 0.1]")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Which photos are held out. [default: 0]")] = None,
    turns: Annotated[
        bool | None,
        typer.Option("--turns/--no-turns", help="All pairs of a photo in one row, as a conversation; or a row a pair."),
    ] = None,
    images: Annotated[
        str | None, typer.Option(help="copy, link or none. Left out: what is usual for the format.")
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(help="Write images anew without metadata, and hide in them: faces, plates or faces,plates."),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(help="Hide these boxes too: rows of photo, kind, x0, y0, x1, y1 (.jsonl, .json, .csv, .tsv)."),
    ] = None,
    plate_model: Annotated[
        Path | None,
        typer.Option(help="The ONNX file of a YOLO that finds plates. Left out: $CARSCRIBE_PLATE_MODEL."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export in the folder.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write descriptions for trainers and people, or approved answers as a fine-tuning set."""
    from carscribe.budgets.counting import budget_of
    from carscribe.budgets.languages import language_warning
    from carscribe.catalog.workspace import read_workspace
    from carscribe.errors import InputError
    from carscribe.export import FORMATS, SET_FORMATS, write
    from carscribe.exporting import Counts, Wish, described_photos, wish_for
    from carscribe.terminal.screen import Screen

    limit = budget_of(budget, tokenizer)
    if format_ not in {**FORMATS, **SET_FORMATS}:
        raise InputError(f"No format {format_!r}. Formats: {', '.join((*FORMATS, *SET_FORMATS))}.")
    screen = Screen(quiet=as_json)
    masking = _masking(mask, boxes, plate_model)
    if format_ in SET_FORMATS:
        of_captions = {
            "--budget": budget != "clip",
            "--model": model is not None,
            "--prefix": prefix,
            "--suffix": suffix,
            "--trigger": trigger,
            "--force-language": force_language,
        }
        _refuse(of_captions, f"is for descriptions, and {format_} holds questions with their answers: leave it out")
        options = _SetOptions(
            recipes=tuple(recipe or ()),
            languages=tuple(language or ()),
            held_out=0.1 if held_out is None else held_out,
            seed=seed or 0,
            turns=bool(turns),
            images=images,
            overwrite=overwrite,
            masking=masking,
        )
        _export_set(screen, format_, workspace, to, options, as_json=as_json)
        return
    of_sets = {"--held-out": held_out is not None, "--seed": seed is not None, "--turns": turns is not None}
    of_sets |= {"A second --recipe": len(recipe or ()) > 1, "A second --language": len(language or ()) > 1}
    _refuse(of_sets, f"is for fine-tuning sets ({', '.join(SET_FORMATS)}), not for {format_}: leave it out")
    counts = Counts()
    with read_workspace(workspace) as opened:
        chosen, of_language = wish_for(opened, recipe[0] if recipe else None, language[0] if language else None)
        check_model(opened, model)
        wish = Wish(
            recipe=chosen,
            language=of_language,
            budget=limit,
            prefix=prefix,
            suffix=suffix,
            trigger=trigger,
            force_language=force_language,
            approved_only=approved_only,
            model=model,
        )
        if warning := language_warning(limit, of_language, force_language=force_language):
            screen.warn(warning)
        photos = described_photos(opened, wish, counts)
        report = write(format_, photos, to, images=images, overwrite=overwrite, masker=masking)  # type: ignore[arg-type]
    if as_json:
        print_json({**_report_json(report, counts, wish), **_not_met_json(masking)})
    else:
        _show_report(screen, report, counts, wish)
        _show_not_met(screen, masking)


def _masking(mask: str | None, boxes: Path | None, plate_model: Path | None) -> "Masking | None":
    """What hides faces and plates; None where nothing is to be hidden. Raises: as `open_masking`."""
    if mask is None and boxes is None and plate_model is None:
        return None
    from carscribe.privacy.choosing import open_masking

    return open_masking(mask, boxes=boxes, plate_model=plate_model)


def _refuse(given: "Mapping[str, object]", why: str) -> None:
    """Raises: InputError for an option that the format has no use for."""
    from carscribe.errors import InputError

    for name, said in given.items():
        if said:
            raise InputError(f"{name} {why}.")


def _export_set(
    screen: "Screen", format_: str, workspace: Path, to: Path, options: _SetOptions, *, as_json: bool
) -> None:
    """Write what `finetune` would learn of the workspace."""
    from dataclasses import asdict

    from carscribe.export import write_set
    from carscribe.finetune.data import divided

    parts = divided(
        workspace,
        recipes=options.recipes,
        languages=options.languages,
        held_out=options.held_out,
        seed=options.seed,
    )
    report = write_set(
        format_,
        parts.learned,
        parts.held,
        to,
        images=options.images,  # type: ignore[arg-type]
        turns=options.turns,
        overwrite=options.overwrite,
        masker=options.masking,
    )
    if as_json:
        how = {"held_out": options.held_out, "seed": options.seed, "turns": options.turns}
        told = {**asdict(report), "folder": str(report.folder), "left_out": parts.left_out, **how}
        print_json({**told, **_not_met_json(options.masking)})
    else:
        _show_set(screen, report, parts.left_out)
        _show_not_met(screen, options.masking)


def _show_set(screen: "Screen", report: "SetReport", left_out: tuple[tuple[str, str], ...]) -> None:
    """What a fine-tuning set holds, and what not."""
    row = screen.result
    row("Written", f"{report.pairs:,} pairs of {report.photos:,} photos to learn, as {report.format}")
    row("Held out", f"{report.held_out_pairs:,} pairs of {report.held_out_photos:,} photos")
    for key, why in left_out[:_NAMED]:
        row("Left out", f"{key}: {why}")
    if len(left_out) > _NAMED:
        row("Left out", f"{len(left_out) - _NAMED:,} more: see --json")
    _show_missing(screen, ((report.unwritable, "photos whose path is no text: rename them, or take --images copy"),))
    if report.turned:
        row("Note", f"{report.turned:,} photos are turned by EXIF, which this trainer passes over: see the README")
    _show_images(screen, report)
    row("Next", str(report.folder / "README.md"))


def _report_json(report: "ExportReport", counts: "Counts", wish: "Wish") -> dict[str, Any]:
    from dataclasses import asdict

    composed = {**asdict(counts), "fallbacks": sorted(counts.fallbacks)}
    how = {"recipe": wish.recipe, "language": wish.language, "budget": wish.budget.name, "model": wish.model}
    return {**asdict(report), "folder": str(report.folder), "composed": composed, **how}


def _show_report(screen: "Screen", report: "ExportReport", counts: "Counts", wish: "Wish") -> None:
    """What was written, and what was not."""
    limit = "" if wish.budget.limit is None else f", at most {wish.budget.limit} tokens"
    row = screen.result
    row("Written", f"{report.photos:,} photos as {report.format} into {report.folder}")
    row("Text", f"{wish.recipe} in {wish.language}, budget {wish.budget.name}{limit}")
    row("Shortened", f"{counts.shortened:,} descriptions left phrases out to fit")
    if counts.fallbacks:
        row("English", f"stands for {wish.language} in: {', '.join(sorted(counts.fallbacks))}")
    for count, what in (
        (counts.unanswered, "photos without an answer"),
        (counts.unapproved, "photos without an approved answer"),
        (counts.without_language, "photos without an answer in a language that can be used"),
    ):
        if count:
            row("Left out", f"{count:,} {what}")
    _show_missing(screen, ((report.empty, "photos with an empty description"),))
    _show_images(screen, report)


def _show_missing(screen: "Screen", reasons: "Iterable[tuple[Noted, str]]") -> None:
    for noted, what in reasons:
        if noted.count:
            some = f"{', '.join(noted.first[:_NAMED])}{' …' if noted.count > _NAMED else ''}"
            screen.result("Left out", f"{noted.count:,} {what}: {some}")


def _show_images(screen: "Screen", report: "ExportReport | SetReport") -> None:
    from carscribe.plaintext import counted

    row = screen.result
    missing = (report.missing, "images that are not there")
    changed = (report.changed, "images that have changed since they were described")
    _show_missing(screen, (missing, changed))
    if report.renamed.count:
        row("Renamed", f"{report.renamed.count:,}, such as {report.renamed.first[0]}")
    for suffix, count in report.unread.items():
        row("Note", f"{count:,} {suffix} images, which most trainers do not open: convert them")
    if report.link_refused:
        row("Note", f"{report.link_refused:,} images were copied, since a link was refused there")
    if report.masked:
        kinds = ", ".join(counted(count, kind) for kind, count in report.masked.boxes.items())
        _show_missing(screen, ((report.masked.unmasked, "photos that cannot be masked"),))
        row("Masked", f"{report.masked.with_boxes:,} of {report.masked.images:,} photos ({kinds or 'nothing found'})")
        row("Metadata", "is in none of the images: all were written anew")
        row("Look", "at the images before you pass them on: what was neither found nor listed is still there")


def _not_met_json(masking: "Masking | None") -> dict[str, Any]:
    return {} if masking is None else {"boxes_not_met": masking.listed.not_met()}


def _show_not_met(screen: "Screen", masking: "Masking | None") -> None:
    """Photos that boxes were listed for, and that are not in the export: most often a misspelt key."""
    names = masking.listed.not_met() if masking else ()
    if names:
        some = f"{', '.join(names[:_NAMED])}{' …' if len(names) > _NAMED else ''}"
        screen.result("Not here", f"{len(names):,} photos of --boxes are not in the export: {some}")
