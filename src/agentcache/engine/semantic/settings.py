"""How a team lets near questions share an answer in a namespace, and what a caller may tighten for one request.

Pure. The scale of a threshold is the verifier's score (0 to 1), or the cosine itself with the verifier `cosine`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal

from agentcache.engine.semantic.risk_rule import SCORE_FLOOR, RiskRule

#: The plain rule's threshold where the team names none. Measured, it serves opposites; see the explanation in the manual.
COSINE_THRESHOLD: Final = 0.95
TARGET: Final = 0.02
SHADOW_SHARE: Final = 0.05
#: Settings for namespaces that have none of their own stand under this name.
ANY_NAMESPACE: Final = "*"


class SemanticMode(StrEnum):
    """What becomes of a near question that was answered before."""

    OFF = "off"
    #: It is looked up and judged, and the provider answers all the same.
    SHADOW = "shadow"
    #: It is served from the safe threshold on: fixed, raised only by evidence against it.
    SAFE = "safe"
    #: It is served as safe has it until evidence allows less: a lower threshold, or a rule of risk.
    BALANCED = "balanced"
    #: It is served from the team's own threshold on.
    CUSTOM = "custom"


@dataclass(frozen=True, slots=True)
class SemanticSettings:
    """The settings of one namespace; the defaults are what a team gets that has chosen nothing."""

    mode: SemanticMode = SemanticMode.OFF
    verifier: Literal["trees", "cosine"] = "trees"
    #: The team's own threshold, 0 to 1: for `custom`, for `shadow` of it, and for the verifier `cosine`.
    threshold: float | None = None
    #: Share of wrong ones among semantic hits that the controller aims at.
    target: float = TARGET
    #: Share of would-be hits that are answered by the provider instead, to be compared.
    shadow_share: float = SHADOW_SHARE
    #: Whether requests with a temperature above 0 take part.
    allows_temperature: bool = False
    #: Whether questions about what passes (today, now, prices, weather) take part.
    allows_time_bound: bool = False
    #: What the controller made of the evidence; None without enough, above 1 where no threshold meets the target.
    learned_threshold: float | None = None
    #: What the evidence allows by the estimated risk, in place of a threshold or beside it; None without enough.
    learned_rule: RiskRule | None = None


OFF: Final = SemanticSettings()


@dataclass(frozen=True, slots=True)
class SemanticAsked:
    """What a caller asks for one request in `X-AgentCache-Semantic`; it can only make the namespace's rule stricter."""

    mode: SemanticMode | None = None
    threshold: float | None = None

    @property
    def is_given(self) -> bool:
        """Whether the caller said anything."""
        return self.mode is not None or self.threshold is not None


NOTHING_ASKED: Final = SemanticAsked()
_MODES_ASKED: Final = ("off", "safe", "balanced", "shadow")
#: As many digits as programs print of a float.
_NUMBER: Final = re.compile(r"0?\.[0-9]{1,20}|[01]|1\.0{1,20}")


def parse_asked(text: str) -> SemanticAsked | None:
    """Read `off`, `safe`, `balanced`, `shadow` or a threshold from 0 to 1; None for anything else."""
    text = text.strip().lower()
    if text in _MODES_ASKED:
        return SemanticAsked(mode=SemanticMode(text))
    return SemanticAsked(threshold=float(text)) if _NUMBER.fullmatch(text) else None


def settings_for(
    semantics: Mapping[str, SemanticSettings], namespace: str, allowed: bool | None = None
) -> SemanticSettings:
    """Return the settings of a namespace; `allowed` is what the policy that matches says, None where none does."""
    if allowed is False or (not semantics and allowed is None):
        return OFF
    found = semantics.get(namespace) or semantics.get(ANY_NAMESPACE) or OFF
    if allowed and found.mode is SemanticMode.OFF:
        return replace(found, mode=SemanticMode.SAFE)
    return found


def mode_in_force(settings: SemanticSettings, asked: SemanticAsked = NOTHING_ASKED) -> SemanticMode:
    """Return the stricter of the namespace's mode and the caller's; which thresholds they mean is not told apart."""
    modes = (settings.mode, asked.mode)
    for strict in (SemanticMode.OFF, SemanticMode.SHADOW):
        if strict in modes:
            return strict
    return settings.mode


def threshold_in_force(
    settings: SemanticSettings, asked: SemanticAsked = NOTHING_ASKED, *, safe: float, balanced: float
) -> float:
    """Return from which score on a neighbour answers; `safe` and `balanced` are the verifier's fixed thresholds.

    The highest of what the namespace says and what the caller asks for holds. Where a rule of risk opens more, it is the
    floor under that rule.
    """
    rule = rule_in_force(settings, asked)
    if rule is not None and rule.opens:
        return max(min(SCORE_FLOOR, balanced), asked.threshold or 0.0)
    found = _threshold(settings, safe=safe, balanced=balanced)
    if asked.threshold is not None:
        found = max(found, asked.threshold)
    if asked.mode in (SemanticMode.SAFE, SemanticMode.BALANCED):
        found = max(found, _threshold(replace(settings, mode=asked.mode, threshold=None), safe=safe, balanced=balanced))
    return found


def rule_in_force(settings: SemanticSettings, asked: SemanticAsked = NOTHING_ASKED) -> RiskRule | None:
    """Return the rule of risk where the mode lets evidence decide; it opens nothing where the caller asks for `safe`."""
    rule = settings.learned_rule
    if rule is None or settings.mode is not SemanticMode.BALANCED or settings.verifier != "trees":
        return None
    return replace(rule, opens=False) if asked.mode is SemanticMode.SAFE else rule


def _threshold(settings: SemanticSettings, *, safe: float, balanced: float) -> float:
    learned, own = settings.learned_threshold, settings.threshold
    if settings.verifier == "cosine":
        given = COSINE_THRESHOLD if own is None else own
        return given if settings.mode is SemanticMode.CUSTOM else max(given, learned or 0.0)
    if settings.mode in (SemanticMode.CUSTOM, SemanticMode.SHADOW) and own is not None:
        return own
    if settings.mode is SemanticMode.BALANCED and learned is not None:
        return max(balanced, learned)
    return max(safe, learned or 0.0)
