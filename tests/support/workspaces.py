"""A workspace with answers in it, made by a fake engine."""

from pathlib import Path

from fakes import FakeEngine
from photos_on_disk import write_photos

import carscribe

RECIPE = """
id = "own"
version = 1
languages = ["en", "ko"]
[[questions]]
id = "colour"
priority = 1
text.en = "Color?"
text.ko = "색은?"
choices.en = ["red", "blue"]
choices.ko = ["빨강", "파랑"]
[[questions]]
id = "wheels"
priority = 2
max_new_tokens = 8
text.en = "wheels"
text.ko = "휠"
"""


def make_workspace(folder: Path, *, photos: int = 3, **options: object) -> Path:
    """`folder`/workspace, asked `own` about `folder`/photos in English and Korean."""
    recipe = folder / "own.toml"
    if not recipe.exists():
        recipe.write_text(RECIPE, "utf-8")
    if not (folder / "photos").exists():
        write_photos(folder / "photos", photos)
    chosen = {"recipes": [recipe], "languages": ["en", "ko"], "engine": FakeEngine()} | options
    for _ in carscribe.describe(folder / "photos", workspace=folder / "workspace", **chosen):  # type: ignore[arg-type]
        pass
    return folder / "workspace"
