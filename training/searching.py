"""Search for prompts with an instruction in them that the verifier of this release takes for somebody's question: `make planted-prompts`.

A search as an attacker's: of some drafts that change a word, the one goes on that scores highest. What it finds beside prompts of our own
generator is added to `planted.txt`, so that the next model learns it.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentcache.engine.semantic.embedders.minilm import MinilmModel
from agentcache.engine.semantic.features import pair_features
from agentcache.engine.semantic.interaction import kept_interactions
from agentcache.engine.semantic.texts import Text, analyse
from agentcache.engine.semantic.verifier import Verifier, load_verifier
from agentcache.engine.semantic.vetoes import question_veto
from training.collecting import own_pairs
from training.planting import FOUND, Draft, changed, planted, prompts_by_group, searched, written

ROOT: Final = Path(__file__).parent.parent
#: Prompts of an intent, rounds of a search, and drafts that a round compares.
PROMPTS: Final = 3
ROUNDS: Final = 14
DRAFTS: Final = 6
#: What scores less is kept out of the file: chance draws enough of it.
KEPT_FROM: Final = 0.1


def main(arguments: Sequence[str] | None = None) -> None:
    """Search, and add what was found to the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "build/semantic", help="folder of the embedding model")
    parser.add_argument("--seed", default=load_verifier().version, help="another one draws other prompts")
    parser.add_argument("--part", default="0/1", help="which share of the intents, as 0/2 and 1/2 in two processes")
    options = parser.parse_args(arguments)
    part, parts = map(int, options.part.split("/"))
    target = Target(MinilmModel(options.work), load_verifier())
    groups, known = list(prompts_by_group(own_pairs(seed=1))), set(searched())
    for group, prompts in groups[part::parts]:
        rng = random.Random(f"{options.seed}/{group}")
        for text in rng.sample(prompts, min(PROMPTS, len(prompts))):
            score, draft = target.search(text, rng)
            found = group, text, written(draft)
            if score >= KEPT_FROM and found not in known and " | " not in "".join(found):
                with FOUND.open("a", encoding="utf-8") as file:
                    file.write(" | ".join(found) + "\n")
                print(f"{score:.3f} {text} | {written(draft)}", flush=True)


@dataclass(frozen=True, slots=True)
class Target:
    """What is searched against."""

    model: MinilmModel
    verifier: Verifier

    def search(self, text: str, rng: random.Random) -> tuple[float, Draft]:
        """Return the highest score that was reached, and with what."""
        asked = analyse(text)
        best = self._best(text, asked, [planted(text, rng) for _ in range(DRAFTS)])
        for _ in range(ROUNDS):
            drafts = [changed(best[1], text, rng) for _ in range(DRAFTS)]
            best = max(best, self._best(text, asked, drafts), key=lambda found: found[0])
        return best

    def _best(self, text: str, asked: Text, drafts: list[Draft]) -> tuple[float, Draft]:
        vector, hidden = self.model.embed_one(text), self.model.pieces(text)
        texts = [written(draft) for draft in drafts]
        cosines = [float(vector @ self.model.embed_one(one)) for one in texts]
        analyses = [analyse(one) for one in texts]
        placed = kept_interactions(hidden, [self.model.pieces(one) for one in texts])
        rows = [
            pair_features(asked, one, cosine, 0.0) + of
            for one, cosine, of in zip(analyses, cosines, placed, strict=True)
        ]
        scores = self.verifier.scores(rows)
        # Of what a veto refuses the shorter is nearer to being let through.
        reached = [
            -float(len(one.words)) if question_veto(asked, one) else score
            for one, score in zip(analyses, scores, strict=True)
        ]
        place = max(range(len(drafts)), key=reached.__getitem__)
        return reached[place], drafts[place]


if __name__ == "__main__":
    main()
