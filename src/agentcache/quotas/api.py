"""The JSON API of quotas: how full they are, and setting them."""

from __future__ import annotations

from datetime import datetime

from django.utils import timezone
from ninja import Router, Schema

from agentcache.audit.services import Actor
from agentcache.kit.errors import BadRequest
from agentcache.kit.money import parse_usd, usd
from agentcache.quotas import queries, services
from agentcache.quotas.models import Limit, SubjectKind
from agentcache.quotas.queries import BUDGET, Bar
from agentcache.quotas.services import NewLimit
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.permissions import Permission

router = Router(tags=["Quotas"])


class BarShown(Schema):
    """How full one limit is; a budget's numbers are decimal US dollars."""

    kind: str
    subject: str
    name: str
    measure: str
    used: str | int
    limit: str | int
    percent: float
    is_hard: bool
    is_plan: bool

    @classmethod
    def of(cls, bar: Bar) -> BarShown:
        """Show one."""
        shown = usd if bar.measure == BUDGET else int
        return cls(
            kind=bar.kind,
            subject=bar.subject,
            name=bar.name,
            measure=bar.measure,
            used=shown(bar.used),
            limit=shown(bar.limit),
            percent=round(bar.percent, 2),
            is_hard=bar.is_hard,
            is_plan=bar.is_plan,
        )


class LimitShown(Schema):
    """What one subject may use; null is no limit."""

    kind: str
    subject: str
    requests_per_month: int | None
    requests_per_minute: int | None
    budget_usd_per_month: str | None
    is_hard: bool
    #: Whether a hard budget lets calls through whose price is not known; otherwise they get `price_unknown`.
    allows_unknown_price: bool

    @classmethod
    def of(cls, row: Limit) -> LimitShown:
        """Show one."""
        budget = row.budget_usd_nanos_per_month
        return cls(
            kind=row.kind,
            subject=row.subject,
            requests_per_month=row.requests_per_month,
            requests_per_minute=row.requests_per_minute,
            budget_usd_per_month=None if budget is None else usd(budget),
            is_hard=row.is_hard,
            allows_unknown_price=row.allows_unknown_price,
        )


class QuotasShown(Schema):
    """A team's plan, its limits, and how full they are this month."""

    plan: str
    begins: datetime
    resets: datetime
    requests: int
    cost_usd: str
    is_hard: bool
    serves_hits_over_quota: bool
    #: Fullest first.
    usage: list[BarShown]
    binding: BarShown | None
    limits: list[LimitShown]
    #: Percent of the month's requests that name a member, and an agent; null without requests.
    member_coverage: float | None
    agent_coverage: float | None


class LimitGiven(Schema):
    """A limit to set. A number that is null or left out is no limit, and all three take the limit away."""

    kind: SubjectKind
    subject: str = ""
    requests_per_month: int | None = None
    requests_per_minute: int | None = None
    #: Decimal US dollars, such as "12.50".
    budget_usd_per_month: str | None = None
    #: Left out, it stays as it is; a new limit is hard.
    is_hard: bool | None = None
    #: Whether a hard budget lets calls through whose price is not known; they count as nothing. Left out, it stays as it
    #: is; a new limit lets none through.
    allows_unknown_price: bool | None = None


class BehaviourGiven(Schema):
    """What happens when the month's requests are used up."""

    is_hard: bool
    serves_hits_over_quota: bool


@router.get("", auth=TeamAuth(Permission.STATS_READ), response=QuotasShown, operation_id="get_quotas")
def show_quotas(request: TeamRequest) -> QuotasShown:
    """Return the team's plan, limits and use of this month."""
    return _shown(request)


@router.put(
    "/limits",
    auth=TeamAuth(Permission.TEAM_MANAGE, people_only=True, fresh=True),
    response=QuotasShown,
    operation_id="set_limit",
)
def set_limit(request: TeamRequest, body: LimitGiven) -> QuotasShown:
    """Set or take away what the team, a member, a key or an agent may use. In force within 5 seconds."""
    new = NewLimit(
        body.requests_per_month,
        body.requests_per_minute,
        _nanos(body.budget_usd_per_month),
        body.is_hard,
        body.allows_unknown_price,
    )
    services.set_limit(request.team_context.team, body.kind, body.subject, new, actor=Actor.of(request))
    return _shown(request)


@router.put(
    "/behaviour",
    auth=TeamAuth(Permission.TEAM_MANAGE, people_only=True, fresh=True),
    response=QuotasShown,
    operation_id="set_quota_behaviour",
)
def set_behaviour(request: TeamRequest, body: BehaviourGiven) -> QuotasShown:
    """Choose whether the plan's quota stops calls, and whether hits are served beyond a hard quota."""
    services.set_quota_behaviour(
        request.team_context.team,
        is_hard=body.is_hard,
        serves_hits_over_quota=body.serves_hits_over_quota,
        actor=Actor.of(request),
    )
    return _shown(request)


def _shown(request: TeamRequest) -> QuotasShown:
    team = request.team_context.team
    usage = queries.usage_of(team, timezone.now())
    return QuotasShown(
        plan=usage.plan.name.value,
        begins=usage.begins,
        resets=usage.resets,
        requests=usage.requests,
        cost_usd=usd(usage.cost_usd_nanos),
        is_hard=usage.is_hard,
        serves_hits_over_quota=usage.serves_hits_over_quota,
        usage=[BarShown.of(bar) for bar in usage.bars],
        binding=BarShown.of(usage.binding) if usage.binding is not None else None,
        limits=[LimitShown.of(row) for row in queries.limits_of_team(team)],
        member_coverage=usage.coverage.percent(SubjectKind.MEMBER),
        agent_coverage=usage.coverage.percent(SubjectKind.AGENT),
    )


def _nanos(amount: str | None) -> int | None:
    if amount is None:
        return None
    try:
        return parse_usd(amount)
    except ValueError as error:
        raise BadRequest(f"{error}.", param="budget_usd_per_month", code="invalid_limit") from None
