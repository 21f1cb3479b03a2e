"""Calibrations of embedders that nobody runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agentcache.engine.semantic.calibration.fitting import fit_scale
from agentcache.engine.semantic.calibration.keeping import Calibration, keep
from agentcache.engine.semantic.calibration.pairs import load_pairs


def made_of(embedder: str, own: Callable[[float], float]) -> Calibration:
    """Return that of an embedder whose cosines are `own` of the built-in one's."""
    chosen = load_pairs()
    return Calibration(
        embedder, chosen.digest, *fit_scale(chosen.pairs, [own(pair.cosine) for pair in chosen.pairs]), 1.0
    )


def kept_as(embedder: str, own: Callable[[float], float], folder: Path) -> None:
    """Keep it where a server looks for it."""
    keep(folder, made_of(embedder, own))
