"""What is to be learned, as `datasets.Dataset`s: of a workspace or conversations, or rows that a program prepared."""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carscribe.catalog.workspace import is_workspace
from carscribe.errors import InputError
from carscribe.examples import Example
from carscribe.finetune.data import divided
from carscribe.finetune.settings import Settings

SAMPLES = 6
"""Photos whose answers are shown before and after."""

TOKENIZER_ROWS = 2000
"""A new tokenizer is made from the texts of so many prepared rows."""

COLUMNS = frozenset({"photo", "questions", "answers"})

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Rows to learn and rows to measure on, and what is known of them: counts, and a digest that tells other data.

    `shown` are held-out examples (learned ones where none is held out) to read answers to. `left_out`: (photo, why).
    """

    learned: Any
    held: Any
    shown: tuple[Example, ...]
    facts: dict[str, Any]
    texts: Callable[[], list[str]]
    left_out: tuple[tuple[str, str], ...] = ()


def collect(
    source: Path,
    settings: Settings,
    *,
    recipes: Sequence[str] = (),
    languages: Sequence[str] = (),
    checked: Path | None = None,
    say: Say,
) -> Data:
    """Read, check and split what is to be learned; `checked` as in `divided`.

    Raises: InputError, WorkspaceError.
    """
    from datasets import Dataset

    tables = _tables(source)
    if (recipes or languages) and (tables or source.suffix == ".jsonl"):
        raise InputError(
            f"{source} does not say of which recipe and language a row is: leave --recipe and --language out."
        )
    if tables and checked:
        raise InputError(f"{source} holds rows of which single ones are held out: leave --checked out.")
    if tables:
        return _of_tables(tables, settings)
    sides = divided(
        source,
        recipes=recipes,
        languages=languages,
        held_out=settings.held_out,
        seed=settings.seed,
        checked=checked,
    )
    learned, held = sides.learned, sides.held
    for key, why in sides.left_out:
        say(f"Left out: {key}: {why}")
    facts = {
        "photos": len(learned),
        "pairs": sum(len(example.pairs) for example in learned),
        "held_out_photos": len(held),
        "held_out_pairs": sum(len(example.pairs) for example in held),
        "digest": _digest(
            [side, each.sha256, [(p.question, p.answer) for p in each.pairs]]
            for side, examples in (("learned", learned), ("held", held))
            for each in examples
        ),
    }
    say(
        f"{facts['photos']:,} photos with {facts['pairs']:,} pairs to learn, {facts['held_out_photos']:,} photos with "
        f"{facts['held_out_pairs']:,} held out"
    )
    return Data(
        learned=Dataset.from_list([example.to_row() for example in learned]),
        held=Dataset.from_list([example.to_row() for example in held]) if held else None,
        shown=(held or learned)[:SAMPLES],
        facts=facts,
        texts=lambda: [text for example in (*learned, *held) for p in example.pairs for text in (p.question, p.answer)],
        left_out=sides.left_out,
    )


def _tables(source: Path) -> list[Path]:
    if source.is_dir() and not is_workspace(source):
        return sorted(source.glob("*.parquet"))
    return [source] if source.suffix == ".parquet" and source.is_file() else []


def _of_tables(tables: list[Path], settings: Settings) -> Data:
    """Rows that a program prepared, read from disk as they are needed: a million photos in flat memory.

    Held out are single rows: who prepares rows knows what belongs together, and can leave it out.
    """
    from datasets import Dataset
    from datasets.exceptions import DatasetGenerationError

    if not any(map(_rows_in, tables)):
        raise InputError(f"{tables[0]} has no rows: there is nothing to learn.")
    try:
        rows = Dataset.from_parquet([str(path) for path in tables])
    except (OSError, ValueError, DatasetGenerationError) as error:
        raise InputError(f"{tables[0].parent}: its Parquet cannot be read: {error.__cause__ or error}.") from None
    if not set(rows.column_names) >= COLUMNS:
        raise InputError(
            f"{tables[0]} has the columns {', '.join(rows.column_names)}; photo, questions, answers are needed."
        )
    held = None
    if apart := int(settings.held_out * len(rows)):
        sides = rows.train_test_split(apart, seed=settings.seed)
        rows, held = sides["train"], sides["test"]
    return Data(
        learned=rows,
        held=held,
        shown=(),
        facts={
            "photos": len(rows),
            "held_out_photos": len(held) if held else 0,
            "digest": _digest([path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in tables),
        },
        texts=lambda: [
            text
            for row in rows.select(range(min(TOKENIZER_ROWS, len(rows)))).select_columns(["questions", "answers"])
            for text in (*row["questions"], *row["answers"])
        ],
    )


def _rows_in(path: Path) -> int:
    from pyarrow.parquet import read_metadata

    try:
        return int(read_metadata(path).num_rows)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {str(error).rstrip('.')}. Write it again.") from None


def _digest(lines: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(json.dumps(line).encode() + b"\n")
    return digest.hexdigest()[:16]
