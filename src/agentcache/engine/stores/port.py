"""The two ports of storage: where entries are kept, and where workers tell each other of flights."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from agentcache.engine.entries import Entry, EntryMeta, Lookup, Mark, Reach, Selector, Tenant
from agentcache.kit.errors import AgentCacheError


class StoreUnavailable(AgentCacheError):
    """The cache store cannot be reached in time."""

    code = "store_unavailable"
    status = 503


class StoreFull(StoreUnavailable):
    """The cache store has no room left."""

    code = "storage_full"


class UnsuitableStore(StoreUnavailable):
    """The cache store cannot be used as it is configured."""

    code = "unsuitable_store"


class StoreBusy(StoreUnavailable):
    """All connections to the cache store are in use; the store itself may be well."""

    code = "store_busy"


class Put(Enum):
    """What became of a `put`."""

    STORED = "stored"
    #: An invalidation that matches arrived after the fill began: the answer is already outdated.
    SUPERSEDED = "superseded"
    #: Larger than one entry may be.
    TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class EntrySummary:
    """One row of a listing; no body."""

    key: bytes
    meta: EntryMeta
    body_bytes: int
    hits: int
    last_used_at: float
    #: As `Entry.stale_at`.
    stale_at: float | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a listing, newest first; `cursor` continues it and is empty at the end."""

    rows: tuple[EntrySummary, ...]
    cursor: str = ""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Totals of one tenant."""

    entries: int
    body_bytes: int
    #: namespace -> entries
    namespaces: dict[str, int]


class CurrentEntries(Protocol):
    """The part of a store that tells on the spot whether an entry still stands; not every store can."""

    def is_current(self, tenant: Tenant, entry: Entry) -> bool:
        """Say whether a look-up would return this very entry; counts as a use then. False where only a look-up tells."""


class EntryStore(Protocol):
    """Keeps entries. Every adapter passes `tests/contract/entry_store.py`.

    A read never returns a torn, foreign, corrupt or invalidated entry; such rows are misses (and are removed).
    Reads return entries that are past their lifetime but still inside `grace`; the caller judges freshness.
    Errors are `StoreUnavailable` (or `StoreFull`) and nothing else.
    """

    async def get(self, tenant: Tenant, key: bytes) -> Lookup:
        """Look a key up. Counts as a use for eviction when it finds one."""

    async def put(self, tenant: Tenant, entry: Entry, since: Mark | None = None) -> Put:
        """Store an entry; durable against process death when it returns.

        With `since` (the mark of the look-up that started the fill) the put is refused when a matching
        invalidation was acknowledged in between, atomically with the write.
        """

    async def invalidate(self, tenant: Tenant, selector: Selector) -> int:
        """Remove every entry that matches and return how many; final for every worker once it returns."""

    async def withdraw(self, tenant: Tenant, selector: Selector, *, soft: bool = False) -> Reach:
        """Do what `invalidate` does, and tell what was met; with `soft`, mark the entries stale instead.

        The lifetime of an entry marked stale has ended at that moment: it is served within its stale-while-revalidate
        and stale-if-error windows only, which begin then, until it is stored anew. A fill under way is refused either
        way, for its answer is from before. Entries that had been marked before count again and stay as they are.
        """

    async def survey(self, tenant: Tenant, selector: Selector) -> Reach:
        """Say what `withdraw` would meet now."""

    async def which(self, tenant: Tenant, selector: Selector, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of `keys` whose entries a selector means now; `selector` itself has no keys."""

    async def count(self, tenant: Tenant, selector: Selector) -> int:
        """Say how many entries `invalidate` would remove now."""

    async def list_entries(self, tenant: Tenant, selector: Selector, *, cursor: str = "", limit: int = 50) -> Page:
        """Return a page of entries, newest first."""

    async def stats(self, tenant: Tenant) -> StoreStats:
        """Return totals."""

    async def sweep(self) -> int:
        """Delete what is past lifetime and grace, evict down to the size bound; return rows removed. For all tenants."""

    async def ping(self) -> None:
        """Raise `StoreUnavailable` unless a read works now."""

    async def close(self) -> None:
        """Flush what is pending and release everything."""


class LeaderLost(AgentCacheError):
    """The worker that led this call has died."""

    code = "leader_lost"
    status = 502


class FlightBoard(Protocol):
    """Lets workers share one upstream call. Frames are opaque bytes; the engine gives them meaning.

    Every adapter passes `tests/contract/flight_board.py`. Errors: `StoreUnavailable`.
    """

    async def claim(self, flight: str) -> str | None:
        """Try to lead `flight`; return a token for the leader, or None when another worker leads it.

        The lease is kept alive by the board until `finish` and expires within 5 s of the leader's death.
        """

    async def publish(self, flight: str, token: str, frames: list[bytes]) -> None:
        """Append frames for followers in other workers. Cheap to call often: the board batches."""

    async def finish(self, flight: str, token: str) -> None:
        """Close the flight; followers that are reading get the rest, then the end. Later claims lead anew."""

    def follow(self, flight: str) -> AsyncIterator[bytes]:
        """Yield the frames from the first on until the leader finishes. Raises `LeaderLost` if it dies first."""

    async def close(self) -> None:
        """Give up leases held by this worker and release everything."""
