"""Which index the settings ask for. Nothing is opened before its first use."""

from __future__ import annotations

from agentcache.engine.semantic.index.port import NeighbourIndex
from agentcache.kit.clock import Clock
from agentcache.settings import Settings


def open_index(settings: Settings, clock: Clock) -> NeighbourIndex:
    """Return the index; one per event loop. Costs nothing yet."""
    url, rows_max = settings.semantic_index_url, settings.semantic_max_rows
    if url is None:
        from agentcache.engine.semantic.index.sqlite import SqliteIndex

        return SqliteIndex(settings.semantic_db, clock=clock, rows_max=rows_max)
    if url.startswith("postgres"):
        from agentcache.engine.semantic.index.pgvector import PgvectorIndex

        return PgvectorIndex(url, clock=clock, rows_max=rows_max)
    from agentcache.engine.semantic.index.redis import RedisIndex

    return RedisIndex(url, clock=clock, rows_max=rows_max)
