"""The keys that act for a team."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id
from agentcache.teams.models.teams import Team


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
    #: The key that made this one, where no person did.
    created_by_key = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    #: Whether it belongs to the team; otherwise it is its maker's, and ends or shrinks with the maker's own rights.
    is_shared = models.BooleanField(default=True)
    #: Networks it may be used from, as `kit.networks.parse_network` spells them; empty for anywhere.
    allowed_networks = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    #: `leaked`, or empty for a revocation that somebody asked for.
    revoked_because = models.CharField(max_length=16, blank=True)
    #: When its value was last exchanged for another.
    rotated_at = models.DateTimeField(null=True, blank=True)
    #: To the minute, so that a busy key does not write with every request.
    last_used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        verbose_name = "API key"
        indexes = [models.Index(fields=["team", "-created_at"], name="teams_apikey_newest")]

    def __str__(self) -> str:
        return f"{self.name} ({self.display})"


class FormerApiKey(models.Model):
    """A value that a key had before it was rotated: works until the overlap is over, and is told so afterwards."""

    #: HMAC-SHA-256 of the whole former value.
    key_hash = models.BinaryField(max_length=32, primary_key=True)
    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="former_values")
    display = models.CharField(max_length=24)
    ends_at = models.DateTimeField()
    #: To the minute: shows whether something still uses the former value.
    last_used_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.display}, formerly of {self.api_key_id}"
