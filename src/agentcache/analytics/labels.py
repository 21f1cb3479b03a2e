"""Names for the ids that figures are broken down by."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agentcache.teams.models import ApiKey, Membership, Team
from agentcache.teams.tenancy import rows_of

_NAMELESS: Mapping[str, str] = {
    "agent": "No agent named",
    "member": "Maker of the key unknown",
    "model": "No model",
    "freshness": "Not from the cache",
    "reason": "Not recorded",
}
#: Words of ours, as people say them.
_WORDS: Mapping[str, Mapping[str, str]] = {
    "outcome": {
        "exact": "Exact hit", "semantic": "Semantic hit", "stale": "Served stale", "coalesced": "Shared a call",
        "miss": "Miss", "bypass": "Bypass", "error": "Error", "refused": "Refused", "refresh": "Refresh",
        "prewarm": "Prewarmed", "judge": "Judge asked",
    },
    "freshness": {"fresh": "Fresh", "stale": "Stale", "expired": "Expired"},
}  # fmt: skip


def labels_of(team: Team, by: str, values: Iterable[str]) -> dict[str, str]:
    """Return how to show each value of a dimension; a key or member that is gone keeps the end of its id."""
    wanted = list(values)
    names: dict[str, str] = {}
    if by == "api_key":
        names = dict(rows_of(team, ApiKey).filter(pk__in=wanted).values_list("pk", "name"))
    elif by == "member":
        members = (
            rows_of(team, Membership).filter(user_id__in=wanted).values_list("user_id", "user__name", "user__email")
        )
        names = {user_id: name or email for user_id, name, email in members}
    return {value: names.get(value) or _label(by, value) for value in wanted}


def _label(by: str, value: str) -> str:
    if not value:
        return _NAMELESS.get(by, "None")
    if by in _WORDS:
        return _WORDS[by].get(value, value)
    if by == "api_key" and not value.startswith("("):
        return f"Deleted key …{value[-6:]}"
    if by == "member" and not value.startswith("("):
        return f"Former member …{value[-6:]}"
    return value
