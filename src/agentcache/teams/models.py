"""Teams, who belongs to them, and the keys that act for them."""

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


class ApiKey(models.Model):
    """A credential of a team. Only a keyed hash is kept, so the key itself can be shown once."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=64)
    #: HMAC-SHA-256 of the whole key with the server's pepper.
    key_hash = models.BinaryField(max_length=32, unique=True)
    #: What may still be shown: `ac_live_…` and the last four characters.
    display = models.CharField(max_length=24)
    #: Values of `gateway.ports.Scope`.
    scopes = models.JSONField(default=list)
    is_test = models.BooleanField(default=False)
    #: Namespace of requests that name none.
    namespace = models.CharField(max_length=128, default="default")
    created_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    #: To the minute, so that a busy key does not write with every request.
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["team", "-created_at"], name="teams_apikey_newest")]

    def __str__(self) -> str:
        return f"{self.name} ({self.display})"
