"""Which near answers this process served lately, so that one can be reported by the id of its request at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentcache.gateway.ports import SemanticEvent

_REMEMBERED_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Served:
    """One answer to a near question."""

    tenant_id: str
    entry_key: bytes
    event: SemanticEvent


class ServedRecently:
    """The last ones, by request id."""

    def __init__(self) -> None:
        self._by_request: dict[str, Served] = {}

    def add(self, request_id: str, served: Served) -> None:
        """Remember one; the oldest is forgotten where there are too many."""
        if len(self._by_request) >= _REMEMBERED_MAX:
            del self._by_request[next(iter(self._by_request))]
        self._by_request[request_id] = served

    def find(self, tenant_id: str, request_id: str) -> Served | None:
        """Return what a tenant's request was served."""
        served = self._by_request.get(request_id)
        return served if served is not None and served.tenant_id == tenant_id else None
