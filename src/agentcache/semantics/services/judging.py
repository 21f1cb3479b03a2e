"""What the worker reads and writes while it asks judges, each call one transaction.

Before a pair is asked it is noted as asked, and the most that it may cost is set aside; the verdict and the true cost come after. A
worker that is killed in between leaves the pair undecided and the amount set aside: nothing is paid for twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.db import transaction
from django.db.models import F

from agentcache.gateway.ports import Principal
from agentcache.prewarm.services.ahead import working_team
from agentcache.semantics import queries
from agentcache.semantics.models import Judge, JudgeDay, Judging, NearQuestion
from agentcache.semantics.sealed_texts import Pair, TeamTexts
from agentcache.semantics.services.counting import count_verdict
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets
from agentcache.teams.tenancy import rows_of

#: After a failure a judge is asked again so much later, doubled with each one in a row, up to the most.
AGAIN: Final = timedelta(minutes=1)
AGAIN_MAX: Final = timedelta(hours=1)
BUDGET_USED: Final = "budget_used_up"
#: Less than a single pair may cost.
BUDGET_TOO_SMALL: Final = "budget_too_small"


@dataclass(frozen=True, slots=True)
class Waiting:
    """A pair that waits for a verdict."""

    row_id: str
    texts: Pair
    #: Keys of the entries with the answer to what was asked, and to what matched.
    asked_key: bytes
    matched_key: bytes


@dataclass(frozen=True, slots=True)
class BegunJudge:
    """A judge as a worker takes it up, with pairs for it."""

    id: str
    team_id: str
    #: Whose judge it is; `*` for every one without.
    namespace: str
    revision: int
    provider: str
    model: str
    principal: Principal
    #: Never logged; None where the team keeps none any more.
    credential: str | None
    pairs: Sequence[Waiting]

    def __repr__(self) -> str:
        return f"BegunJudge({self.id})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of asking about a pair; money is 1e-9 USD."""

    row_id: str
    #: When it was set aside, and how much.
    day: date
    held_usd_nanos: int
    cost_usd_nanos: int = 0
    #: Whether one answer serves both; None where the judge did not say.
    agreed: bool | None = None
    has_failed: bool = False
    #: Whether it may be asked again: nothing was sent, or the provider refused it and bills nothing.
    may_ask_again: bool = False
    #: Whether what was set aside stays so, for nobody knows what was billed.
    is_unsure: bool = False


def due_judges(now: datetime) -> list[tuple[str, str]]:
    """Return the judges that may be asked now and have pairs that wait, each with its team: (team id, judge id)."""
    judges = list(Judge.objects.filter(is_on=True).exclude(held_until__gt=now).select_related("team"))
    if not judges:
        return []
    waiting = queries.teams_with_undecided({judge.team_id for judge in judges}, now)
    return [
        (judge.team_id, judge.pk)
        for judge in judges
        if judge.team_id in waiting and queries.undecided_pairs(judge, now).exists()
    ]


def begin_judge(
    secrets: ServerSecrets, team_id: str, judge_id: str, now: datetime, limit: int, *, encrypt_entries: bool
) -> BegunJudge | None:
    """Return a judge with the newest pairs for it; None where it is gone or off by now."""
    judge = rows_of(Team(id=team_id), Judge).select_related("team").filter(pk=judge_id, is_on=True).first()
    if judge is None:
        return None
    texts, pairs = TeamTexts.of(secrets, judge.team), []
    for row in queries.undecided_pairs(judge, now).order_by("-at")[:limit]:
        pair = texts.find_pair(row)
        if pair is None:
            note_unfit(judge.team_id, [row.pk])
            continue
        pairs.append(Waiting(row.pk, pair, bytes.fromhex(row.asked_key), bytes.fromhex(row.entry_key)))
    working = working_team(secrets, judge.team, encrypt_entries=encrypt_entries)
    credential = working.credentials.get(judge.provider)
    return BegunJudge(
        judge.pk,
        judge.team_id,
        judge.namespace,
        judge.revision,
        judge.provider,
        judge.model,
        working.principal,
        credential,
        pairs,
    )


def note_unfit(team_id: str, row_ids: Sequence[str]) -> None:
    """Note pairs that cannot be judged: an answer is gone, or longer than what is judged."""
    rows = rows_of(Team(id=team_id), NearQuestion).filter(pk__in=row_ids, judging=Judging.NOT_ASKED)
    rows.update(judging=Judging.UNFIT)


def set_aside(begun: BegunJudge, bounds: Mapping[str, int], now: datetime) -> tuple[date, set[str]]:
    """Note pairs as asked, each with the most that it may cost; return the day and which there was money for.

    Where there is not enough for the next one, the judge rests until the next day. None is granted once the judge is changed.
    """
    team, day, granted = Team(id=begun.team_id), now.astimezone(UTC).date(), set[str]()
    with transaction.atomic():
        judge = _locked(begun)
        if judge is None or not judge.is_on:
            return day, granted
        rows_of(team, JudgeDay).get_or_create(team=team, namespace=judge.namespace, day=day)
        figures = rows_of(team, JudgeDay).select_for_update().get(namespace=judge.namespace, day=day)
        budget = judge.daily_budget_usd_nanos
        left = budget - figures.used_usd_nanos
        rows = rows_of(team, NearQuestion)
        for row_id, most in bounds.items():
            if most > left:
                tomorrow = datetime.combine(day + timedelta(days=1), time(), UTC)
                _hold(judge, BUDGET_TOO_SMALL if most > budget else BUDGET_USED, None, now, tomorrow)
                break
            # Another worker may have been faster.
            if rows.filter(pk=row_id, agreed__isnull=True, judging=Judging.NOT_ASKED).update(judging=Judging.ASKED):
                left -= most
                granted.add(row_id)
        figures.asked += len(granted)
        figures.held_usd_nanos += sum(bounds[row_id] for row_id in granted)
        figures.save(update_fields=["asked", "held_usd_nanos"])
    return day, granted


def note_verdicts(begun: BegunJudge, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Note what came of asking; return the verdicts by which a pair is decided."""
    with transaction.atomic():
        return [one for one in verdicts if _note_verdict(Team(id=begun.team_id), begun.namespace, one)]


def _note_verdict(team: Team, namespace: str, one: Verdict) -> bool:
    row = rows_of(team, NearQuestion).select_for_update().filter(pk=one.row_id).first()
    is_decided = row is not None and one.agreed is not None and row.agreed is None
    if row is not None and is_decided:
        row.agreed, row.judged_by = one.agreed, "judge"
        row.save(update_fields=["agreed", "judged_by"])
        count_verdict(row)
    elif row is not None and one.may_ask_again:
        rows_of(team, NearQuestion).filter(pk=row.pk, judging=Judging.ASKED).update(judging=Judging.NOT_ASKED)
    rows_of(team, JudgeDay).filter(namespace=namespace, day=one.day).update(
        asked=F("asked") - int(one.may_ask_again),
        same=F("same") + int(one.agreed is True),
        different=F("different") + int(one.agreed is False),
        failed=F("failed") + int(one.has_failed and not one.may_ask_again),
        spent_usd_nanos=F("spent_usd_nanos") + one.cost_usd_nanos,
        held_usd_nanos=F("held_usd_nanos") - (0 if one.is_unsure else one.held_usd_nanos),
    )
    return is_decided


def note_trouble(begun: BegunJudge, error: str, status: int | None, now: datetime, retry_seconds: float | None) -> None:
    """Note what went wrong with a judge, and let it rest: for as long as the provider asks, or longer with each failure in a row."""
    with transaction.atomic():
        judge = _locked(begun)
        if judge is None:
            return
        pause = min(AGAIN * 2 ** min(judge.failures, 10), AGAIN_MAX)
        if retry_seconds is not None:
            pause = min(max(pause, timedelta(seconds=retry_seconds)), AGAIN_MAX)
        judge.failures += 1
        _hold(judge, error, status, now, now + pause)


def note_answered(begun: BegunJudge) -> None:
    """Note that a judge answered: failures begin anew."""
    rows_of(Team(id=begun.team_id), Judge).filter(pk=begun.id, failures__gt=0).update(failures=0)


def _locked(begun: BegunJudge) -> Judge | None:
    """Return a judge to be written; None where it was changed since it was taken up."""
    rows = rows_of(Team(id=begun.team_id), Judge).select_for_update()
    return rows.filter(pk=begun.id, revision=begun.revision).first()


def _hold(judge: Judge, error: str, status: int | None, now: datetime, until: datetime) -> None:
    judge.last_error, judge.last_status, judge.last_error_at, judge.held_until = error[:64], status, now, until
    judge.save(update_fields=["last_error", "last_status", "last_error_at", "held_until", "failures"])
