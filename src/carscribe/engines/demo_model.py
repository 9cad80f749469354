"""The checkpoint behind `--model demo`: InternVL3's architecture, small, trained on rendered cars alone.

It comes with Carscribe, so that the whole way of a photo can be walked on a CPU without a hub, and be right. What it is
for and what it is not for is in `demo/README.md` beside its weights.
"""

from importlib import resources
from pathlib import Path

DISCLAIMER = "The demo model knows rendered cars alone: what it says of real photographs is worth nothing."


def demo_checkpoint() -> Path:
    """The folder of the demo model."""
    return Path(str(resources.files("carscribe.engines") / "demo"))
