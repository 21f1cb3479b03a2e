"""Playing a team's past requests against policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.conf import settings as django_conf

from agentcache.analytics import queries as analytics
from agentcache.audit import queries as audit
from agentcache.audit.queries import AuditFilters
from agentcache.engine.sources import normal_source
from agentcache.gateway.ports import Outcome
from agentcache.listeners import queries as listeners
from agentcache.policies.drafts import PolicyDraft, checked, compiled
from agentcache.policies.dry_run import ANSWERED, DryRun, PastRequest, simulate
from agentcache.policies.errors import InvalidPolicy
from agentcache.policies.queries import known_dialects
from agentcache.quotas.queries import plan_of
from agentcache.settings import Settings
from agentcache.teams.models import Team

#: So many of the newest requests are played; how far that reaches back is said. Takes about 2 s.
REQUESTS_MAX: Final = 100_000
DAYS_MAX: Final = 90
_CHANGES_MAX: Final = 5_000
_ONE_CHANGE_SECONDS: Final = 60.0
#: What the audit log calls it.
_INVALIDATED: Final = "cache.invalidated"
_COLUMNS: Final = (
    "at_ms", "entry_key", "dialect", "model", "namespace", "outcome", "reason", "cost_usd_nanos", "saved_usd_nanos",
    "temperature_milli", "tags", "sources", "endpoint",
)  # fmt: skip
#: Endpoints whose answers are kept and never asked for anew behind a caller.
_NOT_REFRESHED: Final = frozenset({"embeddings", "predictions"})


@dataclass(frozen=True, slots=True)
class Played:
    """What a dry run says, and on what it rests."""

    run: DryRun
    requests: int
    since: datetime
    #: Whether there were more requests than are played.
    is_cut: bool
    #: Source changes that are known in that time: found by listeners, or named by invalidations.
    source_changes: int


def play(team: Team, drafts: Sequence[PolicyDraft], days: int, now: datetime) -> Played:
    """Return what these policies would have done in the last `days`. Raises `InvalidPolicy`, `TooManyPolicies`."""
    kept_days = plan_of(team).retention_days
    if not 1 <= days <= min(DAYS_MAX, kept_days):
        raise InvalidPolicy(
            f"days is from 1 to {min(DAYS_MAX, kept_days)}: single requests are kept no longer.", param="days"
        )
    policies = compiled(0, checked(drafts, known_dialects()))
    since = now - timedelta(days=days)
    rows = analytics.past_traffic(
        team, int(since.timestamp() * 1000), _COLUMNS, outcomes=ANSWERED, limit=REQUESTS_MAX + 1
    )
    requests = [_request(*row) for row in rows]
    is_cut = len(requests) > REQUESTS_MAX
    if is_cut:
        del requests[0]
        since = datetime.fromtimestamp(requests[0].at_ms / 1000, UTC)
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    usual = float(team.default_lifetime_seconds or settings.default_ttl_seconds)
    changes = source_changes(team, since)
    run = simulate(requests, policies, usual, changes)
    return Played(run, len(requests), since, is_cut, sum(map(len, changes.values())))


def source_changes(team: Team, since: datetime) -> Mapping[str, list[float]]:
    """Return when sources are known to have changed: URL in its normal form -> times, rising.

    Known are changes that a listener found, and invalidations that named a source.
    """
    told = [(url, at.timestamp()) for url, at in listeners.source_changes(team, since, limit=_CHANGES_MAX)]
    for event in audit.events_of(team.pk, AuditFilters(action=_INVALIDATED, since=since))[:_CHANGES_MAX]:
        source = (event.after or {}).get("url")
        if isinstance(source, str):
            told.append((source, event.at.timestamp()))
    found: dict[str, list[float]] = {}
    for source, at in sorted(told, key=lambda one: one[1]):
        times = found.setdefault(normal_source(source), [])
        # A listener that finds a change and the invalidation that follows tell of one.
        if not times or at - times[-1] > _ONE_CHANGE_SECONDS:
            times.append(at)
    return found


def _request(
    at_ms: int,
    key: str,
    dialect: str,
    model: str,
    namespace: str,
    outcome: str,
    reason: str,
    cost: int,
    saved: int,
    temperature_milli: int,
    tags: str,
    sources: str,
    endpoint: str,
) -> PastRequest:
    failed, refreshed = outcome == Outcome.ERROR.value, endpoint not in _NOT_REFRESHED
    return PastRequest(
        at_ms, key, dialect, model, namespace, outcome, reason, cost, saved, temperature_milli, tags, sources, failed,
        refreshed,
    )  # fmt: skip
