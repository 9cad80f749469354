"""A served site of cars, and its description."""

from dataclasses import dataclass
from pathlib import Path

from car_site import SITE_TOML, Site


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSite:
    """A served site, where it is, and the file that describes it."""

    site: Site
    base: str
    toml: Path

    def described(self, **changes: str) -> Path:
        """The description with some of its lines replaced: `{"kind": 'kind = "td.none"'}`."""
        lines = SITE_TOML.format(base=self.base, delay_s=0.0).splitlines()
        for key, line in {"retry_after_s": "retry_after_s = 0.02", **changes}.items():
            (number,) = [i for i, each in enumerate(lines) if each.startswith(f"{key} =")]
            lines[number] = line
        self.toml.write_text("\n".join(lines), encoding="utf-8")
        return self.toml
