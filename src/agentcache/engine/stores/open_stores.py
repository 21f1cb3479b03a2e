"""Which stores the settings ask for."""

from __future__ import annotations

from dataclasses import dataclass

from agentcache.engine.stores.boards import NoFlightBoard
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.encrypted import EncryptedStore
from agentcache.engine.stores.guarded import CountedStore, GuardedStore
from agentcache.engine.stores.port import CurrentEntries, FlightBoard
from agentcache.engine.stores.sqlite_board import SqliteFlightBoard
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import Clock
from agentcache.settings import Settings


@dataclass(frozen=True, slots=True)
class Stores:
    """The entries and the flights of one worker."""

    entries: GuardedStore
    board: FlightBoard
    #: What tells on the spot whether an entry still stands, where something does.
    current: CurrentEntries | None = None

    @property
    def counters(self) -> StoreCounters:
        """What the entry store counts, through all its wrappers."""
        return self.entries.counters

    async def close(self) -> None:
        """Close both, in the order they need."""
        await self.board.close()
        await self.entries.close()


def open_stores(settings: Settings, clock: Clock) -> Stores:
    """Open the stores; call once in each worker, inside its event loop. Raises `UnsuitableStore` or `StoreUnavailable`.

    Without a Redis URL everything is in `cache.db`, and flights are shared only when there is more than one worker.
    With one, other machines may have workers too, so flights are always shared. Redis itself may be absent as yet.
    """
    if settings.redis_url:
        # Its client takes 8 MiB and a tenth of a second, which nobody should pay for who has no Redis.
        from agentcache.engine.stores.redis_board import RedisFlightBoard
        from agentcache.engine.stores.redis_entries import RedisEntries
        from agentcache.engine.stores.redis_link import pool_wait_seconds, socket_seconds

        redis = RedisEntries(
            settings.redis_url,
            clock=clock,
            max_bytes=settings.cache_max_bytes,
            entry_max_bytes=settings.entry_max_bytes,
            grace_seconds=settings.stale_grace_seconds,
            sealed=settings.encrypt_entries,
            pool_wait_seconds=pool_wait_seconds(settings.store_budget_ms),
            socket_seconds=socket_seconds(settings.store_budget_ms),
        )
        return Stores(_guard(redis, settings, clock), RedisFlightBoard(redis.link))
    sqlite = SqliteEntries(
        settings.cache_db,
        clock=clock,
        max_bytes=settings.cache_max_bytes,
        entry_max_bytes=settings.entry_max_bytes,
        grace_seconds=settings.stale_grace_seconds,
        sealed=settings.encrypt_entries,
    )
    sqlite.open()
    board: FlightBoard = SqliteFlightBoard(sqlite, clock=clock) if settings.workers > 1 else NoFlightBoard()
    # What is opened for one look-up is no copy that could be current.
    return Stores(_guard(sqlite, settings, clock), board, None if settings.encrypt_entries else sqlite)


def _guard(store: CountedStore, settings: Settings, clock: Clock) -> GuardedStore:
    inner = EncryptedStore(store) if settings.encrypt_entries else store
    return GuardedStore(inner, budget_ms=settings.store_budget_ms, clock=clock)
