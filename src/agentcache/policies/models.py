"""The versions of a team's policies. Rows are added, never changed: the newest one is in force."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.teams.models import Team


class PolicyVersion(models.Model):
    """All policies of a team, in order, as they were saved once."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    #: 1 for the first, one more for each save.
    number = models.PositiveIntegerField()
    #: A list of policies in the form of `drafts.PolicyDraft`, first match first.
    document = models.JSONField()
    #: What was done, in words.
    note = models.CharField(max_length=200, blank=True, default="")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    #: None for an API key, and for somebody who is gone.
    author = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    api_key_id = models.CharField(max_length=32, blank=True, default="")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "number"], name="policies_version_once")]

    def __str__(self) -> str:
        return f"version {self.number} of {self.team_id}"
