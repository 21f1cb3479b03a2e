"""Which index the settings ask for. Nothing is opened before its first use."""

from __future__ import annotations

from agentcache.engine.semantic.index.port import NeighbourIndex
from agentcache.engine.semantic.index.sqlite import SqliteIndex
from agentcache.kit.clock import Clock
from agentcache.settings import Settings


def open_index(settings: Settings, clock: Clock) -> NeighbourIndex:
    """Return the index; one per event loop. Costs nothing yet."""
    return SqliteIndex(settings.semantic_db, clock=clock, rows_max=settings.semantic_max_rows)
