"""`make demo`: draw a few placeholder cars into a temporary folder, describe them with the demo model, export them."""

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from placeholder_cars import draw_all


def carscribe(*arguments: str | Path) -> None:
    """Run the command line as a person would; end with its exit code when it fails."""
    print("\n$ carscribe", shlex.join(map(str, arguments)), flush=True)
    code = subprocess.run([sys.executable, "-m", "carscribe", *map(str, arguments)], check=False).returncode
    if code:
        sys.exit(code)


folder = Path(tempfile.mkdtemp(prefix="carscribe-demo-"))
metadata, workspace, captions = draw_all(folder), folder / "cars.ws", folder / "captions"
asked = ["describe", folder / "images", "--metadata", metadata, "--model", "demo", "-w", workspace]
carscribe(*asked, "--language", "en", "--language", "ko")
carscribe("status", workspace)
carscribe("export", workspace, "--format", "kohya", "--budget", "clip", "--trigger", "democar", "--to", captions)
