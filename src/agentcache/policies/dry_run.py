"""What policies would have done to past traffic: the same requests again, past a cache that follows them. Pure.

Every request is taken in the order in which it ended. What is known of it is what its usage event tells; what is not
told is counted, not guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from agentcache.engine.policies import Facts, Match, Policy, PolicySet
from agentcache.engine.sources import normal_source
from agentcache.gateway.ports import NOT_TOLD, Outcome

#: Outcomes of requests that wanted an answer which may be kept.
ANSWERED: Final = frozenset({
    Outcome.EXACT.value, Outcome.SEMANTIC.value, Outcome.STALE.value, Outcome.COALESCED.value, Outcome.MISS.value,
})  # fmt: skip
_HITS: Final = ANSWERED - {Outcome.MISS.value, Outcome.COALESCED.value}
#: A miss with this reason: the caller insisted on a new answer.
_INSISTED: Final = "request"


@dataclass(frozen=True, slots=True)
class PastRequest:
    """What a usage event tells of a request; money is 1e-9 USD."""

    at_ms: int
    key: str
    dialect: str
    model: str
    namespace: str
    outcome: str
    reason: str
    cost_usd_nanos: int = 0
    saved_usd_nanos: int = 0
    temperature_milli: int = NOT_TOLD
    tags: str = ""
    sources: str = ""
    #: Whether the provider failed.
    failed: bool = False
    #: Whether answers of its kind are asked for anew behind a caller.
    is_refreshed: bool = True


@dataclass(slots=True)
class PolicyResult:
    """What became of the requests that one policy decided; money is 1e-9 USD."""

    id: str
    name: str
    requests: int = 0
    hits: int = 0
    stale_hits: int = 0
    misses: int = 0
    refreshes: int = 0
    kept_out: int = 0
    on_error: int = 0
    past_changes: int = 0
    #: What would not have been paid, less what refreshes would have cost.
    saved_usd_nanos: int = 0
    #: What providers would have been paid.
    spent_usd_nanos: int = 0

    def add(self, other: PolicyResult) -> None:
        """Add another's numbers."""
        for one in fields(self):
            if one.name not in ("id", "name"):
                setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def hit_ratio(self) -> float | None:
        """Share of the requests that would have been answered from the cache."""
        return (self.hits + self.on_error) / self.requests if self.requests else None


@dataclass(slots=True)
class DryRun:
    """What would have been, beside what was."""

    total: PolicyResult = field(default_factory=lambda: PolicyResult("", "In all"))
    #: In the order of the policies; what no policy decides comes last.
    by_policy: list[PolicyResult] = field(default_factory=list)
    was: PolicyResult = field(default_factory=lambda: PolicyResult("", "As it was"))
    #: Requests for which it matters what their events do not tell: temperature, tags or sources.
    undetermined: int = 0
    #: Policies that look at the text of prompts, which no event holds. They decided nothing here.
    by_prompt: list[str] = field(default_factory=list)
    #: Policies with paths left out of the key: the requests that would then be alike are counted as different.
    with_ignored: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Kept:
    """An entry of the imagined cache; times are Unix seconds."""

    stored_at: float
    lifetime: float
    revalidate: float
    on_error: float


@dataclass(frozen=True, slots=True)
class _KeyFacts:
    cost: int
    temperature_milli: int
    tags: tuple[str, ...]
    sources: tuple[str, ...]


def simulate(
    requests: Sequence[PastRequest],
    policies: PolicySet,
    usual_lifetime: float,
    changes: Mapping[str, Sequence[float]] | None = None,
) -> DryRun:
    """Return what these policies would have done to the requests, which are in the order of time.

    `changes` are times (Unix seconds, rising) at which a source's URL, in its normal form, is known to have changed.
    """
    run = DryRun(
        by_prompt=[policy.name for policy in policies.policies if policy.match.prompt],
        with_ignored=[policy.name for policy in policies.policies if policy.ignore],
    )
    # A policy that looks at prompts cannot be judged; it is left out, so that the next one that matches decides.
    judged = PolicySet(policies.version, tuple(policy for policy in policies.policies if not policy.match.prompt))
    results = {policy.id: PolicyResult(policy.id, policy.name) for policy in judged.policies}
    rest = PolicyResult("", "No policy")
    facts_of = _facts(requests)
    kept: dict[str, _Kept] = {}
    # Requests with one key ask the same of the same provider, so one policy decides all of them.
    decided: dict[str, tuple[Policy | None, bool]] = {}
    for request in requests:
        facts = facts_of[request.key]
        _count_as_it_was(run.was, request, facts.cost)
        if request.key not in decided:
            policy = judged.find(_as_facts(request, facts))
            decided[request.key] = (
                policy,
                facts.temperature_milli == NOT_TOLD and _would_matter(judged.policies, policy),
            )
        policy, is_undetermined = decided[request.key]
        run.undetermined += is_undetermined
        result = results[policy.id] if policy is not None else rest
        _take(result, request, facts, policy, usual_lifetime, kept, changes or {})
    run.by_policy = [*results.values(), rest]
    for result in run.by_policy:
        run.total.add(result)
    return run


def _facts(requests: Iterable[PastRequest]) -> dict[str, _KeyFacts]:
    """Return what is known for each key: requests with one key ask the same."""
    found: dict[str, _KeyFacts] = {}
    for request in requests:
        known = found.get(request.key)
        cost = max(request.cost_usd_nanos, request.saved_usd_nanos, known.cost if known is not None else 0)
        if request.temperature_milli != NOT_TOLD:
            tags = tuple(filter(None, request.tags.split(",")))
            found[request.key] = _KeyFacts(
                cost, request.temperature_milli, tags, tuple(map(normal_source, request.sources.split()))
            )
        elif known is None:
            found[request.key] = _KeyFacts(cost, NOT_TOLD, (), ())
        elif cost != known.cost:
            found[request.key] = _KeyFacts(cost, known.temperature_milli, known.tags, known.sources)
    return found


def _as_facts(request: PastRequest, facts: _KeyFacts) -> Facts:
    body = {"temperature": facts.temperature_milli / 1000} if facts.temperature_milli >= 0 else {}
    return Facts(request.dialect, request.model, request.namespace, facts.tags, facts.sources, body)


def _would_matter(policies: Sequence[Policy], decided: Policy | None) -> bool:
    """Say whether a policy before the one that decided asks for what the event does not tell."""
    for policy in policies:
        if policy is decided:
            return False
        if _asks_for_untold(policy.match):
            return True
    return False


def _asks_for_untold(match: Match) -> bool:
    return bool(match.tags or match.source_hosts) or (match.temperature_min, match.temperature_max) != (None, None)


def _count_as_it_was(was: PolicyResult, request: PastRequest, cost: int) -> None:
    was.requests += 1
    if request.outcome in _HITS:
        was.hits += 1
        was.saved_usd_nanos += cost
        was.stale_hits += request.outcome == Outcome.STALE.value
    elif request.outcome == Outcome.COALESCED.value:
        was.hits += 1
        was.saved_usd_nanos += cost
    else:
        was.misses += 1
        was.spent_usd_nanos += request.cost_usd_nanos


def _take(
    result: PolicyResult,
    request: PastRequest,
    facts: _KeyFacts,
    policy: Policy | None,
    usual_lifetime: float,
    kept: dict[str, _Kept],
    changes: Mapping[str, Sequence[float]],
) -> None:
    """Let one request meet the imagined cache."""
    now, cost = request.at_ms / 1000, facts.cost
    before = kept.get(request.key)
    result.requests += 1
    if policy is not None and not policy.stores:
        result.kept_out += 1
        result.spent_usd_nanos += cost
        return
    insists = request.reason.startswith(_INSISTED)
    age = now - before.stored_at if before is not None else 0.0
    if before is not None and not insists and age < before.lifetime + before.revalidate:
        result.hits += 1
        result.saved_usd_nanos += cost
        result.past_changes += any(
            before.stored_at < at <= now for source in facts.sources for at in changes.get(source, ())
        )
        if age < before.lifetime:
            return
        result.stale_hits += 1
        if request.failed:
            return
        result.refreshes += 1
        result.saved_usd_nanos -= cost
        result.spent_usd_nanos += cost
    elif request.failed:
        if before is not None and age < before.lifetime + before.on_error:
            result.on_error += 1
            result.stale_hits += 1
            result.saved_usd_nanos += cost
        else:
            result.misses += 1
        return
    else:
        result.misses += 1
        result.spent_usd_nanos += cost
    kept[request.key] = _entry(request, policy, usual_lifetime)


def _entry(request: PastRequest, policy: Policy | None, usual_lifetime: float) -> _Kept:
    now = request.at_ms / 1000
    if policy is None:
        return _Kept(now, usual_lifetime, 0.0, 0.0)
    return _Kept(
        now,
        policy.lifetime_seconds or usual_lifetime,
        policy.stale_while_revalidate_seconds if request.is_refreshed else 0.0,
        policy.stale_if_error_seconds,
    )
