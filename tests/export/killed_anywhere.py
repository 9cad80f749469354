"""Exports in processes that are killed just before the n-th change to the disk, for every n; then once to the end.

usage: python killed_anywhere.py FORMAT PHOTOS FOLDER OVERWRITE

Prints two lines for every kill, JSON lists of the files that are not hidden in FOLDER: after it, and after the same
command again; then one after the export that was not killed.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import filelock  # noqa: F401 - before the forks, so that no import is among what is counted

from carscribe import export
from carscribe.export.manifest import FINISHED, UNFINISHED
from carscribe.records import DescribedPhoto, Description, PhotoFile

CHANGES = frozenset({"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"})


def photos(folder: Path, text: str) -> Iterator[DescribedPhoto]:
    for path in sorted(folder.iterdir()):
        yield DescribedPhoto(
            file=PhotoFile(location=str(path), key=f"{text}/{path.name}"),
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            width_px=1,
            height_px=1,
            answers=(),
            description=Description(text=text, budget="clip", tokens=None),
        )


def in_a_child(moment: int | None, format_: str, source: Path, to: Path, text: str, overwrite: bool) -> bool:
    """Export in a process of its own; whether it lived to the end."""
    child = os.fork()
    if not child:
        left = moment

        def count(event: str, _: object) -> None:
            nonlocal left
            if left is not None and event in CHANGES:
                left -= 1
                if left < 0:
                    os._exit(9)

        sys.addaudithook(count)
        export.write(format_, photos(source, text), to, images="copy", overwrite=overwrite)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def tell(folder: Path) -> None:
    """All files, but those in a hidden folder, or hidden themselves."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    sys.stdout.write(json.dumps(sorted(name for name in names if not name.startswith("."))) + "\n")
    sys.stdout.flush()  # a child would write it again


def main(format_: str, source: Path, to: Path, overwrite: bool) -> None:
    moment, lived = 0, False
    while not lived:
        shutil.rmtree(to, ignore_errors=True)
        if overwrite:
            export.write(format_, photos(source, "old"), to, images="copy")
            (to / "mine.md").write_text("mine")
        lived = in_a_child(moment, format_, source, to, "new", overwrite)
        tell(to)
        if not lived:
            whole = (to / FINISHED).exists() and not (to / UNFINISHED).exists()
            assert in_a_child(None, format_, source, to, "new", overwrite or whole), "the same command again"
            tell(to)
        moment += 1


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "overwrite")
