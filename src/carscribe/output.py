"""The output: one JSON line a photo, on disk as soon as the photo is done.

Every line has the same keys in the same order, whatever was asked.
"""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from carscribe.errors import OutputError
from carscribe.records import Answer, EngineCard, Flag, PhotoResult, Recipe


class JsonLines:
    """Writes results to a file, to standard output, or both; a context manager.

    The file is opened at once, so that a run of hours does not end with "permission denied". A run that stops before
    its first line leaves no new file behind, and an old one as it was.
    """

    def __init__(self, path: Path | None, *, overwrite: bool = False, echo: bool = False) -> None:
        self._path = path
        self._overwrite = overwrite
        self._echo = echo
        self._file: IO[str] | None = None
        self._lines = 0

    @property
    def wanted(self) -> bool:
        """Whether a line goes anywhere."""
        return self._echo or self._path is not None

    def __enter__(self) -> Self:
        """Make the file. Raises: OutputError when it is there already, or cannot be made."""
        if self._path is None:
            return self
        try:
            # Appending and not "w": what is there is given up only when the first new line is.
            self._file = self._path.open("a" if self._overwrite else "x", encoding="utf-8", newline="\n")
        except FileExistsError:
            raise OutputError(
                f"{self._path} is there already. Name another file with -o, or replace it with --overwrite."
            ) from None
        except OSError as error:
            raise OutputError(f"{self._path} cannot be written: {error.strerror}. Name another file with -o.") from None
        return self

    def write(self, result: PhotoResult, card: EngineCard, recipes: Sequence[Recipe]) -> None:
        """One line, handed to the operating system before this returns. Raises: OutputError."""
        line = json_line(result, card, recipes) + "\n"
        try:
            if self._file:
                if self._overwrite and not self._lines and self._path and self._path.is_file():
                    self._file.truncate(0)
                self._file.write(line)
                self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{self._path} takes no more: {error.strerror}. Its first {self._lines} lines are whole."
            ) from None
        if self._echo:
            sys.stdout.buffer.write(line.encode())
            sys.stdout.buffer.flush()
        self._lines += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file; remove it when this run made it and wrote nothing."""
        if self._file:
            with suppress(OSError):  # every line was flushed when it was written, or its failure told
                self._file.close()
            if kind is not None and not self._lines and not self._overwrite and self._path:
                self._path.unlink(missing_ok=True)


def json_line(result: PhotoResult, card: EngineCard, recipes: Sequence[Recipe]) -> str:
    """One line of JSON, without the line's end, for an answered photo or one that was set aside.

    Non-ASCII text is written as it is, save lone surrogates (a file name that is not UTF-8), which are escaped.
    """
    metadata = result.file.metadata
    record: dict[str, Any] = {
        "photo": result.file.key,
        "name": metadata.name,
        "kind": metadata.kind,
        "sha256": result.sha256,
        "width_px": result.width_px,
        "height_px": result.height_px,
        "tiles": result.tiles,
        "model": card.model,
        "revision": card.revision,
        "adapter": card.adapter_folder or None,
        "dtype": result.dtype or card.dtype or None,
        "recipes": {recipe.id: recipe.version for recipe in recipes},
        "answers": [_answer(answer) for answer in result.answers],
        "flags": [flag_json(flag) for flag in result.flags],
        "error": result.error,
    }
    line = json.dumps(record, ensure_ascii=False)
    return line.encode("utf-8", "backslashreplace").decode("utf-8") if _has_surrogate(line) else line


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "recipe": answer.recipe_id,
        "question": answer.question_id,
        "language": answer.language,
        "text": answer.text,
        "tokens": answer.tokens,
        "finish": answer.finish,
        "scores": None if answer.scores is None else dict(answer.scores),
        "mass": answer.mass,
        "remark": answer.remark or None,
    }


def flag_json(flag: Flag) -> dict[str, Any]:
    """A flag for machines."""
    return {
        "recipe": flag.recipe_id,
        "question": flag.question_id,
        "language": flag.language,
        "why": flag.why,
        "answered": flag.answered,
        "kind": flag.kind,
        "score": flag.score,
        "confidence": flag.confidence,
        "mass": flag.mass,
    }


def _has_surrogate(line: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in line)
