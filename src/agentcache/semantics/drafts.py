"""Settings of a namespace as they are given, and what is checked before they are kept."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from agentcache.gateway.directives import InvalidDirective, parse_name
from agentcache.kit.money import NANOS_PER_USD, usd
from agentcache.semantics.errors import InvalidJudge, InvalidSemantics
from agentcache.semantics.models import EVERY_NAMESPACE, Judge, Mode, NamespaceSettings, VerifierKind

TARGET_MIN: Final = 0.001
TARGET_MAX: Final = 0.2
SHADOW_SHARE_MAX: Final = 1.0
#: Below it no neighbour is looked at.
COSINE_MIN: Final = 0.6
#: US dollars a day.
JUDGE_BUDGET_USD_MAX: Final = 1_000
JUDGE_MODEL_CHARS_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class SettingsDraft:
    """What people set; see `models.NamespaceSettings`."""

    mode: str = Mode.OFF.value
    verifier: str = VerifierKind.TREES.value
    threshold: float | None = None
    target: float = 0.02
    shadow_share: float = 0.05
    allows_temperature: bool = False
    allows_time_bound: bool = False

    @classmethod
    def of(cls, row: NamespaceSettings) -> SettingsDraft:
        """Return what a row holds of it."""
        return cls(
            mode=row.mode,
            verifier=row.verifier,
            threshold=row.threshold,
            target=row.target,
            shadow_share=row.shadow_share,
            allows_temperature=row.allows_temperature,
            allows_time_bound=row.allows_time_bound,
        )

    def as_document(self) -> dict[str, Any]:
        """Return it as the audit log and forms have it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class JudgeDraft:
    """What people set of a judge; see `models.Judge`. Money is 1e-9 USD."""

    provider: str
    model: str
    daily_budget_usd_nanos: int
    is_on: bool = True

    @classmethod
    def of(cls, row: Judge) -> JudgeDraft:
        """Return what a row holds of it."""
        return cls(row.provider, row.model, row.daily_budget_usd_nanos, is_on=row.is_on)

    def as_document(self) -> dict[str, Any]:
        """Return it as the audit log has it."""
        return {
            "is_on": self.is_on,
            "provider": self.provider,
            "model": self.model,
            "daily_budget_usd": usd(self.daily_budget_usd_nanos),
        }


def checked_namespace(namespace: str) -> str:
    """Return a namespace, or `*`. Raises `InvalidSemantics`."""
    namespace = namespace.strip()
    if namespace == EVERY_NAMESPACE:
        return namespace
    try:
        return parse_name(namespace, "namespace")
    except InvalidDirective as error:
        raise InvalidSemantics(error.message, param="namespace") from None


def checked(draft: SettingsDraft) -> SettingsDraft:
    """Return settings that can be kept. Raises `InvalidSemantics`."""
    if draft.mode not in Mode:
        raise InvalidSemantics(f"mode: give one of {', '.join(Mode.values)}.", param="mode")
    if draft.verifier not in VerifierKind:
        raise InvalidSemantics(f"verifier: give one of {', '.join(VerifierKind.values)}.", param="verifier")
    _within("target", draft.target, TARGET_MIN, TARGET_MAX)
    _within("shadow_share", draft.shadow_share, 0.0, SHADOW_SHARE_MAX)
    if draft.threshold is not None:
        _within("threshold", draft.threshold, 0.0, 1.0)
    if draft.mode == Mode.CUSTOM:
        if draft.threshold is None:
            raise InvalidSemantics("threshold: the mode custom needs one.", param="threshold")
    elif draft.verifier == VerifierKind.COSINE and draft.mode in (Mode.SAFE, Mode.BALANCED):
        raise InvalidSemantics(
            "verifier: the cosine alone has no safe threshold; use it in shadow, or in the mode custom with a threshold "
            "of your own.",
            param="verifier",
        )
    if draft.verifier == VerifierKind.COSINE and draft.threshold is not None and draft.threshold < COSINE_MIN:
        raise InvalidSemantics(f"threshold: neighbours begin at a cosine of {COSINE_MIN}.", param="threshold")
    return draft


def _within(name: str, value: float, low: float, high: float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise InvalidSemantics(f"{name}: give a number from {low:g} to {high:g}.", param=name)


def checked_judge(draft: JudgeDraft) -> JudgeDraft:
    """Return a judge that can be kept, as far as the draft alone tells. Raises `InvalidJudge`."""
    model = draft.model.strip()
    if not 1 <= len(model) <= JUDGE_MODEL_CHARS_MAX or not model.isprintable() or " " in model:
        raise InvalidJudge(
            f"model: give the provider's name of one, 1 to {JUDGE_MODEL_CHARS_MAX} characters without blanks.",
            param="model",
        )
    if not 0 < draft.daily_budget_usd_nanos <= JUDGE_BUDGET_USD_MAX * NANOS_PER_USD:
        raise InvalidJudge(
            f"daily_budget_usd: give an amount above 0 and up to {JUDGE_BUDGET_USD_MAX:,} US dollars.",
            param="daily_budget_usd",
        )
    return replace(draft, model=model)
