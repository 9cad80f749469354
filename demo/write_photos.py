"""Draw the renders that come with the demo: photos, metadata as a crawl leaves it, and labels with what is true.

usage: python demo/write_photos.py [--to demo/photos] [--count 24]

Every body type twice, colours in turn, seen from the front, the rear and the side; of seeds that no model learned from.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from render_set import UNSEEN_FROM
from rendered.attributes import ATTRIBUTES, CarRecord, draw_record
from rendered.render import render_jpeg
from rendered.words import choice_word

FIRST_SEED = UNSEEN_FROM + 50_000
"""Behind those that `measure.py` measures on."""


def records(count: int) -> Iterator[CarRecord]:
    """Records whose body types and colours take turns."""
    bodies, colours = ATTRIBUTES["body_type"].values, ATTRIBUTES["main_colour"].values
    seed = FIRST_SEED
    for number in range(count):
        while True:
            seed += 1
            record = draw_record(seed)
            wanted = (bodies[number % len(bodies)], colours[number * 5 % len(colours)])
            if (record.attributes["body_type"], record.attributes["main_colour"]) == wanted:
                yield record
                break


def write_photos(folder: Path, count: int) -> None:
    """Photos into `folder`/images, cars.json and labels.json beside them."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows, labels = [], {}
    for number, record in enumerate(records(count), start=1):
        body = record.attributes["body_type"]
        file = f"{number:02d}-{body.replace('_', '-')}.jpg"
        (folder / "images" / file).write_bytes(render_jpeg(record))
        kind = choice_word("body_type", body, "ko")
        rows.append({"name": f"Render {number}", "kind": kind, "image": file})
        labels[file] = dict(record.visible)
    for name, content in (("cars.json", rows), ("labels.json", labels)):
        (folder / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=Path(__file__).parent / "photos")
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    write_photos(options.to, options.count)


if __name__ == "__main__":
    main()
