"""Draws docs/terminal.svg, the picture in the README, from what the command really prints.

usage: python docs/terminal_picture.py
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
WIDTH = 96
COMMANDS = (
    "describe images --metadata cars.json --model demo -w cars.ws --limit 6",
    "export cars.ws --format kohya --budget clip --to captions",
)


def main() -> None:
    """Describe a few of the demo's renders and save the terminal as SVG."""
    folder = Path(tempfile.mkdtemp(prefix="carscribe-picture-"))
    shutil.copytree(ROOT / "demo" / "photos", folder, dirs_exist_ok=True)
    lines = []
    for command in COMMANDS:
        done = subprocess.run(
            [sys.executable, "-m", "carscribe", *command.split()],
            cwd=folder,
            env={**os.environ, "COLUMNS": str(WIDTH)},
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=True,
        )
        plan, begin, sums = done.stderr.partition("Done ")  # a terminal shows the table between these two
        lines.append(Text(f"$ carscribe {command}", style="bold"))
        lines.append(Text(f"{plan}{done.stdout}{begin}{sums}".rstrip() + "\n"))
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        for line in lines:
            console.print(line)
        console.save_svg(str(ROOT / "docs" / "terminal.svg"), title="carscribe")


if __name__ == "__main__":
    main()
