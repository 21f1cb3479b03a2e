"""Answering a create request from the cache: a complete prediction with an id of its own, and its webhook."""

from __future__ import annotations

import msgspec

from agentcache.engine.entries import Entry
from agentcache.engine.freshness import freshness
from agentcache.gateway.asgi_types import HeaderList, send_whole
from agentcache.gateway.calls import Call
from agentcache.gateway.ports import DELIVER_WEBHOOK, Outcome
from agentcache.gateway.predictions.files import are_present
from agentcache.gateway.predictions.fills import read_stored
from agentcache.gateway.predictions.own_ids import make_own_id
from agentcache.gateway.predictions.shown import completed
from agentcache.gateway.replies import forward_status, hit_headers
from agentcache.kit.errors import Unavailable

_JSON = msgspec.json.Encoder()


async def send_from_entry(call: Call, entry: Entry, *, detail: str = "", collapsed: bool = False) -> bool:
    """Answer from an entry and return True; False when it cannot stand for the real thing.

    That is the case when a file of it was evicted, and when the caller waits for a webhook that cannot be promised.
    """
    stored = read_stored(entry)
    if stored is None:
        return False
    prediction, files = stored
    tenant, now = call.principal.tenant, call.parts.clock.now()
    if files and not await are_present(call.parts, tenant, tuple(files.values())):
        return False
    own_id = make_own_id(tenant, entry.key, now)
    shown = completed(call, prediction, files, own_id, now, call.body)
    body = _JSON.encode(shown)
    if not await _promise_webhook(call, shown["id"], body):
        return False
    meta = entry.meta
    if collapsed:
        status = forward_status("miss", collapsed=True, key=entry.key, detail=detail or call.detail)
        headers: HeaderList = [
            (b"content-type", b"application/json"),
            (b"cache-status", status),
            (b"x-agentcache-key", entry.key.hex().encode()),
            (b"x-agentcache-request-id", call.request_id.encode()),
        ]
    else:
        headers = hit_headers(entry.key, meta, now, call.request_id, detail=detail)
    await send_whole(call.send, 201, headers, body)
    outcome = Outcome.STALE if now >= meta.expires_at else Outcome.EXACT
    call.record(
        Outcome.COALESCED if collapsed else outcome,
        201,
        model=meta.model,
        input_tokens=meta.input_tokens,
        output_tokens=meta.output_tokens,
        saved_usd_nanos=meta.cost_usd_nanos,
        reason="collapsed" if collapsed else detail,
        served=None if collapsed else freshness(meta, now),
    )
    return True


async def _promise_webhook(call: Call, prediction_id: str, body: bytes) -> bool:
    """Leave the delivery of a requested webhook to the job worker; False when nobody takes the job."""
    url = call.body.get("webhook")
    if not url:
        return True
    payload: dict[str, object] = {
        "tenant_id": call.principal.tenant.id,
        "url": url,
        "body": body.decode(),
        "message_id": prediction_id,
    }
    try:
        await call.parts.jobs.enqueue(DELIVER_WEBHOOK, payload)
    except Unavailable:
        return False
    return True
