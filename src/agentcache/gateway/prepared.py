"""How request bodies were understood: agents and retries send the same bytes again and again.

What is remembered is only what follows from the bytes themselves (their reading, the cache key), never an answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from agentcache.engine.keys import KeyMaterial
from agentcache.engine.policies import Policy
from agentcache.gateway.callers import Caller
from agentcache.gateway.ports import Principal
from agentcache.providers.dialect import Json

REMEMBERED_BODY_BYTES_MAX = 64 * 1024
REMEMBERED_BYTES_MAX = 16 << 20

#: What a reading follows from. Callers compare by identity and are themselves remembered by their exact headers.
Identity: TypeAlias = tuple[Caller, str, bytes]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request body, read, with its key. Shared between requests, so nobody may change `body`."""

    principal: Principal
    body: Json
    #: Why the request goes round the cache, or an empty string.
    bypass_reason: str
    material: KeyMaterial | None = None
    key: bytes = b""
    #: The team's policy that matches.
    policy: Policy | None = None


class PreparedRequests:
    """The most recent readings, bounded in bytes."""

    def __init__(self) -> None:
        self._remembered: dict[Identity, Prepared] = {}
        self._bytes = 0

    def find(self, identity: Identity, principal: Principal) -> Prepared | None:
        """Return what is known of these bytes from this caller."""
        prepared = self._remembered.get(identity)
        # The principal decides tenant and namespace, and may have changed since.
        return prepared if prepared is not None and prepared.principal is principal else None

    def keep(self, identity: Identity, prepared: Prepared) -> None:
        """Remember a reading, unless the body is large."""
        size = len(identity[2])
        if size > REMEMBERED_BODY_BYTES_MAX:
            return
        if self._bytes + size > REMEMBERED_BYTES_MAX:
            self._remembered.clear()
            self._bytes = 0
        self._remembered[identity] = prepared
        self._bytes += size + 1024  # what reading it costs besides
