"""`carscribe export`: descriptions for trainers of images and for people, or questions with answers for fine-tuning."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from carscribe.cli.app import AsJson, app, print_json
from carscribe.cli.workspaces import Budget, Folder, Force, ModelName, Prefix, Suffix, Tokenizer, Trigger, check_model

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from carscribe.export import CaptionSettings, ExportReport, SetReport, ShardLimits
    from carscribe.export.images import Masker
    from carscribe.exporting import Counts, Wish
    from carscribe.named import Noted
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
    checked: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Variant:
    """What may be said of captions and shards, as it was given."""

    names: str | None
    dropout: float | None
    shuffle: bool
    keep_tokens: int | None
    seed: int | None
    shard_size: str | None
    shard_photos: int | None


@app.command()
def export(
    workspace: Folder,
    to: Annotated[Path, typer.Option(help="The folder to write into.")],
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            help="Descriptions: imagefolder, kohya, csv, jsonl, parquet, webdataset, datasets, paths or columns. "
            "Fine-tuning sets: trl, ms-swift, llama-factory or internvl.",
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
    names: Annotated[
        str | None,
        typer.Option(
            help="The car's name in captions: keep it as answers have it, drop it, or put it first. [default: keep]"
        ),
    ] = None,
    caption_dropout: Annotated[
        float | None, typer.Option(help="The share of photos whose caption is empty; of kohya, its own setting.")
    ] = None,
    shuffle: Annotated[bool, typer.Option("--shuffle", help="Phrases in random order, photo by photo.")] = False,
    keep_tokens: Annotated[
        int | None, typer.Option(min=0, help="So many parts between commas stay in front, as kohya counts them.")
    ] = None,
    shard_size: Annotated[
        str | None, typer.Option(help="How large a file of parquet, webdataset or datasets gets. [default: 500MB]")
    ] = None,
    shard_photos: Annotated[
        int | None, typer.Option(min=1, help="How many photos such a file holds at most. [default: 10000]")
    ] = None,
    held_out: Annotated[
        float | None, typer.Option(help=f"The share of photos held out, {_OF_SETS}. [default: 0.1]")
    ] = None,
    checked: Annotated[
        Path | None,
        typer.Option(
            help=f"The --report of `carscribe check`: its near-duplicates stay on one side of the split, {_OF_SETS}."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Which photos are held out, or have no caption; and the order. [default: 0]")
    ] = None,
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
    from carscribe.catalog.reading import count_files
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
            "--names": names is not None,
            "--caption-dropout": caption_dropout is not None,
            "--shuffle": shuffle,
            "--keep-tokens": keep_tokens is not None,
            "--shard-size": shard_size is not None,
            "--shard-photos": shard_photos is not None,
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
            checked=checked,
        )
        _export_set(screen, format_, workspace, to, options, as_json=as_json)
        return
    of_sets = {"--held-out": held_out is not None, "--checked": checked is not None, "--turns": turns is not None}
    of_sets |= {"A second --recipe": len(recipe or ()) > 1, "A second --language": len(language or ()) > 1}
    _refuse(of_sets, f"is for fine-tuning sets ({', '.join(SET_FORMATS)}), not for {format_}: leave it out")
    variant = _Variant(
        names=names,
        dropout=caption_dropout,
        shuffle=shuffle,
        keep_tokens=keep_tokens,
        seed=seed,
        shard_size=shard_size,
        shard_photos=shard_photos,
    )
    _check_variant(variant, format_)
    limits = _limits(variant, format_)
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
            names=names or "keep",  # type: ignore[arg-type]
            shuffle=shuffle,
            keep_parts=keep_tokens or 0,
            seed=seed or 0,
        )
        captions = _settings(variant, wish)
        if warning := language_warning(limit, of_language, force_language=force_language):
            screen.warn(warning)
        photos = described_photos(opened, wish, counts)
        with _watched(screen, masking, count_files(opened) if masking else 0) as masker:
            report = write(
                format_,
                photos,
                to,
                images=images,  # type: ignore[arg-type]
                overwrite=overwrite,
                captions=captions,
                masker=masker,
                limits=limits,
            )
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


def _watched(screen: "Screen", masking: "Masking | None", photos: int) -> AbstractContextManager["Masker | None"]:
    """What masks so many photos, with a line that says how far it is; None where nothing is to be hidden."""
    if masking is None:
        return nullcontext()
    from carscribe.terminal.masked import masking_shown

    return masking_shown(screen, masking, photos)


def _refuse(given: "Mapping[str, object]", why: str) -> None:
    """Raises: InputError for an option that the format has no use for."""
    from carscribe.errors import InputError

    for name, said in given.items():
        if said:
            raise InputError(f"{name} {why}.")


def _check_variant(variant: _Variant, format_: str) -> None:
    """Raises: InputError for what cannot be asked for, or would have no effect."""
    from carscribe.errors import InputError
    from carscribe.exporting import NAME_MODES

    if variant.names is not None and variant.names not in NAME_MODES:
        raise InputError(f"--names takes {', '.join(NAME_MODES)}, not {variant.names!r}.")
    drawn = variant.shuffle or variant.dropout
    if variant.seed is not None and not drawn:
        raise InputError("--seed is for --shuffle, --caption-dropout and fine-tuning sets: leave it out.")
    if variant.keep_tokens is not None and not variant.shuffle and format_ != "kohya":
        raise InputError("--keep-tokens says what stays in front when phrases are shuffled: give --shuffle, too.")


def _settings(variant: _Variant, wish: "Wish") -> "CaptionSettings":
    """What becomes of captions once they are composed. Raises: InputError."""
    from carscribe.export import CaptionSettings

    told = variant.shuffle or variant.keep_tokens is not None
    return CaptionSettings(
        dropout=variant.dropout or 0.0,
        seed=wish.seed,
        shuffled=variant.shuffle,
        fixed_parts=wish.fixed_parts if told else 0,
    )


def _limits(variant: _Variant, format_: str) -> "ShardLimits":
    """How large shards get. Raises: InputError for a size that is none, or a format without shards."""
    from carscribe.errors import InputError
    from carscribe.export import FORMATS, ShardLimits

    usual = ShardLimits()
    given = variant.shard_size is not None or variant.shard_photos is not None
    if given and not FORMATS[format_].shards:
        packed = ", ".join(name for name, each in FORMATS.items() if each.shards)
        raise InputError(f"--shard-size and --shard-photos are for {packed}, not for {format_}: leave them out.")
    size_bytes = usual.size_bytes if variant.shard_size is None else _bytes_of(variant.shard_size)
    return ShardLimits(size_bytes=size_bytes, photos=variant.shard_photos or usual.photos)


def _bytes_of(size: str) -> int:
    """A size as people write it: 500MB, 1 GiB, 2e9. Raises: InputError."""
    import re

    from carscribe.errors import InputError

    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?(?:e\d{1,2})?)\s*([kmg]?)(i?)b?\s*", size, re.IGNORECASE)
    if match is None:
        raise InputError(f"--shard-size {size!r} is no size. Write 500MB, 1GB or 1GiB.")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** " kmg".index(match[2].lower() or " "))


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
        checked=options.checked,
    )
    with _watched(screen, options.masking, len(parts.learned) + len(parts.held)) as masker:
        report = write_set(
            format_,
            parts.learned,
            parts.held,
            to,
            images=options.images,  # type: ignore[arg-type]
            turns=options.turns,
            overwrite=options.overwrite,
            masker=masker,
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
    from carscribe.plaintext import counted

    row = screen.result
    learned = f"{counted(report.pairs, 'pair')} of {counted(report.photos, 'photo')}"
    row("Written", f"{learned} to learn, as {report.format}")
    row("Held out", f"{counted(report.held_out_pairs, 'pair')} of {counted(report.held_out_photos, 'photo')}")
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
    how: dict[str, Any] = {"recipe": wish.recipe, "language": wish.language, "budget": wish.budget.name}
    how |= {"model": wish.model, "names": wish.names, "shuffle": wish.shuffle}
    how |= {"keep_tokens": wish.keep_parts, "seed": wish.seed}
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
    unwritable = (report.unwritable, "photos whose path is no text: rename them, or take --images copy")
    _show_missing(screen, ((report.empty, "photos with an empty description"), unwritable))
    if report.dropped_out:
        row("Dropped", f"{report.dropped_out:,} captions are empty, as --caption-dropout asks")
    if counts.nameless:
        row("Note", f"{counts.nameless:,} photos have no name to put first that {wish.budget.name} can read")
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
