"""Every read of semantic look-ups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, cast

from django.db.models import Q, QuerySet, Sum

from agentcache.analytics.errors import BeyondRetention
from agentcache.engine.semantic.controller import wilson
from agentcache.engine.semantic.risk_rule import RiskRule, parse_rule
from agentcache.kit.errors import BadRequest
from agentcache.quotas.queries import plan_of
from agentcache.semantics.errors import JudgeNotFound, NearQuestionNotFound, SemanticsNotFound
from agentcache.semantics.models import (
    EVERY_NAMESPACE,
    DayFigures,
    EventKind,
    Evidence,
    Judge,
    JudgeDay,
    Judging,
    Mode,
    NamespaceSettings,
    NearQuestion,
    QuarantinedEntry,
)
from agentcache.semantics.verifier_version import version_for
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

PAGE_ROWS: Final = 25
DAYS_MAX: Final = 400
_DAYS_OFFERED: Final = (14, 30, 90)
_UNTOLD_AT_ONCE: Final = 200
#: A pair that nobody judged by then stays undecided: what is newer tells more.
JUDGED_WITHIN: Final = timedelta(hours=24)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Figures:
    """What near questions came to over some days; see `models.DayFigures`. Money is 1e-9 USD."""

    hits: int = 0
    shadowed: int = 0
    judged: int = 0
    wrong: int = 0
    below: int = 0
    below_agreed: int = 0
    reported: int = 0
    saved_usd_nanos: int = 0
    missed_usd_nanos: int = 0

    @classmethod
    def total(cls, several: Iterable[Figures]) -> Figures:
        """Return the sum of several."""
        listed = list(several)
        return cls(*(sum(getattr(one, field.name) for one in listed) for field in fields(cls)))

    @property
    def near(self) -> int:
        """Questions near enough to be served, whether they were or not."""
        return self.hits + self.shadowed

    @property
    def wrong_share(self) -> float | None:
        """Share of wrong ones among those that were judged; None without any."""
        return self.wrong / self.judged if self.judged else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Between which shares it lies, by Wilson's score interval with two standard deviations; None without any."""
        return wilson(self.wrong / self.judged, self.judged) if self.judged else None


_NO_FIGURES: Final = Figures()
_NAMES: Final = tuple(field.name for field in fields(Figures))


@dataclass(frozen=True, slots=True)
class LearnedRule:
    """What a namespace's evidence allows by the estimated risk, and what it says of that."""

    rule: RiskRule
    #: Share of wrong ones among what the rule serves, 0 to 1, and how many comparisons say so.
    wrong_share: float
    compared: int

    @classmethod
    def of(cls, evidence: Evidence) -> LearnedRule | None:
        """Return the rule of a namespace's evidence."""
        rule = parse_rule(evidence.learned_rule)
        if rule is None or evidence.learned_rule is None:
            return None
        return cls(rule, evidence.learned_rule.get("wrong_share", 0.0), evidence.learned_rule.get("compared", 0))


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """One namespace: what holds for it, and what came of it."""

    namespace: str
    #: None where near questions are off for want of any settings.
    settings: NamespaceSettings | None
    figures: Figures
    #: Learned for the settings in force; above 1 where no threshold meets the target, None while there is not enough.
    learned_threshold: float | None = None
    learned_at: datetime | None = None
    decided: int = 0
    #: Learned beside it, and in force in the mode balanced; None where the evidence proves no such thing.
    learned_rule: LearnedRule | None = None

    @property
    def is_own(self) -> bool:
        """Whether the namespace has settings of its own."""
        return self.settings is not None and self.settings.namespace == self.namespace


@dataclass(frozen=True, slots=True)
class HitFilters:
    """Which near questions are looked for."""

    namespace: str = ""
    #: A value of `EventKind`; "" for those that were served or would have been.
    kind: str = ""
    is_wrong: bool = False


@dataclass(frozen=True, slots=True)
class HitPage:
    """Some near questions, newest first."""

    rows: Sequence[NearQuestion]
    #: Continues the list with `before`; "" at its end.
    cursor: str


def settings_of(team: Team) -> list[NamespaceSettings]:
    """Return the settings of the team's namespaces by name, those of every other one first."""
    rows = list(rows_of(team, NamespaceSettings).order_by("namespace"))
    return sorted(rows, key=lambda row: row.namespace != EVERY_NAMESPACE)


def get_settings(team: Team, namespace: str) -> NamespaceSettings:
    """Return the settings that a namespace has of its own. Raises `SemanticsNotFound`."""
    row = rows_of(team, NamespaceSettings).filter(namespace=namespace).first()
    if row is None:
        raise SemanticsNotFound(param="namespace")
    return row


def settings_in_force(team: Team, namespace: str) -> NamespaceSettings | None:
    """Return the settings that hold for a namespace: its own, or those of every other one."""
    rows = rows_of(team, NamespaceSettings).filter(namespace__in=(namespace, EVERY_NAMESPACE))
    by_name = {row.namespace: row for row in rows}
    return by_name.get(namespace) or by_name.get(EVERY_NAMESPACE)


def namespaces_with_rules(team: Team) -> list[str]:
    """Return the namespaces whose evidence has given a rule of risk, by name."""
    rows = rows_of(team, Evidence).filter(learned_rule__isnull=False).order_by("namespace")
    return list(rows.values_list("namespace", flat=True))


def namespaces_of(team: Team, since: date, namespace: str = "") -> list[NamespaceView]:
    """Return every namespace that has settings or figures since a day, `*` first and then by name, or one alone. Three queries."""
    settings = {row.namespace: row for row in settings_of(team)}
    figures = _sums_by("namespace", rows_of(team, DayFigures).filter(day__gte=since))
    evidence = {row.namespace: row for row in rows_of(team, Evidence)}
    others = settings.get(EVERY_NAMESPACE)
    views = [
        _view(name, settings.get(name) or others, figures.get(name, _NO_FIGURES), evidence.get(name))
        for name in {*settings, *figures}
        if not namespace or name == namespace
    ]
    return sorted(views, key=lambda view: (view.namespace != EVERY_NAMESPACE, view.namespace))


def _view(
    namespace: str, settings: NamespaceSettings | None, figures: Figures, evidence: Evidence | None
) -> NamespaceView:
    if evidence is None:
        return NamespaceView(namespace, settings, figures)
    fits = settings is not None and evidence.fits(version_for(settings), settings.target)
    if not fits:
        return NamespaceView(namespace, settings, figures, decided=evidence.decided)
    return NamespaceView(
        namespace,
        settings,
        figures,
        learned_threshold=evidence.learned_threshold,
        learned_at=evidence.learned_at,
        decided=evidence.decided,
        learned_rule=LearnedRule.of(evidence),
    )


@dataclass(frozen=True, slots=True)
class JudgeView:
    """A judge, and what it did: today (UTC), and over some days. Money is 1e-9 USD."""

    judge: Judge
    today: JudgeDay
    asked: int
    same: int
    different: int
    failed: int
    spent_usd_nanos: int
    #: Pairs that wait for it now.
    waiting: int

    @property
    def undecided(self) -> int:
        """Pairs that it was asked about and that are undecided still."""
        return self.asked - self.same - self.different - self.failed


def judges_of(team: Team, since: date, now: datetime) -> list[JudgeView]:
    """Return the judges of the team's namespaces, that of every other one first, with what they did since a day."""
    judges = sorted(
        rows_of(team, Judge).select_related("team").order_by("namespace"),
        key=lambda row: row.namespace != EVERY_NAMESPACE,
    )
    return [_judge_view(judge, since, now) for judge in judges]


def get_judge(team: Team, namespace: str) -> Judge:
    """Return the judge that a namespace has of its own. Raises `JudgeNotFound`."""
    judge = rows_of(team, Judge).select_related("team").filter(namespace=namespace).first()
    if judge is None:
        raise JudgeNotFound(param="namespace")
    return judge


def view_of_judge(team: Team, namespace: str, since: date, now: datetime) -> JudgeView:
    """Return one judge with what it did since a day. Raises `JudgeNotFound`."""
    return _judge_view(get_judge(team, namespace), since, now)


def _judge_view(judge: Judge, since: date, now: datetime) -> JudgeView:
    days = list(rows_of(judge.team, JudgeDay).filter(namespace=judge.namespace, day__gte=since))
    day = now.astimezone(UTC).date()
    today = next((one for one in days if one.day == day), JudgeDay(team=judge.team, namespace=judge.namespace, day=day))
    return JudgeView(
        judge=judge,
        today=today,
        asked=sum(one.asked for one in days),
        same=sum(one.same for one in days),
        different=sum(one.different for one in days),
        failed=sum(one.failed for one in days),
        spent_usd_nanos=sum(one.spent_usd_nanos for one in days),
        waiting=undecided_pairs(judge, now).count(),
    )


def teams_with_undecided(team_ids: Iterable[str], now: datetime) -> set[str]:
    """Return those of some teams that have pairs which nobody could compare. The worker asks for every team."""
    rows = NearQuestion.objects.filter(agreed__isnull=True, judging=Judging.NOT_ASKED).exclude(asked_key="")
    rows = rows.filter(team_id__in=list(team_ids), at__gte=now - JUDGED_WITHIN)
    return set(rows.order_by().values_list("team_id", flat=True).distinct())


def undecided_pairs(judge: Judge, now: datetime) -> QuerySet[NearQuestion]:
    """Return what waits for a judge: pairs of its namespace, or of all that have no judge of their own; none where look-ups are off."""
    rows = (
        rows_of(judge.team, NearQuestion).filter(agreed__isnull=True, judging=Judging.NOT_ASKED).exclude(asked_key="")
    )
    rows = rows.filter(at__gte=now - JUDGED_WITHIN)
    modes = dict(rows_of(judge.team, NamespaceSettings).values_list("namespace", "mode"))
    otherwise = modes.pop(EVERY_NAMESPACE, Mode.OFF)
    if judge.namespace != EVERY_NAMESPACE:
        is_off = modes.get(judge.namespace, otherwise) == Mode.OFF
        return rows.none() if is_off else rows.filter(namespace=judge.namespace)
    judged = set(rows_of(judge.team, Judge).values_list("namespace", flat=True))
    off = {namespace for namespace, mode in modes.items() if mode == Mode.OFF}
    rows = rows.exclude(namespace__in=judged | off)
    return rows.filter(namespace__in=modes) if otherwise == Mode.OFF else rows


def days_of(team: Team, since: date, until: date, namespace: str = "") -> list[Figures]:
    """Return the figures of each day from one to another, both included, of one namespace or of all together."""
    rows = rows_of(team, DayFigures).filter(day__gte=since, day__lte=until)
    if namespace:
        rows = rows.filter(namespace=namespace)
    found = _sums_by("day", rows)
    return [found.get(since + timedelta(days=at), _NO_FIGURES) for at in range((until - since).days + 1)]


def _sums_by(column: str, rows: QuerySet[DayFigures]) -> dict[Any, Figures]:
    """Return the sums of rows by the values of a column."""
    found = rows.order_by().values(column).annotate(**{f"sum_{name}": Sum(name) for name in _NAMES})
    return {
        # PostgreSQL adds up 64-bit numbers as decimals.
        row[column]: Figures(*(int(row[f"sum_{name}"]) for name in _NAMES))
        for row in cast("Iterable[dict[str, Any]]", found)
    }


def near_questions(team: Team, filters: HitFilters, *, before: str = "", limit: int = PAGE_ROWS) -> HitPage:
    """Return near questions, newest first; `before` continues a page. Raises `BadRequest` for one that is none."""
    rows = rows_of(team, NearQuestion).order_by("-at", "-id")
    rows = rows.filter(kind=filters.kind) if filters.kind else rows.filter(kind__in=(EventKind.HIT, EventKind.SHADOW))
    if filters.namespace:
        rows = rows.filter(namespace=filters.namespace)
    if filters.is_wrong:
        rows = rows.filter(agreed=False)
    if before:
        at, known = _mark(before)
        rows = rows.filter(Q(at__lt=at) | Q(at=at, pk__lt=known))
    found = list(rows[: limit + 1])
    return HitPage(found[:limit], mark_of(found[limit - 1]) if len(found) > limit else "")


def find_of_request(team: Team, request_id: str) -> NearQuestion | None:
    """Return the near question that a request came to, or None."""
    of_request = rows_of(team, NearQuestion).filter(request_id=request_id).exclude(kind=EventKind.REPORTED)
    return of_request.order_by("-at").first()


def get_near_question(team: Team, event_id: str) -> NearQuestion:
    """Return one near question. Raises `NearQuestionNotFound`."""
    row = rows_of(team, NearQuestion).filter(pk=event_id).first()
    if row is None:
        raise NearQuestionNotFound(param="id")
    return row


def reported_requests(team: Team, request_ids: Iterable[str]) -> set[str]:
    """Return those of some requests whose hit was reported as a bad one."""
    rows = rows_of(team, NearQuestion).filter(request_id__in=list(request_ids), kind=EventKind.REPORTED, agreed=False)
    return set(rows.values_list("request_id", flat=True))


def held_entries(team: Team, entry_keys: Iterable[str]) -> set[str]:
    """Return those of some entries that answer no near questions now."""
    rows = rows_of(team, QuarantinedEntry).filter(entry_key__in=list(entry_keys), released_at__isnull=True)
    return set(rows.values_list("entry_key", flat=True))


def quarantine_of(team: Team, *, is_ended: bool = False, limit: int = 200) -> list[QuarantinedEntry]:
    """Return the entries that answer no near questions, or those that were released, newest first."""
    rows = rows_of(team, QuarantinedEntry).filter(released_at__isnull=not is_ended)
    return list(rows.order_by("-released_at" if is_ended else "-at", "-id")[:limit])


def causes_of(team: Team, rows: Iterable[QuarantinedEntry]) -> dict[str, NearQuestion]:
    """Return quarantine -> the near question that led to it, of those that are not forgotten."""
    events = {row.event_id: row.pk for row in rows if row.event_id}
    found = rows_of(team, NearQuestion).filter(pk__in=list(events))
    return {events[row.pk]: row for row in found}


def find_quarantined(team: Team, entry_key: str) -> QuarantinedEntry | None:
    """Return the quarantine that an entry is in, or None."""
    return rows_of(team, QuarantinedEntry).filter(entry_key=entry_key, released_at__isnull=True).first()


def untold() -> list[QuarantinedEntry]:
    """Return quarantines of all teams of which the index has not been told, or not of their end; oldest first."""
    rows = QuarantinedEntry.objects.filter(is_told=False).select_related("team").order_by("at", "id")
    return list(rows[:_UNTOLD_AT_ONCE])


def mark_of(row: NearQuestion) -> str:
    """Return where a page ends."""
    return f"{(row.at - _EPOCH) // _MICROSECOND}.{row.pk}"


def _mark(text: str) -> tuple[datetime, str]:
    micros, _, known = text.partition(".")
    if not (micros.isascii() and micros.isdecimal() and len(micros) <= 17):
        raise BadRequest("before: this is no mark of a list.", param="before")
    return _EPOCH + int(micros) * _MICROSECOND, known[:32]


def checked_days(team: Team, days: int) -> int:
    """Return how many days back figures are asked for. Raises `BadRequest`, `BeyondRetention`."""
    if not 1 <= days <= DAYS_MAX:
        raise BadRequest(f"days: give 1 to {DAYS_MAX}.", param="days")
    plan = plan_of(team)
    if plan.figures_days is not None and days > plan.figures_days:
        raise BeyondRetention(f"The plan {plan.title} shows the last {plan.figures_days} days.", param="days")
    return days


def choices_of_days(team: Team) -> tuple[int, ...]:
    """Return how many days back pages offer figures."""
    most = plan_of(team).figures_days
    return _DAYS_OFFERED if most is None else (*(one for one in _DAYS_OFFERED if one < most), most)
