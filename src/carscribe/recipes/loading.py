"""Reads recipes: the shipped ones by name, anyone's own by path.

    id = "designer"
    version = 1
    languages = ["en", "ko"]            # the first is the one whose choices name the choices

    [[questions]]
    id = "grille"
    priority = 50                       # the lower, the earlier in a composed description
    max_new_tokens = 40                 # an open question has this, a choice question has choices.en = ["…", "…"]
    text.en = "…"                       # {name} and {kind} stand for metadata, {{ and }} for braces
    text.ko = "…"

A recipe that does not load raises one `RecipeError` with a line `FILE:LINE: problem. What to do.` per problem.
"""

from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import NoReturn

from carscribe.errors import RecipeError
from carscribe.recipes.checking import QuestionTable, RecipeTable, closest, recipe_problems
from carscribe.recipes.toml_files import parse_toml, problems_text
from carscribe.recipes.toml_lines import TomlLines
from carscribe.records import Question, Recipe

_NOT_RECIPES = {"glossary.toml"}  # lies in the same folder


def shipped_recipes() -> tuple[str, ...]:
    """Names of the recipes that come with Carscribe, in alphabetical order.

    >>> shipped_recipes()
    ('brief', 'designer', 'detailed')
    """
    files = [entry.name for entry in _shipped_folder().iterdir() if entry.name.endswith(".toml")]
    return tuple(sorted(name.removesuffix(".toml") for name in files if name not in _NOT_RECIPES))


def load_recipe(name_or_file: str | Path) -> Recipe:
    """Read the shipped recipe of that name, or the file when given a `Path`, a separator or the ending `.toml`.

    >>> [question.id for question in load_recipe("brief").questions]
    ['brief']

    Raises:
        RecipeError: there is no such recipe or file, or it is wrong; the message holds every problem found.
    """
    if isinstance(name_or_file, Path) or _looks_like_path(name_or_file):
        return _parse(_read_file(Path(name_or_file)), label=str(name_or_file))
    if name_or_file not in shipped_recipes():
        _reject_name(name_or_file)
    file_name = f"{name_or_file}.toml"
    return _parse((_shipped_folder() / file_name).read_bytes(), label=file_name)


def _shipped_folder() -> Traversable:
    return resources.files("carscribe.recipes")


def _looks_like_path(name: str) -> bool:
    return "/" in name or "\\" in name or name.endswith(".toml")


def _reject_name(name: str) -> NoReturn:
    shipped = shipped_recipes()
    near = closest(name, shipped)
    advice = f"Did you mean {near}? " if near else ""
    if Path(name).is_file():
        advice += f"To read the file of that name, write ./{name}. "
    raise RecipeError(
        f'No shipped recipe is called "{name}". {advice}Shipped: {", ".join(shipped)}. '
        "A path to a .toml file works too."
    )


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        near = closest(path.stem, shipped_recipes())
        hint = f"The shipped recipe is called {near}, without .toml." if near else "Check the path."
        raise RecipeError(f"There is no recipe file {path}. {hint} Shipped: {', '.join(shipped_recipes())}.") from None
    except IsADirectoryError:
        raise RecipeError(f"{path} is a folder. Name the .toml file in it.") from None
    except (OSError, ValueError) as failure:  # ValueError: a null byte in the path
        raise RecipeError(
            f"The recipe file {path} cannot be read: {failure}. Check the path and its permissions."
        ) from failure


def _parse(content: bytes, *, label: str) -> Recipe:
    document, source = parse_toml(content, label=label, error=RecipeError)
    problems = recipe_problems(document)
    if problems:
        raise RecipeError(problems_text(problems, TomlLines(source), label=label))
    return _as_record(RecipeTable.model_validate(document))


def _as_record(table: RecipeTable) -> Recipe:
    languages = tuple(table.languages)
    questions = tuple(_question(question, languages) for question in table.questions)
    return Recipe(id=table.id, version=table.version, languages=languages, questions=questions)


def _question(table: QuestionTable, languages: tuple[str, ...]) -> Question:
    """A choice question generates nothing, so its `max_new_tokens` is 0."""
    choices = table.choices or {}
    return Question(
        id=table.id,
        text={language: table.text[language] for language in languages},
        priority=table.priority,
        max_new_tokens=table.max_new_tokens or 0,
        choices={language: tuple(choices[language]) for language in languages if choices},
    )
