"""Every write of plans, limits and use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain

from django.db import connection, transaction

from agentcache.audit import services as audit
from agentcache.audit.services import Actor
from agentcache.gateway.native.routes import NOT_REQUESTS
from agentcache.gateway.ports import Outcome
from agentcache.quotas.errors import InvalidLimit, LimitSubjectNotFound, TooManyLimits
from agentcache.quotas.models import Limit, MonthlyUse, SubjectKind, TeamPlan
from agentcache.quotas.plans import PlanName
from agentcache.teams.models import ApiKey, Membership, Team
from agentcache.teams.tenancy import rows_of

LIMITS_MAX = 500
AGENT_CHARS_MAX = 128
#: Names of agents that a team may add to one month's counts; callers choose them freely.
AGENTS_PER_MONTH_MAX = 1_000
#: Members of a limit that stay as they are when nothing is said of them.
_CHOICES = frozenset({"is_hard", "allows_unknown_price"})
_BIGINT_MAX = 2**63 - 1
_RATE_MAX = 1_000_000
_ROWS_PER_STATEMENT = 200
#: (team, month, kind, subject) -> [requests, cost]
Additions = dict[tuple[str, int, str, str], list[int]]


@dataclass(frozen=True, slots=True)
class NewLimit:
    """What a team sets for a subject: None for a number is no limit, and with all three None the limit is taken away.

    None for one of the two choices leaves it as it is.
    """

    requests_per_month: int | None = None
    requests_per_minute: int | None = None
    budget_usd_nanos_per_month: int | None = None
    #: Whether the month's numbers refuse calls; of a new limit they do.
    is_hard: bool | None = None
    #: Whether a hard budget lets calls of unknown price through; that of a new limit does not.
    allows_unknown_price: bool | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is limited."""
        return (self.requests_per_month, self.requests_per_minute, self.budget_usd_nanos_per_month) == (None,) * 3


def set_limit(team: Team, kind: SubjectKind, subject: str, new: NewLimit, *, actor: Actor) -> Limit | None:
    """Set or take away what a subject of the team may use. Raises `InvalidLimit`, `LimitSubjectNotFound`."""
    _check(new)
    with transaction.atomic():
        # One writer of a team's limits at a time, so that their number holds and the audit tells the truth.
        Team.objects.select_for_update().get(pk=team.pk)
        name = _name_of(team, kind, subject)
        row = rows_of(team, Limit).filter(kind=kind, subject=subject).first()
        before = _told(row) if row is not None else None
        if new.is_empty:
            if row is not None:
                row.delete()
                _audit("limit.removed", team, kind, subject, name, before, None, actor)
            return None
        if row is None:
            if rows_of(team, Limit).count() >= LIMITS_MAX:
                raise TooManyLimits
            row = Limit(team=team, kind=kind, subject=subject)
        for member, value in asdict(new).items():
            if value is not None or member not in _CHOICES:
                setattr(row, member, value)
        row.save()
        after = _told(row)
        if after != before:
            _audit("limit.changed" if before else "limit.created", team, kind, subject, name, before, after, actor)
    return row


def set_plan(team: Team, plan: PlanName, *, actor: Actor) -> TeamPlan:
    """Put a team on a plan."""
    return _change_plan(team, {"plan": plan.value}, "plan.changed", actor)


def set_quota_behaviour(team: Team, *, is_hard: bool, serves_hits_over_quota: bool, actor: Actor) -> TeamPlan:
    """Choose what happens when the month's requests are used up."""
    wanted = {"is_hard": is_hard, "serves_hits_over_quota": serves_hits_over_quota}
    return _change_plan(team, wanted, "quota_behaviour.changed", actor)


def count_usage(rows: Iterable[Sequence[str | int]], columns: Sequence[str]) -> None:
    """Add usage events to the month's use, in the transaction that keeps them; each event must come only once.

    Rows and columns are those of the events' table. What limits do not count is not counted here: calls that were
    refused, and those of our own API that look nothing up.
    """
    additions: Additions = {}
    places = {name: place for place, name in enumerate(columns)}
    team, key, agent, at = (places[name] for name in ("team_id", "api_key_id", "agent", "at_ms"))
    member, cost = places["user_id"], places["cost_usd_nanos"]
    outcome, endpoint, requests = places["outcome"], places["endpoint"], places["requests"]
    for row in rows:
        if row[outcome] == Outcome.REFUSED.value or row[endpoint] in NOT_REQUESTS:
            continue
        month, nanos = month_at(int(row[at]) / 1000), max(0, int(row[cost]))
        subjects = (
            (SubjectKind.TEAM.value, ""),
            (SubjectKind.KEY.value, str(row[key])),
            (SubjectKind.MEMBER.value, str(row[member])),
            (SubjectKind.AGENT.value, str(row[agent])[:AGENT_CHARS_MAX]),
        )
        for kind, subject in subjects:
            # Without a member or an agent there is nobody to attribute to; the difference to the team's sum says so.
            if subject or kind == SubjectKind.TEAM.value:
                sums = additions.setdefault((str(row[team]), month, kind, subject), [0, 0])
                # A refresh costs money and is no request.
                sums[0] += int(row[requests])
                sums[1] += nanos
    # In one order, so that two transactions never wait for each other.
    _add(sorted(_bounded(additions).items()))


def note_counted(team_id: str, month: int, counted: Mapping[tuple[str, str], int]) -> None:
    """Keep where the enforcing counters stand, where they are ahead of what is kept."""
    if not counted:
        return
    rows = {
        (row.kind, row.subject): row
        for row in MonthlyUse.objects.filter(team_id=team_id, month=month, kind__in={kind for kind, _ in counted})
    }
    with transaction.atomic():
        for (kind, subject), requests in sorted(counted.items()):
            row = rows.get((kind, subject))
            if row is not None and requests > max(row.requests, row.counted_requests):
                MonthlyUse.objects.filter(pk=row.pk, counted_requests__lt=requests).update(counted_requests=requests)
            elif row is None:
                MonthlyUse.objects.bulk_create(
                    [MonthlyUse(team_id=team_id, month=month, kind=kind, subject=subject, counted_requests=requests)],
                    ignore_conflicts=True,
                )


def month_at(seconds: float) -> int:
    """Return the calendar month of a Unix time, UTC, as year * 100 + month."""
    return _month_of_hour(int(seconds // 3600))


@lru_cache(maxsize=4096)
def _month_of_hour(hour: int) -> int:
    at = datetime.fromtimestamp(hour * 3600, UTC)
    return at.year * 100 + at.month


def _bounded(additions: Additions) -> Additions:
    """Leave out agents beyond what a team may add in a month; what is counted for team, key and member stays whole."""
    named: dict[tuple[str, int], set[str]] = {}
    for team_id, month, kind, subject in additions:
        if kind == SubjectKind.AGENT.value:
            named.setdefault((team_id, month), set()).add(subject)
    dropped: set[tuple[str, int, str]] = set()
    for (team_id, month), agents in named.items():
        rows = MonthlyUse.objects.filter(team_id=team_id, month=month, kind=SubjectKind.AGENT)
        known = set(rows.filter(subject__in=agents).values_list("subject", flat=True)) if agents else set()
        fresh = sorted(agents - known)
        room = max(0, AGENTS_PER_MONTH_MAX - rows.count()) if fresh else 0
        dropped |= {(team_id, month, agent) for agent in fresh[room:]}
    return {
        key: sums
        for key, sums in additions.items()
        if key[2] != SubjectKind.AGENT.value or (key[0], key[1], key[3]) not in dropped
    }


def _add(additions: Sequence[tuple[tuple[str, int, str, str], list[int]]]) -> None:
    table = MonthlyUse._meta.db_table
    for start in range(0, len(additions), _ROWS_PER_STATEMENT):
        part = additions[start : start + _ROWS_PER_STATEMENT]
        rows = ", ".join(["(%s, %s, %s, %s, %s, %s)"] * len(part))
        statement = (
            f"INSERT INTO {table} (team_id, month, kind, subject, requests, cost_usd_nanos) VALUES {rows} "  # noqa: S608 - names of our own
            "ON CONFLICT (team_id, month, kind, subject) DO UPDATE SET "
            f"requests = {table}.requests + excluded.requests, "
            f"cost_usd_nanos = {table}.cost_usd_nanos + excluded.cost_usd_nanos"
        )
        with connection.cursor() as cursor:
            cursor.execute(statement, list(chain.from_iterable((*key, *sums) for key, sums in part)))


def _check(new: NewLimit) -> None:
    bounds = {
        "requests_per_month": _BIGINT_MAX,
        "requests_per_minute": _RATE_MAX,
        "budget_usd_nanos_per_month": 10**15,
    }
    for member, most in bounds.items():
        value = getattr(new, member)
        if value is not None and not 1 <= value <= most:
            raise InvalidLimit(f"{member} has to be from 1 to {most}, or null.", param=member)


def _name_of(team: Team, kind: SubjectKind, subject: str) -> str:
    """Return the name of a limit's subject as people know it; raise `LimitSubjectNotFound` for a foreign one."""
    if kind is SubjectKind.TEAM and not subject:
        return team.name
    if kind is SubjectKind.AGENT and 0 < len(subject) <= AGENT_CHARS_MAX and subject.isprintable():
        return subject
    if kind is SubjectKind.MEMBER:
        member = rows_of(team, Membership).select_related("user").filter(user_id=subject).first()
        if member is not None:
            return str(member.user)
    if kind is SubjectKind.KEY:
        key = rows_of(team, ApiKey).filter(pk=subject).first()
        if key is not None:
            return key.name
    raise LimitSubjectNotFound


def _change_plan(team: Team, wanted: Mapping[str, object], action: str, actor: Actor) -> TeamPlan:
    with transaction.atomic():
        row, _created = TeamPlan.objects.select_for_update().get_or_create(team=team)
        before = {member: getattr(row, member) for member in wanted}
        if before != wanted:
            for member, value in wanted.items():
                setattr(row, member, value)
            row.save()
            audit.record(
                action=action,
                actor=actor,
                team_id=team.pk,
                target_kind="team",
                target_id=team.pk,
                target_name=team.name,
                before=before,
                after=wanted,
            )
    return row


def _told(row: Limit) -> dict[str, object]:
    return {member: getattr(row, member) for member in NewLimit.__dataclass_fields__}


def _audit(
    action: str,
    team: Team,
    kind: SubjectKind,
    subject: str,
    name: str,
    before: Mapping[str, object] | None,
    after: Mapping[str, object] | None,
    actor: Actor,
) -> None:
    audit.record(
        action=action,
        actor=actor,
        team_id=team.pk,
        target_kind=kind.value,
        target_id=subject or team.pk,
        target_name=name,
        before=before,
        after=after,
    )
