"""What a run has to do: a few numbers a file, and not an object, for there may be a million of them."""

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from carscribe.catalog.files import Paths
from carscribe.found import Photos
from carscribe.records import Language, PhotoFile, Prompt

Each = TypeVar("Each")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ask:
    """What is still to be asked of a file. `index` is its place in what the user gave."""

    index: int
    file: PhotoFile
    file_id: int
    prompts: tuple[Prompt, ...]


class _Shared(Generic[Each]):
    """Objects that many files share, by number: those that are one object have one."""

    def __init__(self) -> None:
        self._held: list[Each] = []
        self._numbers: dict[int, int] = {}

    def __getitem__(self, number: int, /) -> Each:
        return self._held[number]

    def number(self, each: Each) -> int:
        number = self._numbers.get(id(each))
        if number is None:
            number = self._numbers[id(each)] = len(self._held)
            self._held.append(each)
        return number


class Asks:
    """What is still to be asked of the files of a plan, in their order."""

    def __init__(self, photos: Photos) -> None:
        self._photos = photos
        self._places, self._file_ids, self._kinds = array("q"), array("q"), array("q")
        self._prompts = _Shared[tuple[Prompt, ...]]()

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, number: int, /) -> Ask:
        place = self._places[number]
        return Ask(
            index=place,
            file=self._photos[place],
            file_id=self._file_ids[number],
            prompts=self._prompts[self._kinds[number]],
        )

    def __iter__(self) -> Iterator[Ask]:
        return map(self.__getitem__, range(len(self)))

    @property
    def indexes(self) -> Sequence[int]:
        """The places of the files in what the user gave."""
        return self._places

    def spread(self, count: int) -> list[Ask]:
        """At most so many of them, evenly spread."""
        return [self[number] for number in range(0, len(self), max(1, len(self) // count))][:count]

    def add(self, place: int, file_id: int, prompts: tuple[Prompt, ...]) -> None:
        """Ask this of the next file. Prompts that are one object, as most files' are, are held once."""
        self._places.append(place)
        self._file_ids.append(file_id)
        self._kinds.append(self._prompts.number(prompts))


AskChange = tuple[int, str, Language, int, int, int]
"""(file, recipe, language, prompt set, condition, run): a row of the catalogue's table of asks."""


class AskChanges:
    """What is asked of files from a run on, where that may not be what was asked before."""

    def __init__(self, *, run_id: int, condition_id: int) -> None:
        self._how = (condition_id, run_id)
        self._file_ids, self._kinds = array("q"), array("q")
        self._asked = _Shared[Sequence[tuple[str, Language, int]]]()

    def __iter__(self) -> Iterator[AskChange]:
        for file_id, kind in zip(self._file_ids, self._kinds, strict=True):
            for recipe, language, set_id in self._asked[kind]:
                yield file_id, recipe, language, set_id, *self._how

    def add(self, file_id: int, asked: Sequence[tuple[str, Language, int]]) -> None:
        """Ask a file these sets, each with its recipe and language. Those that are one object are held once."""
        self._file_ids.append(file_id)
        self._kinds.append(self._asked.number(asked))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What a run has to do. `failed` maps keys of photos that failed before, and are not tried again, to the reason.

    `changes` is what is asked of files from this run on, to be noted once there is an engine to ask. `kept` counts
    photos whose every answer is there, `moved` those found at another path than before. `paths` says by which path the
    catalogue knows a file. `imported` are the conditions of imported captions, which count as answers.
    """

    run_id: int
    condition_id: int
    imported: tuple[int, ...]
    asks: Asks
    kept: int
    moved: int
    failed: Mapping[str, str]
    changes: AskChanges
    paths: Paths
