"""Ids of predictions that were answered from the cache: each says which entry it shows, and since when.

    "ac" | base32 of: milliseconds since 1970 (6 bytes) | random (4) | cache key (32) | HMAC with the tenant's secret (8)

Nothing has to be remembered for them, so any worker can answer for one. A provider's own ids are far shorter.
"""

from __future__ import annotations

import hmac
from base64 import b32decode, b32encode
from dataclasses import dataclass
from os import urandom

from agentcache.engine.entries import Tenant
from agentcache.engine.keys import KEY_BYTES

_PREFIX = "ac"
_STAMP_BYTES, _RANDOM_BYTES, _SEAL_BYTES = 6, 4, 8
_CHARACTERS = len(_PREFIX) + (_STAMP_BYTES + _RANDOM_BYTES + KEY_BYTES + _SEAL_BYTES) * 8 // 5


@dataclass(frozen=True, slots=True)
class OwnPrediction:
    """What an id of ours says: the entry's cache key and when it was answered (Unix seconds)."""

    key: bytes
    answered_at: float


def make_own_id(tenant: Tenant, key: bytes, now: float) -> str:
    """Return a fresh id for a prediction answered from the entry under `key`."""
    payload = round(now * 1000).to_bytes(_STAMP_BYTES, "big") + urandom(_RANDOM_BYTES) + key
    return _PREFIX + b32encode(payload + _seal(tenant, payload)).decode("ascii").lower()


def looks_own(prediction_id: str) -> bool:
    """Say whether an id has the form of ours, so that no provider knows it."""
    return len(prediction_id) == _CHARACTERS and prediction_id.startswith(_PREFIX)


def read_own_id(tenant: Tenant, prediction_id: str) -> OwnPrediction | None:
    """Return what an id of ours says, or None when this tenant was never given it."""
    try:
        raw = b32decode(prediction_id[len(_PREFIX) :].upper())
    except ValueError:
        return None
    payload, seal = raw[:-_SEAL_BYTES], raw[-_SEAL_BYTES:]
    if not looks_own(prediction_id) or not hmac.compare_digest(seal, _seal(tenant, payload)):
        return None
    return OwnPrediction(payload[-KEY_BYTES:], int.from_bytes(payload[:_STAMP_BYTES], "big") / 1000)


def _seal(tenant: Tenant, payload: bytes) -> bytes:
    return hmac.digest(tenant.key_secret, b"prediction id" + payload, "sha256")[:_SEAL_BYTES]
