"""Curves of hits over false hits as SVG, without a library."""

from __future__ import annotations

import math
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 420, 56, 48
#: Readable on white, also for those who see no red and green.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
#: The axis of false hits is logarithmic from here on.
FALSE_MIN = 0.001


def draw(
    path: Path, title: str, curves: dict[str, list[tuple[float, float]]], marks: dict[str, tuple[float, float]]
) -> None:
    """Write a picture: (false share, hit share) by name, and marked points."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/><text x="{LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for tick in (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0):
        x = _x(tick)
        parts.append(f'<path d="M{x:.1f} 36V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{100 * tick:g} %</text>')
    for tick in (0, 0.25, 0.5, 0.75, 1.0):
        y = _y(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - 16}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{100 * tick:g} %</text>')
    parts.append(
        f'<text x="{WIDTH / 2}" y="{HEIGHT - 10}" text-anchor="middle">false hits (of pairs that differ)</text>'
    )
    for index, (name, points) in enumerate(curves.items()):
        color = COLORS[index % len(COLORS)]
        line = " ".join(f"{_x(false):.1f},{_y(hit):.1f}" for false, hit in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts.append(f'<text x="{LEFT + 12}" y="{54 + 17 * index}" fill="{color}">{escape(name)}</text>')
    for name, (false, hit) in marks.items():
        parts.append(f'<circle cx="{_x(false):.1f}" cy="{_y(hit):.1f}" r="4"/>')
        parts.append(f'<text x="{_x(false) + 7:.1f}" y="{_y(hit) + 13:.1f}">{escape(name)}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _x(false: float) -> float:
    decades = -math.log10(FALSE_MIN)
    return LEFT + (math.log10(max(false, FALSE_MIN)) + decades) / decades * (WIDTH - LEFT - 24)


def _y(hit: float) -> float:
    return HEIGHT - BOTTOM - hit * (HEIGHT - BOTTOM - 36)
