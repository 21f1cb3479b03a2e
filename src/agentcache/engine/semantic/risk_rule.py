"""The rule that evidence puts beside the verifier's thresholds: serve what is at most so risky, and never open a trap.

Pure. Without evidence there is no rule, and the thresholds hold alone. With some, a rule makes them stricter at once; it goes below
them only where the evidence proves that the target holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from agentcache.engine.semantic.features import FEATURES
from agentcache.engine.semantic.weighing import AGREEMENT_UNKNOWN, WEIGHTS, Signals, Weighing

FORMAT: Final = 2
#: No evidence opens below these.
SCORE_FLOOR: Final = 0.05
COSINE_FLOOR: Final = 0.75
#: Differences that make another question of the same words. Where one is found, the verifier's balanced threshold stays
#: the floor, however much evidence there is for others.
TRAPS: Final = (
    "negation_parity", "antonyms", "polarity", "numbers_changed", "numbers_added", "units_changed", "names_changed", "literals",
    "kinds", "role_changes", "exchanged", "order_conflict", "passive_conflict", "aims_exchanged", "people", "past_state", "times_changed",
)  # fmt: skip
_TRAPS_AT: Final = tuple((name, FEATURES.index(name)) for name in TRAPS)
_WORDS_AT: Final = FEATURES.index("content_fewest")


@dataclass(frozen=True, slots=True)
class RiskRule:
    """A namespace's weighing, and the highest risk that is served by it."""

    weighing: Weighing
    #: 0 to 1.
    limit: float
    #: Whether it stands in place of the threshold, down to the floors; else it is asked beside it.
    opens: bool = False

    def admits(self, signals: Signals) -> bool:
        """Say whether the pair is within the limit."""
        return self.weighing.risk(signals) <= self.limit

    def as_document(self) -> dict[str, Any]:
        """Return it as the database has it."""
        return {"format": FORMAT, "weights": list(self.weighing.weights), "limit": self.limit, "opens": self.opens}


def parse_rule(document: object) -> RiskRule | None:
    """Return a rule that was written by `as_document`; None for anything else, so that the strict thresholds hold."""
    if not isinstance(document, Mapping) or document.get("format") != FORMAT:
        return None
    weights, limit = document.get("weights"), document.get("limit")
    if not isinstance(weights, list) or len(weights) != WEIGHTS or not all(map(_is_number, weights)):
        return None
    if not isinstance(limit, int | float) or not 0 <= limit <= 1:
        return None
    return RiskRule(Weighing(tuple(map(float, weights))), float(limit), opens=document.get("opens") is True)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def signals_of(score: float, cosine: float, features: Sequence[float], agreement: float | None = None) -> Signals:
    """Return what is weighed of a pair with these values of `FEATURES`; `agreement` is None where nobody knows it."""
    return Signals(score, cosine, features[_WORDS_AT], AGREEMENT_UNKNOWN if agreement is None else agreement)


def trap_in(features: Sequence[float]) -> str:
    """Return the first of `TRAPS` that the values of `FEATURES` show; "" for none."""
    return next((name for name, at in _TRAPS_AT if features[at] > 0), "")


def may_open(signals: Signals, trap: str, *, balanced: float) -> bool:
    """Say whether evidence may decide on a pair at all; `balanced` is the verifier's threshold for what has a trap."""
    floor = balanced if trap else min(SCORE_FLOOR, balanced)
    return signals.score >= floor and signals.cosine >= COSINE_FLOOR
