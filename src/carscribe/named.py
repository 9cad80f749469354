"""So many of a million things, and the first of them by name. Pure."""

from dataclasses import dataclass, field

NAMES_KEPT = 1000
"""So many are named; all are counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """How many there were, and the first `NAMES_KEPT` of them."""

    count: int
    first: tuple[str, ...]


@dataclass(slots=True)
class Named:
    """How many there are, and the first `NAMES_KEPT`, each in a line of words."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str) -> None:
        """One more."""
        self.count += 1
        if len(self.first) < NAMES_KEPT:
            self.first.append(name)

    def noted(self) -> Noted:
        """What was counted, for good."""
        return Noted(count=self.count, first=tuple(self.first))
