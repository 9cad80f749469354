"""Records of a crawl: how far it is, what it gave, what a look at a site gave."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a crawl is, in addresses of all its runs. `set_aside` are pages and pictures that gave nothing."""

    pages: int = 0
    pages_waiting: int = 0
    pictures: int = 0
    pictures_waiting: int = 0
    set_aside: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Pages, pictures or sitemaps that gave nothing, for one reason. Those that `failed` can be tried again."""

    what: str
    reason: str
    failed: bool
    count: int
    example: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentRule:
    """A rule of the site's description that never found anything, and where it stands."""

    place: str
    key: str
    rules: tuple[str, ...]
    tried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What a folder holds after a run.

    `stopped` says why the crawl did not come to its end, if it did not; `advice`, by file and line, what to look at
    when no picture was found at all. While addresses wait, rules that were not tried yet are not among the `silent`.
    """

    folder: Path
    photos: int
    new_photos: int
    cars: int
    nameless: int
    pictureless: int
    pages: int
    sitemaps: int
    same_bytes: int
    waiting: int
    left_out: tuple[LeftOut, ...]
    silent: tuple[SilentRule, ...]
    stopped: str | None
    advice: str | None

    @property
    def failed(self) -> int:
        """How many addresses may give something when they are tried again."""
        return sum(each.count for each in self.left_out if each.failed)


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAtCar:
    """A car as a look at a page shows it; of each picture the address that would be asked for."""

    name: str | None
    kind: str | None
    licence: str | None
    extra: Mapping[str, str]
    pictures: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LookedAtPage:
    """One page or sitemap that was looked at, and the links it gives, by what they lead to: cars, lists, sitemaps."""

    url: str
    role: str
    encoding: str
    refused: str | None
    cars: tuple[LookedAtCar, ...]
    links: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the first pages of a site give; nothing of it is kept. `advice` as of `Collected`."""

    pages: tuple[LookedAtPage, ...]
    left_out: tuple[LeftOut, ...]
    silent: tuple[SilentRule, ...]
    stopped: str | None
    advice: str | None
