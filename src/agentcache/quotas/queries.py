"""Every read of plans, limits and use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from agentcache.gateway import ports
from agentcache.quotas.models import Limit, MonthlyUse, SubjectKind, TeamPlan
from agentcache.quotas.plans import PLANS, Plan, PlanName
from agentcache.quotas.services import month_at
from agentcache.teams.models import ApiKey, Membership, Team
from agentcache.teams.seats import Seats
from agentcache.teams.tenancy import rows_of

REQUESTS, BUDGET = "requests", "budget"


@dataclass(frozen=True, slots=True)
class Bar:
    """How much of one limit is used this month. Money is 1e-9 USD."""

    kind: str
    subject: str
    #: As people know it.
    name: str
    #: `requests` or `budget`.
    measure: str
    used: int
    limit: int
    is_hard: bool
    #: Whether the plan sets it, not the team.
    is_plan: bool = False

    @property
    def percent(self) -> float:
        """Share that is used; above 100 where the limit is soft or hits are still served."""
        return 100 * self.used / self.limit


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the month's requests name whom they were for."""

    requests: int
    with_member: int
    with_agent: int

    def percent(self, kind: str) -> float | None:
        """Return the share of requests attributed to a member or an agent; None without requests."""
        found = self.with_member if kind == SubjectKind.MEMBER else self.with_agent
        return 100 * found / self.requests if self.requests else None


@dataclass(frozen=True, slots=True)
class Usage:
    """A team's month: its plan, how full each limit is, and when it begins anew."""

    plan: Plan
    month: int
    begins: datetime
    resets: datetime
    requests: int
    cost_usd_nanos: int
    #: Fullest first.
    bars: list[Bar]
    is_hard: bool
    serves_hits_over_quota: bool
    coverage: Coverage

    @property
    def binding(self) -> Bar | None:
        """The limit that is nearest to stopping something."""
        return next((bar for bar in self.bars if bar.is_hard), self.bars[0] if self.bars else None)


@dataclass(frozen=True, slots=True)
class SubjectUse:
    """What one member, key or agent used in a month, and its limit where it has one."""

    kind: str
    subject: str
    name: str
    requests: int
    cost_usd_nanos: int
    limit: Limit | None


def usage_of(team: Team, now: datetime) -> Usage:
    """Return how much of its limits a team has used in the month of `now`. Five queries, however many limits."""
    month = month_at(now.timestamp())
    begins, resets = month_bounds(month)
    chosen = plan_row(team)
    plan = PLANS[PlanName(chosen.plan)]
    limits = list(rows_of(team, Limit))
    used = _used(team, month, limits)
    team_use = used.get((SubjectKind.TEAM.value, ""))
    names = names_of(team, {(limit.kind, limit.subject) for limit in limits})
    bars = [bar for limit in limits for bar in _bars(limit, used, names)]
    if plan.requests_per_month is not None:
        counted = _shown(team_use) if team_use is not None else 0
        bars.append(
            Bar("team", "", plan.title, REQUESTS, counted, plan.requests_per_month, chosen.is_hard, is_plan=True)
        )
    bars.sort(key=lambda bar: -bar.percent)
    return Usage(
        plan=plan,
        month=month,
        begins=begins,
        resets=resets,
        requests=_shown(team_use) if team_use is not None else 0,
        cost_usd_nanos=team_use.cost_usd_nanos if team_use is not None else 0,
        bars=bars,
        is_hard=chosen.is_hard,
        serves_hits_over_quota=chosen.serves_hits_over_quota,
        coverage=coverage(team, month),
    )


def limits_for_gateway(team_id: str, month: int) -> ports.TeamLimits:
    """Return a team's limits, its plan's quota among them, and what is used, as the gateway wants them."""
    team = Team(id=team_id)
    chosen = plan_row(team)
    rows = list(rows_of(team, Limit))
    limits = [
        ports.Limit(
            row.kind,
            row.subject,
            row.requests_per_month,
            row.requests_per_minute,
            row.budget_usd_nanos_per_month,
            row.is_hard,
            row.allows_unknown_price,
        )
        for row in rows
    ]
    quota = PLANS[PlanName(chosen.plan)].requests_per_month
    if quota is not None:
        limits = _with_plan(limits, quota, is_hard=chosen.is_hard)
    used = {
        key: ports.Use(_shown(use), use.cost_usd_nanos)
        for key, use in (_used(team, month, rows, with_team=quota is not None) if limits else {}).items()
    }
    return ports.TeamLimits(tuple(limits), chosen.serves_hits_over_quota, month, used)


def coverage(team: Team, month: int) -> Coverage:
    """Return how many of a month's requests are attributed to a member, and to an agent."""
    sums = dict.fromkeys(SubjectKind.values, 0)
    for kind, requests in rows_of(team, MonthlyUse).filter(month=month).values_list("kind", "requests"):
        sums[kind] += requests
    return Coverage(sums[SubjectKind.TEAM], sums[SubjectKind.MEMBER], sums[SubjectKind.AGENT])


def use_by(team: Team, kind: SubjectKind, month: int) -> list[SubjectUse]:
    """Return what each member, key or agent used in a month, busiest first."""
    rows = list(rows_of(team, MonthlyUse).filter(month=month, kind=kind).order_by("-requests", "subject"))
    limits = {limit.subject: limit for limit in rows_of(team, Limit).filter(kind=kind)}
    names = names_of(team, {(kind.value, row.subject) for row in rows})
    return [
        SubjectUse(
            kind.value,
            row.subject,
            names.get((kind.value, row.subject), ""),
            row.requests,
            row.cost_usd_nanos,
            limits.get(row.subject),
        )
        for row in rows
    ]


def to_review(uses: list[SubjectUse]) -> list[SubjectUse]:
    """Return who used at least twice the median: worth a look, not an accusation. Needs three to compare."""
    if len(uses) < 3:
        return []
    counts = sorted(use.requests for use in uses)
    middle = len(counts) // 2
    median = counts[middle] if len(counts) % 2 else (counts[middle - 1] + counts[middle]) / 2
    return [use for use in uses if use.requests >= 2 * median > 0]


def limits_of_team(team: Team) -> list[Limit]:
    """Return every limit that a team has set."""
    return list(rows_of(team, Limit).order_by("kind", "subject"))


def plan_row(team: Team) -> TeamPlan:
    """Return a team's plan row, or what holds for a team that has none."""
    return rows_of(team, TeamPlan).first() or TeamPlan(team_id=team.pk)


def plan_of(team: Team) -> Plan:
    """Return the plan that a team is on."""
    return PLANS[PlanName(plan_row(team).plan)]


def seats_of(team: Team) -> Seats:
    """Return how many people the team's plan has room for: what `TEAM_SEATS` names."""
    plan = plan_of(team)
    return Seats(plan.title, plan.seats)


def delivery_days_of(team: Team) -> int:
    """Return for how many days the team's deliveries of webhooks are kept: what `WEBHOOK_DELIVERY_DAYS` names."""
    return plan_of(team).delivery_days


def retention_days_by_team() -> Mapping[str, int]:
    """Return for how many days single events are kept, for the teams that are on a plan of their own."""
    # Crosses tenants: the job that prunes serves them all.
    return {row.team_id: PLANS[PlanName(row.plan)].retention_days for row in TeamPlan.objects.all()}


def month_bounds(month: int) -> tuple[datetime, datetime]:
    """Return when a month begins and ends, UTC."""
    year, number = divmod(month, 100)
    following = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=UTC)
    return datetime(year, number, 1, tzinfo=UTC), following


def names_of(team: Team, subjects: set[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """Return subjects' names as people know them; those that are gone have none."""
    names = {(kind, subject): subject for kind, subject in subjects if kind == SubjectKind.AGENT}
    names |= {(kind, subject): "Team" for kind, subject in subjects if kind == SubjectKind.TEAM}
    keys = {subject for kind, subject in subjects if kind == SubjectKind.KEY}
    members = {subject for kind, subject in subjects if kind == SubjectKind.MEMBER}
    if keys:
        for row in rows_of(team, ApiKey).filter(pk__in=keys):
            names[SubjectKind.KEY.value, row.pk] = f"{row.name} ({row.display})"
    if members:
        for member in rows_of(team, Membership).select_related("user").filter(user_id__in=members):
            names[SubjectKind.MEMBER.value, member.user_id] = str(member.user)
    return names


def _bars(limit: Limit, used: Mapping[tuple[str, str], MonthlyUse], names: Mapping[tuple[str, str], str]) -> list[Bar]:
    key = (limit.kind, limit.subject)
    use, name, bars = used.get(key), names.get(key, limit.subject), []
    if limit.requests_per_month is not None:
        counted = _shown(use) if use is not None else 0
        bars.append(Bar(*key, name, REQUESTS, counted, limit.requests_per_month, limit.is_hard))
    if limit.budget_usd_nanos_per_month is not None:
        spent = use.cost_usd_nanos if use is not None else 0
        bars.append(Bar(*key, name, BUDGET, spent, limit.budget_usd_nanos_per_month, limit.is_hard))
    return bars


def _with_plan(limits: list[ports.Limit], quota: int, *, is_hard: bool) -> list[ports.Limit]:
    """Add the plan's quota. It and the team's own count the same requests, so the lower of those that stop binds."""
    if not is_hard:
        return limits
    rest, stops = [], [quota]
    for limit in limits:
        if limit.kind == SubjectKind.TEAM and limit.is_hard and limit.requests_per_month is not None:
            stops.append(limit.requests_per_month)
            limit = replace(limit, requests_per_month=None)  # noqa: PLW2901 - the same limit, less what is merged
        rest.append(limit)
    return [*rest, ports.Limit(SubjectKind.TEAM.value, "", requests_per_month=min(stops))]


def _shown(use: MonthlyUse) -> int:
    """Return the number that is enforced, which is the number that is shown."""
    return max(use.requests, use.counted_requests)


def _used(
    team: Team, month: int, limits: list[Limit], *, with_team: bool = True
) -> Mapping[tuple[str, str], MonthlyUse]:
    wanted = {(limit.kind, limit.subject) for limit in limits}
    if with_team:
        wanted.add((SubjectKind.TEAM.value, ""))
    rows = rows_of(team, MonthlyUse).filter(month=month, subject__in={subject for _kind, subject in wanted})
    return {(row.kind, row.subject): row for row in rows if (row.kind, row.subject) in wanted}
