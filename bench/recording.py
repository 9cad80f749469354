"""What every bench writes beside its figures: the commit, the machine, the versions."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from carscribe.cores import allowed_cores

RESULTS = Path(__file__).parent / "results"


def record(name: str, figures: dict[str, Any], *, command: str) -> Path:
    """Write `figures` as JSON to $OUT when that is set (a GPU host without this tree), else to bench/results."""
    folder = Path(os.environ["OUT"]) if "OUT" in os.environ else RESULTS
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(about(command) | figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def about(command: str) -> dict[str, Any]:
    """The commit, the machine and the versions."""
    return {"command": command, "date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": _commit(), **_machine()}


def _commit() -> str:
    """The commit of this tree, with a + when files that git knows were changed."""
    if "CARSCRIBE_COMMIT" in os.environ:  # a copy of the tree without its .git
        return os.environ["CARSCRIBE_COMMIT"]
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def _machine() -> dict[str, Any]:
    import torch

    return {
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cpu": f"{platform.machine()}, {allowed_cores()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": version("transformers"),
        "pillow": version("pillow"),
    }
