"""Prompt sets: what is asked of the photos of a run, each distinct set kept once, whatever the number of photos."""

import hashlib
import sqlite3
from typing import Any

from carscribe.catalog.entries import PromptSet
from carscribe.catalog.text import compact_json
from carscribe.catalog.workspace import Workspace
from carscribe.records import Prompt, Recipe


class PromptSets:
    """Prompt sets and their ids. Sets that are one object are looked up once."""

    def __init__(self, workspace: Workspace) -> None:
        self._connection = workspace.connection
        self._ids: dict[int, int] = {}
        self._prompt_ids: dict[int, tuple[int, ...]] = {}
        self._recipes: dict[int, int] = {}
        self._missing: dict[tuple[int, int], tuple[Prompt, ...]] = {}
        self._alive: list[object] = []  # ids of objects are theirs only while they live

    def id(self, prompts: PromptSet) -> int:
        """The id of a set, made when it is new, and those of its prompts."""
        if id(prompts) not in self._ids:
            self._alive.append(prompts)
            prompt_ids = tuple(self._prompt_id(prompt) for prompt in prompts.prompts)
            self._prompt_ids[id(prompts)] = prompt_ids
            self._ids[id(prompts)] = self._set_id(prompts, prompt_ids)
        return self._ids[id(prompts)]

    def missing(self, sets: tuple[PromptSet, ...], answered: frozenset[int]) -> tuple[Prompt, ...]:
        """The prompts of some sets, each once, less those answered; remembered, for most photos are alike."""
        key = (id(sets), id(answered))
        if key not in self._missing:
            self._alive += [sets, answered]
            asked = {
                prompt_id: prompt
                for each in reversed(sets)  # two recipes may hold one prompt: it is the first one's
                for prompt, prompt_id in zip(each.prompts, self._prompt_ids[id(each)], strict=True)
            }
            first = {i: asked[i] for each in sets for i in self._prompt_ids[id(each)]}
            self._missing[key] = tuple(prompt for prompt_id, prompt in first.items() if prompt_id not in answered)
        return self._missing[key]

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
