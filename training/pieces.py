"""What the pieces of two prompts say of each training pair, by projections that saw nothing of its group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from agentcache.engine.semantic.interaction import INTERACTION, interactions
from agentcache.engine.semantic.pieces import Projection
from training.hidden import HiddenCache
from training.judging import Floats, folds_of
from training.late import Scale, fit_projection, fitted
from training.pairs import Pair

#: CheckList's few templates would teach the projection their own words: what it has not seen would then count as lost.
UNFIT_SOURCES: Final = frozenset({"checklist"})


def pieces_of(pairs: Sequence[Pair], cache: HiddenCache, by: Projection) -> Floats:
    """Return the values of `INTERACTION` for each pair; reads what of their texts was not read yet."""
    cache.add(text for pair in pairs for text in (pair.stored, pair.asked))
    kept: dict[str, bytes] = {}

    def read(text: str) -> bytes:
        if text not in kept:
            hidden = cache.of(text)
            kept[text] = by.pack(hidden) if len(hidden) else b""
        return kept[text]

    rows = np.zeros((len(pairs), len(INTERACTION)))
    for place, pair in enumerate(pairs):
        ours, theirs = read(pair.asked), read(pair.stored)
        if ours and theirs:
            rows[place] = interactions(ours, [theirs])[0]
    return rows


def pieces_out_of_fold(
    pairs: Sequence[Pair], margins: Floats, cache: HiddenCache, *, count: int = 4
) -> tuple[Floats, bytes]:
    """Return `pieces_of` each pair, by a projection that saw nothing of its group, and the file of one that saw all.

    `margins` are the log-odds by the model of the texts, out of fold as well.
    """
    cache.add(text for pair in pairs for text in (pair.stored, pair.asked))
    scale, folds = Scale.of(cache), folds_of(pairs, count)
    is_fit = np.array([pair.source not in UNFIT_SOURCES for pair in pairs])
    rows = np.zeros((len(pairs), len(INTERACTION)))
    for fold in range(count):
        inside = folds == fold
        by = fit_projection(*_only(pairs, margins, ~inside & is_fit), cache, scale)
        found, _ = _only(pairs, margins, inside)
        rows[inside] = pieces_of(found, cache, by)
    return rows, fitted(*_only(pairs, margins, is_fit), cache, scale)


def _only(pairs: Sequence[Pair], margins: Floats, inside: Floats) -> tuple[list[Pair], Floats]:
    return [pair for pair, keep in zip(pairs, inside, strict=True) if keep], margins[inside]
