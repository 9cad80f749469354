"""`make demo`: describe the renders in demo/photos with the demo model, hold the answers against the truth, export."""

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
PHOTOS = HERE / "photos"


def carscribe(*arguments: str | Path) -> None:
    """Run the command line as a person would; end with its exit code when it fails."""
    print("\n$ carscribe", shlex.join(map(str, arguments)), flush=True)
    code = subprocess.run([sys.executable, "-m", "carscribe", *map(str, arguments)], check=False).returncode
    if code:
        sys.exit(code)


folder = Path(tempfile.mkdtemp(prefix="carscribe-demo-"))
workspace, captions, page = folder / "cars.ws", folder / "captions", folder / "page.html"
asked = ["describe", PHOTOS / "images", "--metadata", PHOTOS / "cars.json", "--model", "demo", "-w", workspace]
carscribe(*asked, "--language", "en", "--language", "ko")
carscribe("show", workspace, "01-sedan")
truth = ["--labels", PHOTOS / "labels.json", "--vocabulary", HERE / "rendered" / "vocabulary.toml"]
carscribe("evaluate", workspace, *truth, "--language", "en", "--html", page)
carscribe("export", workspace, "--format", "kohya", "--budget", "clip", "--trigger", "democar", "--to", captions)
