"""Where examples come from: what people approved or corrected in a workspace, or rows in a file."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from carscribe.catalog.reading import KeptPhoto, kept_photos
from carscribe.catalog.workspace import Workspace, is_workspace, read_workspace
from carscribe.errors import InputError, PhotoError
from carscribe.finetune.examples import Example, Pair
from carscribe.photos.decode import read_photo
from carscribe.records import Tiling

LEARNED = frozenset({"approved", "edited"})
"""Verdicts whose text is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Examples, and what was left out: (photo, why)."""

    examples: tuple[Example, ...]
    left_out: tuple[tuple[str, str], ...] = ()


def gather(source: Path, *, recipes: Sequence[str] = (), languages: Sequence[str] = ()) -> Gathered:
    """The examples of a workspace, or of a `.jsonl` of conversations (TRL's or ms-swift's form).

    Of a workspace, approved and edited answers alone; of these, the named recipes and languages, or all.

    Raises: InputError when there is nothing to learn from, or a row cannot be used; WorkspaceError.
    """
    if source.suffix == ".jsonl" and source.is_file():
        return _checked(list(_of_file(source)))
    if not is_workspace(source):
        raise InputError(f"{source} is neither a workspace nor a .jsonl of conversations. See docs/finetune.md.")
    with read_workspace(source) as workspace:
        return _checked(_of_workspace(workspace, recipes, languages), source)


def _of_workspace(workspace: Workspace, recipes: Sequence[str], languages: Sequence[str]) -> list[Example]:
    texts = _question_texts(workspace)
    examples: dict[str, Example] = {}
    for photo in kept_photos(workspace):
        pairs = tuple(_pairs(photo, texts, recipes, languages))
        if not pairs or photo.sha256 is None:
            continue
        name = photo.file.metadata.name
        examples.setdefault(  # the same bytes in several places are learned once
            photo.sha256,
            Example(
                photo=photo.file.location,
                pairs=pairs,
                key=photo.file.key,
                groups=(f"car {name.casefold()}",) if name else (),
            ),
        )
    return list(examples.values())


def _pairs(
    photo: KeptPhoto, texts: dict[tuple[int, str, str, str], str], recipes: Sequence[str], languages: Sequence[str]
) -> Iterator[Pair]:
    for judged in photo.answers:
        if judged.verdict is None or judged.verdict.decision not in LEARNED or not (judged.text or "").strip():
            continue
        if (recipes and judged.recipe_id not in recipes) or (languages and judged.language not in languages):
            continue
        question = texts.get((photo.file_id, judged.recipe_id, judged.language, judged.question_id))
        if question is not None:
            yield Pair(
                question=question,
                answer=str(judged.text),
                recipe_id=judged.recipe_id,
                question_id=judged.question_id,
                language=judged.language,
            )


def _question_texts(workspace: Workspace) -> dict[tuple[int, str, str, str], str]:
    """The rendered question by (file, recipe, language, question), as it is asked now."""
    rows = workspace.connection.execute(
        "SELECT file_id, recipes.name, prompt_sets.language, question, text FROM asks"
        " JOIN prompt_sets ON prompt_sets.id = asks.prompt_set_id JOIN recipes ON recipes.id = recipe_id"
        " JOIN prompt_set_items ON prompt_set_items.prompt_set_id = prompt_sets.id"
        " JOIN prompts ON prompts.id = prompt_id"
    )
    return {row[:4]: row[4] for row in rows}


def _of_file(path: Path) -> Iterator[Example]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield _of_row(json.loads(line), path.parent)
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    raise InputError(
                        f"{path}: line {number:,} is no conversation about one photo: {error!r}. "
                        'A row is {"images": ["a.jpg"], "messages": [{"role": "user", "content": "…"}, …]}.'
                    ) from None


def _of_row(row: dict[str, Any], folder: Path) -> Example:
    """A row of TRL's form (prompt, completion) or of messages, one or many turns."""
    messages = row["messages"] if "messages" in row else [*row["prompt"], *row["completion"]]
    (photo,) = row["images"]
    talk = [(message["role"], _text(message["content"])) for message in messages]
    if len(talk) % 2 or any(role != ("user", "assistant")[i % 2] for i, (role, _) in enumerate(talk)):
        raise ValueError("user and assistant do not take turns")
    pairs = tuple(Pair(question=q[1], answer=a[1]) for q, a in zip(talk[::2], talk[1::2], strict=True))
    if not pairs or any(not pair.answer.strip() for pair in pairs):
        raise ValueError("an answer is empty")
    return Example(photo=str(folder / photo), pairs=pairs, key=str(photo), groups=tuple(row.get("groups", ())))


def _text(content: Any) -> str:
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return str(content).replace("<image>", "").strip("\n")


def _checked(examples: list[Example], source: Path | None = None) -> Gathered:
    """Open every photo: one that cannot be read is named and left out, never replaced."""

    def trouble(example: Example) -> str | None:
        try:
            read_photo(Path(str(example.photo)), Tiling(max_tiles=1))
        except PhotoError as error:
            return str(error)
        return None

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(trouble, examples))
    kept = tuple(example for example, why in zip(examples, found, strict=True) if why is None)
    if not kept:
        if source is not None and not examples:
            raise InputError(
                f"Nobody has approved or corrected an answer in {source} yet. "
                f"Do so with: carscribe correct {source} FILE"
            )
        raise InputError(f"None of the {len(examples):,} photos to learn from can be read.")
    left_out = tuple((example.key, why) for example, why in zip(examples, found, strict=True) if why is not None)
    return Gathered(examples=kept, left_out=left_out)


def with_groups(examples: Sequence[Example], groups: Sequence[str | None]) -> list[Example]:
    """Examples with one more group each, where there is one."""
    return [
        example if group is None else replace(example, groups=(*example.groups, group))
        for example, group in zip(examples, groups, strict=True)
    ]
