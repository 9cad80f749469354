"""What was crawled with photos, as a workspace remembers it, is looked up many at a time."""

import json
from pathlib import Path

from workspaces import make_workspace

from carscribe.catalog.remembering import KnownPhotos
from carscribe.catalog.workspace import read_workspace
from carscribe.photos.sources import find_photos


def test_a_page_of_photos_is_looked_up_at_once_and_each_has_its_own_name(tmp_path: Path) -> None:
    names = {f"차 {number}.png": f"Kia {number}" for number in (0, 1, 3)}
    rows = [{"image": image, "name": name} for image, name in names.items()]
    (tmp_path / "cars.json").write_text(json.dumps(rows), "utf-8")
    workspace = make_workspace(tmp_path, photos=5, metadata=tmp_path / "cars.json")
    statements: list[str] = []
    with read_workspace(workspace) as opened:
        known = KnownPhotos(opened, find_photos(tmp_path / "photos").files)
        opened.connection.set_trace_callback(statements.append)
        assert [file.metadata.name for file in known] == ["Kia 0", "Kia 1", None, "Kia 3", None]
        assert len(statements) == 1
        assert [(file.key, file.metadata.name) for file in known.at([3, 2, 0])] == [
            ("차 3.png", "Kia 3"),
            ("차 2.png", None),
            ("차 0.png", "Kia 0"),
        ]
        assert len(statements) == 2
        assert known[1] == known.at([1])[0]
        assert known.at([]) == []
