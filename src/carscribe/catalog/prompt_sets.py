"""Prompt sets: what is asked of the photos of a run, each distinct set kept once, whatever the number of photos."""

import hashlib
import sqlite3
from collections.abc import Sequence
from typing import Any

from carscribe.catalog.entries import PromptSet
from carscribe.catalog.text import compact_json
from carscribe.catalog.workspace import Workspace
from carscribe.records import Prompt, Recipe

REMEMBERED = 4096
"""Different sets of answers of which it is remembered what they lack."""

ENOUGH = 16
"""Different sets of answers that the database is told to be enough."""


class Wanted:
    """What is asked of some files: prompt sets, one for each recipe and language, and what answers leave of them.

    `asked` has the recipe, the language and the id of each set. Answers are what `answered.prompts` says: the ids of
    their prompts, in order. `enough` has such texts that leave nothing, not all of them.
    """

    def __init__(self, sets: tuple[PromptSet, ...], set_ids: Sequence[int], prompt_ids: Sequence[tuple[int, ...]]):
        self.asked = [(each.recipe.id, each.language, set_id) for each, set_id in zip(sets, set_ids, strict=True)]
        self._prompts = {
            prompt_id: prompt
            for each, ids in zip(reversed(sets), reversed(prompt_ids), strict=True)
            for prompt, prompt_id in zip(each.prompts, ids, strict=True)
        }  # two recipes may hold one prompt: it is the first one's
        self._order = tuple(dict.fromkeys(i for ids in prompt_ids for i in ids))
        self.enough = [",".join(map(str, sorted(self._order)))]
        self._left: dict[str | None, tuple[Prompt, ...]] = {}
        self._alike: dict[tuple[int, ...], tuple[Prompt, ...]] = {}

    def missing(self, answered: str | None) -> tuple[Prompt, ...]:
        """The prompts, each once, less those answered: one and the same tuple for the same prompts."""
        if answered not in self._left:
            if len(self._left) >= REMEMBERED:
                self._left.clear()
            there = prompts_in(answered)
            ids = tuple(prompt_id for prompt_id in self._order if prompt_id not in there)
            if not ids and answered is not None and answered not in self.enough and len(self.enough) < ENOUGH:
                self.enough.append(answered)
            self._left[answered] = self._alike.setdefault(ids, tuple(self._prompts[i] for i in ids))
        return self._left[answered]


class PromptSets:
    """Prompt sets and their ids. Sets that are one object are looked up once."""

    def __init__(self, workspace: Workspace) -> None:
        self._connection = workspace.connection
        self._wanted: dict[int, Wanted] = {}
        self._recipes: dict[int, int] = {}
        self._alive: list[object] = []  # ids of objects are theirs only while they live

    def wanted(self, sets: tuple[PromptSet, ...]) -> Wanted:
        """These sets with their ids, made when they are new, and those of their prompts."""
        if id(sets) not in self._wanted:
            self._alive.append(sets)
            prompt_ids = [tuple(map(self._prompt_id, each.prompts)) for each in sets]
            set_ids = [self._set_id(each, ids) for each, ids in zip(sets, prompt_ids, strict=True)]
            self._wanted[id(sets)] = Wanted(sets, set_ids, prompt_ids)
        return self._wanted[id(sets)]

    def _prompt_id(self, prompt: Prompt) -> int:
        values = prompt_identity(prompt)
        self._connection.execute(
            "INSERT INTO prompts (text, choices, max_new_tokens) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", values
        )
        return find_prompt(self._connection, values)

    def _set_id(self, prompts: PromptSet, prompt_ids: tuple[int, ...]) -> int:
        recipe_id = self._recipe_id(prompts.recipe)
        priorities = {question.id: question.priority for question in prompts.recipe.questions}
        items = [
            (place, prompt.question_id, priorities[prompt.question_id], prompt_id)
            for place, (prompt, prompt_id) in enumerate(zip(prompts.prompts, prompt_ids, strict=True))
        ]
        digest = hashlib.sha256(compact_json([recipe_id, prompts.language, items]).encode()).hexdigest()
        if found := self._connection.execute("SELECT id FROM prompt_sets WHERE digest = ?", (digest,)).fetchone():
            return int(found[0])
        new = self._connection.execute(
            "INSERT INTO prompt_sets (digest, recipe_id, language) VALUES (?, ?, ?) RETURNING id",
            (digest, recipe_id, prompts.language),
        )
        set_id = int(new.fetchone()[0])
        self._connection.executemany(
            "INSERT INTO prompt_set_items (prompt_set_id, place, question, priority, prompt_id) VALUES (?, ?, ?, ?, ?)",
            [(set_id, *item) for item in items],
        )
        return set_id

    def _recipe_id(self, recipe: Recipe) -> int:
        if id(recipe) not in self._recipes:
            self._alive.append(recipe)
            content = compact_json(_recipe(recipe))
            self._connection.execute(
                "INSERT INTO recipes (name, version, content) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (recipe.id, recipe.version, content),
            )
            found = self._connection.execute("SELECT id FROM recipes WHERE content = ?", (content,))
            self._recipes[id(recipe)] = int(found.fetchone()[0])
        return self._recipes[id(recipe)]


def prompts_in(answered: str | None) -> frozenset[int]:
    """The ids of the prompts that a photo has answers to, as the catalogue has them side by side.

    >>> sorted(prompts_in("1,12,3")), sorted(prompts_in(None))
    ([1, 3, 12], [])
    """
    return frozenset(map(int, answered.split(","))) if answered else frozenset()


def find_prompt(connection: sqlite3.Connection, identity: tuple[str, str, int]) -> int:
    """The id of a prompt that is in the catalogue."""
    found = connection.execute("SELECT id FROM prompts WHERE text = ? AND choices = ? AND max_new_tokens = ?", identity)
    return int(found.fetchone()[0])


def prompt_identity(prompt: Prompt) -> tuple[str, str, int]:
    """What tells a prompt from any other: its text, its choices as JSON, its most new tokens (0 for a choice)."""
    return prompt.text, compact_json(list(prompt.choices)), 0 if prompt.choices else prompt.max_new_tokens


def _recipe(recipe: Recipe) -> dict[str, Any]:
    return {
        "id": recipe.id,
        "version": recipe.version,
        "languages": list(recipe.languages),
        "questions": [
            {
                "id": question.id,
                "text": dict(question.text),
                "priority": question.priority,
                "max_new_tokens": question.max_new_tokens,
                "choices": {language: list(choices) for language, choices in question.choices.items()},
            }
            for question in recipe.questions
        ],
    }
