"""Writes what an automotive designer needs to know about each photograph of a car.

From Python: `for result in carscribe.describe("photos/", model="OpenGVLab/InternVL3-8B-hf"): …`
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from carscribe.describing import describe

__all__ = ["describe"]


def __getattr__(name: str) -> Any:
    """Load the pipeline when it is first asked for: `import carscribe` alone costs nothing."""
    if name == "describe":
        from carscribe.describing import describe

        return describe
    raise AttributeError(f"module 'carscribe' has no attribute {name!r}")
