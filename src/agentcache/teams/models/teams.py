"""Teams and who belongs to them."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agentcache.kit.ids import new_id


class Team(models.Model):
    """Who owns keys, entries and usage; its id is the tenant id of the data plane."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    name = models.CharField(max_length=64)
    slug = models.SlugField(max_length=48, unique=True)
    #: Made with its owner's account.
    is_personal = models.BooleanField(default=False)
    #: Namespace of new keys that name none.
    default_namespace = models.CharField(max_length=128, default="default")
    #: Freshness lifetime of entries whose request names none; null for the server's.
    default_lifetime_seconds = models.PositiveIntegerField(null=True, blank=True)
    #: 32 bytes from which the team's secrets are derived, encrypted with the server's secret key.
    wrapped_data_key = models.BinaryField()
    #: Which of the keys derived from it signs webhooks: how often it was replaced, and when last.
    webhook_key_number = models.PositiveIntegerField(default=0, db_default=0)
    webhook_key_since = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    members: models.ManyToManyField[models.Model, models.Model] = models.ManyToManyField(
        django_settings.AUTH_USER_MODEL, through="Membership", related_name="teams"
    )

    def __str__(self) -> str:
        return self.name


class TeamLogo(models.Model):
    """A team's picture, apart from the team so that nothing else reads its bytes."""

    team = models.OneToOneField(Team, on_delete=models.CASCADE, primary_key=True, related_name="logo")
    #: `png`, `jpeg` or `webp`, as the picture's own first bytes say.
    kind = models.CharField(max_length=8)
    content = models.BinaryField()
    #: First 16 hex digits of the SHA-256 of the content; part of its address, so that browsers may keep it.
    digest = models.CharField(max_length=16)

    def __str__(self) -> str:
        return f"{self.team_id} {self.kind}"


class Role(models.TextChoices):
    """What a member may do; ownership and billing are marks beside it."""

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
    #: May see and change plan and payment, whatever the role.
    has_billing = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    #: When the member last used this team, to the minute; the team used last is open after a sign-in.
    last_seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["team", "user"], name="teams_membership_once"),
            models.CheckConstraint(
                condition=Q(is_owner=False) | Q(role=Role.ADMIN.value), name="teams_owners_are_admins"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.team_id}"
