"""What is wrong with a recipe's TOML: every problem, each with its place and with what to do about it.

Pydantic checks the shape (keys, types, ranges); the functions here check what a shape cannot say, on the raw document,
so that one misspelt key does not hide the other problems of its question.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from carscribe.recipes.placeholders import brace_problems
from carscribe.recipes.toml_lines import Location

MIN_NEW_TOKENS, MAX_NEW_TOKENS = 1, 2048
_ID = re.compile(r"[a-z0-9_-]+")
_LANGUAGE = re.compile(r"[a-z]{2,3}")  # ISO 639 codes


class QuestionTable(BaseModel):
    """The shape of one `[[questions]]`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    priority: int
    text: dict[str, str]
    max_new_tokens: Annotated[int, Field(ge=MIN_NEW_TOKENS, le=MAX_NEW_TOKENS)] | None = None
    choices: dict[str, list[str]] | None = None


class RecipeTable(BaseModel):
    """The shape of a recipe file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: str
    version: Annotated[int, Field(ge=1)]
    languages: list[str]
    questions: list[QuestionTable]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong, at `location`; `found` narrows it to a line inside a value of several lines."""

    location: Location
    message: str
    found: str = ""


def recipe_problems(document: Mapping[str, object]) -> list[Problem]:
    """Everything wrong with a parsed recipe; empty when `RecipeTable` and the engine can take it."""
    questions = document.get("questions")
    tables = [_table(question) for question in questions] if isinstance(questions, list) else []
    languages = _declared_languages(document)
    problems = list(_shape_problems(document))
    problems += _id_problems(document.get("id"), ("id",), "the recipe")
    problems += _language_problems(document.get("languages"))
    problems += _repeated_id_problems(tables)
    if questions == []:
        problems.append(Problem(location=("questions",), message="the recipe asks nothing. Add a [[questions]] table."))
    for number, table in enumerate(tables):
        problems += _question_problems(table, number, languages)
    return problems


def closest(word: str, known: tuple[str, ...] | list[str]) -> str | None:
    """The one of `known` that `word` most likely means, if any comes near.

    >>> closest("prioritty", ["id", "priority", "text"])
    'priority'
    """
    matches = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return matches[0] if matches else None


# --- shape: pydantic's errors in a recipe author's words ---


def _shape_problems(document: Mapping[str, object]) -> Iterator[Problem]:
    try:
        RecipeTable.model_validate(document)
    except ValidationError as failure:
        errors = failure.errors(include_url=False)
    else:
        return
    for error in errors:
        location: Location = tuple(error["loc"])
        if error["type"] == "missing" and location[-1] in _meant_keys(error["input"], _keys_at(location)):
            continue  # it is there, misspelt, and that is reported
        yield Problem(location=location, message=_shape_message(error["type"], location, error["input"], error["msg"]))


def _shape_message(error_type: str, location: Location, given: object, fallback: str) -> str:
    key = str(location[-1])
    match error_type:
        case "extra_forbidden":
            known = _keys_at(location)
            near = closest(key, known)
            advice = f"Did you mean {near}?" if near else f"Known here: {', '.join(known)}. Remove it or rename it."
            return f"unknown key {key}. {advice}"
        case "missing":
            return f"{key} is missing. Add {_EXAMPLES.get(location[-1], key)}."
        case "greater_than_equal" | "less_than_equal" if key == "max_new_tokens":
            return f"max_new_tokens is {given}. Give {MIN_NEW_TOKENS} to {MAX_NEW_TOKENS}."
        case "greater_than_equal":
            return f"{key} is {given}. Give 1 or more."
        case "string_type" | "int_type" | "list_type" | "dict_type" | "model_type":
            expected = _EXPECTED[error_type]
            advice = _EXAMPLES.get(location[-1], f"it as {expected}")
            return f"{_named(location)} is {toml_type(given)}, not {expected}. Write {advice}."
        case _:
            return f"{key}: {fallback}"


_EXPECTED = {
    "string_type": "a string in quotes",
    "int_type": "a whole number",
    "list_type": "an array in [ ]",
    "dict_type": "a table with one entry per language",
    "model_type": "a table",
}
_EXAMPLES: Mapping[str | int, str] = {
    "id": 'one such as id = "grille"',
    "version": "version = 1",
    "languages": 'languages = ["en", "ko"]',
    "questions": "[[questions]] above each question",
    "priority": "one such as priority = 10 (the lower, the earlier in a description)",
    "max_new_tokens": "max_new_tokens = 40",
    "text": 'one text per language, text.en = "…"',
    "choices": 'one list per language, choices.en = ["…", "…"]',
}


def _named(location: Location) -> str:
    """What a problem's place is called: the key, or the number in its list.

    >>> _named(("questions", 1, "choices", "en", 5))
    'number 6 of choices.en'
    """
    key = location[-1]
    if isinstance(key, str):
        return key
    holder = location[2:-1] or location[:-1]
    return f"number {key + 1} of {'.'.join(map(str, holder))}"


def toml_type(value: object) -> str:
    """What a value is called by those who write TOML.

    >>> toml_type([]), toml_type(2)
    ('an array', 'a whole number')
    """
    match value:
        case bool():
            return "true or false"
        case str():
            return "a string"
        case int():
            return "a whole number"
        case float():
            return "a number with a point"
        case list():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def _keys_at(location: Location) -> list[str]:
    """The keys that the table around `location` may hold."""
    return list(RecipeTable.model_fields if len(location) == 1 else QuestionTable.model_fields)


def _meant_keys(table: object, known: list[str]) -> set[str]:
    """The keys among `known` that the table's unknown keys come near."""
    return {near for key in _table(table) if key not in known and (near := closest(key, known))}


# --- meaning: what no shape says ---


def _id_problems(given: object, location: Location, owner: str) -> Iterator[Problem]:
    if isinstance(given, str) and not _ID.fullmatch(given):
        message = f'{owner} has the id "{given}". Use lower-case letters, digits, _ and - only.'
        yield Problem(location=location, message=message)


def _language_problems(given: object) -> Iterator[Problem]:
    if not isinstance(given, list):
        return
    if not given:
        yield Problem(location=("languages",), message='no language is declared. Write languages = ["en"].')
    for number, code in enumerate(given):
        if not isinstance(code, str):
            continue
        if not _LANGUAGE.fullmatch(code):
            message = f'"{code}" is no language code. Write two or three lower-case letters, such as en or ko.'
            yield Problem(location=("languages", number), message=message)
        elif code in given[:number]:
            yield Problem(location=("languages", number), message=f'"{code}" is declared twice. Remove one.')


def _repeated_id_problems(questions: list[dict[str, object]]) -> Iterator[Problem]:
    seen: dict[object, int] = {}
    for number, question in enumerate(questions):
        given = question.get("id")
        if not isinstance(given, str):
            continue
        if given in seen:
            message = (
                f'the id "{given}" is used by question {seen[given] + 1} already. Give question {number + 1} another.'
            )
            yield Problem(location=("questions", number, "id"), message=message)
        seen.setdefault(given, number)


def _question_problems(question: dict[str, object], number: int, languages: list[str]) -> Iterator[Problem]:
    here: Location = ("questions", number)
    given_id = question.get("id")
    owner = f'question "{given_id}"' if isinstance(given_id, str) and given_id else f"question {number + 1}"
    yield from _id_problems(given_id, (*here, "id"), f"question {number + 1}")
    meant = question.keys() | _meant_keys(question, list(QuestionTable.model_fields))
    if {"choices", "max_new_tokens"} <= meant:
        message = f"{owner} has choices and max_new_tokens. Remove one: a choice question generates nothing."
        yield Problem(location=(*here, "max_new_tokens"), message=message)
    if question and not {"choices", "max_new_tokens"} & meant:
        message = f"{owner} has neither choices nor max_new_tokens. Add max_new_tokens = 40 for an open question."
        yield Problem(location=here, message=message)
    for key in ("text", "choices"):
        table = question.get(key)
        if isinstance(table, dict):
            yield from _coverage_problems(table, (*here, key), owner, languages)
    for language, text in _table(question.get("text")).items():
        if isinstance(text, str):
            yield from _text_problems(text, (*here, "text", language), owner)
    yield from _choices_problems(_table(question.get("choices")), (*here, "choices"), owner, languages)


def _coverage_problems(
    table: dict[str, object], location: Location, owner: str, languages: list[str]
) -> Iterator[Problem]:
    """A table of texts or choices has each declared language and no other. Nothing to say while none is declared."""
    if not languages:
        return
    key = location[-1]
    for language in languages:
        if language not in table and _LANGUAGE.fullmatch(language):
            message = f"{owner} has no {key}.{language}. Add it, or take {language} out of languages."
            yield Problem(location=location, message=message)
    for language in table:
        if language not in languages:
            declared = ", ".join(languages)
            message = f"{owner} has {key}.{language}, but languages declares {declared}. Declare it or remove it."
            yield Problem(location=(*location, language), message=message)


def _text_problems(text: str, location: Location, owner: str) -> Iterator[Problem]:
    named = f"{owner}: {location[-2]}.{location[-1]}"
    yield from _edge_problems(text, location, named)
    for problem in brace_problems(text):
        yield Problem(location=location, message=f"{named}: {problem.message}", found=problem.line)


def _edge_problems(text: str, location: Location, named: str) -> Iterator[Problem]:
    if not text.strip():
        yield Problem(location=location, message=f"{named} is empty. Write it out.")
    elif text != text.strip():
        side = "begins" if text != text.lstrip() else "ends"
        advice = "Close the quotes right after the last word." if text.endswith("\n") else "Remove it."
        message = f"{named} {side} with white space, which changes how the model reads it. {advice}"
        yield Problem(location=location, message=message)


def _choices_problems(
    table: dict[str, object], location: Location, owner: str, languages: list[str]
) -> Iterator[Problem]:
    lists = {language: choices for language, choices in table.items() if isinstance(choices, list)}
    for language, choices in lists.items():
        named = f"{owner}: choices.{language}"
        if len(choices) < 2:
            message = f"{named} holds {len(choices)} of at least 2 choices. Add some, or ask an open question."
            yield Problem(location=(*location, language), message=message)
        yield from _choice_list_problems(choices, (*location, language), named)
    first = next((language for language in languages if language in lists), None)
    for language, choices in lists.items():
        if first is not None and len(choices) != len(lists[first]):
            message = (
                f"{owner}: choices.{language} has length {len(choices)} and choices.{first} {len(lists[first])}. "
                "Give the same choices in the same order."
            )
            yield Problem(location=(*location, language), message=message)


def _choice_list_problems(choices: list[object], location: Location, named: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for number, choice in enumerate(choices):
        if not isinstance(choice, str):
            continue
        here = (*location, number)
        yield from _edge_problems(choice, here, f"{named}, number {number + 1},")
        if len(choice.strip().splitlines()) > 1:
            yield Problem(location=here, message=f"{named}, number {number + 1}, holds a line break. Write one line.")
        if "{" in choice or "}" in choice:
            message = f'{named}: "{choice}" holds a brace. A choice takes no placeholder; write it without.'
            yield Problem(location=here, message=message)
        # Scores are told apart by the choice's words, and "SUV" beside "suv" is a slip.
        folded = unicodedata.normalize("NFC", choice).strip().casefold()
        if folded and folded in seen:
            yield Problem(location=here, message=f'{named}: "{choice.strip()}" stands there twice. Remove one.')
        seen.add(folded)


def _declared_languages(document: Mapping[str, object]) -> list[str]:
    given = document.get("languages")
    return list(dict.fromkeys(code for code in given if isinstance(code, str))) if isinstance(given, list) else []


def _table(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}
