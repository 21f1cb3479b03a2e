"""All pairs that the verifier is fitted to: our own, and what of the development data may go into a model that ships."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from training.crossing import crossed
from training.deeds import deeds
from training.embedding import VectorCache
from training.families import families
from training.generating import Generator, Intent, read_intents
from training.pairs import Pair, by_class, is_quora, read_rows, sampled, shared_pairs
from training.perturbing import perturbed
from training.planting import planted_pairs
from training.shades import shades

#: Sources whose paraphrases are crossed with traps.
CROSSED_SOURCES: Final = frozenset({"own", "synth", "gptcache_mock", "cai"})
#: Sources beside whose prompts instructions are planted.
PLANTED_SOURCES: Final = frozenset({"own", "synth", "perturbed", "gptcache_mock", "cai"})
#: Rounds of the generator for each intent.
ROUNDS: Final = 8
#: The data of this source is for non-commercial use.
UNFIT_SOURCES: Final = frozenset({"alpaca_eval"})
PROMPT_CHARS_MAX: Final = 450
#: What a pair of each source counts; CheckList's few templates would teach themselves otherwise.
WEIGHTS: Final = {"own": 1.0, "synth": 1.0, "checklist": 0.25, "gptcache_mock": 1.3, "cai": 2.0}
#: Of Banking77's neighbours: another class; the same one from this cosine on, and below it.
OTHER_CLASS_WEIGHT: Final = 0.35
SAME_CLASS_WEIGHT: Final = 0.4
SAME_CLASS_COSINE: Final = 0.9
FAR_SAME_CLASS_WEIGHT: Final = 0.12


def all_pairs(folder: Path, cache: VectorCache) -> list[Pair]:
    """Return all pairs; without a folder of development data our own alone."""
    pairs = own_pairs(seed=1)
    if folder.is_dir():
        pairs += shippable_pairs(folder) + neighbour_pairs(folder, cache) + far_pairs(folder, cache)
    mixed = crossed(pair for pair in pairs if pair.source in CROSSED_SOURCES)
    planted = planted_pairs(pair for pair in pairs if pair.source in PLANTED_SOURCES)
    return [*pairs, *mixed, *planted]


def own_pairs(seed: int, rounds: int = ROUNDS) -> list[Pair]:
    """Return pairs of the generator and of rules that rewrite its prompts."""
    generator = Generator(seed)
    found = []
    for intent in read_intents():
        pairs = list(generator.pairs(intent, rounds))
        found += [*pairs, *_rewritten(intent, pairs, random.Random(f"{seed + 1}/{intent.name}"))]
    for intent in [*deeds(), *families(), *shades()]:
        found += list(generator.pairs(intent, rounds // 2))
    return _unique(found)


def _rewritten(intent: Intent, pairs: list[Pair], rng: random.Random) -> Iterator[Pair]:
    group = f"own/{intent.name}"
    prompts = sorted({pair.stored for pair in pairs if pair.is_same})
    for text in rng.sample(prompts, min(4, len(prompts))):
        yield from perturbed(text, rng, group=group, source="own", same=2, traps=4, weight=0.7)


def shippable_pairs(folder: Path, *, halves: bool = True) -> list[Pair]:
    """Return pairs of the development data that may be trained on; of positives the first half, unless `halves` is off."""
    rng = random.Random(5)
    found = []
    for name in ("synth_dev", "checklist_dev", "gptcache_mock_dev", "cai_dev"):
        pairs = [pair for pair in shared_pairs(folder, name) if not is_quora(pair)]
        if name in {"gptcache_mock_dev", "cai_dev"}:
            pairs = pairs[: len(pairs) // 2] if halves else pairs
            for pair in pairs:
                found += _perturbed(pair.stored, pair.group, same=1, traps=3, weight=0.6)
        found += [replace(pair, weight=WEIGHTS[pair.source]) for pair in pairs]
    for row in _fit_prompts(folder):
        found += _perturbed(row["text"], f"prompts/{row['id']}", same=3, traps=6, weight=0.7)
    questions = sorted(by_class(folder))
    for text, of in rng.sample(questions, min(2500, len(questions))):
        found += _perturbed(text, f"banking/{of}", same=2, traps=5, weight=0.5)
    return _unique(found)


def _fit_prompts(folder: Path) -> Iterator[dict[str, str]]:
    for row in read_rows(folder / "prompts_dev.jsonl"):
        if row["src"] not in UNFIT_SOURCES and len(row["text"]) <= PROMPT_CHARS_MAX and row["text"].isascii():
            yield row


def _perturbed(text: str, group: str, *, same: int, traps: int, weight: float) -> Iterator[Pair]:
    rng = random.Random(f"5/{text}")
    return perturbed(text, rng, group=group, source="perturbed", same=same, traps=traps, weight=weight)


def neighbour_pairs(folder: Path, cache: VectorCache, count: int = 2500) -> list[Pair]:
    """Return Banking77's questions, each with its nearest neighbour and with its nearest one of another class.

    What is of another class has another answer; the same class is the same answer only loosely, the more so the farther.
    """
    questions = sampled(sorted(by_class(folder)), 5000, seed=2)
    cache.add(text for text, _ in questions)
    vectors = cache.matrix([text for text, _ in questions])
    classes = np.array([of for _, of in questions])
    found = []
    for index, (text, of) in enumerate(questions[:count]):
        cosines = vectors @ vectors[index]
        cosines[index] = -1
        best = int(np.argmax(cosines))
        if classes[best] == of:
            weight = SAME_CLASS_WEIGHT if cosines[best] >= SAME_CLASS_COSINE else FAR_SAME_CLASS_WEIGHT
            found.append(Pair(questions[best][0], text, True, "neighbour-same", f"banking/{of}", "banking", weight))
        other = int(np.argmax(np.where(classes == of, -1, cosines)))
        found.append(
            Pair(questions[other][0], text, False, "neighbour-other", f"banking/{of}", "banking", OTHER_CLASS_WEIGHT)
        )
    return found


def far_pairs(folder: Path, cache: VectorCache, count: int = 1500) -> list[Pair]:
    """Return pairs of real prompts that have a subject in common and are not the same: what lies at middling cosines.

    Each prompt with its nearest other one, and questions of Banking77 with one of another class that is neither near nor far.
    """
    prompts = sorted({row["text"]: f"prompts/{row['id']}" for row in _fit_prompts(folder)}.items())
    questions = sampled(sorted(by_class(folder)), 5000, seed=2)
    rng = random.Random(6)
    found = []
    for texts, least, most, chosen in ((prompts, 0.4, 0.85, len(prompts)), (questions, 0.5, 0.8, count)):
        cache.add(text for text, _ in texts)
        vectors = cache.matrix([text for text, _ in texts])
        groups = np.array([of for _, of in texts])
        for index, (text, of) in enumerate(texts[:chosen]):
            cosines = vectors @ vectors[index]
            others = np.flatnonzero((cosines >= least) & (cosines <= most) & (groups != of))
            if len(others):
                other = int(others[np.argmax(cosines[others])] if texts is prompts else rng.choice(list(others)))
                group = of if texts is prompts else f"banking/{of}"
                found.append(
                    Pair(
                        texts[other][0],
                        text,
                        False,
                        "far-other",
                        group,
                        "banking" if texts is questions else "prompts",
                        OTHER_CLASS_WEIGHT,
                    )
                )
    return found


def _unique(pairs: list[Pair]) -> list[Pair]:
    """Return the pairs without repetitions, and without those that two rules call different things."""
    truths: dict[tuple[str, str], set[bool]] = {}
    for pair in pairs:
        truths.setdefault((pair.stored.lower(), pair.asked.lower()), set()).add(pair.is_same)
    seen = set()
    found = []
    for pair in pairs:
        key = pair.stored.lower(), pair.asked.lower()
        if key not in seen and len(truths[key]) == 1:
            seen.add(key)
            found.append(pair)
    return found
