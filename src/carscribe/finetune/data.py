"""Where examples come from: what people approved or corrected in a workspace, or rows in a file."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from carscribe.catalog.reading import KeptPhoto, kept_photos
from carscribe.catalog.workspace import Workspace, is_workspace, read_workspace
from carscribe.check.report import groups_in
from carscribe.errors import InputError, PhotoError
from carscribe.examples import Example, Pair
from carscribe.finetune.splitting import near_duplicates, split
from carscribe.finetune.wording import PLACEHOLDER, learnable
from carscribe.photos.decode import is_turned, read_photo
from carscribe.records import Tiling

LEARNED = frozenset({"approved", "edited"})
"""Verdicts whose text is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Examples, and what was left out: (photo, why)."""

    examples: tuple[Example, ...]
    left_out: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Divided:
    """Examples to learn and to measure on, and what was left out: (photo, why)."""

    learned: tuple[Example, ...]
    held: tuple[Example, ...]
    left_out: tuple[tuple[str, str], ...]


def divided(
    source: Path,
    *,
    recipes: Sequence[str] = (),
    languages: Sequence[str] = (),
    held_out: float,
    seed: int,
    checked: Path | None = None,
) -> Divided:
    """The examples of `gather`, about `held_out` of the photos apart: no near-duplicate and no car on both sides.

    `checked` is a report of `carscribe check`: what is one group there stays together here, whatever was looked for.

    Raises: InputError, WorkspaceError, MissingExtraError.
    """
    if not 0 <= held_out < 1:
        raise InputError(f"--held-out is a share of the photos from 0 to less than 1, not {held_out}.")
    gathered = gather(source, recipes=recipes, languages=languages)
    known = groups_in(checked) if checked else {}
    grouped = with_groups(gathered.examples, near_duplicates(gathered.examples))
    grouped = with_groups(grouped, [known.get(example.sha256) for example in grouped])
    learned, held = split(grouped, held_out, seed=seed)
    return Divided(learned=tuple(learned), held=tuple(held), left_out=gathered.left_out)


def gather(source: Path, *, recipes: Sequence[str] = (), languages: Sequence[str] = ()) -> Gathered:
    """The examples of a workspace, or of a `.jsonl` of conversations (TRL's or ms-swift's form).

    Of a workspace, approved and edited answers alone; of these, the named recipes and languages, or all. Every photo is
    opened: one that cannot be read, or has other bytes than were described, is named and left out, never replaced. So
    is a pair that a trainer would misread.

    Raises: InputError when there is nothing to learn from, or a row cannot be used; WorkspaceError.
    """
    if source.suffix == ".jsonl" and source.is_file():
        return _checked(_of_file(source))
    if not is_workspace(source):
        raise InputError(f"{source} is neither a workspace nor a .jsonl of conversations. See docs/finetune.md.")
    with read_workspace(source) as workspace:
        examples = _of_workspace(workspace, recipes, languages)
    if not examples:
        wished = [*(f"of recipe {name}" for name in recipes), *(f"in {name}" for name in languages)]
        raise InputError(
            f"Nobody has approved or corrected an answer {' or '.join(wished) or 'at all'} in {source} yet. "
            f"Do so with: carscribe correct {source} FILE"
        )
    return _checked(examples)


def _of_workspace(workspace: Workspace, recipes: Sequence[str], languages: Sequence[str]) -> list[Example]:
    texts = _question_texts(workspace)
    examples: dict[str, Example] = {}
    for photo in kept_photos(workspace):
        pairs = tuple(_pairs(photo, texts, recipes, languages))
        if not pairs or photo.sha256 is None:
            continue
        name = photo.file.metadata.name
        groups = (f"car {name.casefold()}",) if name else ()
        own = Example(photo=photo.file.location, pairs=pairs, key=photo.file.key, groups=groups, sha256=photo.sha256)
        known = examples.setdefault(photo.sha256, own)
        if known is not own:  # the same bytes in several places are learned once, as a photo of each of their cars
            examples[photo.sha256] = replace(known, groups=tuple(dict.fromkeys((*known.groups, *groups))))
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


def _of_file(path: Path) -> list[Example]:
    """The conversations of a file, those about one photo together."""
    examples: dict[tuple[str | bytes, tuple[str, ...]], Example] = {}
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    line.encode()
                    row = _of_row(json.loads(line), path.parent)
                except (ValueError, KeyError, TypeError, IndexError) as error:
                    raise InputError(
                        f"{path}: line {number:,} is no conversation about one photo: {error!r}. "
                        'A row is {"images": ["a.jpg"], "messages": [{"role": "user", "content": "…"}, …]}.'
                    ) from None
                known = examples.setdefault((row.photo, row.groups), row)
                if known is not row:
                    examples[row.photo, row.groups] = replace(known, pairs=(*known.pairs, *row.pairs))
    return list(examples.values())


def _of_row(row: dict[str, Any], folder: Path) -> Example:
    """A row of TRL's form (prompt, completion) or of messages, one or many turns."""
    messages = row["messages"] if "messages" in row else [*row["prompt"], *row["completion"]]
    (photo,) = row["images"]
    talk = [(message["role"], _text(message["content"])) for message in messages]
    if len(talk) % 2 or any(role != ("user", "assistant")[i % 2] for i, (role, _) in enumerate(talk)):
        raise ValueError("user and assistant do not take turns")
    texts = [text for _, text in talk]
    texts[:1] = map(_without_placeholder, texts[:1])
    pairs = tuple(Pair(question=q, answer=a) for q, a in zip(texts[::2], texts[1::2], strict=True))
    if not pairs or any(not pair.answer.strip() for pair in pairs):
        raise ValueError("an answer is empty")
    groups = row.get("groups") or []
    if not isinstance(groups, list):
        raise ValueError("groups is no list")
    return Example(photo=str(folder / photo), pairs=pairs, key=str(photo), groups=tuple(map(str, groups)))


def _text(content: Any) -> str:
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return str(content)


def _without_placeholder(text: str) -> str:
    """A first question without what stands for the photo, and without the line break between the two.

    >>> [_without_placeholder(text) for text in ("<image>Color?", "<image>\\nColor?", "Color?\\n<image>", "Color?")]
    ['Color?', 'Color?', 'Color?', 'Color?']
    """
    before, _, after = text.partition(PLACEHOLDER)
    return before + after if before and after else before.removesuffix("\n") + after.removeprefix("\n")


def _checked(examples: Sequence[Example]) -> Gathered:
    """What can be learned of the examples."""
    left_out: list[tuple[str, str]] = []
    worded = [_worded(example, left_out) for example in examples]
    told = [example for example in worded if example.pairs]
    kept: list[Example] = []
    with ThreadPoolExecutor() as pool:
        for example, opened in zip(told, pool.map(_opened, told), strict=True):
            if isinstance(opened, str):
                left_out.append((example.key, opened))
            else:
                kept.append(opened)
    if kept:
        return Gathered(examples=tuple(kept), left_out=tuple(left_out))
    some = "; ".join(f"{key}: {why}" for key, why in left_out[:3])
    raise InputError(f"None of the {len(examples):,} photos to learn from can be used. {some}")


def _worded(example: Example, left_out: list[tuple[str, str]]) -> Example:
    """The example with those of its pairs that no trainer misreads; the others are told."""
    pairs: list[Pair] = []
    for pair in example.pairs:
        found = learnable(pair)
        if isinstance(found, str):
            asked = f"{pair.question_id} ({pair.language})" if pair.question_id else repr(pair.question[:40])
            left_out.append((example.key, f"{asked}: its {found}"))
        else:
            pairs.append(found)
    return replace(example, pairs=tuple(pairs))


def _opened(example: Example) -> Example | str:
    """The example with what its file says, or why it cannot be used."""
    path = Path(str(example.photo))
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "has a name that is no UTF-8, which tables of rows cannot hold: rename it"
    try:
        read = read_photo(path, Tiling(max_tiles=1))
    except PhotoError as error:
        return str(error)
    if example.sha256 and example.sha256 != read.sha256:
        return "has changed since it was described: describe it again"
    return replace(
        example, sha256=read.sha256, width_px=read.width_px, height_px=read.height_px, turned=is_turned(path)
    )


def with_groups(examples: Sequence[Example], groups: Sequence[str | None]) -> list[Example]:
    """Examples with one more group each, where there is one."""
    return [
        example if group is None else replace(example, groups=(*example.groups, group))
        for example, group in zip(examples, groups, strict=True)
    ]
