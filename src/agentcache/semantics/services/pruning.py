"""What is forgotten of near questions, and when."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from agentcache.quotas.queries import plan_of
from agentcache.semantics.models import DayFigures, JudgeDay, NearQuestion, QuarantinedEntry
from agentcache.teams.models import Team
from agentcache.teams.tenancy import rows_of

#: Texts of both questions; sooner where the plan keeps single requests for less.
TEXTS_KEPT_DAYS: Final = 30
#: Scores and judgements, without texts.
ROWS_KEPT_DAYS: Final = 90
#: Beyond so many rows of a team the oldest go, texts and all.
ROWS_MAX: Final = 100_000
_FIGURES_KEPT_DAYS: Final = 400
_ROWS_AT_ONCE: Final = 5_000


def prune(now: datetime) -> None:
    """Forget texts, rows, figures and ended quarantines that are old."""
    _delete_old(now - timedelta(days=ROWS_KEPT_DAYS))
    team_ids = NearQuestion.objects.order_by().values_list("team_id", flat=True).distinct()
    for team in Team.objects.filter(pk__in=list(team_ids)):
        days = min(TEXTS_KEPT_DAYS, plan_of(team).retention_days)
        old = rows_of(team, NearQuestion).filter(at__lt=now - timedelta(days=days)).exclude(sealed=b"")
        old.update(sealed=b"", note=b"")
        newest = rows_of(team, NearQuestion).order_by("-at").values_list("at", flat=True)
        last = newest[ROWS_MAX : ROWS_MAX + 1].first()
        if last is not None:
            rows_of(team, NearQuestion).filter(at__lte=last).delete()
    DayFigures.objects.filter(day__lt=(now - timedelta(days=_FIGURES_KEPT_DAYS)).date()).delete()
    JudgeDay.objects.filter(day__lt=(now - timedelta(days=_FIGURES_KEPT_DAYS)).date()).delete()
    ended = QuarantinedEntry.objects.filter(is_told=True, released_at__lt=now - timedelta(days=_FIGURES_KEPT_DAYS))
    ended.delete()


def _delete_old(before: datetime) -> None:
    while True:
        oldest = list(
            NearQuestion.objects.filter(at__lt=before).order_by("at").values_list("pk", flat=True)[:_ROWS_AT_ONCE]
        )
        NearQuestion.objects.filter(pk__in=oldest).delete()
        if len(oldest) < _ROWS_AT_ONCE:
            return
