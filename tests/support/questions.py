"""Rows of the index for tests: vectors at a chosen cosine, with everything else made up from a name."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from agentcache.engine.semantic.index.port import IndexRow

DIMENSIONS = 384
EMBEDDER = "test-embedder:1"
STORED_AT = 1_800_000_000.0


def digest(*parts: str) -> bytes:
    """Return 32 bytes that stand for these words."""
    return hashlib.sha256("\n".join(parts).encode()).digest()


def direction(name: str, dimensions: int = DIMENSIONS) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the unit vector of a name."""
    seed = int.from_bytes(digest("direction", name)[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(dimensions)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def near(to: np.ndarray[Any, Any], cosine: float, name: str = "aside") -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a unit vector at a cosine to another."""
    aside = direction(name, len(to)).astype(np.float64)
    aside -= to * (aside @ to)
    aside /= np.linalg.norm(aside)
    return (cosine * to + np.sqrt(1 - cosine**2) * aside).astype(np.float32)


def make_row(name: str, vector: np.ndarray[Any, Any] | None = None, **changes: Any) -> IndexRow:
    """Return a row of partition "p" whose key, question and normal form come from `name`."""
    members: dict[str, Any] = {
        "key": digest("key", name),
        "partition": digest("partition", "p"),
        "embedder_id": EMBEDDER,
        "vector": direction(name) if vector is None else vector,
        "normal_digest": digest("normal", name),
        "question": f"What about {name}?",
        "writer": "key_writer",
        "stored_at": STORED_AT,
        "expires_at": STORED_AT + 3600,
    }
    return IndexRow(**{**members, **changes})
