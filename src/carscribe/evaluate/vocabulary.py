"""What answers are read for: attributes, their values, the values' names in each language, and who states them.

The shipped vocabulary is the glossary, cut into attributes by `vocabulary.toml` beside this file. A user's own is TOML:
a table for each attribute with an entry for each value, `red = { en = ["red paint"], ko = ["빨간색 도장"] }`; a
table `questions` that says which attributes a question states; and, if wanted, `together` with the attributes that are
said as one phrase. Tables of sentences (`unseen`, `brief`, `detailed`) are passed over.
"""

import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from carscribe.errors import InputError
from carscribe.evaluate.reading import Wording, joined_with, values_stated
from carscribe.recipes.glossary import Term, load_glossary
from carscribe.records import Language

Checked = TypeVar("Checked")

LANGUAGES: tuple[Language, ...] = ("en", "ko")

_SENTENCES = frozenset({"unseen", "brief", "detailed"})
_OWN_ATTRIBUTE = dict[str, dict[Language, list[str]]]
_OWN_QUESTIONS = dict[str, list[str]]
_OWN_TOGETHER = dict[Language, list[list[str]]]
_ASIDE = re.compile(r"\s+(?:with|and)\s.*|\s*[(,].*")
_WORDS = re.compile(r"[^\s,;/-]+")
_SEPARATOR = re.compile(r"[|;,/·]")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Attribute:
    """One thing that can be told of a car. With `several` a car has any number of the values, else one of them.

    `known` maps every name, folded, to its value: what labels and listings are looked up in. `wide` maps those that
    labels and listings have for several values to all of these.
    """

    name: str
    values: tuple[str, ...]
    wordings: Mapping[Language, Wording]
    known: Mapping[str, str]
    several: bool = False
    wide: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def stated(self, text: str, language: Language) -> frozenset[str]:
        """Every value that a text in `language` states; none in a language without names."""
        wording = self.wordings.get(language)
        return values_stated(text, wording) if wording else frozenset()

    def value_of(self, text: str) -> str | None:
        """The value that a label or a listing means: by its whole name in either language, else by its last known word.

        >>> body, colour = (shipped_vocabulary().attributes[name] for name in ("body_type", "main_colour"))
        >>> [body.value_of(kind) for kind in ("suv", "준중형 세단", "5-door Hatchback", "화물")]
        ['suv', 'sedan', 'hatchback', None]
        >>> [colour.value_of(said) for said in ("very dark blue", "회색", "white with black roof")]
        ['blue', 'gray', 'white']
        """
        name = self._name_in(text)
        return None if name is None else self.known[name]

    def values_of(self, text: str) -> tuple[str, ...]:
        """Every value that a label or a listing means, when any of them is right; empty when it names none.

        >>> body = shipped_vocabulary().attributes["body_type"]
        >>> [body.values_of(kind) for kind in ("세단/해치백", "소형 RV", "화물")]
        [('sedan', 'hatchback'), ('suv', 'minivan', 'van'), ()]
        """
        parts = [text] if folded(text) in self.known else _SEPARATOR.split(text)
        names = [name for part in parts if (name := self._name_in(part))]
        if not names and (whole := self._name_in(text)):
            names = [whole]
        return _unique([value for name in names for value in self.wide.get(name, (self.known[name],))])

    def _name_in(self, text: str) -> str | None:
        """The known name that a text is, or ends in, or has last."""
        said = folded(text)
        words = _WORDS.findall(_ASIDE.sub("", said))
        endings = (" ".join(words[start:]) for start in range(len(words)))
        return next((name for name in (said, *endings, *reversed(words)) if name in self.known), None)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vocabulary:
    """All attributes by name. `called` has other names of theirs; `own` says that a user brought it."""

    attributes: Mapping[str, Attribute]
    questions: Mapping[str, tuple[str, ...]]
    called: Mapping[str, str] = field(default_factory=dict)
    own: bool = False

    def stated_by(self, recipe: str, question: str) -> tuple[Attribute, ...]:
        """What an answer to a question states, if it states anything that is known here."""
        names = self.questions.get(f"{recipe}.{question}", self.questions.get(question, ()))
        return tuple(self.attributes[name] for name in names)

    def find(self, name: str) -> Attribute | None:
        """The attribute that a label means.

        >>> shipped_vocabulary().find("Color").name, shipped_vocabulary().find("view")
        ('main_colour', None)
        """
        wanted = folded(name).replace(" ", "_")
        known = {folded(own).replace(" ", "_"): own for own in (*self.called, *self.attributes)}
        found = known.get(wanted)
        return None if found is None else self.attributes[self.called.get(found, found)]


@cache
def shipped_vocabulary() -> Vocabulary:
    """The glossary as attributes."""
    source = (resources.files("carscribe.evaluate") / "vocabulary.toml").read_text(encoding="utf-8")
    tables: dict[str, Any] = tomllib.loads(source)
    questions = tables.pop("questions")
    attributes = {name: _of_glossary(name, table) for name, table in tables.items()}
    called = {other: name for name, table in tables.items() for other in table.get("called", ())}
    return Vocabulary(
        attributes=attributes, questions={name: tuple(of) for name, of in questions.items()}, called=called
    )


def load_vocabulary(path: Path | None) -> Vocabulary:
    """The vocabulary of a user's TOML file, or the shipped one.

    Raises: InputError, naming the place in the file.
    """
    if path is None:
        return shipped_vocabulary()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}. Check the path given to --vocabulary.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not TOML: {error}.") from None
    return _own_vocabulary(path, {name: table for name, table in tables.items() if name not in _SENTENCES})


def folded(text: str) -> str:
    """Text as names are compared: whatever its case, Unicode form and white space; an underscore is a space."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().replace("_", " ").split())


def _of_glossary(name: str, table: Mapping[str, Any]) -> Attribute:
    also = table.get("also", {})
    terms = {term.id: term for term in load_glossary().terms if term.aspect == table["aspect"]}
    values = tuple(table.get("values", terms))
    names = {
        language: {value: _unique((*_names(terms[value], language), *also.get(value, {}).get(language, ())))
                   for value in values}
        for language in LANGUAGES
    }  # fmt: skip
    return Attribute(
        name=name,
        values=values,
        several=table.get("several", False),
        wordings={
            language: Wording(
                language=language,
                names=names[language],
                decoys=tuple(table.get("decoys", {}).get(language, ())),
                other_parts=tuple(table.get("other_parts", {}).get(language, ())),
            )
            for language in LANGUAGES
        },
        known=_known(values, names.values()),
        wide={folded(said): tuple(meant) for said, meant in table.get("wide", {}).items()},
    )


def _names(term: Term, language: Language) -> tuple[str, ...]:
    return (term.en, *term.also_en) if language == "en" else (term.ko, *term.also_ko)


def _own_vocabulary(path: Path, tables: dict[str, Any]) -> Vocabulary:
    questions = _checked(path, "questions", tables.pop("questions", {}), _OWN_QUESTIONS)
    together = _checked(path, "together", tables.pop("together", {}), _OWN_TOGETHER)
    entries = {name: _checked(path, name, table, _OWN_ATTRIBUTE) for name, table in tables.items()}
    if not questions:
        raise InputError(
            f"{path} does not say which questions state its attributes. Add a table [questions] such as "
            f'"designer.{next(iter(entries), "colour")}" = ["{next(iter(entries), "colour")}"]'
        )
    for question, named in questions.items():
        if unknown := [name for name in named if name not in entries]:
            raise InputError(
                f"{path}: questions.{question} names {unknown[0]!r}, and there is no table [{unknown[0]}]."
            )
    attributes = {name: _own_attribute(name, entries, together) for name in entries}
    called = {other: name for other, name in shipped_vocabulary().called.items() if name in entries}
    return Vocabulary(
        attributes=attributes,
        questions={question: tuple(of) for question, of in questions.items()},
        called={other: name for other, name in called.items() if other not in entries},
        own=True,
    )


def _checked(path: Path, name: str, table: Any, form: type[Checked]) -> Checked:
    """A table of a user's file. Raises: InputError with its place, when it has another form."""
    from pydantic import TypeAdapter, ValidationError  # here: `carscribe status` needs none of a user's files

    try:
        return TypeAdapter(form).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(
            f"{path}: {'.'.join(map(str, (name, *first['loc'])))}: {first['msg'].lower()}. A value is written "
            'red = { en = ["red paint"], ko = ["빨간색 도장"] } in the table of its attribute.'
        ) from None


def _own_attribute(
    name: str,
    entries: Mapping[str, Mapping[str, Mapping[Language, Sequence[str]]]],
    together: Mapping[Language, Sequence[Sequence[str]]],
) -> Attribute:
    """An attribute of a user's file. The glossary's names of the same value count where they stand alone."""
    values = tuple(entries[name])
    shipped = shipped_vocabulary().attributes.get(name)
    languages = dict.fromkeys(language for names in entries[name].values() for language in names)
    wordings: dict[Language, Wording] = {}
    for language in languages:
        group = next((group for group in together.get(language, ()) if name in group), ())
        others = {
            f"{other}.{value}": tuple(names.get(language, ()))
            for other in group
            if other != name
            for value, names in entries[other].items()
        }
        alone = shipped.wordings[language].names if shipped and language in shipped.wordings else {}
        wordings[language] = Wording(
            language=language,
            names={value: _unique(entries[name][value].get(language, ())) for value in values},
            alone={value: alone[value] for value in values if value in alone},
            between=joined_with(others),
        )
    spoken = [{**wording.alone} for wording in wordings.values()] + [wording.names for wording in wordings.values()]
    return Attribute(name=name, values=values, wordings=wordings, known=_known(values, spoken))


def _known(values: Sequence[str], names: Any) -> Mapping[str, str]:
    known = {folded(said): value for own in names for value, all_names in own.items() for said in all_names}
    return known | {folded(value): value for value in values}


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
