"""Signatures of webhooks, after Standard Webhooks: over id, time and body, one for each secret or key that is in use.

HMAC-SHA256 (scheme v1) for receivers that share a secret with us, and Ed25519 (v1a) for those that only know a public key, and
so cannot sign as if they were us.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentcache.kit.egress.target import Headers

USER_AGENT = b"AgentCache-Webhooks/1"


def sign(secret: bytes, message_id: str, timestamp: str, body: str) -> str:
    """Return the signature of a message by one secret (scheme v1); `timestamp` is whole Unix seconds."""
    signed = hmac.digest(secret, f"{message_id}.{timestamp}.{body}".encode(), "sha256")
    return f"v1,{base64.b64encode(signed).decode()}"


def sign_with_key(seed: bytes, message_id: str, timestamp: str, body: str) -> str:
    """Return the signature of a message by the Ed25519 key of a 32-byte seed (scheme v1a)."""
    signed = _key(seed).sign(f"{message_id}.{timestamp}.{body}".encode())
    return f"v1a,{base64.b64encode(signed).decode()}"


def signed_headers(
    secrets: Sequence[bytes], message_id: str, timestamp: str, body: str, seeds: Sequence[bytes] = ()
) -> Headers:
    """Return the headers of a try; receivers take whichever signature they know."""
    signatures = " ".join(
        (
            *(sign(secret, message_id, timestamp, body) for secret in secrets),
            *(sign_with_key(seed, message_id, timestamp, body) for seed in seeds),
        )
    )
    return [
        (b"content-type", b"application/json"),
        (b"user-agent", USER_AGENT),
        (b"webhook-id", message_id.encode()),
        (b"webhook-timestamp", timestamp.encode()),
        (b"webhook-signature", signatures.encode()),
    ]


def shown_public_key(seed: bytes) -> str:
    """Return the public key of a seed as receivers configure it."""
    return f"whpk_{base64.b64encode(_key(seed).public_key().public_bytes_raw()).decode()}"


def _key(seed: bytes) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(seed)


def shown_secret(secret: bytes) -> str:
    """Return a secret as receivers configure it."""
    return f"whsec_{base64.b64encode(secret).decode()}"
