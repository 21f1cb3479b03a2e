"""Predictions as callers see them: with URLs on our host, and only statuses that the official SDKs know."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import msgspec

from agentcache.gateway.calls import Call
from agentcache.gateway.predictions.files import absolute
from agentcache.gateway.predictions.outputs import replace_urls
from agentcache.providers.dialect import Json

_JSON = msgspec.json.Encoder()
#: A name or an address, and perhaps a port; nothing that would move the path of a URL made with it.
_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def own_origin(call: Call) -> str:
    """Return the URL under which this caller reaches us, without a slash at its end."""
    settings = call.parts.settings
    host = call.caller.headers.get("host", "")
    if settings.public_url is not None or not _HOST.fullmatch(host):
        return settings.origin
    return f"{call.asgi_scope.get('scheme', 'http')}://{host}"


def relayed(call: Call, prediction: Json, files: dict[str, str]) -> Json:
    """Return the provider's prediction with polling and cancelling led through us, and copied files on our host.

    `aborted` is younger than the SDKs: one fails to read it and the other polls it for ever.
    """
    origin = own_origin(call)
    shown = dict(prediction)
    if shown.get("status") == "aborted":
        shown["status"] = "canceled"
    urls = shown.get("urls")
    if isinstance(urls, dict) and isinstance(shown.get("id"), str):
        own = _own_urls(call, origin, shown["id"])
        shown["urls"] = {**urls, **{name: own[name] for name in ("get", "cancel") if name in urls}}
    if files:
        shown["output"] = replace_urls(shown.get("output"), absolute(files, origin))
    return shown


def completed(
    call: Call, stored: Json, files: dict[str, str], prediction_id: str, at: float, request: Json | None
) -> Json:
    """Return a stored prediction as one that was created and finished at `at` (Unix seconds) under our own id.

    `request` is the create request, whose input is repeated; a later poll has none and shows the first caller's.
    """
    origin = own_origin(call)
    # Milliseconds, which is what the id can say to a later poll.
    finished_at = datetime.fromtimestamp(round(at * 1000) / 1000, UTC)
    moment = finished_at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    urls = _own_urls(call, origin, prediction_id)
    given = stored.get("urls")
    if not isinstance(given, dict) or "stream" not in given:
        del urls["stream"]
    shown = {
        **stored,
        "id": prediction_id,
        "output": replace_urls(stored.get("output"), absolute(files, origin)),
        "created_at": moment,
        "started_at": moment,
        "completed_at": moment,
        "urls": urls,
    }
    if request is not None and "input" in request:
        shown["input"] = request["input"]
    return shown


def event_stream(output: Any) -> bytes:
    """Return a finished prediction's output as the events that its stream would have carried."""
    pieces = output if isinstance(output, list) else [output]
    events = []
    for number, piece in enumerate(pieces):
        text = piece if isinstance(piece, str) else _JSON.encode(piece).decode()
        lines = "".join(f"data: {line}\n" for line in text.split("\n"))
        # The SDKs drop events without an id.
        events.append(f"event: output\nid: {number}:0\n{lines}\n")
    events.append(f"event: done\nid: {len(pieces)}:0\ndata: {{}}\n\n")
    return "".join(events).encode()


def _own_urls(call: Call, origin: str, prediction_id: str) -> dict[str, str]:
    get = f"{origin}/{call.dialect.name}/v1/predictions/{prediction_id}"
    return {"cancel": f"{get}/cancel", "get": get, "stream": f"{get}/stream"}
