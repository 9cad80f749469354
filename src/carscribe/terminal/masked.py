"""A masked export under way: a photo takes part of a second, and a large set of them an hour."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from carscribe.export.images import Masker
from carscribe.records import MaskedImage, PhotoFile
from carscribe.terminal.run import Log
from carscribe.terminal.screen import Screen


class SeenMasker:
    """A masker that says of each photo when it is through with it, whether or not it could be masked."""

    def __init__(self, masker: Masker, seen: Callable[[], None]) -> None:
        self._masker, self._seen = masker, seen

    def mask(self, photo: PhotoFile, sha256: str, content: bytes, format_: Literal["JPEG", "PNG"]) -> MaskedImage:
        """As the masker itself."""
        try:
            return self._masker.mask(photo, sha256, content, format_)
        finally:
            self._seen()


@contextmanager
def masking_shown(screen: Screen, masker: Masker, photos: int) -> Iterator[Masker]:
    """`masker`, watched: a bar of at most so many photos, or where nobody watches a line now and then."""
    bar = Progress(
        TextColumn("Masking"),
        MofNCompleteColumn(),
        BarColumn(bar_width=None),
        TimeRemainingColumn(compact=True),
        console=screen.err,
        transient=True,
        disable=screen.quiet or not screen.err.is_terminal,
    )
    log, done = Log(screen), 0
    with bar:
        task = bar.add_task("", total=photos)

        def seen() -> None:
            nonlocal done
            done += 1
            bar.update(task, completed=done)
            log.line(lambda: f"{done:,} of {photos:,} photos masked")

        yield SeenMasker(masker, seen)
