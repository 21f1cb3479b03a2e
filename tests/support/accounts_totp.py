"""What an authenticator app would show, without Django."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time


def totp(secret: str, steps: int = 0) -> str:
    """Return the code of a seed now, or some half minutes from now (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, (int(time.time()) // 30 + steps).to_bytes(8, "big"), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(int.from_bytes(digest[offset : offset + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06d}"
