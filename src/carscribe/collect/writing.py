"""What a crawl leaves besides pictures: `cars.json`, which `describe --metadata` reads as it is, and `report.json`."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from carscribe.collect.journal import Journal
from carscribe.collect.results import Collected

CARS_FILE, REPORT_FILE = "cars.json", "report.json"


def write_cars(journal: Journal, folder: Path) -> int:
    """One row a photo: of the first car that shows it, and in `also_on` of the others; how many rows.

    `image` is relative to the file. Name and kind that the first page lacks are taken from a later one.
    """
    rows: dict[str, dict[str, Any]] = {}
    for shown in journal.shown_photos():
        row = rows.get(shown["sha256"])
        if row is None:
            rows[shown["sha256"]] = {
                "name": shown["name"],
                "kind": shown["kind"],
                "image": f"images/{shown['file']}",
                "source": shown["source"],
                "image_url": shown["image_url"],
                "retrieved_at": shown["fetched_at"],
                "licence": shown["licence"],
                "width_px": shown["width_px"],
                "height_px": shown["height_px"],
                "sha256": shown["sha256"],
                **json.loads(shown["extra"]),
            }
        elif shown["source"] != row["source"]:
            row["name"], row["kind"] = row["name"] or shown["name"], row["kind"] or shown["kind"]
            other = {key: shown[key] for key in ("source", "name", "kind", "image_url")}
            also_on = row.setdefault("also_on", [])
            if all(each["source"] != other["source"] for each in also_on):
                also_on.append(other)
    write_json(folder / CARS_FILE, list(rows.values()))
    return len(rows)


def write_report(journal: Journal, folder: Path, collected: Collected, facts: Mapping[str, Any]) -> None:
    """The sums, and every address that gave nothing, with its reason and the page that names it."""
    left_out = [dict(row) for row in journal.left_out()]
    summary = {key: value for key, value in asdict(collected).items() if key != "folder"}
    write_json(folder / REPORT_FILE, {**facts, **summary, "left_out": left_out})


def write_json(path: Path, value: object) -> None:
    """Beside, then in place. Raises: OSError."""
    part = path.with_name(f".{path.name}.part")
    with part.open("w", encoding="utf-8", newline="\n") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
