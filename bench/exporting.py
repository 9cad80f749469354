"""What an export takes by format: seconds, and the most memory, which must not grow with the photos.

usage: python bench/exporting.py [--photos 10000 100000] [--formats parquet …] [--workspace] [--folder DIR] [--name N]

Photos are PNG files of 4 by 3 pixels, a thousand to a folder, each with its own bytes and caption. Images are taken as
is usual for the format; where that is by copy, formats that can are measured without, too. Each export is a process of
its own: its seconds begin with the first photo, its peak is the process's high-water mark, with all that was imported.
With `--workspace`, `carscribe export` also reads the photos from a workspace and composes their captions for CLIP.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from carscribe import export
from carscribe.records import DescribedPhoto, Description, Metadata, PhotoFile
from catalog import fill, write_simulated
from recording import record

WORDS = "compact SUV, slim LED headlamps, split daytime signature, full-width light bar, dark trim, short overhangs"


def photos(folder: Path, count: int) -> Iterator[DescribedPhoto]:
    """What a workspace would give, for the files that `write_simulated` wrote."""
    for i in range(count):
        key = f"{i // 1000:04d}/{i:07d}.png"
        path = folder / key
        yield DescribedPhoto(
            file=PhotoFile(location=str(path), key=key, metadata=Metadata(name=f"기아 니로 {i % 500}", kind="SUV")),
            sha256=sha256(content(i)).hexdigest(),
            width_px=4,
            height_px=3,
            answers=(),
            description=Description(text=f"{WORDS}, number {i}", budget="clip", tokens=31),
        )


def content(number: int) -> bytes:
    """The bytes of a simulated photo, as `write_simulated` writes them."""

    def chunk(kind: bytes, inside: bytes) -> bytes:
        return len(inside).to_bytes(4) + kind + inside + zlib.crc32(kind + inside).to_bytes(4)

    header = chunk(b"IHDR", (4).to_bytes(4) + (3).to_bytes(4) + bytes([8, 2, 0, 0, 0]))
    pixels = b"".join(b"\0" + (number * 7919 + row).to_bytes(6) * 2 for row in range(3))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(pixels, 1)) + chunk(b"IEND", b"")


def write_one(format_: str, images: str, folder: Path, count: int, to: Path) -> None:
    """One export in this process; its figures to standard output."""
    started = time.perf_counter()
    report = export.write(format_, photos(folder, count), to, images=images)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    assert report.photos == count, report
    print(json.dumps({"seconds": round(seconds, 1), "photos_per_s": round(count / seconds), "peak_mib": _peak_mib()}))


def _peak_mib() -> int:
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) // 1024


def measured(command: Sequence[str | Path]) -> dict[str, Any]:
    """What a process printed of itself."""
    done = subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def of_format(format_: str, images: str, folder: Path, count: int, to: Path) -> dict[str, Any]:
    """One export in a process of its own, and what it left on disk."""
    figures = measured([__file__, "--one", format_, images, folder, str(count), to])
    files = [path for path in to.rglob("*") if path.is_file() and not path.name.startswith(".")]
    on_disk = {"files": len(files), "mib": round(sum(path.stat().st_size for path in files) / 2**20)}
    shutil.rmtree(to)
    return {"format": format_, "images": images, "photos": count, **figures, **on_disk}


WORKSPACE_EXPORT = """
import json, pathlib, sys, time
from carscribe.cli import main
started = time.perf_counter()
sys.argv[1:1] = ["export"]
try: main()
except SystemExit: pass
peak_kib = int(pathlib.Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
print(json.dumps({"seconds": round(time.perf_counter() - started, 1), "peak_mib": peak_kib // 1024}))
"""


def of_workspace(folder: Path, count: int, scratch: Path) -> dict[str, Any]:
    """`carscribe export --format parquet --images none` of a workspace in which an instant engine has answered."""
    workspace, to = scratch / f"workspace-{count}", scratch / "of-workspace"
    fill(workspace, folder, count)
    figures = measured(["-c", WORKSPACE_EXPORT, workspace, "--format", "parquet", "--images", "none", "--to", to])
    shutil.rmtree(to)
    shutil.rmtree(workspace)
    return {"photos": count, **figures}


def main() -> None:
    """Everything, a line at a time; then the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--formats", nargs="+", default=list(export.FORMATS), choices=list(export.FORMATS))
    parser.add_argument("--workspace", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--name", default="exporting", help="of the result")
    parser.add_argument("--one", nargs=5, metavar=("FORMAT", "IMAGES", "FOLDER", "COUNT", "TO"), help="for itself")
    given = parser.parse_args()
    if given.one:
        format_, images, folder, count, to = given.one
        write_one(format_, images, Path(folder), int(count), Path(to))
        return
    given.folder.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="carscribe-bench-", dir=given.folder))
    rows, workspaces = [], []
    try:
        for count in given.photos:
            folder = scratch / f"photos-{count}"
            write_simulated(folder, count)
            for format_ in given.formats:
                modes = export.FORMATS[format_].modes
                for images in dict.fromkeys((modes[0], "none" if "none" in modes else modes[0])):
                    rows.append(of_format(format_, images, folder, count, scratch / "to"))
                    print(rows[-1], flush=True)
            if given.workspace:
                workspaces.append(of_workspace(folder, count, scratch))
                print(workspaces[-1], flush=True)
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    command = " ".join(["python bench/exporting.py", *sys.argv[1:]])
    print(record(given.name, {"exports": rows, "workspace": workspaces}, command=command))


if __name__ == "__main__":
    main()
