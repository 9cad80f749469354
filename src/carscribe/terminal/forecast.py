"""A forecast at the terminal: one GPU in full, or a line for each GPU of the table."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

from rich.table import Table
from rich.text import Text

from carscribe.forecast import Asking, Forecast, TilesForecast
from carscribe.memory import NAMED_ONLY, QUANTISED, RUNTIME_BYTES
from carscribe.plaintext import counted
from carscribe.terminal.screen import GIB, Screen, gib

HEAD_CELLS, CELLS = 42, 10
"""How wide the table's heads and its columns are at least, in terminal cells."""

GPUS_SHOWN = 3
"""GPUs that are named where a model does not fit."""

RESTS_ON = (
    "Computed, not measured here. Memory: the arithmetic with which a run starts, a tenth of what is free kept back. "
    "Speed: a rough estimate from the data sheet, with three constants fitted to an 8B on an H100; runs there come out "
    "within an eighth. How it carries over to other GPUs and models is untested: half or double would be no surprise. "
    "Every answer is taken at its full length; fetching and loading the model, and a host too "
    "slow at reading photos, are not in it."
)
FLOAT16 = "no bfloat16: float16, checked; the 8B's backbone may overflow in it"
OPT_IN = "opt-in, not measured on real weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What a person wants to know besides: for how many photos, at which price an hour."""

    photos: int | None = None
    price_per_hour: float | None = None


def two_digits(value: float) -> str:
    """A number to two significant digits, which is more than an estimate knows.

    >>> [two_digits(value) for value in (83_123, 999, 12.6, 3.456, 0.1234, 0.00456, 0)]
    ['83,000', '1,000', '13', '3.5', '0.12', '0.0046', '0']
    """
    if not value:
        return "0"
    rounded = round(value, 1 - floor(log10(abs(value))))
    return f"{rounded:,.{max(0, 1 - floor(log10(abs(rounded))))}f}"


def show_forecast(screen: Screen, forecast: Forecast, asked: Asking, bill: Bill) -> None:
    """One GPU: what the model takes there, how fast it goes, what that costs."""
    place, row = forecast.place, screen.result
    row("GPU", f"{place.name}: {gib(place.total_bytes)}, {gib(place.free_bytes)} free")
    if place.sheet:
        sheet = place.sheet
        row("Data sheet", f"{sheet.bandwidth_gb_per_s:,.0f} GB/s, {sheet.matrix_tflops:,.0f} TFLOP/s of 16-bit floats")
        row("", sheet.source)
        if sheet.remark:
            row("", sheet.remark)
    row("Model", f"{forecast.model.name}, {forecast.dtype}")
    if forecast.dtype in ("float16", *QUANTISED) and not place.bfloat16:
        row("", FLOAT16)
    if forecast.dtype in QUANTISED:
        row("", f"the language layers alone; {OPT_IN}")
    row("Asking", _asked(asked))
    screen.show()
    screen.show(_table(forecast, bill))
    screen.show()
    if forecast.dtype not in QUANTISED:
        row("Quantised", f"weights in {_quantised(forecast)}")
        row("", f"with --dtype: {OPT_IN}")
        screen.show()
    if not forecast.fits:
        _show_instead(screen, forecast)
    if any(tiles.photos_per_hour is None and tiles.batch.fits for tiles in forecast.tiles):
        row("Speed", _why_no_speed(forecast))
    screen.show(Text(RESTS_ON, style="dim"))


def show_gpus(screen: Screen, forecasts: Sequence[Forecast], asked: Asking, lacking: Sequence[str]) -> None:
    """A line for each GPU, whether the model fits or which would, and how fast it goes; `lacking` lack the dtype."""
    screen.result("Asking", _asked(asked))
    screen.show()
    counts = " / ".join(str(tiles.batch.tiles) for tiles in forecasts[0].tiles)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("GPU", "GiB", "model", "at once", "photos an hour"):
        table.add_column(head, justify="left" if head in ("GPU", "model") else "right", no_wrap=True)
    table.add_row("", "", "tiles:", counts, counts, style="dim")
    for forecast in forecasts:
        at_once = " / ".join(_at_once(tiles) for tiles in forecast.tiles)
        speeds = " / ".join(_speed(tiles) for tiles in forecast.tiles)
        place = forecast.place
        table.add_row(place.name, f"{place.total_bytes / GIB:.1f}", _which(forecast), at_once, speeds)
    screen.show(table)
    screen.show()
    dtype = forecasts[0].dtype
    if lacking:
        screen.show(Text(f"{dtype} is not available on {', '.join(lacking)}."))
    if dtype in QUANTISED:
        screen.show(Text(f"{dtype}: the language model's layers alone; {OPT_IN}."))
    screen.show(Text(RESTS_ON, style="dim"))


def short_name(model: str) -> str:
    """A model's name without its owner and what all of them have in common.

    >>> short_name("OpenGVLab/InternVL3-8B-hf"), short_name("./mine")
    ('8B', 'mine')
    """
    return model.rpartition("/")[2].removeprefix("InternVL3-").removesuffix("-hf")


def _asked(asked: Asking) -> str:
    names, languages = ", ".join(asked.recipes), " and ".join(asked.languages)
    answers = f", answers of at most {asked.row.new_tokens}" if asked.row.columns else ""
    questions = f"{asked.questions} question{'s' * (asked.questions > 1)}"
    return f"{names} in {languages}: {questions}, about {asked.row.branch_tokens:,} tokens{answers}"


def _table(forecast: Forecast, bill: Bill) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("GiB of the largest batch, else of one photo", no_wrap=True, min_width=HEAD_CELLS)
    for tiles in forecast.tiles:
        table.add_column(_tiles(tiles.batch.tiles), justify="right", no_wrap=True, min_width=CELLS)

    def line(head: str, *cells: str, style: str = "") -> None:
        table.add_row(head, *cells, style=style)

    every = forecast.tiles
    line("weights", *(_gib(tiles.batch.weight_bytes) for tiles in every))
    line("CUDA context and workspaces", *(_gib(RUNTIME_BYTES) for _ in every))
    line("cache of the photos", *(_gib(tiles.parts.prefix_cache) for tiles in every))
    line("cache of questions and answers", *(_gib(tiles.parts.branch_cache) for tiles in every))
    line("vision tower", *(_gib(tiles.parts.vision) for tiles in every))
    line("or then reading the photos", *(_gib(tiles.parts.reading) for tiles in every))
    line("or then asking the questions", *(_gib(tiles.parts.asking) for tiles in every))
    line("or then choosing tokens", *(_gib(tiles.parts.choosing) for tiles in every))
    line("graphs of decode steps", *(_gib(tiles.parts.graphs) for tiles in every))
    line("idle in torch's allocator", *(_gib(tiles.idle_bytes) for tiles in every))
    line("together", *(_gib(tiles.total_bytes) for tiles in every), style="bold")
    line("fits", *("yes" if tiles.batch.fits else "no" for tiles in every), style="bold")
    line("photos at once", *map(_at_once, every))
    if any(tiles.photos_per_hour for tiles in every):
        line("photos an hour", *map(_speed, every))
        for head, cells in _costs(every, bill):
            line(head, *cells)
    return table


def _costs(every: Sequence[TilesForecast], bill: Bill) -> list[tuple[str, list[str]]]:
    """Hours and costs, as far as there are photos and a price to count."""
    rates = [tiles.photos_per_hour for tiles in every]
    price, photos = bill.price_per_hour, bill.photos
    rows = []
    if photos is not None:
        rows.append((f"hours for {photos:,} photos", [two_digits(photos / rate) if rate else "" for rate in rates]))
    if price is not None:
        rows.append(("cost of 1,000 photos", [two_digits(1000 / rate * price) if rate else "" for rate in rates]))
    if price is not None and photos is not None:
        rows.append(
            (f"cost of {photos:,} photos", [two_digits(photos / rate * price) if rate else "" for rate in rates])
        )
    return rows


def _show_instead(screen: Screen, forecast: Forecast) -> None:
    """How photos of the most tiles could be had: with another model here, elsewhere, or with fewer tiles."""
    most, fitting, holding = forecast.tiles[-1].batch.tiles, forecast.fitting_model, forecast.holding_gpus
    by_name = " (name it with --model)" if fitting in NAMED_ONLY else ""
    more = f" and {len(holding) - GPUS_SHOWN} more" if len(holding) > GPUS_SHOWN else ""
    ways = [f"fit here with {fitting}{by_name}" if fitting else "fit here with no model of the family"]
    ways.append(f"fit this model on {', '.join(holding[:GPUS_SHOWN])}{more}" if holding else "fit on no GPU known")
    fewer = [tiles.batch.tiles for tiles in forecast.tiles if tiles.batch.fits]
    if fewer:
        ways.append(f"or take {max(fewer)} at most: --max-tiles {max(1, max(fewer) - 1)}")
    for head, way in zip((_tiles(most), "", ""), ways, strict=False):
        screen.result(head, way)
    screen.show()


def _quantised(forecast: Forecast) -> str:
    """What the weights take in each dtype that quantises them."""
    sizes = {held: f"{held} {_gib(size)} GiB" for held, size in forecast.quantised_bytes.items() if size is not None}
    return ", ".join(sizes.get(held, f"{held} not available") for held in QUANTISED)


def _why_no_speed(forecast: Forecast) -> str:
    if forecast.place.sheet is None:
        return f"not estimated: {forecast.place.name} is not in the table of GPUs"
    return "not estimated in float32: data sheets tell the rate of 16-bit floats"


def _tiles(count: int) -> str:
    return counted(count, "tile")


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / GIB:.1f}"


def _at_once(tiles: TilesForecast) -> str:
    return str(tiles.batch.photos) if tiles.batch.fits else "–"


def _speed(tiles: TilesForecast) -> str:
    return two_digits(tiles.photos_per_hour) if tiles.photos_per_hour else "–"


def _which(forecast: Forecast) -> str:
    """What runs there: the model, or that it does not and which would."""
    if forecast.fits:
        dtype = "" if forecast.dtype == "bfloat16" else f", {forecast.dtype}"
        return f"{short_name(forecast.model.name)}{dtype}"
    return f"no; {short_name(forecast.fitting_model)} would" if forecast.fitting_model else "none"
