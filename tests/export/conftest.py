"""Described photos whose files lie on disk, whatever their keys say."""

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from carscribe.records import DescribedPhoto, Description, JudgedAnswer, Metadata, PhotoFile

Describe = Callable[..., DescribedPhoto]


@pytest.fixture
def described(tmp_path: Path) -> Describe:
    """Makes a photo, each with its own bytes, named by a key and described by a text."""
    folder = tmp_path / "photos"
    folder.mkdir()
    made = 0

    def make(
        key: str,
        text: str = "a red car",
        *,
        name: str | None = None,
        kind: str | None = None,
        tokens: int | None = None,
        answers: tuple[JudgedAnswer, ...] = (),
        file: str | None = None,
    ) -> DescribedPhoto:
        nonlocal made
        made += 1
        stream = io.BytesIO()
        Image.new("RGB", (8, 6), (made % 256, made // 256, 7)).save(stream, "PNG")
        path = folder / (file or f"{made}.png")
        path.write_bytes(stream.getvalue())
        return DescribedPhoto(
            file=PhotoFile(location=str(path), key=key, metadata=Metadata(name=name, kind=kind)),
            sha256=hashlib.sha256(stream.getvalue()).hexdigest(),
            width_px=8,
            height_px=6,
            answers=answers,
            description=Description(text=text, budget="clip", tokens=tokens),
        )

    return make


@pytest.fixture
def to(tmp_path: Path) -> Path:
    """Where exports go: a folder that is not there yet."""
    return tmp_path / "내보내기 export"


def tree(folder: Path, *, hidden: bool = False) -> list[str]:
    """All files below a folder, those with a dot in front only when asked for."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return [name for name in names if hidden or not name.startswith(".")]
