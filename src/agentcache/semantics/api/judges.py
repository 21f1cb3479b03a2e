"""The JSON API of judges, under /api/semantics/judges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from ninja import Router, Schema, Status
from pydantic import ConfigDict, Field

from agentcache.audit.services import Actor
from agentcache.kit.money import parse_usd, usd
from agentcache.semantics import queries, services
from agentcache.semantics.drafts import JudgeDraft
from agentcache.semantics.errors import InvalidJudge
from agentcache.semantics.models import Judge
from agentcache.semantics.queries import JudgeView
from agentcache.teams.access import TeamAuth, TeamRequest
from agentcache.teams.models import Team
from agentcache.teams.permissions import Permission

router = Router(tags=["Semantic look-ups"])
_READ = TeamAuth(Permission.SEMANTICS_READ)
_MANAGE = TeamAuth(Permission.SEMANTICS_MANAGE)
_DAYS = 30


class JudgeGiven(Schema):
    """A model that is asked where nobody could tell whether two answers say the same."""

    model_config = ConfigDict(extra="forbid")

    #: A provider of the server for which the team keeps a credential.
    provider: str
    #: As the provider names it; its price has to be known.
    model: str
    #: Decimal US dollars; a day of UTC.
    daily_budget_usd: str
    is_on: bool = True
    #: The revision that was looked at, 0 for none; another one in force is a 409. Null replaces whatever is there.
    based_on: int | None = Field(default=None, ge=0)

    @property
    def draft(self) -> JudgeDraft:
        """What the services take. Raises `InvalidJudge`."""
        try:
            budget = parse_usd(self.daily_budget_usd)
        except ValueError as error:
            raise InvalidJudge(f"daily_budget_usd: {error}.", param="daily_budget_usd") from None
        return JudgeDraft(self.provider, self.model, budget, is_on=self.is_on)


class JudgeShown(Schema):
    """A namespace's judge, `*` for every one that has none of its own, and what it did. Money is decimal US dollars."""

    namespace: str
    is_on: bool
    provider: str
    model: str
    daily_budget_usd: str
    revision: int
    changed_at: datetime
    #: Mail address of who changed it, or `API key …`.
    changed_by: str
    #: What counts against the budget today: what was paid, and what is set aside or may have been billed.
    spent_today_usd: str
    set_aside_today_usd: str
    #: Over the last 30 days: pairs that it was asked about, those that one answer serves, those that it does not, those that
    #: stayed undecided, and calls that failed.
    asked: int
    same: int
    different: int
    undecided: int
    failed: int
    spent_usd: str
    #: Pairs that wait for it now.
    waiting: int
    #: What went wrong last: a stable word, "" for nothing yet, with the provider's status where there was one.
    last_error: str
    last_status: int | None
    last_error_at: datetime | None
    #: Not asked before then; null for at once.
    held_until: datetime | None

    @classmethod
    def of(cls, view: JudgeView) -> JudgeShown:
        """Show one."""
        judge = view.judge
        return cls(
            namespace=judge.namespace,
            is_on=judge.is_on,
            provider=judge.provider,
            model=judge.model,
            daily_budget_usd=usd(judge.daily_budget_usd_nanos),
            revision=judge.revision,
            changed_at=judge.changed_at,
            changed_by=judge.changed_by,
            spent_today_usd=usd(view.today.spent_usd_nanos),
            set_aside_today_usd=usd(view.today.held_usd_nanos),
            asked=view.asked,
            same=view.same,
            different=view.different,
            undecided=view.undecided,
            failed=view.failed,
            spent_usd=usd(view.spent_usd_nanos),
            waiting=view.waiting,
            last_error=judge.last_error,
            last_status=judge.last_status,
            last_error_at=judge.last_error_at,
            held_until=judge.held_until,
        )


@router.get("", auth=_READ, response=list[JudgeShown], operation_id="semantics.judges.list")
def list_judges(request: TeamRequest) -> list[JudgeShown]:
    """Return the judges of the team's namespaces, that of every other one (`*`) first. Without any, nobody is asked."""
    now = datetime.now(UTC)
    views = queries.judges_of(request.team_context.team, now.date() - timedelta(days=_DAYS - 1), now)
    return [JudgeShown.of(view) for view in views]


@router.get("/{namespace}", auth=_READ, response=JudgeShown, operation_id="semantics.judges.get")
def get_judge(request: TeamRequest, namespace: str) -> JudgeShown:
    """Return the judge that a namespace has of its own."""
    return _shown(request.team_context.team, namespace)


@router.put("/{namespace}", auth=_MANAGE, response=JudgeShown, operation_id="semantics.judges.set")
def set_judge(request: TeamRequest, namespace: str, body: JudgeGiven) -> JudgeShown:
    """Keep a judge for a namespace, or for every other one (`*`). It is asked by the job worker, never on the way of a call."""
    team = request.team_context.team
    row: Judge = services.save_judge(team, namespace, body.draft, actor=Actor.of(request), based_on=body.based_on)
    return _shown(team, row.namespace)


@router.delete("/{namespace}", auth=_MANAGE, response={204: None}, operation_id="semantics.judges.remove")
def remove_judge(request: TeamRequest, namespace: str) -> Status[None]:
    """Leave a namespace to the judge of every other one."""
    services.remove_judge(request.team_context.team, namespace, actor=Actor.of(request))
    return Status(204, None)


def _shown(team: Team, namespace: str) -> JudgeShown:
    now = datetime.now(UTC)
    return JudgeShown.of(queries.view_of_judge(team, namespace, now.date() - timedelta(days=_DAYS - 1), now))
