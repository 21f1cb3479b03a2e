"""Puts the control plane's routes into the gateway's OpenAPI document, so that there is one for the whole server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_SCHEMAS = "#/components/schemas/"
#: Headers of every request that goes by session.
_SESSION = {"type": "apiKey", "in": "header", "name": "X-Session-Token", "description": "The session of a program."}


def with_control_plane(document: bytes) -> bytes:
    """Return the gateway's document with the routes of `web.api` added. Takes a tenth of a second, once."""
    from agentcache.web.api import api

    whole: dict[str, Any] = json.loads(document)
    added = _without_clashes(api.get_openapi_schema(path_prefix="/api/"), whole["components"]["schemas"])
    for path, operations in added["paths"].items():
        whole["paths"].setdefault(path, {}).update({name: _described(one) for name, one in operations.items()})
    whole["components"]["schemas"] |= added["components"].get("schemas", {})
    whole["components"]["securitySchemes"]["session"] = _SESSION
    known = {tag["name"] for tag in whole["tags"]}
    tags = {tag for operations in added["paths"].values() for one in operations.values() for tag in one.get("tags", ())}
    whole["tags"] += [{"name": name} for name in sorted(tags - known)]
    return json.dumps(whole, ensure_ascii=False).encode()


def _described(operation: Mapping[str, Any]) -> dict[str, Any]:
    # Each guard is a scheme of its own to django-ninja; to callers there is a session, or nothing.
    security: list[dict[str, list[str]]] = [{"session": []}] if operation.get("security") else []
    responses = {**operation["responses"], "default": {"$ref": "#/components/responses/Problem"}}
    return {**operation, "security": security, "responses": responses}


def _without_clashes(added: Mapping[str, Any], taken: Mapping[str, Any]) -> dict[str, Any]:
    text = json.dumps(added)
    for name in set(added["components"].get("schemas", {})) & set(taken):
        text = text.replace(f'"{_SCHEMAS}{name}"', f'"{_SCHEMAS}Account{name}"').replace(
            f'"{name}": {{', f'"Account{name}": {{'
        )
    changed: dict[str, Any] = json.loads(text)
    return changed
