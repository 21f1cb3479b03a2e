"""The JSON API of prewarming and of the credentials that it uses."""

from __future__ import annotations

from agentcache.prewarm.api.batches import router as prewarm
from agentcache.prewarm.api.credentials import router as credentials
from agentcache.prewarm.api.keeping import router as keeping
from agentcache.prewarm.api.schedules import router as schedules

__all__ = ["credentials", "keeping", "prewarm", "schedules"]
