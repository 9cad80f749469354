"""`carscribe plan`: what a run would take on a GPU, before it is rented."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from carscribe.cli.app import AsJson, Dtype, app, print_json

if TYPE_CHECKING:
    from carscribe.forecast import Asking, Forecast, TilesForecast
    from carscribe.terminal.forecast import Bill

EVERY_GPU = "list"
MOST, MOST_TILES = 1_000_000_000, 1000
"""The most photos, the highest price and the largest grid that are counted with."""


@app.command()
def plan(
    model: Annotated[
        str | None,
        typer.Option(
            help="1B, 2B, 8B, 14B, 38B, a checkpoint's folder, or a hub id that was fetched. Left out: what describe "
            "picks there."
        ),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(help="Its name, such as 4090, A100 80 or H100 SXM; list for all. Left out: the one here."),
    ] = None,
    photos: Annotated[int | None, typer.Option(min=1, max=MOST, help="How many photos: tells the hours.")] = None,
    price: Annotated[
        float | None, typer.Option(min=0, max=MOST, help="What the GPU costs an hour, in any currency: tells the cost.")
    ] = None,
    recipe: Annotated[
        list[str] | None,
        typer.Option(help="designer, brief, detailed, or a TOML file of your own. May be given several times."),
    ] = None,
    language: Annotated[list[str] | None, typer.Option(help="en or ko. May be given several times.")] = None,
    max_tiles: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_TILES, help="The most tiles a photo is cut into, a thumbnail not counted."),
    ] = None,
    dtype: Dtype = "auto",
    as_json: AsJson = False,
) -> None:
    """Say what fits on a GPU, how fast it would go and what it would cost. Fetches nothing."""
    from carscribe.doctor.machine import ThisMachine
    from carscribe.errors import InputError
    from carscribe.forecast import asking, forecast, named_shape, place_here, place_of, sheets_with, tile_counts
    from carscribe.gpus import data_sheets, find_gpu
    from carscribe.terminal.forecast import Bill, show_forecast, show_gpus
    from carscribe.terminal.screen import Screen

    screen, bill = Screen(), Bill(photos=photos, price_per_hour=price)
    asked, tiles = asking(recipe or ["designer"], language or ["en"]), tile_counts(max_tiles)
    chosen = None if model is None else named_shape(model)
    place = None
    if gpu is None:
        place = place_here(ThisMachine())
    elif gpu != EVERY_GPU:
        place = place_of(find_gpu(gpu))
    if place is not None:
        found = forecast(place, chosen, asked, dtype=dtype, tiles=tiles)
        if as_json:
            print_json(_forecast_json(found, asked, bill))
        else:
            show_forecast(screen, found, asked, bill)
        return
    none_here = "" if gpu else "No whole GPU here that nvidia-smi shows. "
    if photos is not None or price is not None:
        raise InputError(f"{none_here}--photos and --price are about one GPU: name it, such as --gpu 4090.")
    sheets = sheets_with(dtype)
    every = [forecast(place_of(sheet), chosen, asked, dtype=dtype, tiles=tiles) for sheet in sheets]
    if as_json:
        print_json([_forecast_json(found, asked, bill) for found in every])
        return
    if none_here:
        screen.say(f"{none_here}These are rented; one in full: carscribe plan --gpu NAME")
    show_gpus(screen, every, asked, lacking=[sheet.name for sheet in data_sheets() if sheet not in sheets])


def _forecast_json(found: "Forecast", asked: "Asking", bill: "Bill") -> dict[str, Any]:
    place, hour = found.place, bill.price_per_hour
    return {
        "gpu": place.name,
        "here": place.is_here,
        "total_bytes": place.total_bytes,
        "free_bytes": place.free_bytes,
        "source": place.sheet.source if place.sheet else None,
        "model": found.model.name,
        "dtype": found.dtype,
        "recipes": list(asked.recipes),
        "languages": list(asked.languages),
        "quantised_bytes": found.quantised_bytes,
        "fits": found.fits,
        "fitting_model": found.fitting_model,
        "holding_gpus": list(found.holding_gpus),
        "tiles": [
            {
                "tiles": tiles.batch.tiles,
                "fits": tiles.batch.fits,
                "photos_at_once": tiles.batch.photos if tiles.batch.fits else 0,
                "bytes": _bytes_json(tiles),
                "photos_per_hour": _rounded(tiles.photos_per_hour),
                "hours": _rounded(_per_rate(bill.photos, tiles.photos_per_hour)),
                "cost_per_1000": _rounded(_per_rate(1000, tiles.photos_per_hour, hour)),
                "cost": _rounded(_per_rate(bill.photos, tiles.photos_per_hour, hour)),
            }
            for tiles in found.tiles
        ],
    }


def _bytes_json(tiles: "TilesForecast") -> dict[str, int]:
    from carscribe.memory import RUNTIME_BYTES

    parts = tiles.parts
    return {
        "weights": tiles.batch.weight_bytes,
        "runtime": RUNTIME_BYTES,
        "prefix_cache": parts.prefix_cache,
        "branch_cache": parts.branch_cache,
        "vision": parts.vision,
        "reading": parts.reading,
        "asking": parts.asking,
        "choosing": parts.choosing,
        "graphs": parts.graphs,
        "idle": tiles.idle_bytes,
        "together": tiles.total_bytes,
    }


def _per_rate(photos: int | None, rate: float | None, price: float | None = 1.0) -> float | None:
    """Hours for `photos`, times a price; None where one of them is unknown."""
    return None if photos is None or rate is None or price is None else photos / rate * price


def _rounded(value: float | None) -> float | None:
    """To two significant digits: an estimate knows no more."""
    return None if value is None else float(f"{value:.2g}")
