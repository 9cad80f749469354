"""Draws docs/terminal.svg, the picture in the README, from what the command really prints.

usage: python docs/terminal_picture.py
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[1]
WIDTH = 84
sys.path.insert(0, str(ROOT / "demo"))


def main() -> None:
    """Describe the placeholder cars and save the terminal as SVG."""
    from placeholder_cars import draw_all

    folder = Path(tempfile.mkdtemp(prefix="carscribe-picture-"))
    draw_all(folder)
    command = ["describe", "images", "--metadata", "cars.json", "--model", "demo"]
    done = subprocess.run(
        [sys.executable, "-m", "carscribe", *command],
        cwd=folder,
        env={**os.environ, "COLUMNS": str(WIDTH)},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(Text(f"$ carscribe {' '.join(command)}", style="bold"))
        plan, _, sums = done.stderr.partition("Done ")  # a terminal shows the table between these two
        console.print(Text(f"{plan}{done.stdout}Done {sums}".rstrip()))
        console.save_svg(str(ROOT / "docs" / "terminal.svg"), title="carscribe")


if __name__ == "__main__":
    main()
