"""Tells models apart that go by one name: by what they make of two sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from agentcache.engine.semantic.embedders.port import Vector

PROBES: Final = ("The quick brown fox jumps over the lazy dog.", "How do I cancel my subscription before it renews?")


def fingerprint(vectors: Sequence[Vector]) -> str:
    """Return 8 hex digits for the vectors of `PROBES`: their length, and where each is largest and with which sign.

    Services round a little differently from call to call, which does not move the largest component; another model
    has it elsewhere.
    """
    import numpy as np

    marks = []
    for vector in vectors:
        at = int(np.abs(vector).argmax())
        marks.append(f"{len(vector)}/{at}/{vector[at] > 0}")
    return hashlib.sha256(" ".join(marks).encode()).hexdigest()[:8]
