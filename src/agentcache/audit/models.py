"""What was done, one row per act. Rows are added and pruned, never changed."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id


class AuditEvent(models.Model):
    """One act of somebody, with what it changed. Holds no secret and no whole address."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    at = models.DateTimeField(db_default=Now(), editable=False)
    #: No foreign keys: the record outlives whom and what it names.
    team_id = models.CharField(max_length=32, null=True)
    #: Dotted, in the past tense: `api_key.created`.
    action = models.CharField(max_length=64)
    actor_user_id = models.CharField(max_length=32, blank=True, default="")
    actor_email = models.CharField(max_length=254, blank=True, default="")
    actor_api_key_id = models.CharField(max_length=32, blank=True, default="")
    #: SHA-256 of the session's id, in hex.
    session_id_hash = models.CharField(max_length=64, blank=True, default="")
    #: The caller's network: /24 or /48.
    network = models.CharField(max_length=64, blank=True, default="")
    #: The operator who acted in the user's place.
    impersonator_id = models.CharField(max_length=32, blank=True, default="")
    target_kind = models.CharField(max_length=32)
    target_id = models.CharField(max_length=64)
    target_name = models.CharField(max_length=254, blank=True, default="")
    #: The members that changed, as they were and as they are; null where there was or is nothing.
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)

    class Meta:
        indexes = [
            models.Index(fields=["team_id", "-at", "-id"], name="audit_event_team_newest"),
            models.Index(fields=["-at", "-id"], name="audit_event_newest"),
        ]

    @property
    def changes(self) -> list[tuple[str, object, object]]:
        """What changed, sorted by name: name, value before, value after; None where there was or is nothing."""
        before, after = self.before or {}, self.after or {}
        pairs = [(name, before.get(name), after.get(name)) for name in sorted({**before, **after})]
        return [(name, was, is_now) for name, was, is_now in pairs if was is not None or is_now is not None]

    def __str__(self) -> str:
        return f"{self.action} {self.target_kind} {self.target_name or self.target_id}"
