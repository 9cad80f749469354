"""The frozen records that pass between stages. One word for one thing: see docs/design.md, "Words".

A record knows nothing of where it came from (files, recipes) nor of what makes it (an engine): it only holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIXEL_LIMIT = 200_000_000
"""Photos with more pixels are set aside unless the user says otherwise."""

Language = str
"""A language code as recipes write it: `en`, `ko`."""

ASKED_AGAIN = "asked again"
"""The remark on an answer that took the place of one that was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What was crawled with a photo. `extra` holds the row's other fields as text."""

    name: str | None = None
    kind: str | None = None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoFile:
    """A photo that was found and not yet read.

    `location` is its path as text: a million of them are compared in a second, and a `Path` for each takes as long.
    `key` names it in every output: its path relative to what the user gave, with forward slashes, in the file
    system's own Unicode form.
    """

    location: str
    key: str
    metadata: Metadata = Metadata()

    @property
    def path(self) -> Path:
        """Where it is."""
        return Path(self.location)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How a checkpoint wants photos cut: square tiles of `tile_px`, between `min_tiles` and `max_tiles` in the grid.

    A thumbnail comes on top when the grid has more than one tile, so a photo is at most `max_tiles + 1` tiles.
    `resample` is Pillow's number of the filter (3 is bicubic).
    """

    tile_px: int = 448
    min_tiles: int = 1
    max_tiles: int = 12
    resample: int = 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TiledPhoto:
    """A photo read from disk and cut. `tiles` is uint8 [tiles, tile_px, tile_px, 3], RGB, thumbnail last.

    `width_px` and `height_px` are the full size after rotation, before any shrink-on-load.
    """

    sha256: str
    width_px: int
    height_px: int
    tiles: "NDArray[np.uint8]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Preview:
    """A photo read from disk and made small, in its own proportions. `pixels` is uint8 [height, width, 3], RGB.

    `width_px` and `height_px` are the full size after rotation.
    """

    sha256: str
    width_px: int
    height_px: int
    pixels: "NDArray[np.uint8]"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskedImage:
    """An image made anew of a photo, and how many boxes of each kind were hidden in it. `content` is a whole file."""

    content: bytes
    boxes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question of a recipe. Open when `choices` is empty; then an answer takes at most `max_new_tokens`.

    `text` is a prompt per language, in which `{name}` and `{kind}` stand for metadata. `choices` holds, per language,
    the same choices in the same order. The lower `priority`, the earlier in a composed description.
    """

    id: str
    text: Mapping[Language, str]
    priority: int
    max_new_tokens: int
    choices: Mapping[Language, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """An ordered set of questions, in one or more languages."""

    id: str
    version: int
    languages: tuple[Language, ...]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A question rendered for one photo in one language: what an engine sees of it. A choice when `choices` is set."""

    recipe_id: str
    question_id: str
    language: Language
    text: str
    max_new_tokens: int
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the model said to one prompt.

    `tokens` counts the new tokens of `text` without the end of turn. `finish` is "stop" when the model ended its turn,
    "length" when `max_new_tokens` did, "choice" when the prompt had choices: then `scores` holds one score per choice
    in the prompt's order, summing to one, and `mass` the probability the model gave to all choices together (little
    mass: the model would rather have said something else). A score is no confidence until it is calibrated.

    `remark` is "" of nearly all answers. Of an open answer that was none it is `ASKED_AGAIN` when this is the second
    one, asked at a temperature, and else why this first one is none.
    """

    recipe_id: str
    question_id: str
    language: Language
    text: str
    tokens: int
    finish: Literal["stop", "length", "choice"]
    scores: Mapping[str, float] | None = None
    mass: float | None = None
    remark: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Why a person should look at the answer to a choice.

    "kind": `answered` is nothing that the crawled `kind` means. "unsure": of `score` (the best one), `confidence` (in
    its place, once the choice is calibrated) and `mass`, those that are too low are given, the others None.
    """

    recipe_id: str
    question_id: str
    language: Language
    why: Literal["kind", "unsure"]
    answered: str
    kind: str | None = None
    score: float | None = None
    confidence: float | None = None
    mass: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FlagCounts:
    """How many photos have a flag: any, one of why "kind", one of why "unsure". A photo may have both."""

    photos: int
    kind: int
    unsure: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """What an engine is asked about one photo: its tiles, uint8 [tiles, tile_px, tile_px, 3], and all prompts.

    Open answers are greedy at `temperature` 0. Above, they are drawn: by `seed` (any text) and the prompt's own text,
    so that the same request gets the same answer whatever else is in its batch.
    """

    tiles: "NDArray[np.uint8]"
    prompts: tuple[Prompt, ...]
    temperature: float = 0.0
    seed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineCard:
    """What answers, for people and for the record. `notes` say what was chosen for the user and why, a line each.

    `weights` tells these weights from any others (a hub's commit, a hash of files), None when that was not looked up;
    `adapter` likewise a LoRA that was merged into them, which lies in `adapter_folder`; "" for none;
    `knows_renders_alone` is true of the demo model; `hardware` is the name of the GPU or CPU; `versions` those of the
    software that counts.
    """

    model: str
    revision: str | None
    device: str
    dtype: str
    weights: str | None = None
    adapter: str = ""
    adapter_folder: str = ""
    hardware: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    knows_renders_alone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotoResult:
    """What became of one photo: its answers, or the reason why it was set aside. Never both, never neither.

    `index` is the photo's place in what the user gave. `tiles` is what was used, fewer than asked for when memory did
    not allow more. `seconds` is the photo's share of the time its batch took. `dtype` is what its answers were computed
    in, of a workspace's perhaps by several runs. `flags` say which choices a person should look at.
    """

    index: int
    file: PhotoFile
    sha256: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    tiles: int | None = None
    answers: tuple[Answer, ...] = ()
    flags: tuple[Flag, ...] = ()
    error: str | None = None
    seconds: float | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a person said of the answer to one question about one photo. A later verdict counts instead of an earlier.

    `text` is what counts from then on: the answer as it was approved, or as it was edited; None when rejected.
    `judged_at` is a time in UTC, ISO 8601.
    """

    decision: Literal["approved", "edited", "rejected"]
    text: str | None
    author: str | None = None
    note: str | None = None
    judged_at: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswer:
    """An answer as a workspace keeps it: the model's, and what a person made of it.

    `text` is what counts: a person's word where there is one, else the model's. None when it was rejected. `answer` is
    None when a person wrote a text before the model did. `priority` is the question's.
    """

    recipe_id: str
    question_id: str
    language: Language
    priority: int
    text: str | None
    answer: Answer | None
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Answers composed for one budget (a text encoder's limit).

    `tokens` counts as the budget does; None where nothing counts. `dropped` holds the phrases for which no room was
    left, the most important first (with "…" one that was not finished); `repeated` those that were said already.
    `fallbacks` names the questions whose answer was taken in another language, since the encoder hardly knows this one.
    """

    text: str
    budget: str
    tokens: int | None
    dropped: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedPhoto:
    """A photo of a workspace with its answers, and the description composed of them: what an export writes."""

    file: PhotoFile
    sha256: str
    width_px: int
    height_px: int
    answers: tuple[JudgedAnswer, ...]
    description: Description
