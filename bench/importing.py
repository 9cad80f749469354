"""What it takes to import captions: rows a second, and memory, for a table and for texts beside photos.

    python bench/importing.py --photos 200000 --at /dev/shm

Every photo is a file of its own, 100 bytes small: what is measured is everything but the reading of large files. A row
of the table is read, its photo is found and hashed, and its answer is in the workspace, a transaction every 1,000.
"""

import argparse
import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recording import record

CAPTIONS = (
    "compact SUV, short overhangs, two-tone body, slim LED lamps",
    "컴팩트 SUV, 짧은 오버행, 투톤 차체, 슬림한 LED 램프",
)


def tiny_png(number: int) -> bytes:
    """A picture of one pixel; `number` follows its end, so that none has the bytes of another."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\1\2\3")) + chunk(b"IEND", b"") + b"%d" % number
    )


def rows(photos: int) -> Iterator[str]:
    """The lines of the table."""
    for number in range(photos):
        row = {"file_name": name(number), "text": f"{CAPTIONS[number % 2]}, {number}", "name": f"차 {number}"}
        yield json.dumps(row, ensure_ascii=False) + "\n"


def name(number: int) -> str:
    """A photo's path, a thousand in a folder."""
    return f"{number // 1000:04}/{number:07}.png"


def write_set(folder: Path, photos: int, *, texts: bool) -> None:
    """Photos with a table, or with a text beside each."""
    for number in range(photos):
        path = folder / name(number)
        if number % 1000 == 0:
            path.parent.mkdir(parents=True)
        path.write_bytes(tiny_png(number))
        if texts:
            path.with_suffix(".txt").write_text(f"{CAPTIONS[number % 2]}, {number}\n", "utf-8")
    if not texts:
        with (folder / "metadata.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(rows(photos))


def measured(folder: Path, workspace: Path) -> dict[str, object]:
    """One import in a process of its own: its time, and the most memory it had."""
    command = [sys.executable, __file__, "--import", str(folder), "--into", str(workspace)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def run_import(folder: Path, workspace: Path) -> dict[str, object]:
    """Import, and say what it took."""
    from carscribe.catalog.workspace import write_workspace
    from carscribe.importing.captions import find_captions
    from carscribe.importing.taking import CaptionRequest, take_captions

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    with write_workspace(workspace, create=True) as opened:
        found = take_captions(opened, CaptionRequest(source=find_captions(folder)))
    seconds = time.perf_counter() - started
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "new": found.taken.new,
        "same": found.taken.same,
        "seconds": round(seconds, 2),
        "captions_per_s": round((found.taken.new + found.taken.same) / seconds),
        "most_mib": round(most / 1024),
        "before_mib": round(before / 1024),
        "catalog_mib": round((workspace / "catalog.sqlite").stat().st_size / 2**20),
    }


def main() -> None:
    """Measure, print, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--at", type=Path, help="where the set is written, which may be a disk in memory")
    parser.add_argument("--name", default="importing", help="of the result")
    parser.add_argument("--import", type=Path, dest="folder", help=argparse.SUPPRESS)
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(run_import(options.folder, options.into)))
        return
    results: dict[str, Any] = {"photos": options.photos}
    for kind, count in (("table", options.photos // 10), ("table", options.photos), ("texts", options.photos)):
        with tempfile.TemporaryDirectory(dir=options.at) as at:
            folder, workspace = Path(at) / "set", Path(at) / "ws"
            write_set(folder, count, texts=kind == "texts")
            results[f"{kind} of {count}"] = measured(folder, workspace)
            results[f"{kind} of {count}, again"] = measured(folder, workspace)
    path = record(options.name, results, command=" ".join(["python bench/importing.py", *sys.argv[1:]]))
    print(path.read_text("utf-8"))


if __name__ == "__main__":
    main()
