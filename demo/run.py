"""`make demo`: draw a few placeholder cars into a temporary folder and describe them with the demo model."""

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from placeholder_cars import draw_all

folder = Path(tempfile.mkdtemp(prefix="carscribe-demo-"))
metadata = draw_all(folder)
arguments = ["describe", folder / "images", "--metadata", metadata, "--model", "demo"]
arguments += ["--language", "en", "--language", "ko", "-o", folder / "descriptions.jsonl"]
print("$ carscribe", shlex.join(map(str, arguments)), flush=True)
sys.exit(subprocess.run([sys.executable, "-m", "carscribe", *map(str, arguments)], check=False).returncode)
