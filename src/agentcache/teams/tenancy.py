"""The one way to read or write a team's rows."""

from __future__ import annotations

from typing import TypeVar

from django.db.models import Model, QuerySet

from agentcache.teams.models import Team

Row = TypeVar("Row", bound=Model)


def rows_of(team: Team, model: type[Row]) -> QuerySet[Row]:
    """Return the rows of `model` that belong to the team; every model with a `team_id` is read through here."""
    return model._default_manager.filter(team_id=team.pk)
