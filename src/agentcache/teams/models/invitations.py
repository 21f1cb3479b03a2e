"""Invitations to teams and the links that were mailed for them."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.teams.models.teams import Role, Team


class Invitation(models.Model):
    """Somebody was asked to join. Open until it is accepted or cancelled; an expired one is open, and can be sent again."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="invitations")
    #: In lower case.
    email = models.EmailField("e-mail address", max_length=254)
    role = models.CharField(max_length=16, choices=Role)
    #: Who sent it last: the invitation is worth no more than this member's own role.
    invited_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    sent_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    accepted_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    cancelled_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["team", "email"],
                condition=Q(accepted_at__isnull=True, cancelled_at__isnull=True),
                name="teams_invitation_open_once",
            ),
        ]
        indexes = [models.Index(fields=["team", "-created_at"], name="teams_invitation_newest")]

    def __str__(self) -> str:
        return f"{self.email} to {self.team_id}"


class InvitationLink(models.Model):
    """One mail that was sent for an invitation. Only the newest one's link opens it; older ones say who to ask."""

    #: SHA-256 of the link's token.
    token_hash = models.BinaryField(max_length=32, primary_key=True)
    invitation = models.ForeignKey(Invitation, on_delete=models.CASCADE, related_name="links")
    is_live = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["invitation"], condition=Q(is_live=True), name="teams_invitation_one_live_link"
            ),
        ]

    def __str__(self) -> str:
        return f"link of {self.invitation_id}"
