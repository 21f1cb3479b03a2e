"""From compared pairs to the rule that serves as much as the target for wrong hits allows.

Pure. The risk of each pair is estimated by a weighing that was fitted without it (cross-fitting, five folds). Ordered by that risk the
pairs are cut into strata. How often a stratum is wrong is counted; how much traffic it stands for is told by the pairs' weights. Of all
strata up to a limit the share of wrong ones follows as in a stratified sample, and its upper bound is Clopper and Pearson's for
the sample's effective size (Korn and Graubard, Survey Methodology 24, 1998). The highest limit whose bound is within the target is
taken: a threshold chosen by a test on held-out risks, as in Learn then Test (Angelopoulos et al., 2021), with no promise for other
traffic than the evidence's. Where no limit is proven, the one whose hits are estimated to be within the target is asked beside the
verifier's threshold: to be stricter takes no proof. The same happens while the newest pairs within the limit refute it, so that old
evidence does not hold open what has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from agentcache.engine.semantic.binomial import at_most, is_below
from agentcache.engine.semantic.risk_rule import RiskRule
from agentcache.engine.semantic.weighing import Signals, fit

#: How often the bound may be below the truth, for one threshold on one sample.
ALPHA: Final = 0.15
#: With fewer compared pairs no rule is learned.
COMPARED_MIN: Final = 100
_FOLDS: Final = 5
_STRATUM: Final = 25
#: So many of the newest pairs may refute a limit, with such an error each: it is asked after every 50 judgements.
_NEWEST: Final = (25, 50, 100, 200)
_REFUTED: Final = 0.002
_Row = TypeVar("_Row")


@dataclass(frozen=True, slots=True)
class Compared:
    """A pair whose answers were compared."""

    signals: Signals
    agreed: bool
    #: How many cases like it this one stands for: 1 / the share that is compared.
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Allowed:
    """A rule, and what the evidence says of it."""

    rule: RiskRule
    #: Share of wrong ones among what it serves, 0 to 1, and how many compared pairs say so.
    wrong_share: float
    compared: int


def learn_rule(evidence: Sequence[Compared], target: float) -> Allowed | None:
    """Return the rule that serves most with at most `target` of it wrong; None where there is too little evidence.

    `evidence` is newest first. The rule opens what is below the verifier's thresholds if that is proven.
    """
    if len(evidence) < COMPARED_MIN:
        return None
    signals, agreed = [one.signals for one in evidence], [one.agreed for one in evidence]
    whole = fit(signals, agreed)
    risks = [0.0] * len(evidence)
    for fold in range(_FOLDS):
        others = fit(_without(signals, fold), _without(agreed, fold), start=whole)
        for at in range(fold, len(evidence), _FOLDS):
            risks[at] = others.risk(signals[at])
    proven = _proven_limit(risks, evidence, target)
    if proven is not None:
        within = [same for same, risk in zip(agreed, risks, strict=True) if risk <= proven[0]]
        proven = None if _is_refuted(within, target) else proven
    limit, wrong_share, compared = proven or _estimated_limit(risks, evidence, target)
    return Allowed(RiskRule(whole, limit, opens=proven is not None), wrong_share, compared)


def _without(rows: Sequence[_Row], fold: int) -> list[_Row]:
    return [row for at, row in enumerate(rows) if at % _FOLDS != fold]


def _proven_limit(
    risks: Sequence[float], evidence: Sequence[Compared], target: float
) -> tuple[float, float, int] | None:
    """Return (highest risk, share of wrong ones, compared pairs) of the most that may be served."""
    order = sorted(range(len(risks)), key=risks.__getitem__)
    found, sums = None, _Strata()
    for start in range(0, len(order) - _STRATUM + 1, _STRATUM):
        part = order[start : start + _STRATUM]
        sums.add([evidence[at] for at in part])
        if sums.is_within(target):
            found = risks[part[-1]], sums.wrong_share, start + _STRATUM
    return found


def _estimated_limit(risks: Sequence[float], evidence: Sequence[Compared], target: float) -> tuple[float, float, int]:
    """Return the same as far as the estimates themselves are on the average within the target; a limit of 0 for nothing."""
    found, weight, risk = (0.0, 0.0, 0), 0.0, 0.0
    for count, at in enumerate(sorted(range(len(risks)), key=risks.__getitem__), start=1):
        weight += evidence[at].weight
        risk += evidence[at].weight * risks[at]
        if risk > target * weight:
            break
        found = risks[at], risk / weight, count
    return found


def _is_refuted(agreed: Sequence[bool], target: float) -> bool:
    """Say whether the newest of some pairs prove that more than `target` of them are wrong, by the binomial test."""
    for count in _NEWEST:
        wrong = agreed[:count].count(False)
        if len(agreed) >= count and wrong > count * target and 1 - at_most(wrong - 1, count, target) <= _REFUTED:
            return True
    return False


class _Strata:
    """Sums over strata, each weighed by the traffic it stands for."""

    def __init__(self) -> None:
        self._weight = self._wrong = self._smoothed = self._variance = 0.0

    def add(self, stratum: Sequence[Compared]) -> None:
        weight, count = sum(one.weight for one in stratum), len(stratum)
        wrong = sum(not one.agreed for one in stratum)
        # None wrong of 25 does not mean that none ever is.
        smoothed = (wrong + 0.5) / (count + 1)
        self._weight += weight
        self._wrong += weight * wrong / count
        self._smoothed += weight * smoothed
        self._variance += weight * weight * smoothed * (1 - smoothed) / count

    @property
    def wrong_share(self) -> float:
        return self._wrong / self._weight

    def is_within(self, target: float) -> bool:
        """Say whether the share of wrong ones is proven to be at most `target`."""
        smoothed = self._smoothed / self._weight
        size = smoothed * (1 - smoothed) * self._weight * self._weight / self._variance
        return is_below(self.wrong_share * size, size, target, ALPHA)
