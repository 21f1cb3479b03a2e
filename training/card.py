"""The card of the verifier's model: what it is made of and how it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import lightgbm

from agentcache.engine.semantic.features import DIRECTION_OF, FEATURES
from training.fit import PARAMETERS, TREES
from training.pairs import Pair

_SOURCES: Final = {
    "own": "intents of `training/intents/` and their rewritings; ours",
    "synth": "an earlier generator of ours",
    "checklist": "CheckList's suite for question pairs (MIT), without its tests that rest on Quora's questions",
    "gptcache_mock": "half of GPTCache's mock paraphrases (MIT)",
    "cai": "half of the CAI semantic equivalence benchmark (MIT)",
    "perturbed": "rewritings by rule of prompts of Arena-Hard and MT-Bench (Apache-2.0), Banking77 (CC BY 4.0, PolyAI), and of the two above",
    "banking": "Banking77 (CC BY 4.0, PolyAI): each question with its nearest neighbour, with the nearest of another class, and with one at a middling cosine",
    "prompts": "prompts of Arena-Hard and MT-Bench (Apache-2.0), each with its nearest other one",
}


def write_card(
    path: Path, version: str, pairs: Sequence[Pair], thresholds: dict[str, float],
    figures: Sequence[tuple[str, str, int, float]], booster: lightgbm.Booster,
) -> None:  # fmt: skip
    """Write the card of a model that was just fitted."""
    counts = Counter(pair.source for pair in pairs)
    same = Counter(pair.source for pair in pairs if pair.is_same)
    gains = sorted(zip(booster.feature_importance("gain"), FEATURES, strict=True), reverse=True)
    lines = [
        f"# The verifier, {version}",
        "",
        "Says of two prompts how sure it is that one answer serves both. Made by `make train-verifier`; licence: that of this project.",
        f"{TREES} trees of {PARAMETERS['num_leaves']} leaves (LightGBM, log loss) over {len(FEATURES)} features,",
        f"{sum(map(bool, DIRECTION_OF.values()))} of them bound to move the score in one direction only. The cosine is that of MiniLM-L6-v2 in int8;",
        "with another embedder the figures below do not hold. English. `margin` is kept at 0 in training, so no tree asks for it.",
        "",
        f"Thresholds: safe {thresholds['safe']}, balanced {thresholds['balanced']}.",
        "",
        "| trained on | pairs | of them equivalent |",
        "| --- | --- | --- |",
        *(f"| {_SOURCES[source]} | {count} | {same[source]} |" for source, count in counts.most_common()),
        "",
        "No row of Quora's question pairs is among them.",
        "",
        "Served at the safe threshold, each pair scored by a model that saw nothing of its intent, test or class:",
        "",
        "| source | kind | pairs | served % |",
        "| --- | --- | --- | --- |",
        *(f"| {source} | {kind} | {count} | {share:.2f} |" for source, kind, count, share in figures),
        "",
        "Features by gain: " + ", ".join(f"{name} {gain / 1000:.1f}" for gain, name in gains[:20]) + " (thousands).",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
