"""The JSON API of prewarming and of the credentials that it uses."""

from __future__ import annotations

from agentcache.prewarm.api.batches import router as prewarm
from agentcache.prewarm.api.credentials import router as credentials

__all__ = ["credentials", "prewarm"]
