"""Every write of the dashboard's own rows."""

from __future__ import annotations

from collections.abc import Iterable

from agentcache.accounts.models import User
from agentcache.dashboard.models import ChecklistChoice, ChecklistStep
from agentcache.teams.models import Team


def note_steps(team: Team, steps: Iterable[str]) -> None:
    """Keep that a team has taken these steps; several pages may notice at once."""
    rows = [ChecklistStep(team=team, step=step) for step in steps]
    if rows:
        ChecklistStep.objects.bulk_create(rows, ignore_conflicts=True)


def choose_checklist(user: User, team: Team, *, is_shown: bool) -> None:
    """Keep whether a member wants to see the team's checklist."""
    ChecklistChoice.objects.update_or_create(team=team, user=user, defaults={"is_shown": is_shown})
