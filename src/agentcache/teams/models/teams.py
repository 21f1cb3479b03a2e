"""Teams and who belongs to them."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id


class Team(models.Model):
    """Who owns keys, entries and usage; its id is the tenant id of the data plane."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    name = models.CharField(max_length=64)
    slug = models.SlugField(max_length=48, unique=True)
    #: 32 bytes from which the team's secrets are derived, encrypted with the server's secret key.
    wrapped_data_key = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    members: models.ManyToManyField[models.Model, models.Model] = models.ManyToManyField(
        django_settings.AUTH_USER_MODEL, through="Membership", related_name="teams"
    )

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """What a member may do; ownership is a mark beside it."""

    ADMIN = "admin", "Admin"
    MEMBER = "member", "Member"
    VIEWER = "viewer", "Viewer"


class Membership(models.Model):
    """One user in one team."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    is_owner = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["team", "user"], name="teams_membership_once")]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.team_id}"
