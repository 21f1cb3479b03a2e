"""The texts of near questions, which the gateway seals for their team."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Final, Self

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.normalising import normalised
from agentcache.gateway.semantic.spool import open_note, open_texts
from agentcache.kit.crypto import DecryptionFailed, derive
from agentcache.semantics.models import NearQuestion
from agentcache.teams.models import Team
from agentcache.teams.secrets import ServerSecrets

_DIGEST_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Pair:
    """What was asked, and the earlier question that was near."""

    asked: str
    matched: str


class TeamTexts:
    """Opens the texts of one team's near questions."""

    def __init__(self, tenant: Tenant) -> None:
        self._tenant = tenant
        self._digest_key = derive(tenant.key_secret, "asked questions")

    @classmethod
    def of(cls, secrets: ServerSecrets, team: Team) -> Self:
        """Return the texts of a team."""
        return cls(secrets.tenant(team.pk, bytes(team.wrapped_data_key), encrypt_entries=False))

    def find_pair(self, row: NearQuestion) -> Pair | None:
        """Return the texts of a row, or None: they are forgotten, or the key that sealed them is gone."""
        return self._open(row.pk, bytes(row.sealed))

    def find_note(self, row: NearQuestion) -> str:
        """Return what a report says; "" for one that says nothing."""
        try:
            return open_note(self._tenant, row.pk, bytes(row.note))
        except DecryptionFailed:
            return ""

    def asked_digest(self, event_id: str, sealed: bytes) -> bytes:
        """Return what tells whether two questions have one normal form; empty where the text is not to be had."""
        pair = self._open(event_id, sealed)
        if pair is None:
            return b""
        return hmac.new(self._digest_key, normalised(pair.asked).encode(), hashlib.sha256).digest()[:_DIGEST_BYTES]

    def _open(self, event_id: str, sealed: bytes) -> Pair | None:
        if not sealed:
            return None
        try:
            return Pair(*open_texts(self._tenant, event_id, sealed))
        except (DecryptionFailed, ValueError):
            return None
