"""How well `carscribe check` finds faults: planted in renders and real photographs, from invisible to gross.

usage: python bench/cleaning.py [--renders 500] [--real DIR] [--photos DIR] [--synthetic 100000] [--cleanvision]

The pictures are halved; no picture is in both halves. On the first half each limit is fixed: between what 99 % of the
faults measure that a person calls one, and what 99 % of the pictures do as they are. On the second, with the limits
that are shipped, are counted: what is found, by severity; and what is flagged of pictures in which nothing was planted.
`--real` is a folder with images/ and cars.json. Besides: cars cut out on white and the same render in another colour,
which are no faults; names spelt otherwise; the search for near-duplicates among synthetic sketches; and, where it is
installed, CleanVision on the same files. Draws docs/check-curves.png.
"""

import argparse
import json
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from carscribe.check.faults import Limits, faults_of, limits_json
from carscribe.check.measures import PREVIEW_PX, Measures, measure
from carscribe.errors import PhotoError
from carscribe.evaluate.intervals import share_of
from carscribe.likeness import CHROMA_PX, LUMA_PX, Sketch, SketchBook, sketch_of
from carscribe.photos.decode import preview_photo
from planted import COPIES, FAULTS, jpeg
from recording import record

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "demo"))

SEVERITIES_EACH = 2
"""Severities of each fault that are planted in a picture."""

MEASURED = {
    "blurry": ("blur", True),
    "dark": ("brightness", False),
    "blown_out": ("clipped", True),
    "graphic": ("marks", True),
    "too_small": ("shorter_px", False),
    "odd_aspect": ("aspect", True),
}
"""What a flag is told by, and whether more of it is worse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A picture with a fault planted, measured. `fault` is "" where none was; `measures` None where it is unread."""

    picture: str
    real: bool
    half: int
    fault: str
    severity: float
    measures: Measures | None
    sketch: Sketch | None = None


def shots_of(task: tuple[int, Path, bool]) -> list[Shot]:
    """A picture as it is, and with every fault at severities drawn anew."""
    number, path, real = task
    chance = random.Random(f"{path.stem} planted")
    content = path.read_bytes()
    picture = Image.open(path).convert("RGB")
    shots = [_shot(number, path, real, "", 0.0, content)]
    for name, fault in FAULTS.items():
        for _ in range(SEVERITIES_EACH):
            severity = chance.uniform(0, fault.most)
            spoilt = fault.plant(picture, severity, chance)
            shots.append(_shot(number, path, real, name, severity, jpeg(spoilt, chance.randint(70, 95))))
    gone = chance.uniform(0, 0.9)
    shots.append(_shot(number, path, real, "cut off", gone, content[: round(len(content) * (1 - gone))]))
    for name, way in COPIES.items():
        severity = chance.uniform(0, way.most)
        copy = jpeg(way.copy(picture, severity, chance), way.quality(severity))
        shots.append(_shot(number, path, real, f"copy: {name}", severity, copy))
    return shots


def _shot(number: int, path: Path, real: bool, fault: str, severity: float, content: bytes) -> Shot:
    shot = Shot(picture=path.stem, real=real, half=number % 2, fault=fault, severity=severity, measures=None)
    try:
        preview = preview_photo(content, PREVIEW_PX)
    except PhotoError:
        return shot
    whole = not fault or fault.startswith("copy")
    return replace(
        shot,
        measures=measure(preview, too_dark=Limits().dark),
        sketch=sketch_of(preview.pixels) if whole else None,
    )


def fixed(shots: Sequence[Shot]) -> dict[str, dict[str, float]]:
    """By flag, limits from the first half: the geometric mean of what 99 % of the faults and of the good are within.

    `faults` are those planted at severities that are a fault to a person, `good` the pictures as they are.
    """
    faults: dict[str, list[float]] = defaultdict(list)
    good: dict[str, list[float]] = defaultdict(list)
    for shot in (shot for shot in shots if shot.half == 0 and shot.measures):
        fault = FAULTS.get(shot.fault)
        for flag, (name, _) in MEASURED.items():
            value = getattr(shot.measures, name)
            if value is not None and not shot.fault:
                good[flag].append(value)
            if value is not None and fault and fault.flag == flag and shot.severity >= fault.from_:
                faults[flag].append(value)
    told = {}
    for flag, (_, more_is_worse) in MEASURED.items():
        low, high = (0.01, 0.99) if more_is_worse else (0.99, 0.01)
        of_faults, of_good = float(np.quantile(faults[flag], low)), float(np.quantile(good[flag], high))
        told[flag] = {
            "faults": round(of_faults, 4),
            "good": round(of_good, 4),
            "limit": round((of_faults * max(of_good, 1e-3)) ** 0.5, 4),
        }
    return told


def is_found(shot: Shot) -> bool:
    """Whether the right flag is among those that a shot gets."""
    if shot.fault == "cut off":
        return shot.measures is None
    right = FAULTS[shot.fault].flag
    return shot.measures is not None and any(fault.kind == right for fault in faults_of(shot.measures, Limits()))


def recall(shots: Sequence[Shot]) -> dict[str, Any]:
    """Of the second half: what is found at severities that a person calls a fault, and by severity."""
    told: dict[str, Any] = {}
    for name in [*FAULTS, "cut off"]:
        own = [shot for shot in shots if shot.fault == name and shot.half == 1]
        most, from_ = (FAULTS[name].most, FAULTS[name].from_) if name in FAULTS else (0.9, 0.02)
        grave = [shot for shot in own if shot.severity >= from_]
        told[name] = {
            "a_fault_from": from_,
            "unit": FAULTS[name].unit if name in FAULTS else "share of the file that is missing",
            **_share(sum(map(is_found, grave)), len(grave)),
            "real": _share(sum(is_found(s) for s in grave if s.real), sum(s.real for s in grave)),
            "curve": _curve([(shot.severity, is_found(shot)) for shot in own], most),
        }
    return told


def _curve(points: Sequence[tuple[float, bool]], most: float, bins: int = 12) -> list[dict[str, Any]]:
    curve = []
    for place in range(bins):
        low, high = most * place / bins, most * (place + 1) / bins
        own = [found for severity, found in points if low <= severity < high]
        if own:
            middle = round((low + high) / 2, 4)
            curve.append({"severity": middle, "planted": len(own), "found": sum(own)})
    return curve


def _share(count: int, total: int) -> dict[str, Any]:
    share = share_of(count, total)
    ends = (share.low, share.high) if share.share is not None else (None, None)
    return {
        "found": count,
        "of": total,
        "share": None if share.share is None else round(share.share, 4),
        "interval": [None if end is None else round(end, 4) for end in ends],
    }


def false_alarms(measures: Iterable[tuple[str, Measures | None]]) -> dict[str, Any]:
    """Pictures in which nothing was planted that are flagged, by flag."""
    named = list(measures)
    flagged: dict[str, list[str]] = {}
    for name, found in named:
        kinds = [fault.kind for fault in faults_of(found, Limits())] if found else ["unreadable"]
        for kind in kinds:
            flagged.setdefault(kind, []).append(name)
    pictures = {name for names in flagged.values() for name in names}
    return {**_share(len(pictures), len(named)), "by_flag": {kind: sorted(names) for kind, names in flagged.items()}}


def near(shots: Sequence[Shot]) -> dict[str, Any]:
    """Of the second half: copies that are found among all originals of it, and pictures that are joined wrongly."""
    own = [shot for shot in shots if shot.half == 1 and shot.sketch is not None]
    originals = {shot.picture: place for place, shot in enumerate(own) if not shot.fault}
    told: dict[str, Any] = {}
    with SketchBook() as book:
        for shot in own:
            book.add(shot.sketch)  # type: ignore[arg-type]
        links = {frozenset(link) for link in book.links()}
        groups = book.groups()
    wrong = [group for group in groups if len({own[place].picture for place in group}) > 1]
    of = {place: number for number, group in enumerate(groups) for place in group}
    for name, way in COPIES.items():
        copies = [(place, shot) for place, shot in enumerate(own) if shot.fault == f"copy: {name}"]
        hits = [(shot.severity, place in of and of[place] == of.get(originals[shot.picture])) for place, shot in copies]
        alike = [found for severity, found in hits if severity <= way.to]
        told[name] = {
            "one_picture_up_to": way.to,
            "unit": way.unit,
            **_share(sum(alike), len(alike)),
            "curve": _curve(hits, way.most),
        }
    told["joined_wrongly"] = {
        "pictures": len(originals),
        "groups_of_several_pictures": [sorted({own[place].picture for place in group}) for group in wrong],
        "links": len(links),
    }
    return told


def cut_outs(count: int) -> dict[str, Any]:
    """Rendered cars on plain white, as makers publish them: nothing is wrong with them."""
    import rendered.drawing as drawing
    from rendered.attributes import draw_record

    drawing.background = lambda _, projection, __: Image.new(  # type: ignore[assignment]
        "RGB", (projection.width_px, projection.height_px), (255, 255, 255)
    )
    contents = [jpeg(drawing.draw_car(draw_record(880_000_000 + number)), 90) for number in range(count)]
    return false_alarms(
        (str(number), measure(preview_photo(content, PREVIEW_PX))) for number, content in enumerate(contents)
    )


def other_colours(count: int) -> dict[str, Any]:
    """The same render in another colour, as a configurator shows it: two pictures, of which captions differ."""
    from dataclasses import replace as with_

    from rendered.attributes import ATTRIBUTES, draw_record
    from rendered.render import render

    colours = list(ATTRIBUTES["main_colour"].values)
    joined = []
    for number in range(count):
        record_ = draw_record(890_000_000 + number)
        now = record_.attributes["main_colour"]
        other = colours[(colours.index(now) + 1 + number % (len(colours) - 1)) % len(colours)]
        again = with_(record_, attributes={**record_.attributes, "main_colour": other})
        with SketchBook() as book:
            for each in (record_, again):
                book.add(sketch_of(preview_photo(jpeg(render(each)), PREVIEW_PX).pixels))
            if book.groups():
                joined.append(f"{now} and {other}")
    return {**_share(len(joined), count), "joined": joined}


def respelt_names(names: Sequence[str]) -> dict[str, Any]:
    """Names with one thing changed, each beside all others: which are found, and which are joined wrongly."""
    from carscribe.check.spelling import respelt

    chance = random.Random(0)
    ways = {
        "case": str.upper,
        "spaces": lambda name: name.replace(" ", ""),
        "hyphens": lambda name: name.replace(" ", "-"),
        "full width": lambda name: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in name),
        "a letter left out": lambda name: _slip(name, chance),
    }
    told: dict[str, Any] = {"joined_wrongly": [list(group) for group in respelt(dict.fromkeys(names, 1))]}
    for way, change in ways.items():
        changed = [(name, change(name)) for name in names if change(name) != name]
        found = sum(
            any({name, other} <= set(group) for group in respelt({**dict.fromkeys(names, 2), other: 1}))
            for name, other in changed
        )
        told[way] = _share(found, len(changed))
    return told


def _slip(name: str, chance: random.Random) -> str:
    """The name with a letter of one of its words of six and more letters left out; as it is when it has none."""
    words = name.split(" ")
    long = [place for place, word in enumerate(words) if len(word) >= 6 and word.isalpha()]
    if long:
        place = chance.choice(long)
        at = chance.randint(1, len(words[place]) - 1)
        words[place] = words[place][:at] + words[place][at + 1 :]
    return " ".join(words)


def synthetic(count: int, like_these: Sequence[Sketch]) -> dict[str, Any]:
    """The search among so many sketches that are half of what all cars have in common, half smooth noise.

    One in a hundred is the crop of another.
    """
    chance = np.random.default_rng(0)
    common = np.mean([sketch.luma for sketch in like_these], axis=0)
    chroma = np.full((2, CHROMA_PX, CHROMA_PX), 128, np.uint8)
    crops = []
    luma = np.zeros((LUMA_PX, LUMA_PX), np.uint8)
    with SketchBook() as book:
        started = time.perf_counter()
        for number in range(count):
            if number % 100 == 99:
                low = int(chance.integers(0, 13))
                part = Image.fromarray(luma).crop((low, 0, low + 52, 52)).resize((LUMA_PX, LUMA_PX))
                luma = np.asarray(part)
                crops.append((number - 1, number))
            else:
                field = Image.fromarray(chance.integers(0, 255, (8, 8), np.uint8))
                noise = np.asarray(field.resize((LUMA_PX, LUMA_PX), Image.Resampling.BICUBIC), np.float32)
                luma = np.clip(0.5 * common + 0.5 * noise, 0, 255).astype(np.uint8)
            book.add(Sketch(luma=luma, chroma=chroma))
        added = time.perf_counter()
        links = set(book.links())
        compared = time.perf_counter()
    found = {frozenset(link) for link in links}
    return {
        "sketches": count,
        "made_s": round(added - started, 1),
        "compared_s": round(compared - added, 1),
        "crops": _share(sum(frozenset(pair) in found for pair in crops), len(crops)),
        "other_links": len(found) - sum(frozenset(pair) in found for pair in crops),
        "peak_mib": _peak_mib(),
    }


def flat_memory(counts: Sequence[int]) -> dict[str, int]:
    """Peak memory in MiB of whole checks of so many photos of 320 by 240, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        chance = np.random.default_rng(1)
        told = {}
        made = 0
        for count in sorted(counts):
            for number in range(made, count):
                field = Image.fromarray(chance.integers(0, 255, (12, 16, 3), np.uint8))
                field.resize((320, 240), Image.Resampling.BICUBIC).save(Path(folder) / f"{number}.jpg")
            made = count
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                told[str(count)] = pool.submit(_checked_in, folder).result()
    return told


def _peak_mib() -> int:
    """Most memory that this process has had (what getrusage tells begins with that of the parent)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024)


def _checked_in(folder: str) -> int:
    from carscribe.check.checking import CheckRequest, check

    check(CheckRequest(sources=(Path(folder),)))
    return _peak_mib()


def cleanvision_on(paths: Sequence[Path], limit: int) -> dict[str, Any]:
    """What CleanVision with its own thresholds finds of the same faults, in the second half."""
    from cleanvision import Imagelab

    names = {"blurry": "blurry", "dark": "dark", "blown_out": "light", "odd_aspect": "odd_aspect_ratio"}
    with tempfile.TemporaryDirectory() as folder:
        planted: dict[str, tuple[str, bool]] = {}
        for number, path in enumerate(paths[:limit]):
            chance = random.Random(f"{path.stem} versus")
            picture = Image.open(path).convert("RGB")
            (Path(folder) / f"{number}-clean.jpg").write_bytes(path.read_bytes())
            for fault_name, fault in FAULTS.items():
                if fault.flag in names:
                    severity = chance.uniform(fault.from_, fault.most)
                    file = f"{number}-{fault_name.replace(' ', '_')}.jpg"
                    (Path(folder) / file).write_bytes(jpeg(fault.plant(picture, severity, chance), 85))
                    planted[file] = (fault_name, True)
            for copy_name, way in COPIES.items():
                severity = chance.uniform(0, way.to)
                file = f"{number}-copy_{copy_name.replace(' ', '_')}.jpg"
                (Path(folder) / file).write_bytes(jpeg(way.copy(picture, severity, chance), way.quality(severity)))
        started = time.perf_counter()
        lab = Imagelab(data_path=folder)
        lab.find_issues(n_jobs=1, verbose=False)
        seconds = time.perf_counter() - started
        issues = {Path(name).name: row for name, row in lab.issues.to_dict("index").items()}
        sets = [{Path(name).name for name in group} for group in lab.info["near_duplicates"]["sets"]]
        count = len(paths[:limit])
        told: dict[str, Any] = {"photos": len(issues), "photos_per_s_one_process": round(len(issues) / seconds, 1)}
        for fault_name in dict.fromkeys(fault for fault, _ in planted.values()):
            files = [file for file, (fault, _) in planted.items() if fault == fault_name]
            flag = f"is_{names[FAULTS[fault_name].flag]}_issue"
            told[fault_name] = _share(sum(bool(issues[file][flag]) for file in files), len(files))
        for copy_name in COPIES:
            ends = [(f"{n}-clean.jpg", f"{n}-copy_{copy_name.replace(' ', '_')}.jpg") for n in range(count)]
            told[f"copy: {copy_name}"] = _share(sum(any({*end} <= group for group in sets) for end in ends), count)
        clean = [issues[f"{number}-clean.jpg"] for number in range(count)]
        told["false_alarms"] = _share(
            sum(any(row[f"is_{name}_issue"] for name in names.values()) for row in clean), count
        )
    return told


def draw_curves(faults: Mapping[str, Any], copies: Mapping[str, Any], to: Path) -> None:
    """Recall by severity, a plot each; from where on a person calls it a fault is shaded."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.2), dpi=110, layout="constrained")
    axes = figure.subplots(3, 4).ravel()
    told = [(name, each, "a_fault_from") for name, each in faults.items() if name != "cut off"]
    told += [(f"copies: {name}", each, "one_picture_up_to") for name, each in copies.items() if "curve" in each]
    for axis, (name, each, edge) in zip(axes, told, strict=False):
        x = [point["severity"] for point in each["curve"]]
        y = [100 * point["found"] / point["planted"] for point in each["curve"]]
        axis.plot(x, y, marker="o", markersize=3, color="#0072B2")
        low, high = (each[edge], max(x) * 1.05) if edge == "a_fault_from" else (0, each[edge])
        axis.axvspan(low, high, color="#E69F00", alpha=0.18, lw=0)
        axis.set(title=name, xlabel=each["unit"], ylim=(-3, 103), xlim=(0, None))
        axis.grid(alpha=0.25)
    for axis in axes[len(told) :]:
        axis.set_visible(False)
    for row in range(3):
        axes[4 * row].set_ylabel("found, %")
    figure.savefig(to)


def pictures_of(options: argparse.Namespace) -> list[tuple[int, Path, bool]]:
    """Renders, then real photographs where they are: numbered, so that halves are of both."""
    from measure import write_photos

    folder = options.photos or Path(tempfile.mkdtemp(prefix="carscribe-cleaning-"))
    seeds = range(870_000_000, 870_000_000 + options.renders)
    missing = [seed for seed in seeds if not (folder / f"{seed}.jpg").exists()]
    if missing:
        write_photos(folder, missing)
    real = sorted((options.real / "images").iterdir()) if options.real else []
    tasks = [(number, folder / f"{seed}.jpg", False) for number, seed in enumerate(seeds)]
    return tasks + [(number, path, True) for number, path in enumerate(real)]


def main() -> None:
    """Read the command line, plant, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--renders", type=int, default=500)
    parser.add_argument("--planted", type=int, default=160, help="renders in which faults are planted")
    parser.add_argument("--real", type=Path, default=None)
    parser.add_argument("--photos", type=Path, default=None, help="keep the renders here, or take them from here")
    parser.add_argument("--synthetic", type=int, default=100_000)
    parser.add_argument("--cleanvision", action="store_true")
    options = parser.parse_args()
    tasks = pictures_of(options)
    spoilt = [task for task in tasks if task[2] or task[0] < options.planted]
    clean = [task for task in tasks if not task[2] and task[0] >= options.planted]
    with ProcessPoolExecutor() as pool:
        shots = [shot for own in pool.map(shots_of, spoilt, chunksize=2) for shot in own]
        shots += pool.map(_clean, clean, chunksize=8)
    unspoilt = [shot for shot in shots if not shot.fault]
    figures: dict[str, Any] = {
        "pictures": {"real": sum(task[2] for task in tasks), "renders": options.renders, "planted": len(spoilt)},
        "limits": limits_json(Limits()),
        "fixed_on_the_first_half": fixed(shots),
        "found_in_the_second_half": recall(shots),
        "copies_found_in_the_second_half": near(shots),
        "false_alarms": {
            "second_half": false_alarms((s.picture, s.measures) for s in unspoilt if s.half == 1),
            "real": false_alarms((s.picture, s.measures) for s in unspoilt if s.real),
            "renders": false_alarms((s.picture, s.measures) for s in unspoilt if not s.real),
            "cut_outs_on_white": cut_outs(50),
            "near_duplicates_among_all": _joined_among(unspoilt),
        },
        "same_render_in_another_colour": other_colours(40),
    }
    if options.real:
        rows = json.loads((options.real / "cars.json").read_text("utf-8"))
        figures["names"] = respelt_names([row["name"] for row in rows])
    if options.cleanvision:
        second = [path for number, path, _ in spoilt if number % 2]
        figures["cleanvision"] = cleanvision_on(second, 60)
    figures["memory_mib_by_photos"] = flat_memory((500, 4000))
    sketches = [shot.sketch for shot in unspoilt[:64] if shot.sketch is not None]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:  # so that its memory is its own
        figures["near_duplicate_search"] = pool.submit(synthetic, options.synthetic, sketches).result()
    draw_curves(
        figures["found_in_the_second_half"],
        figures["copies_found_in_the_second_half"],
        ROOT / "docs" / "check-curves.png",
    )
    print(json.dumps(figures, indent=1))
    record("cleaning", figures, command="python bench/cleaning.py --real DIR --cleanvision")


def _clean(task: tuple[int, Path, bool]) -> Shot:
    number, path, real = task
    return _shot(number, path, real, "", 0.0, path.read_bytes())


def _joined_among(shots: Sequence[Shot]) -> dict[str, Any]:
    with SketchBook() as book:
        for shot in shots:
            if shot.sketch is not None:
                book.add(shot.sketch)
        groups = book.groups()
    return {"pictures": len(shots), "groups": [[shots[place].picture for place in group] for group in groups]}


if __name__ == "__main__":
    main()
