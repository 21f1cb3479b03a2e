"""Draw the texts by which another embedder's cosines are brought to the scale of the one that ships: `make calibration-set`.

Four kinds of pairs, as many of each: rewordings of one question, traps (they look alike, and want another answer), two questions about
one subject, two that have nothing in common. All are of our own generator. Pairs that a veto or the normal form decides are left
out: no cosine is asked there.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from agentcache.engine.semantic.calibration.pairs import NAME, CalibrationPair, PairKind, write_pairs
from agentcache.engine.semantic.normalising import normalised
from agentcache.engine.semantic.texts import analyse
from agentcache.engine.semantic.vetoes import question_veto
from training.embedding import VectorCache
from training.generating import Generator, Intent, read_intents
from training.pairs import Pair
from training.train import ROOT

TARGET: Final = ROOT / "src/agentcache/engine/semantic/calibration" / NAME
#: Pairs of each kind.
COUNT: Final = 60
#: Other pairs than those that the verifier is trained on.
SEED: Final = 46
#: Cosines between which two questions of different intents have a subject in common, and below which they have nothing.
SUBJECT: Final = (0.35, 0.8)
APART_BELOW: Final = 0.2


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "build/semantic", help="folder for vectors")
    options = parser.parse_args(arguments)
    cache = VectorCache(options.work)
    pairs = list(drawn(cache))
    write_pairs(TARGET, cache.model.id, pairs)
    print(len(pairs), "pairs of", len({text for pair in pairs for text in (pair.one, pair.other)}), "texts")


def chosen_intents() -> list[tuple[Intent, Pair, Pair]]:
    """Return the intents that are drawn from, each with a rewording and a trap; figures on the generator's pairs leave them out."""
    intents = read_intents()
    random.Random(SEED).shuffle(intents)
    generator, found = Generator(SEED), []
    for intent in intents:
        pairs = [pair for pair in generator.pairs(intent, 2) if _is_judged(pair)]
        same = next((pair for pair in pairs if pair.is_same), None)
        traps = [pair for pair in pairs if not pair.is_same]
        if same is not None and traps:
            found.append((intent, same, random.Random(f"{SEED}/{intent.name}").choice(traps)))
        if len(found) == COUNT:
            break
    return found


def drawn(cache: VectorCache) -> Iterator[CalibrationPair]:
    """Yield the pairs with the cosines that the embedder that ships gives them."""
    chosen = chosen_intents()
    texts = {text: intent.name for intent, *pairs in chosen for pair in pairs for text in (pair.stored, pair.asked)}
    cache.add(texts)

    def measured(kind: PairKind, one: str, other: str) -> CalibrationPair:
        return CalibrationPair(kind, cache.cosine(one, other), one, other)

    yield from (measured("paraphrase", same.stored, same.asked) for _, same, _ in chosen)
    yield from (measured("trap", trap.stored, trap.asked) for _, _, trap in chosen)
    yield from (measured("subject", *pair) for pair in _of_one_subject(chosen, cache))
    rng, names = random.Random(SEED), list(texts)
    rng.shuffle(names)
    for place, one in enumerate(names[:COUNT]):
        # Never met before: each text is in one of these at most.
        apart = (other for other in names[COUNT + place :] if cache.cosine(one, other) < APART_BELOW)
        yield measured("unrelated", one, next(apart))


def _of_one_subject(chosen: Sequence[tuple[Intent, Pair, Pair]], cache: VectorCache) -> Iterator[tuple[str, str]]:
    """Yield a wording of each intent, and the nearest one of another intent that is not so near that it might want the same answer."""
    generator = Generator(SEED)
    wordings = {
        pair.stored: intent.name for intent in read_intents() for pair in generator.pairs(intent, 1) if pair.is_same
    }
    cache.add(wordings)
    others = list(wordings)
    vectors = cache.matrix(others)
    taken: set[str] = set()
    for intent, same, _ in chosen:
        for place in np.argsort(-(vectors @ cache.matrix([same.stored])[0])):
            other = others[place]
            is_between = SUBJECT[0] <= cache.cosine(same.stored, other) <= SUBJECT[1]
            if is_between and wordings[other] != intent.name and other not in taken:
                taken.add(other)
                yield same.stored, other
                break


def _is_judged(pair: Pair) -> bool:
    if normalised(pair.stored) == normalised(pair.asked):
        return False
    ours, theirs = analyse(pair.asked), analyse(pair.stored)
    return question_veto(ours, theirs) is None and ours.framed != theirs.framed


if __name__ == "__main__":
    main()
