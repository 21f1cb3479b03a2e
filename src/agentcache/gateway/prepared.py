"""Understanding a request body, and remembering it: agents and retries send the same bytes again and again.

What is remembered is only what follows from the bytes themselves (their reading, the cache key), never an answer.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentcache.engine.canonical import parse_body
from agentcache.engine.keys import KeyMaterial
from agentcache.gateway.callers import Caller
from agentcache.gateway.calls import Call
from agentcache.gateway.ports import Principal
from agentcache.providers.dialect import Json

REMEMBERED_BODY_BYTES_MAX = 64 * 1024
REMEMBERED_BYTES_MAX = 16 << 20


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request body, read, with its key. Shared between requests, so nobody may change `body`."""

    principal: Principal
    body: Json
    bypass_reason: str
    material: KeyMaterial | None
    key: bytes


class RequestReader:
    """Prepares calls from their raw bodies."""

    def __init__(self) -> None:
        # Callers compare by identity and are themselves remembered by their exact headers.
        self._remembered: dict[tuple[Caller, str, bytes], Prepared] = {}
        self._bytes = 0

    def prepare(self, call: Call) -> None:
        """Fill in body, key and bypass reason from `call.raw_body`; raise `InvalidJSON`."""
        identity = (call.caller, call.path, call.raw_body)
        prepared = self._remembered.get(identity)
        # The principal decides tenant and namespace, and may have changed since.
        if prepared is None or prepared.principal is not call.principal:
            prepared = _read(call)
            self._remember(identity, prepared)
        call.body = prepared.body
        call.detail = prepared.bypass_reason
        call.material = prepared.material
        call.key = prepared.key

    def _remember(self, identity: tuple[Caller, str, bytes], prepared: Prepared) -> None:
        size = len(identity[2])
        if size > REMEMBERED_BODY_BYTES_MAX:
            return
        if self._bytes + size > REMEMBERED_BYTES_MAX:
            self._remembered.clear()
            self._bytes = 0
        self._remembered[identity] = prepared
        self._bytes += size + 1024  # what reading it costs besides


def _read(call: Call) -> Prepared:
    assert call.endpoint is not None
    call.body = parse_body(call.raw_body)
    reason = call.endpoint.bypass(call.body, call.caller.headers) or ""
    if reason or call.directives.is_bypass:
        return Prepared(call.principal, call.body, reason, None, b"")
    call.set_key()
    return Prepared(call.principal, call.body, "", call.material, call.key)
