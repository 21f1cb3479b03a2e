"""Requests of a batch, for tests that need no database."""

from __future__ import annotations

import json
from typing import Any


def chat(text: str, **members: Any) -> dict[str, Any]:
    """Return a request of a batch."""
    body = {"model": "gpt-4o-mini", "max_tokens": 50, "messages": [{"role": "user", "content": text}]}
    return {"path": "/v1/chat/completions", "body": {**body, **members}}


def lines(*requests: dict[str, Any]) -> bytes:
    """Return requests as JSON lines."""
    return b"\n".join(json.dumps(one).encode() for one in requests)
