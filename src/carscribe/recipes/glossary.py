"""The car-design vocabulary that English and Korean share: `glossary.toml`, read into frozen records.

It is our own file and not anyone's input, so nothing here explains its mistakes: the tests check it.
"""

import tomllib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Literal, get_args

Aspect = Literal["body", "proportions", "surface", "lighting", "grille", "wheels", "colour", "unique"]
"""What a term describes: the ids of the designer recipe's open questions."""

ASPECTS: tuple[Aspect, ...] = get_args(Aspect)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One notion of car design. `also_en` and `also_ko` are other names, and narrower ones, that a crawl may carry."""

    id: str
    aspect: Aspect
    en: str
    ko: str
    definition_en: str
    definition_ko: str
    also_en: tuple[str, ...] = ()
    also_ko: tuple[str, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Every name of the notion, in both languages."""
        return (self.en, self.ko, *self.also_en, *self.also_ko)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glossary:
    """All terms, in the order of the file."""

    terms: tuple[Term, ...]

    def find(self, word: str, *, aspect: Aspect) -> Term | None:
        """The term of that aspect which has this name in either language, whatever its case and Unicode form.

        >>> glossary = load_glossary()
        >>> [glossary.find(kind, aspect="body").en for kind in ("웨건", "RV", "Estate")]
        ['wagon', 'SUV', 'wagon']
        """
        wanted = _folded(word)
        for term in self.terms:
            if term.aspect == aspect and wanted in map(_folded, term.words):
                return term
        return None


def load_glossary() -> Glossary:
    """Read the shipped glossary."""
    source = (resources.files("carscribe.recipes") / "glossary.toml").read_text(encoding="utf-8")
    document = tomllib.loads(source)
    return Glossary(
        terms=tuple(_term(aspect, id_, entry) for aspect in ASPECTS for id_, entry in document[aspect].items())
    )


def _term(aspect: Aspect, term_id: str, entry: Mapping[str, Mapping[str, str]]) -> Term:
    also = entry.get("also", {})
    return Term(
        id=term_id,
        aspect=aspect,
        en=entry["name"]["en"],
        ko=entry["name"]["ko"],
        definition_en=entry["means"]["en"],
        definition_ko=entry["means"]["ko"],
        also_en=tuple(also.get("en", ())),
        also_ko=tuple(also.get("ko", ())),
    )


def _folded(word: str) -> str:
    return unicodedata.normalize("NFC", word).strip().casefold()
