"""Turns a recipe and one photo's metadata into prompts.

Metadata is crawled and not to be trusted: it is made one short line of plain text, and nothing in it, nor anything it
forms with the words around it, may be one of the checkpoint's special tokens.
"""

import unicodedata
from collections.abc import Collection, Mapping, Sequence

from carscribe.errors import RecipeError
from carscribe.plaintext import plain_line
from carscribe.recipes.placeholders import brace_problems, fill
from carscribe.records import Language, Metadata, Prompt, Question, Recipe

MAX_VALUE_CHARACTERS = 200
# Read before special tokens are removed: a megabyte of nested ones must not cost a megabyte of passes.
_MAX_RAW_CHARACTERS = 4 * MAX_VALUE_CHARACTERS
# What stands for a name or kind that the metadata lacks. A language without an entry gets English.
_NEUTRAL_WORDS: dict[Language, str] = {"en": "car", "ko": "자동차"}


def render(
    recipe: Recipe, metadata: Metadata, languages: Sequence[Language], *, reserved: Collection[str] = ()
) -> tuple[Prompt, ...]:
    """Render all questions in the first language, then all in the next; a language given twice counts once.

    Where the metadata lacks a name or kind stands a neutral word, "자동차" in Korean and "car" in any other language.
    A template is taken as written, so a Korean particle after a placeholder cannot suit every name: word around it.
    `reserved` are the checkpoint's special tokens, such as `<|im_end|>`; no prompt contains one. No metadata raises.

    Raises:
        RecipeError: the recipe lacks a language, has a placeholder nothing can be put for, or itself writes a
            reserved string; each is so whatever the metadata, and `render(recipe, Metadata(), …)` tells beforehand.
    """
    check_languages(recipe, languages)
    marks = tuple(sorted({mark for mark in reserved if mark}, key=lambda mark: (-len(mark), mark)))
    values = {"name": plain_value(metadata.name or "", marks), "kind": plain_value(metadata.kind or "", marks)}
    return tuple(
        Prompt(
            recipe_id=recipe.id,
            question_id=question.id,
            language=language,
            text=_prompt_text(question, language, values, marks),
            max_new_tokens=question.max_new_tokens,
            choices=_choices(question, language, marks),
        )
        for language in dict.fromkeys(languages)
        for question in recipe.questions
    )


def check_languages(recipe: Recipe, languages: Sequence[Language]) -> None:
    """Pass when the recipe has every one of `languages`, and there is at least one.

    Raises:
        RecipeError: it names what the recipe lacks and what it has.
    """
    has = ", ".join(recipe.languages)
    if not languages:
        raise RecipeError(f'No language was asked for. Name at least one that recipe "{recipe.id}" has: {has}.')
    lacking = [language for language in dict.fromkeys(languages) if language not in recipe.languages]
    if lacking:
        several = next((language for language in lacking if "," in language), None)
        what_to_do = (
            "Ask for one of those, or add the language to a copy of the recipe."
            if several is None
            else f"Ask for each by itself: {' '.join(f'--language {one.strip()}' for one in several.split(','))}."
        )
        raise RecipeError(f'Recipe "{recipe.id}" has no {", ".join(lacking)}; it has {has}. {what_to_do}')


def uses_metadata(question: Question) -> bool:
    """Whether a question reads differently for another name or kind, in any language."""
    one, other = (dict.fromkeys(("name", "kind"), value) for value in "12")
    return any(fill(text, one) != fill(text, other) for text in question.text.values())


def plain_value(value: str, reserved: Sequence[str] = ()) -> str:
    """Make crawled text one line, NFC, of at most 200 characters, and free of `reserved`, which is case-sensitive.

    White space, control characters and lone surrogates become single spaces; invisible format characters go.

    >>> plain_value("  Audi\\n\\tQ5<|im_<|im_end|>end|> ", ["<|im_end|>"])
    'Audi Q5'
    """
    line = _one_line(value)[:_MAX_RAW_CHARACTERS]
    while any(mark in line for mark in reserved):
        for mark in reserved:
            line = line.replace(mark, "")
        line = _one_line(line)  # what a removal joins may compose, or leave two spaces
    return line[:MAX_VALUE_CHARACTERS].strip()


def _one_line(text: str) -> str:
    return unicodedata.normalize("NFC", plain_line(text))


def _prompt_text(question: Question, language: Language, values: Mapping[str, str], marks: Sequence[str]) -> str:
    template = question.text[language]
    for problem in brace_problems(template):
        raise RecipeError(f'Question "{question.id}", text.{language}: {problem.message}')
    neutral = _NEUTRAL_WORDS.get(language, _NEUTRAL_WORDS["en"])
    without_metadata = fill(template, {"name": neutral, "kind": neutral})
    _reject_marks(without_metadata, marks, f'Question "{question.id}", text.{language}')
    text = fill(template, {word: value or neutral for word, value in values.items()})
    # "{name}{kind}" can join "<|im_" to "end|>": then the metadata is hostile, and the photo is asked without it.
    return without_metadata if any(mark in text for mark in marks) else text


def _choices(question: Question, language: Language, marks: Sequence[str]) -> tuple[str, ...]:
    choices = question.choices.get(language, ())
    for choice in choices:
        _reject_marks(choice, marks, f'Question "{question.id}", choices.{language}')
    return choices


def _reject_marks(text: str, marks: Sequence[str], named: str) -> None:
    for mark in marks:
        if mark in text:
            raise RecipeError(f"{named} holds {mark}, a special token of this model. Take it out of the recipe.")
