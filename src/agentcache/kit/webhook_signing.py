"""Signatures of webhooks, after Standard Webhooks: HMAC-SHA256 over id, time and body, one for each secret that is in use."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

from agentcache.kit.egress.target import Headers

USER_AGENT = b"AgentCache-Webhooks/1"


def sign(secret: bytes, message_id: str, timestamp: str, body: str) -> str:
    """Return the signature of a message by one secret (scheme v1); `timestamp` is whole Unix seconds."""
    signed = hmac.digest(secret, f"{message_id}.{timestamp}.{body}".encode(), "sha256")
    return f"v1,{base64.b64encode(signed).decode()}"


def signed_headers(secrets: Sequence[bytes], message_id: str, timestamp: str, body: str) -> Headers:
    """Return the headers of a try; receivers take whichever signature they know."""
    signatures = " ".join(sign(secret, message_id, timestamp, body) for secret in secrets)
    return [
        (b"content-type", b"application/json"),
        (b"user-agent", USER_AGENT),
        (b"webhook-id", message_id.encode()),
        (b"webhook-timestamp", timestamp.encode()),
        (b"webhook-signature", signatures.encode()),
    ]


def shown_secret(secret: bytes) -> str:
    """Return a secret as receivers configure it."""
    return f"whsec_{base64.b64encode(secret).decode()}"
