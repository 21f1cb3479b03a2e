"""Every pair of text and ground has the contrast of WCAG 2.2 AA (1.4.3, 1.4.11), light and dark."""

import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).parents[3] / "src/agentcache/design/static/design/tokens.css"
GROUNDS = ("page", "surface", "sunken", "raised", "hover")
#: (text, ground, least ratio)
PAIRS = [
    *((text, ground, 4.5) for text in ("text", "quiet", "accent") for ground in GROUNDS),
    *((tone, ground, 4.5) for tone in ("good", "warn", "bad", "info") for ground in ("page", "surface", f"{tone}-soft")),
    ("accent", "accent-soft", 4.5), ("on-accent", "accent", 4.5), ("on-accent", "accent-hover", 4.5),
    ("on-bad", "bad-strong", 4.5), ("on-tip", "tip", 4.5),
    # What shows where a field ends, and marks of charts.
    ("line-strong", "surface", 3.0),
    *((f"series-{name}", "surface", 3.0) for name in (
        "hit", "semantic", "stale", "coalesced", "miss", "bypass", "error", "refused", "saved", "cost", *"123456",
    )),
]  # fmt: skip


def tokens():
    found = re.findall(r"--([a-z0-9-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", TOKENS.read_text())
    return {name: {"light": light, "dark": dark} for name, light, dark in found}


def luminance(colour):
    """Relative luminance (WCAG 2.2, definitions)."""
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_measure_is_that_of_wcag():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(("text", "ground", "least"), PAIRS, ids=[f"{text}-on-{ground}" for text, ground, _ in PAIRS])
def test_text_stands_out_from_its_ground(text, ground, least, theme):
    known = tokens()
    assert contrast(known[text][theme], known[ground][theme]) >= least
