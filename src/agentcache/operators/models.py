"""Links that make somebody an operator."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from agentcache.kit.ids import new_id


class SetupLink(models.Model):
    """A link that makes an operator, printed on the server's terminal. Works once, for half an hour."""

    id = models.CharField(primary_key=True, max_length=32, default=new_id, editable=False)
    #: SHA-256 of the token in the link.
    token_hash = models.BinaryField(max_length=32, unique=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"until {self.expires_at:%Y-%m-%d %H:%M}"
