"""Reading alone: photos a second from 12-megapixel JPEG files on disk to tiles, and where the time goes.

usage: python bench/decode.py [--photos FOLDER [--most 256]] [--drawn 8] [--rounds 3] [--pool]

`shipped` is `read_photo` by the clock: in one thread, in a thread a core, and in as many beside a thread that is busy
in the interpreter, which the one that feeds a GPU is at worst. `in_pieces` is that last with Pillow's draft as it
comes: it hands a file to its decoder 64 KiB at a time and takes the interpreter in between. `ways` decode the same
bytes and cut them, in one thread, in turn within each round, by that thread's own CPU time, so that other work on the
machine changes little: what is not installed is left out. PSNR is that of their tiles against those of every pixel
decoded. --pool: `shipped` in a thread a core alone. Without --photos, detailed pictures are drawn, every second one
with an sRGB profile and every fourth lying on its side.
"""

import argparse
import hashlib
import io
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, features
from PIL.JpegImagePlugin import JpegImageFile

from carscribe.cores import usable_cores
from carscribe.photos.colour import to_srgb
from carscribe.photos.decode import read_photo
from carscribe.photos.tiles import Grid, choose_grid, cut
from carscribe.records import Tiling
from recording import record

WIDTH_PX, HEIGHT_PX = 4000, 3000
QUALITY = 90
MAX_TILES = (1, 6, 12)
"""The largest grids that cut a photo of 4:3 into 1, 7 and 13 tiles."""

DECODERS = ("pillow", "simplejpeg", "PyTurboJPEG", "opencv-python-headless")

Found = TypeVar("Found")
Tiles = NDArray[np.uint8]
Way = Callable[[bytes, Tiling], Tiles]
Cutting = Callable[[Image.Image, Grid, Tiling], Tiles]


def main() -> None:
    """Draw or find the photos, measure each tile count, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, help="a folder of JPEG files, in place of drawn pictures")
    parser.add_argument("--drawn", type=int, default=8, help="how many pictures to draw")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, help="how many of the folder's photos")
    parser.add_argument("--pool", action="store_true", help="what is shipped, in a thread a core, and no more")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="carscribe-decode-") as folder:
        found = sorted(options.photos.glob("*.jp*g")) if options.photos else draw(Path(folder), options.drawn)
        paths = found[: options.most]
        if not paths:
            parser.error(f"{options.photos} holds no JPEG file: name a folder that does.")
        source = f"--photos FOLDER --most {len(paths)}" if options.photos else f"--drawn {options.drawn}"
        command = f"python bench/decode.py {source} --rounds {options.rounds}"
        name = "decode"
        if options.pool:
            command, name = f"{command} --pool", "decode_pool"
        for figures in measure(paths, options.rounds, pool_alone=options.pool):
            result = record(name, figures, command=command)
    print(result)


def measure(paths: Sequence[Path], rounds: int, *, pool_alone: bool) -> Iterator[dict[str, object]]:
    """The figures so far, tile count by tile count."""
    sizes_mb = [path.stat().st_size / 1e6 for path in paths]
    figures: dict[str, object] = {
        "photos": len(paths),
        "median_file_mb": round(statistics.median(sizes_mb), 2),
        "load_average_before": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "versions": {name: installed(name) for name in DECODERS},
        "pillow_libjpeg_turbo": features.version_feature("libjpeg_turbo"),
    }
    print(figures, flush=True)
    ways = {name: way for name, opened in OPENERS.items() if (way := opened()) is not None}
    for max_tiles in MAX_TILES:
        tiling = Tiling(max_tiles=max_tiles)
        with Image.open(paths[0]) as first:
            tiles = choose_grid(*first.size, tiling).tiles
        if f"tiles_{tiles}" in figures:  # a photo of 3:2 comes to no more than 7
            continue
        found: dict[str, object] = {"shipped_photos_per_s": shipped(paths, tiling, rounds, pool_alone=pool_alone)}
        if not pool_alone:
            found |= {"step_ms": shares(paths, tiling), "ways": compare(ways, paths, tiling, rounds)}
        figures[f"tiles_{tiles}"] = found
        print(tiles, "tiles", found, flush=True)
        yield figures


def installed(name: str) -> str | None:
    """The version of a package; None when it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


# Photos.


def draw(folder: Path, count: int) -> list[Path]:
    """`count` pictures with edges and detail of every size and a sensor's grain, as cameras write them (4:2:0)."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    lying = Image.Exif()
    lying[0x0112] = 6
    paths = []
    for number in range(count):
        picture = draw_one(np.random.default_rng(number))
        path = folder / f"{number:03d}.jpg"
        more: dict[str, object] = {"icc_profile": srgb} if number % 2 else {}
        if number % 4 == 3:
            picture, more = picture.transpose(Image.Transpose.ROTATE_90), {**more, "exif": lying}
        picture.save(path, quality=QUALITY, subsampling="4:2:0", **more)
        paths.append(path)
    return paths


def draw_one(random: np.random.Generator) -> Image.Image:
    """Noise in octaves, each twice as fine and nearly half as strong, cut into plains with sharp borders; and grain."""
    light = np.zeros((HEIGHT_PX, WIDTH_PX, 3), np.float32)
    for octave in range(9):
        cells = (6 << octave, 8 << octave)
        coarse = Image.fromarray(random.integers(0, 256, (*cells, 3)).astype(np.uint8))
        fine = coarse.resize((WIDTH_PX, HEIGHT_PX), Image.Resampling.BICUBIC)
        light += np.asarray(fine, np.float32) * 0.6**octave
    light *= 255 / light.max()
    # The borders of plains, as a car's outline has them: steps where a smooth field passes a level.
    plains = np.floor(light[..., :1] / 40) * 40
    grain = random.normal(0, 4, (HEIGHT_PX, WIDTH_PX, 1)).astype(np.float32)
    seen = 0.6 * light + 0.4 * plains + grain
    return Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))


# What is shipped.


def shipped(paths: Sequence[Path], tiling: Tiling, rounds: int, *, pool_alone: bool) -> dict[str, float]:
    """Photos a second of `read_photo`, the median of `rounds`."""
    cores = usable_cores()
    read = partial(read_photo, tiling=tiling)
    way = open_pillow_draft()

    def in_pieces(path: Path) -> Tiles:
        return way(path.read_bytes(), tiling)

    each: dict[str, list[float]] = {}
    for _ in range(rounds):
        each.setdefault("thread_a_core", []).append(pace(read, paths, threads=cores))
        with busy_interpreter():
            each.setdefault("thread_a_core_beside_a_busy_one", []).append(pace(read, paths, threads=cores))
        if pool_alone:
            continue
        each.setdefault("one_thread", []).append(pace(read, paths, threads=1))
        with busy_interpreter():
            each.setdefault("in_pieces_beside_a_busy_one", []).append(pace(in_pieces, paths, threads=cores))
    return {name: round(statistics.median(paces), 2) for name, paces in each.items()}


def pace(read: Callable[[Path], object], paths: Sequence[Path], *, threads: int) -> float:
    """Photos a second."""
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        for _ in pool.map(read, paths):
            pass
        return len(paths) / (time.perf_counter() - started)


@contextmanager
def busy_interpreter() -> Iterator[None]:
    """A thread that computes in Python and gives the interpreter away only when it is made to."""
    stop = threading.Event()

    def spin() -> None:
        while not stop.is_set():
            sum(range(1000))

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def shares(paths: Sequence[Path], tiling: Tiling) -> dict[str, float]:
    """Milliseconds of CPU of each step of a photo, the medians; the steps are those of `photos/decode.py`."""
    spent: dict[str, list[float]] = {}

    def timed(step: str, work: Callable[[], Found]) -> Found:
        started = time.thread_time()
        found = work()
        spent.setdefault(step, []).append((time.thread_time() - started) * 1000)
        return found

    for path in paths:
        content = timed("file", path.read_bytes)
        timed("sha256", lambda content=content: hashlib.sha256(content).hexdigest())
        image = timed("header", lambda content=content: JpegImageFile(io.BytesIO(content)))
        grid = choose_grid(*image.size, tiling)
        timed("decode", partial(draft, image, grid.canvas_px(tiling.tile_px)))
        rgb = timed("colour", partial(to_srgb, image))
        timed("resize and cut", partial(cut, rgb, grid, tiling))
    return {step: round(statistics.median(each), 2) for step, each in spent.items()}


# Ways to decode, each to the same canvas.


def draft(image: JpegImageFile, canvas: tuple[int, int]) -> Image.Image:
    """Pillow's decoder at the smallest of a whole, a half, a quarter and an eighth that covers the canvas."""
    image.draft(None, canvas)
    image.load()
    return image


def open_pillow_whole() -> Way:
    """Pillow, every pixel."""

    def way(content: bytes, tiling: Tiling) -> Tiles:
        image = JpegImageFile(io.BytesIO(content))
        image.load()
        return cut(image, choose_grid(*image.size, tiling), tiling)

    return way


def open_pillow_draft(cutting: Cutting = cut) -> Way:
    """Pillow, shrunk on load."""

    def way(content: bytes, tiling: Tiling) -> Tiles:
        image = JpegImageFile(io.BytesIO(content))
        grid = choose_grid(*image.size, tiling)
        return cutting(draft(image, grid.canvas_px(tiling.tile_px)), grid, tiling)

    return way


def cut_with_quick_thumbnail(image: Image.Image, grid: Grid, tiling: Tiling) -> Tiles:
    """`cut`, but the thumbnail's picture is first made smaller by whole numbers, to no less than 1.5 times its size."""
    if grid.tiles == 1:
        return cut(image, grid, tiling)
    side, resample = tiling.tile_px, Image.Resampling(tiling.resample)
    tiles = np.empty((grid.tiles, side, side, 3), dtype=np.uint8)
    canvas = np.asarray(image.resize(grid.canvas_px(side), resample))
    tiles[:-1] = canvas.reshape(grid.rows, side, grid.columns, side, 3).swapaxes(1, 2).reshape(-1, side, side, 3)
    tiles[-1] = np.asarray(image.resize((side, side), resample, reducing_gap=1.5))
    return tiles


def open_simplejpeg(min_factor: float, cutting: Cutting = cut) -> Way | None:
    """simplejpeg at the smallest number of eighths that covers the canvas; whole, if not `min_factor` times smaller."""
    try:
        import simplejpeg
    except ImportError:
        return None

    def way(content: bytes, tiling: Tiling) -> Tiles:
        height_px, width_px, _, _ = simplejpeg.decode_jpeg_header(content)
        grid = choose_grid(width_px, height_px, tiling)
        wide, high = grid.canvas_px(tiling.tile_px)
        pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=high, min_width=wide, min_factor=min_factor)
        return cutting(Image.fromarray(pixels), grid, tiling)

    return way


def open_pyturbojpeg() -> Way | None:
    """PyTurboJPEG at the smallest number of eighths that covers the canvas; it needs the system's libturbojpeg."""
    try:
        import turbojpeg

        turbo = turbojpeg.TurboJPEG(os.environ.get("TURBOJPEG"))
    except (ImportError, OSError, RuntimeError):
        return None

    def way(content: bytes, tiling: Tiling) -> Tiles:
        width_px, height_px, _, _ = turbo.decode_header(content)
        grid = choose_grid(width_px, height_px, tiling)
        wide, high = grid.canvas_px(tiling.tile_px)
        eighths = max(math.ceil(8 * wide / width_px), math.ceil(8 * high / height_px))
        common = math.gcd(eighths, 8)
        factor = (eighths // common, 8 // common) if eighths < 8 else None
        pixels = turbo.decode(content, pixel_format=turbojpeg.TJPF_RGB, scaling_factor=factor)
        return cut(Image.fromarray(pixels), grid, tiling)

    return way


def open_opencv() -> Way | None:
    """OpenCV at the smallest of a whole, a half, a quarter and an eighth that covers the canvas."""
    try:
        import cv2
    except ImportError:
        return None
    cv2.setNumThreads(1)
    flags = {
        8: cv2.IMREAD_REDUCED_COLOR_8,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        1: cv2.IMREAD_COLOR,
    }

    def way(content: bytes, tiling: Tiling) -> Tiles:
        width_px, height_px = JpegImageFile(io.BytesIO(content)).size
        grid = choose_grid(width_px, height_px, tiling)
        wide, high = grid.canvas_px(tiling.tile_px)
        scale = min(width_px // wide, height_px // high)
        flag = next(flag for times, flag in flags.items() if scale >= times or times == 1)
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
        return cut(Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)), grid, tiling)

    return way


OPENERS: dict[str, Callable[[], Way | None]] = {
    "Pillow, every pixel": open_pillow_whole,
    "Pillow, draft": open_pillow_draft,
    "Pillow, draft, quick thumbnail": partial(open_pillow_draft, cut_with_quick_thumbnail),
    "simplejpeg, eighths": partial(open_simplejpeg, 1.0),
    "simplejpeg, eighths, quick thumbnail": partial(open_simplejpeg, 1.0, cut_with_quick_thumbnail),
    "PyTurboJPEG, eighths": open_pyturbojpeg,
    "OpenCV, reduced": open_opencv,
}
WHOLE = next(iter(OPENERS))


def compare(ways: dict[str, Way], paths: Sequence[Path], tiling: Tiling, rounds: int) -> dict[str, dict[str, float]]:
    """Photos a second of CPU of each way, its ratio to Pillow's draft (medians), and its worst PSNR in dB."""
    contents = [path.read_bytes() for path in paths]
    paces: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.thread_time()
            for content in contents:
                way(content, tiling)
            paces[name].append(len(contents) / (time.thread_time() - started))
    base = paces["Pillow, draft"]
    return {
        name: {
            "photos_per_cpu_s": round(statistics.median(each), 2),
            "to_draft": round(statistics.median(one / other for one, other in zip(each, base, strict=True)), 2),
            "worst_psnr_db": worst_psnr_db(ways[WHOLE], ways[name], contents, tiling),
        }
        for name, each in paces.items()
    }


def worst_psnr_db(whole: Way, way: Way, contents: Sequence[bytes], tiling: Tiling) -> float | None:
    """The least PSNR of a photo's tiles against every pixel decoded; None when they are equal."""
    errors = [
        float(np.mean((whole(content, tiling).astype(np.float32) - way(content, tiling)) ** 2)) for content in contents
    ]
    return round(10 * math.log10(255**2 / max(errors)), 1) if max(errors) else None


if __name__ == "__main__":
    main()
