"""Draws the pictures of docs/ from what the benches, and the demo model's training, left in bench/results/.

usage: python bench/plots.py [--results bench/results] [--to docs] [--only versus stages memory flat batches demo-model]

A picture whose results are not there yet is left out, with the reason; one that is in docs already stays as it is.
The GPU stands in a title when all results of the picture name the same. Colours are those of Okabe and Ito, which
people who are colour-blind tell apart; markers, lines and order say the same once more.
"""

import argparse
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator
from PIL import Image

ROOT = Path(__file__).parents[1]
WIDTH_IN, DOTS_PER_IN, PALETTE = 8.0, 130, 128
"""A point of text is 1.4 px when a page shows the picture 800 px wide."""

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, BLACK = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#333333"),
)
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK)
MARKERS = "osD^vPX"
LINES = {(False, True): "-", (False, False): "--", (True, True): ":", (True, False): "-."}
"""By whether an answer is one JSON, and whether it was computed in bfloat16."""

STAGES = {"vision": SKY, "read": BLUE, "ask": ORANGE, "decode": VERMILION}
ON_DARK = {"read", "decode"}
"""Stages whose bars have white numbers."""

LEAST_LABELLED = 0.07
"""A smaller share has no room for its number."""

MANY_TICKS = 5
"""So many batch sizes do not get a number each."""

BAND = 0.05
WORKS = {
    "one": "one description",
    "eight": "eight questions",
    "designer": "designer, English",
    "designer-en-ko": "designer, English and Korean",
}
JSON_WAY = "json"
CONTENDERS = ("carscribe", "vLLM tuned", "vLLM as documented", "transformers, batched", "transformers, one at a time")


class NotThereError(Exception):
    """The results that a picture is drawn from are not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """How fast a contender was, of the ways and settings of the same work the fastest."""

    work: str
    contender: str
    dtype: str
    one_json: bool
    tiles: int
    photos_per_s: float

    @property
    def label(self) -> str:
        """What the legend calls it."""
        return f"{self.contender}, {self.dtype}{', one JSON answer' if self.one_json else ''}"


def found_in(results: Path, pattern: str) -> list[dict[str, Any]]:
    """Every result of this name, by name. Raises: NotThereError."""
    paths = sorted(results.glob(pattern))
    if not paths:
        raise NotThereError(f"{results / pattern} is not there")
    return [json.loads(path.read_text("utf-8")) for path in paths]


def on_gpu(found: Iterable[Mapping[str, Any]]) -> str:
    """Where it was measured, when all say the same of it."""
    gpus = {one.get("gpu") for one in found}
    name = gpus.pop() if len(gpus) == 1 else None
    return f", {name}" if name else ""


def plain(axis: Any, ticks: Sequence[float]) -> None:
    """These ticks and no others, as whole numbers or as short as they can be."""
    axis.set_ticks(list(ticks))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def rate_ticks(rates: Iterable[float]) -> list[float]:
    """1, 2, 5, 10, … around these rates.

    >>> rate_ticks([3.0, 23.0])
    [2.0, 5.0, 10.0, 20.0, 50.0]
    """
    seen = list(rates)
    steps = [base * 10.0**power for power in range(-3, 6) for base in (1, 2, 5)]
    low = max((step for step in steps if step < min(seen)), default=steps[0])
    high = min((step for step in steps if step > max(seen)), default=steps[-1])
    return [step for step in steps if low <= step <= high]


def rate_axis(panel: Axes, rates: Iterable[float]) -> None:
    """Photos a second, by factors."""
    ticks = rate_ticks(rates)
    panel.set_yscale("log")
    panel.set_ylim(ticks[0], ticks[-1])
    panel.set_ylabel("photos/s (logarithmic)")
    plain(panel.yaxis, ticks)
    panel.grid(alpha=0.3)


def picture(title: str, height_in: float) -> Figure:
    """An empty picture."""
    figure = Figure(figsize=(WIDTH_IN, height_in), layout="constrained", facecolor="white")
    figure.suptitle(title, fontsize=12)
    return figure


def points(found: Iterable[Mapping[str, Any]]) -> list[Point]:
    """What every contender reached, in the order of the legend."""
    best: dict[tuple[int, str, str, bool, str, int], float] = {}
    for one in found:
        for row in one["rows"]:
            contender, way = one["contender"], row.get("way", "")
            if contender == "transformers":
                contender += ", batched" if way == "batched" else ", one at a time"
            place = CONTENDERS.index(contender) if contender in CONTENDERS else len(CONTENDERS)
            dtype, work = one.get("dtype", "bfloat16"), row.get("work", "one")
            key = (place, contender, dtype, way == JSON_WAY, work, row["tiles"])
            best[key] = max(best.get(key, 0.0), row["photos_per_s"])
    return [
        Point(work=work, contender=contender, dtype=dtype, one_json=one_json, tiles=tiles, photos_per_s=rate)
        for (_, contender, dtype, one_json, work, tiles), rate in sorted(best.items())
    ]


def versus(results: Path) -> Figure:
    """Throughput against tiles for every contender, a panel for each work."""
    found = found_in(results, "versus/*.json")
    seen = points(found)
    works = [work for work in WORKS if any(point.work == work for point in seen)]
    contenders = list(dict.fromkeys(point.contender for point in seen))
    tiles = sorted({point.tiles for point in seen})
    rows = -(-len(works) // 2)
    figure = picture(f"Photos a second by tiles{on_gpu(found)}", 1.6 + 3.0 * rows)
    panels = figure.subplots(rows, min(2, len(works)), squeeze=False, sharex=True).ravel()
    lines = {}
    for panel, work in zip(panels, works, strict=False):
        own = [point for point in seen if point.work == work]
        for label, group in groupby(own, key=lambda point: point.label):
            series = list(group)
            at = contenders.index(series[0].contender)
            (lines[label],) = panel.plot(
                [point.tiles for point in series],
                [point.photos_per_s for point in series],
                color=COLOURS[at % len(COLOURS)],
                marker=MARKERS[at % len(MARKERS)],
                markerfacecolor="white" if series[0].one_json else None,
                linestyle=LINES[series[0].one_json, series[0].dtype == "bfloat16"],
            )
        rate_axis(panel, (point.photos_per_s for point in own))
        plain(panel.xaxis, tiles)
        panel.tick_params(labelbottom=True)
        panel.set_title(WORKS[work], fontsize=11)
        panel.set_xlabel("tiles a photo, with the thumbnail")
    for panel in panels[len(works) :]:
        panel.set_visible(False)
    order = sorted(lines, key=[point.label for point in seen].index)
    figure.legend([lines[label] for label in order], order, loc="outside lower center", ncols=2)
    return figure


def stages(results: Path) -> Figure:
    """What share of a photo's time each stage takes, answers as long as drawn: a bar for each tiles, way and batch."""
    found = [
        {**one, "rows": [row for row in one["rows"] if row["lengths"] == "drawn" and "stages_ms_a_photo" in row]}
        for one in found_in(results, "gpu_stages_*.json")
    ]
    shown = [sorted(one["rows"], key=lambda row: int(row["tiles"])) for one in found]  # ways stay in their order
    if not all(shown):
        raise NotThereError(f"{results / 'gpu_stages_*.json'} has no rows of drawn lengths")
    heights = [len(rows) for rows in shown]
    figure = picture(f"Where a photo's time goes{on_gpu(found)}", 1.5 + 0.38 * sum(heights) + 0.5 * len(found))
    panels = figure.subplots(len(found), 1, squeeze=False, sharex=True, height_ratios=heights).ravel()
    for panel, one, rows in zip(panels, found, shown, strict=True):
        for at, row in enumerate(rows):
            _stage_bar(panel, at, row)
        panel.set_yticks(range(len(rows)), [_row_name(row) for row in rows])
        panel.set_ylim(len(rows) - 0.5, -0.5)
        panel.set_xlim(0, 1)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        panel.set_title(
            f"{one['size']} in {one.get('dtype', 'bfloat16')}; right of each bar: milliseconds a photo",
            fontsize=11,
            loc="left",
        )
        for side in ("top", "right", "left"):
            panel.spines[side].set_visible(False)
        panel.tick_params(axis="y", length=0)
    panels[-1].set_xlabel("share of the time of all stages")
    handles, labels = panels[0].get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=len(unique))
    return figure


def _row_name(row: Mapping[str, Any]) -> str:
    return f"{_tiles(row['tiles'])}, {row['photos']} photos, {row['way']}"


def _stage_bar(panel: Axes, at: int, row: Mapping[str, Any]) -> None:
    """One row's stages side by side, with their shares, and the whole's milliseconds behind them."""
    spent = row["stages_ms_a_photo"]
    left = 0.0
    for name, colour in STAGES.items():
        share = spent.get(name, 0.0) / sum(spent.values())
        panel.barh(at, share, left=left, height=0.72, color=colour, edgecolor="white", label=name)
        if share >= LEAST_LABELLED:
            ink = "white" if name in ON_DARK else "black"
            panel.text(left + share / 2, at, f"{share:.0%}", ha="center", va="center", color=ink)
        left += share
    panel.text(1.01, at, f"{row['ms_a_photo']:,.1f}", va="center")


def _tiles(count: int) -> str:
    return f"{count} tile{'s' if count != 1 else ''}"


def memory(results: Path) -> Figure:
    """Predicted against measured memory, and how far they are apart."""
    found = found_in(results, "memory/*.json")
    cells = [cell for cell in found if "measured_gib" in cell]
    sizes = sorted({cell["size"] for cell in cells}, key=lambda size: float(size.removesuffix("B")))
    dtypes = list(dict.fromkeys(cell["dtype"] for cell in cells))
    figure = picture(f"Memory of a run, predicted and measured{on_gpu(found)}", 4.6)
    left, right = figure.subplots(1, 2)
    for size, dtype in ((size, dtype) for size in sizes for dtype in dtypes):
        own = [cell for cell in cells if (cell["size"], cell["dtype"]) == (size, dtype)]
        if own:
            measured = [cell["measured_gib"]["process"] for cell in own]
            look: dict[str, Any] = {
                "color": COLOURS[sizes.index(size) % len(COLOURS)],
                "marker": MARKERS[dtypes.index(dtype) % len(MARKERS)],
                "edgecolors": "white",
                "linewidths": 0.6,
                "s": 46,
                "zorder": 3,
            }
            left.scatter(measured, [cell["predicted_gib"]["total"] for cell in own], label=f"{size} {dtype}", **look)
            right.scatter(measured, [_off_percent(cell) for cell in own], **look)
    most = 1.05 * max(max(cell["measured_gib"]["process"], cell["predicted_gib"]["total"]) for cell in cells)
    line = [0.0, most]
    left.plot(line, line, color=BLACK, linewidth=1)
    left.fill_between(line, [0, most * (1 - BAND)], [0, most * (1 + BAND)], color=BLACK, alpha=0.15, linewidth=0)
    left.set(xlim=(0, most), ylim=(0, most), ylabel="predicted, GiB")
    right.axhline(0, color=BLACK, linewidth=1)
    right.axhspan(-100 * BAND, 100 * BAND, color=BLACK, alpha=0.15, linewidth=0)
    widest = 1.3 * max(100 * BAND, *(abs(_off_percent(cell)) for cell in cells))
    right.set(xlim=(0, most), ylim=(-widest, widest), ylabel="predicted above measured, %")
    for cell in cells:
        if abs(_off_percent(cell)) > 100 * BAND:
            name = f"{cell['size']} {cell['dtype']}, {_tiles(cell['tiles'])}"
            late = cell["measured_gib"]["process"] > most / 2
            right.annotate(
                f"{name} " if late else f" {name}",
                (cell["measured_gib"]["process"], _off_percent(cell)),
                textcoords="offset points",
                xytext=(-5 if late else 5, 0),
                ha="right" if late else "left",
                va="center",
                fontsize=9,
            )
    for panel in (left, right):
        panel.set_xlabel("measured, GiB")
        panel.grid(alpha=0.3)
    inside = sum(abs(_off_percent(cell)) <= 100 * BAND for cell in cells)
    right.set_title(f"{inside} of {len(cells)} within the grey band, ±{BAND:.0%}", fontsize=11)
    left.set_title("on the line: as predicted", fontsize=11)
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _off_percent(cell: Mapping[str, Any]) -> float:
    return 100 * (float(cell["predicted_gib"]["total"]) / float(cell["measured_gib"]["process"]) - 1)


def flat(results: Path) -> Figure:
    """The host's and the GPU's memory while a run goes on."""
    (found,) = found_in(results, "gpu_flat.json")
    rows = found["samples_mib"]
    figure = picture(f"Memory over {found['photos']:,} photos, {found['size']}{on_gpu([found])}", 3.8)
    panel = figure.subplots()
    most = 0.0
    for name, key, colour, style in (("GPU", "reserved", BLUE, "-"), ("host", "host", VERMILION, "--")):
        used = [row[key] / 1024 for row in rows]
        most = max(most, *used)
        panel.plot([row["photos"] for row in rows], used, color=colour, linestyle=style, linewidth=2)
        panel.annotate(
            f"{name}: {found['mib_per_1000_photos'][key]:+.1f} MiB per 1,000 photos",
            (rows[-1]["photos"], used[-1]),
            textcoords="offset points",
            xytext=(-6, 5),
            ha="right",
            color=colour,
        )
    panel.set(xlim=(0, rows[-1]["photos"]), ylim=(0, 1.15 * most), ylabel="memory in use, GiB")
    panel.set_xlabel(f"photos answered, {found['seconds'] / 60:,.1f} minutes in all")
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    panel.grid(alpha=0.3)
    return figure


def batches(results: Path) -> Figure:
    """Throughput against how many photos are read and asked at once: compiled, and beside the other contenders."""
    found = found_in(results, "gpu_stages_*.json")
    others = found_in(results, "versus/*.json")
    rows = [
        {**row, "name": f"{_tiles(row['tiles'])}, {one.get('dtype', 'bfloat16')}"}
        for one in found
        for row in one["rows"]
        if row["way"] == "compiled"
    ]
    if len(rows) == len({row["name"] for row in rows}):
        raise NotThereError(f"{results / 'gpu_stages_*.json'} has no two batch sizes of the same tiles, compiled")
    one_description = [
        {**row, "photos": row.get("batch", one.get("sequences")), "name": f"{_tiles(row['tiles'])}, {one['contender']}"}
        for one in others
        for row in one["rows"]
        if row.get("work", "one") == "one"
    ]
    figure = picture(f"Photos a second by photos at once{on_gpu([*found, *others])}", 4.4)
    left, right = figure.subplots(1, 2)
    left.set_title("Carscribe, designer, steady state", fontsize=11)
    right.set_title("one description in bfloat16", fontsize=11)
    for panel, shown, where in ((left, rows, "center right"), (right, one_description, "lower right")):
        shown.sort(key=lambda row: (row["name"], row["photos"]))
        for at, (name, group) in enumerate(groupby(shown, key=lambda row: str(row["name"]))):
            series = list(group)
            panel.plot(
                [row["photos"] for row in series],
                [row["photos_per_s"] for row in series],
                color=COLOURS[at % len(COLOURS)],
                marker=MARKERS[at % len(MARKERS)],
                label=name,
            )
        sizes = sorted({row["photos"] for row in shown})
        panel.set_xscale("log", base=2)
        plain(panel.xaxis, sizes if len(sizes) < MANY_TICKS else [4**i for i in range(sizes[-1].bit_length() // 2 + 1)])
        panel.set_xlim(sizes[0] / 1.4, sizes[-1] * 1.4)
        panel.set_xlabel("photos at once (logarithmic)")
        rate_axis(panel, (row["photos_per_s"] for row in shown))
        panel.legend(loc=where, fontsize=9)
    return figure


def demo_model(results: Path) -> Figure:
    """Loss and tokens right of the demo model's training, over all its runs; dotted lines where a run began."""
    (found,) = found_in(results, "demo_training.json")
    curve = found["curve"]
    seen = [row["photos_seen"] / 1e6 for row in curve]
    figure = picture("Training of the demo model", 3.4)
    panels = figure.subplots(1, 2)
    for panel, key, name in zip(panels, ("loss", "tokens_right"), ("loss a token", "tokens right"), strict=True):
        panel.plot(seen, [row[key] for row in curve], color=BLUE, linewidth=2)
        for before, row, at in zip(curve, curve[1:], seen, strict=False):
            if row["run"] != before["run"]:
                panel.axvline(at, color=BLACK, linestyle=":", linewidth=1)
        panel.set(xlim=(0, seen[-1]), xlabel="photos seen, in millions", ylabel=name)
        panel.grid(alpha=0.3)
    panels[0].set_yscale("log")
    plain(panels[0].yaxis, (0.1, 0.2, 0.5, 1, 2, 5))
    panels[1].set_ylim(0, 1)
    return figure


PICTURES: Mapping[str, Callable[[Path], Figure]] = {
    "versus": versus,
    "stages": stages,
    "memory": memory,
    "flat": flat,
    "batches": batches,
    "demo-model": demo_model,
}
NAMES = {"demo-model": "demo-model-curve"}
"""Where the picture is not one of docs/performance.md."""


def save(figure: Figure, path: Path) -> None:
    """As a PNG of a palette: a third of the bytes."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=DOTS_PER_IN)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    """Draw what can be drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results")
    parser.add_argument("--to", type=Path, default=ROOT / "docs")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES))
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    for name in options.only:
        path = options.to / f"{NAMES.get(name, f'performance-{name}')}.png"
        try:
            figure = PICTURES[name](options.results)
        except NotThereError as reason:
            print(f"{path.name} is not drawn: {reason}")
            continue
        save(figure, path)
        print(path)


if __name__ == "__main__":
    main()
