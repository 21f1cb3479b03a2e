"""Shares with their intervals, and false shares at another rule's hit rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agentcache.engine.semantic.controller import wilson

Floats = np.ndarray[Any, np.dtype[np.float64]]
#: 95 %.
Z = 1.96


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule on one set: a score per pair, and the score from which it serves."""

    name: str
    scores: Floats
    threshold: float


def share(served: Floats) -> str:
    """Return a percentage of true ones with its interval, or a dash where there is none to count."""
    if not len(served):
        return "–"
    part = float(served.mean())
    lower, upper = wilson(part, len(served), Z)
    return f"{100 * part:.2f} [{100 * lower:.2f}–{100 * upper:.2f}]"


def row(rule: Rule, labels: Floats) -> tuple[str, str, str]:
    """Return name, hits and false hits in percent."""
    served = rule.scores >= rule.threshold
    return rule.name, share(served[labels == 1]), share(served[labels == 0])


def at_hit_rate_of(other: Rule, scores: Floats, labels: Floats) -> float:
    """Return the threshold at which `scores` hit at least as often as the other rule does."""
    wanted = float((other.scores >= other.threshold)[labels == 1].mean())
    ordered = np.sort(scores[labels == 1])[::-1]
    place = int(np.ceil(wanted * len(ordered))) - 1
    return float(ordered[max(0, place)])


def curve(scores: Floats, labels: Floats, points: int = 200) -> list[tuple[float, float]]:
    """Return (false share, hit share) from the strictest threshold on."""
    steps = np.unique(np.quantile(scores, np.linspace(0, 1, points)))[::-1]
    return [
        (float((scores >= step)[labels == 0].mean()), float((scores >= step)[labels == 1].mean())) for step in steps
    ]
