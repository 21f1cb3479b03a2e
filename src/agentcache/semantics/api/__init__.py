"""The JSON API of semantic look-ups, under /api/semantics."""

from __future__ import annotations

from agentcache.semantics.api.judges import router as judges
from agentcache.semantics.api.near_questions import router as semantics
from agentcache.semantics.api.settings import router as settings

__all__ = ["judges", "semantics", "settings"]
