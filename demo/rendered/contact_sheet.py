"""Writes a sheet of labelled renders, to be looked at: `python demo/rendered/contact_sheet.py --to sheet.png`."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageDraw

if __package__ is None or not __package__:
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rendered.attributes import ATTRIBUTES, CarRecord, View, draw_record
from rendered.render import render

CELL_PX, LABEL_PX = (448, 336), 14
"""Cells have the size at which the model sees a picture."""


def varied(name: str, value: str, seed: int, view: View | None, fixed: dict[str, str]) -> CarRecord | None:
    """A record with this value, from a view that shows it; none when the body type rules it out."""
    views = (view,) if view else ATTRIBUTES[name].views
    for attempt in range(60):
        try:
            record = draw_record(seed + 1000 * attempt, fixed={**fixed, name: value}, held_back={})
        except ValueError:
            continue
        if record.view in views:
            return record
    return None


def with_value(record: CarRecord, name: str, value: str) -> CarRecord:
    """The same car but for one attribute."""
    return replace(record, attributes={**record.attributes, name: value})


def sheet(rows: list[list[tuple[str, CarRecord | None]]], scale: float) -> Image.Image:
    """A grid of renders, each under its label."""
    wide, high = int(CELL_PX[0] * scale), int(CELL_PX[1] * scale)
    picture = Image.new("RGB", (max(map(len, rows)) * wide, len(rows) * (high + LABEL_PX)), "white")
    draw = ImageDraw.Draw(picture)
    for r, row in enumerate(rows):
        for c, (label, record) in enumerate(row):
            draw.text((c * wide + 3, r * (high + LABEL_PX) + 1), label, fill="black")
            if record is not None:
                seen = render(record).resize(CELL_PX, Image.Resampling.BICUBIC)
                picture.paste(seen.resize((wide, high)), (c * wide, r * (high + LABEL_PX) + LABEL_PX))
    return picture


def main() -> None:
    """Reads the command line, and writes the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, required=True, help="the picture to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--rows", type=int, default=5)
    parser.add_argument("--scale", type=float, default=0.6, help="1 shows cars as the model sees them, 448x336")
    parser.add_argument("--vary", choices=list(ATTRIBUTES), help="one row for each value of this attribute")
    parser.add_argument("--same-car", action="store_true", help="with --vary: a column is one car in all its variants")
    parser.add_argument("--view", choices=["front", "rear", "side"])
    parser.add_argument("--fix", nargs="*", default=[], metavar="NAME=VALUE", help="attributes not left to chance")
    given = parser.parse_args()
    fixed = dict(part.split("=", 1) for part in given.fix)
    rows: list[list[tuple[str, CarRecord | None]]] = []
    if given.vary:
        for value in ATTRIBUTES[given.vary].values:
            row: list[tuple[str, CarRecord | None]] = []
            for column in range(given.columns):
                record = varied(given.vary, value, given.seed + column, given.view, fixed)
                if given.same_car:
                    first = varied(given.vary, ATTRIBUTES[given.vary].values[0], given.seed + column, given.view, fixed)
                    record = first and with_value(first, given.vary, value)
                label = f"{value} ({record.attributes['body_type']})" if record else value
                row.append((label, record))
            rows.append(row)
    else:
        for r in range(given.rows):
            records = [draw_record(given.seed + r * given.columns + c, fixed=fixed) for c in range(given.columns)]
            rows.append([(_label(record), record) for record in records])
    sheet(rows, given.scale).save(given.to)


def _label(record: CarRecord) -> str:
    a = record.attributes
    return f"{record.seed} {a['body_type']} {a['main_colour']} {a['finish']} {a['element']}"


if __name__ == "__main__":
    main()
