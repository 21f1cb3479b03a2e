"""Make traps out of paraphrases: one wording beside another one in which something was changed.

A trap made of a prompt itself has one difference. Between people's prompts lie other words besides, and what matters has to be
found among them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from agentcache.engine.semantic.framing import framed
from agentcache.engine.semantic.normalising import normalised
from training.pairs import Pair
from training.perturbing import TRAPS, same_as

#: What a pair counts: rules that know nothing of the subject are wrong now and then.
WEIGHT: Final = 0.2
#: Paraphrases of a group that are crossed, and the traps made of each.
PAIRS_MAX: Final = 8
TRAPS_EACH: Final = 3


def crossed(pairs: Iterable[Pair], *, each: int = PAIRS_MAX, traps: int = TRAPS_EACH) -> Iterator[Pair]:
    """Yield for some paraphrases of each group a rewritten one that means the same, and traps; all are of that group."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        if pair.is_same and pair.kind == "paraphrase":
            groups[pair.group].append(pair)
    for group, found in groups.items():
        rng = random.Random(f"crossed/{group}")
        for pair in rng.sample(found, min(each, len(found))):
            yield from _crossed(pair, rng, traps)


def _crossed(pair: Pair, rng: random.Random, traps: int) -> Iterator[Pair]:
    one, other = (pair.stored, pair.asked) if rng.random() < 0.5 else (pair.asked, pair.stored)
    again = same_as(other, rng)
    if again != other:
        yield Pair(one, again, True, "rewritten", pair.group, "crossed", WEIGHT)
    for kind in rng.sample(sorted(TRAPS), traps):
        changed = TRAPS[kind](other, rng)
        if changed and framed(normalised(changed)) != framed(normalised(other)):
            yield Pair(one, changed, False, kind, pair.group, "crossed", WEIGHT)
