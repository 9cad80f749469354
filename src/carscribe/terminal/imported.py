"""What was imported, as a person and as a program see it."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from carscribe.catalog.imported import Taken
from carscribe.importing.taking import ImportedCaptions
from carscribe.importing.unpacking import CARS_FILE, IMAGES, ImportedPhotos
from carscribe.named import Named
from carscribe.terminal.screen import Screen

SHOWN = 5
"""So many of what was left out are named at the terminal."""


@contextmanager
def counted(screen: Screen, what: str) -> Iterator[Callable[[int], None]]:
    """A line that counts, where standard error is a terminal; a function to tell how many more were looked at."""
    shown = screen.err.is_terminal and not screen.quiet
    columns = (SpinnerColumn(), TextColumn("{task.completed:,.0f} {task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=screen.err, transient=True, disable=not shown) as bar:
        task = bar.add_task(what, total=None)
        yield lambda count: bar.advance(task, count)


def show_captions(screen: Screen, workspace: Path, photos: Path, found: ImportedCaptions) -> None:
    """What became of captions, each of what was left out with its reason, and what comes next."""
    taken, left_out = found.taken, found.left_out
    count = sum(taken.languages.values())
    languages = ", ".join(f"{number:,} {language}" for language, number in sorted(taken.languages.items()))
    words = [f"{taken.new:,} new"] if taken.new else []
    words += [f"{taken.replaced:,} in place of others"] if taken.replaced else []
    words += [f"{taken.same:,} were there"] if taken.same else []
    screen.result(
        "Captions", f"{count:,} from {found.origin} ({languages or 'none'}): {', '.join(words) or 'nothing new'}"
    )
    if found.rows is not None and found.rows.captioned:
        screen.result("Matched", f"{found.rows.matched:,} of {found.rows.captioned:,} rows with a caption")
    screen.result("Answer", f"{found.recipe}.{found.question}")
    if taken.approved:
        screen.result("Approved", f"{taken.approved:,}")
    for head, named, why in (
        ("Conflicts", taken.conflicts, ""),
        ("Conflicts", left_out.second, "of two captions of one photo the first was taken"),
        ("Kept", taken.under_person, "a person's word stays above the caption"),
        ("Kept", taken.under_model, "the model's answer counts; --approved puts the caption above it"),
        ("No photo", left_out.without_photo, "rows whose photo is not there"),
        ("Empty", left_out.empty, "without a caption"),
        ("Set aside", left_out.unreadable, "caption files that cannot be read"),
        ("Set aside", taken.unreadable, "photos that cannot be read"),
    ):
        show_named(screen, head, named, why)
    if found.none_matched is not None:
        screen.warn(found.none_matched)
    if not found.finished:
        screen.warn("Stopped: what was taken is kept. The same command goes on.")
    if taken == Taken():  # then there may be no workspace
        return
    name = shlex.quote(str(workspace))
    screen.row("Next", f"carscribe describe {shlex.quote(str(photos))} -w {name} --recipe {found.recipe}")
    screen.row("", f"carscribe export {name} --format kohya --budget clip --to captions")


def show_photos(screen: Screen, found: ImportedPhotos) -> None:
    """What was taken out of shards, what was not and why, and what comes next."""
    left_out = found.left_out
    new = f", {found.new:,} of them new" if found.new < found.photos else ""
    shards = f"{found.shards:,} shard{'' if found.shards == 1 else 's'}"
    screen.result("Photos", f"{found.photos:,} in {found.folder / IMAGES}{new}, of {shards}")
    for head, named, why in (
        ("Left out", left_out.damaged, "damaged"),
        ("Left out", left_out.duplicates, "of a name that was there"),
        (
            "Left out",
            left_out.no_photo,
            "without a photo; members of a sample have to follow each other (tar --sort=name)",
        ),
        ("Left out", left_out.occupied, "whose place is taken"),
    ):
        show_named(screen, head, named, why)
    if left_out.others:
        others = ", ".join(
            f"{count:,} × {suffix or 'without suffix'}" for suffix, count in left_out.others.most_common(8)
        )
        screen.result("Ignored", f"{others}: no photos, and nothing said of one")
    for column in found.unmet:
        screen.warn(f"No photo had a field {column!r}, which --metadata-keys names.")
    if not found.finished:
        screen.warn("Stopped: what was taken out is kept. The same command goes on.")
        return
    folder = shlex.quote(str(found.folder))
    screen.result("Written", f"{found.folder / CARS_FILE}")
    screen.row("Next", f"carscribe describe {folder}/{IMAGES} --metadata {folder}/{CARS_FILE} -w cars.ws")


def show_named(screen: Screen, head: str, named: Named, why: str = "") -> None:
    """How many there are of something that was left out, why, and the first of them."""
    if not named.count:
        return
    screen.result(head, f"{named.count:,}{f' {why}' if why else ''}")
    for line in named.first[:SHOWN]:
        screen.result("", line)
    if named.count > SHOWN:
        screen.result("", f"… and {named.count - SHOWN:,} more; --json names {min(named.count, len(named.first)):,}")


def photos_json(found: ImportedPhotos) -> dict[str, Any]:
    """All of it for machines."""
    left_out = found.left_out
    named = {name: asdict(getattr(left_out, name)) for name in ("damaged", "duplicates", "no_photo", "occupied")}
    return {
        "folder": str(found.folder),
        "shards": found.shards,
        "photos": found.photos,
        "new": found.new,
        "left_out": named | {"others": dict(left_out.others)},
        "unmet": list(found.unmet),
        "finished": found.finished,
    }


def captions_json(found: ImportedCaptions) -> dict[str, Any]:
    """All of it for machines."""
    return asdict(found)
