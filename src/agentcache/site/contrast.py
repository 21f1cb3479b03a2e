"""The colours of the design system as they are written, and how far text stands out from its ground (WCAG 2.2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from django.contrib.staticfiles import finders

_TOKEN: Final = re.compile(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)")
#: Text of ordinary size (1.4.3), and marks and edges (1.4.11).
TEXT_LEAST: Final = 4.5
MARK_LEAST: Final = 3.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A colour on its ground, light and dark."""

    name: str
    ground: str
    light: float
    dark: float
    least: float

    @property
    def is_text(self) -> bool:
        """Whether it is read, and not only seen."""
        return self.least >= TEXT_LEAST

    @property
    def is_enough(self) -> bool:
        """Whether both reach what is asked for."""
        return min(self.light, self.dark) >= self.least


@cache
def tokens() -> dict[str, tuple[str, str]]:
    """Return each colour by its name, light and dark."""
    path = finders.find("design/tokens.css")
    if not isinstance(path, str):
        raise FileNotFoundError("design/tokens.css")
    return {name: (light, dark) for name, light, dark in _TOKEN.findall(Path(path).read_text(encoding="utf-8"))}


def pair(name: str, ground: str, least: float) -> Pair:
    """Return how far one token stands out from another."""
    known = tokens()
    light, dark = (ratio(known[name][scheme], known[ground][scheme]) for scheme in (0, 1))
    return Pair(name, ground, light, dark, least)


def ratio(one: str, other: str) -> float:
    """Return the contrast of two colours, from 1 to 21."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
