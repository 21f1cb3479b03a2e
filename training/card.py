"""The card of the verifier's model: what it is made of and how it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import lightgbm

from agentcache.engine.semantic.features import DIRECTION_OF, FEATURES, LIKENESS
from agentcache.engine.semantic.interaction import INTERACTION
from training.fit import COSINE_CEILING, COSINE_PIVOT, COSINE_WEIGHT, NETWORKS_SHARE, PARAMETERS, TREES
from training.networks import HIDDEN, SEEDS
from training.pairs import Pair

_SOURCES: Final = {
    "own": "intents of `training/intents/` and their rewritings; ours",
    "synth": "an earlier generator of ours",
    "checklist": "CheckList's suite for question pairs (MIT), without its tests that rest on Quora's questions",
    "gptcache_mock": "half of GPTCache's mock paraphrases (MIT)",
    "cai": "half of the CAI semantic equivalence benchmark (MIT)",
    "perturbed": "rewritings by rule of prompts of Arena-Hard and MT-Bench (Apache-2.0), Banking77 (CC BY 4.0, PolyAI), and of the two above",
    "banking": "Banking77 (CC BY 4.0, PolyAI): each question with its nearest neighbour, with the nearest of another class, and with one at a middling cosine",
    "crossed": "paraphrases of the first five, one of the two rewritten by rule: the same still, or a trap",
    "planted": "prompts of ours, of Banking77 (CC BY 4.0, PolyAI), Arena-Hard, MT-Bench (Apache-2.0), GPTCache (MIT) and CAI (MIT) beside the same with an instruction hidden in them",
    "prompts": "prompts of Arena-Hard and MT-Bench (Apache-2.0), each with its nearest other one",
}


def write_card(
    path: Path, version: str, pairs: Sequence[Pair], thresholds: dict[str, float],
    figures: Sequence[tuple[str, str, int, float]], placed: Sequence[tuple[str, str, int, float]], booster: lightgbm.Booster,
) -> None:  # fmt: skip
    """Write the card of a model that was just fitted; `figures` are those of texts alone, `placed` those with pieces, in the same order."""
    counts = Counter(pair.source for pair in pairs)
    same = Counter(pair.source for pair in pairs if pair.is_same)
    gains = sorted(zip(booster.feature_importance("gain"), FEATURES, strict=True), reverse=True)
    lines = [
        f"# The verifier, {version}",
        "",
        "Says of two prompts how sure it is that one answer serves both. Made by `make train-verifier`; licence: that of this project.",
        f"{TREES} trees of {PARAMETERS['num_leaves']} leaves (LightGBM, log loss) over {len(FEATURES)} features,",
        f"{sum(map(bool, DIRECTION_OF.values()))} of them bound to move the score in one direction only; {len(SEEDS)} networks of {' and '.join(map(str, HIDDEN))} hidden units over the same,",
        f"bound likewise but for {len(LIKENESS)} that say how alike both look, count {NETWORKS_SHARE:g} of the whole; beside both {COSINE_WEIGHT:g} log-odds for each 1 of cosine above",
        f"{COSINE_PIVOT}, up to {COSINE_CEILING}. The cosine is that of MiniLM-L6-v2 in int8; with another embedder the figures below do not hold. English. `margin` is kept at 0 in training,",
        "so that nothing asks for it.",
        "",
        f"Thresholds: safe {thresholds['safe']}, balanced {thresholds['balanced']}.",
        "",
        "| trained on | pairs | of them equivalent |",
        "| --- | --- | --- |",
        *(f"| {_SOURCES[source]} | {count} | {same[source]} |" for source, count in counts.most_common()),
        "",
        "No row of Quora's question pairs is among them.",
        "",
        f"Where the embedder gives the word pieces in their sentences, {TREES} other trees judge beside the same networks, with {len(INTERACTION)} features more, of a",
        "projection of those pieces that was fitted to the same pairs without CheckList's.",
        "",
        "Served at the safe threshold, each pair scored by a model that saw nothing of its intent, test or class:",
        "",
        "| source | kind | pairs | by texts, % | with pieces, % |",
        "| --- | --- | --- | --- | --- |",
        *(
            f"| {source} | {kind} | {count} | {share:.2f} | {other[3]:.2f} |"
            for (source, kind, count, share), other in zip(figures, placed, strict=True)
        ),
        "",
        "Features by gain: " + ", ".join(f"{name} {gain / 1000:.1f}" for gain, name in gains[:20]) + " (thousands).",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
