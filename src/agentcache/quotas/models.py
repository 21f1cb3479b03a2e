"""The plan of a team, the limits it sets, and what was used of them in each month."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.quotas.plans import PlanName
from agentcache.teams.models import Team


class SubjectKind(models.TextChoices):
    """Whom a limit binds."""

    TEAM = "team", "Team"
    MEMBER = "member", "Member"
    KEY = "key", "API key"
    AGENT = "agent", "Agent"


class TeamPlan(models.Model):
    """Which plan a team is on and how it wants the plan's quota to act. A team without a row is self-hosted."""

    team = models.OneToOneField(Team, on_delete=models.CASCADE, primary_key=True, related_name="+")
    plan = models.CharField(
        max_length=16, choices=[(name.value, name.value) for name in PlanName], default=PlanName.SELF_HOSTED.value
    )
    #: Whether calls beyond the plan's quota are refused; otherwise people are told.
    is_hard = models.BooleanField(default=True)
    #: Whether what is in the cache is served beyond a hard quota.
    serves_hits_over_quota = models.BooleanField(default=True)
    since = models.DateTimeField(db_default=Now(), editable=False)

    def __str__(self) -> str:
        return f"{self.team_id} {self.plan}"


class Limit(models.Model):
    """What the team lets one subject use; null means no limit."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=8, choices=SubjectKind)
    #: Id of the member's user or of the key, name of the agent, "" for the team itself.
    subject = models.CharField(max_length=128, blank=True, default="")
    requests_per_month = models.PositiveBigIntegerField(null=True, blank=True)
    requests_per_minute = models.PositiveIntegerField(null=True, blank=True)
    #: 1e-9 USD.
    budget_usd_nanos_per_month = models.PositiveBigIntegerField(null=True, blank=True)
    #: Whether calls are refused beyond the month's numbers. A rate always refuses.
    is_hard = models.BooleanField(default=True)
    #: Whether a hard budget lets calls through whose price is not known; they count as nothing.
    allows_unknown_price = models.BooleanField(default=False, db_default=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "kind", "subject"], name="quotas_limit_once")]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} of {self.team_id}"


class MonthlyUse(models.Model):
    """What one subject used in one calendar month, UTC: added to in the transaction that keeps the usage events."""

    #: No foreign key: a team may be gone before its last usage arrives.
    team_id = models.CharField(max_length=32)
    #: year * 100 + month.
    month = models.IntegerField()
    kind = models.CharField(max_length=8, choices=SubjectKind)
    subject = models.CharField(max_length=128)
    requests = models.BigIntegerField(default=0, db_default=0)
    #: 1e-9 USD.
    cost_usd_nanos = models.BigIntegerField(default=0, db_default=0)
    #: Where the counters that enforce stood. Ahead of `requests` by calls under way and by events of killed workers.
    counted_requests = models.BigIntegerField(default=0, db_default=0)
    #: The last threshold in percent that mails told of.
    told_requests_percent = models.PositiveSmallIntegerField(default=0, db_default=0)
    told_budget_percent = models.PositiveSmallIntegerField(default=0, db_default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team_id", "month", "kind", "subject"], name="quotas_monthlyuse_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.subject} of {self.team_id} in {self.month}"
