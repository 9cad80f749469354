"""What a model learns from: a photo, and questions with their right answers. Pure records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from carscribe.records import Language


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A question as it is asked, and the answer to learn."""

    question: str
    answer: str
    recipe_id: str = ""
    question_id: str = ""
    language: Language = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A photo with its pairs, at least one. `photo` is a path, or the bytes of an image file.

    `key` names it for people. `groups` are what it must share a side of the split with: a car's name, a cluster of
    near-duplicates. The rest is what was found when the file was opened: its bytes' hash, its size after rotation, and
    whether EXIF turns it.
    """

    photo: str | bytes
    pairs: tuple[Pair, ...]
    key: str = ""
    groups: tuple[str, ...] = field(default=())
    sha256: str = ""
    width_px: int = 0
    height_px: int = 0
    turned: bool = False

    def to_row(self) -> dict[str, Any]:
        """As a row of a `datasets.Dataset`."""
        return {
            "photo": self.photo,
            "key": self.key,
            "questions": [pair.question for pair in self.pairs],
            "answers": [pair.answer for pair in self.pairs],
        }


def pairs_of_row(row: Mapping[str, Any]) -> list[Pair]:
    """The pairs of a row as `Example.to_row` writes it."""
    return [
        Pair(question=question, answer=answer)
        for question, answer in zip(row["questions"], row["answers"], strict=True)
    ]
