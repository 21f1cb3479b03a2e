"""How far a team has come with beginning, and who wants to see it."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models
from django.db.models.functions import Now

from agentcache.teams.models import Team


class ChecklistStep(models.Model):
    """A step that a team has taken. It stays taken when what was made then is gone again."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: A value of `checklist.Step`.
    step = models.CharField(max_length=32)
    done_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "step"], name="dashboard_step_once")]

    def __str__(self) -> str:
        return f"{self.step} of {self.team_id}"


class ChecklistChoice(models.Model):
    """Whether a member wants to see a team's checklist. Without a row it is shown until all is done."""

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    is_shown = models.BooleanField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="dashboard_choice_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.team_id}: {self.is_shown}"
