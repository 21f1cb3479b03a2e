"""An index in a Redis that has the query engine (Redis 8, Redis Stack): it keeps the rows and compares the vectors.

    ac:s:1:r:<tenant>:<key>   hash: one row; expires with it
    ac:s:1:t:<tenant>         sorted set: the tenant's keys by the time their rows expire
    ac:s:1:q:<tenant>         hash: key -> quarantine
    ac:s:1:tenants            set: the tenants that have rows
    ac:s:1:i:<dimensions>     the query engine's index over all rows with vectors of that length

Every search names one scope (tenant, partition, embedder), and the engine compares the rows of that scope, all of them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from agentcache.engine.entries import Tenant
from agentcache.engine.semantic.embedders.port import Vector
from agentcache.engine.semantic.index.port import (
    ALIKE_MAX,
    COSINE_MIN,
    NEIGHBOURS,
    IndexRow,
    IndexUnavailable,
    Neighbour,
    Quarantined,
    reason_to_follow,
    went_with,
)
from agentcache.engine.semantic.index.rows import Kept, Unreadable, pack_kept, unpack
from agentcache.engine.semantic.index.scopes import normal_scope_of, scope_of, shown_vector, tenant_scope_of
from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.port import StoreUnavailable
from agentcache.engine.stores.redis_link import Command, Lane, PartOfCluster, RedisLink
from agentcache.kit.clock import Clock

_PREFIX: Final = "ac:s:1:"
#: Rows asked for beyond the limit, because some may be in quarantine; then more at a time.
_SPARE: Final = 8
_ASKED_MAX: Final = 1000
#: So many rows are added between two looks at how many there are.
_ADDED_BETWEEN_LOOKS: Final = 200
_REMOVED_AT_ONCE: Final = 500
#: What a row keeps is changed only where nobody else changed or removed it meanwhile.
_SET_IF_SAME: Final = (
    "if redis.call('HGET', KEYS[1], 'k') == ARGV[1] then redis.call('HSET', KEYS[1], 'k', ARGV[2]) end return 1"
)
_DELETE_IF_SAME: Final = (
    "if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('HDEL', KEYS[1], ARGV[1]) end return 1"
)
#: Callers have a budget of their own; writes may wait.
_POOL_WAIT_SECONDS: Final = 2.0
_SOCKET_SECONDS: Final = 2.0


class _Quarantine(msgspec.Struct, array_like=True):
    until: float | None
    reason: str
    at: float


_encode: Final = msgspec.msgpack.Encoder().encode
_decode_quarantine: Final = msgspec.msgpack.Decoder(_Quarantine).decode


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as it stands in Redis."""

    key: bytes
    members: dict[bytes, bytes]
    partition: bytes
    kept: Kept

    @property
    def answer(self) -> bytes:
        """The same for all rows that are known to have one answer."""
        return self.kept.repeats or self.key

    @property
    def embedder_id(self) -> str:
        """What made its vector."""
        return self.members[b"e"].decode()

    @property
    def shown(self) -> bytes:
        """Its vector, as Redis sees it."""
        return next(value for name, value in self.members.items() if name[:1] == b"v")


class RedisIndex:
    """Keeps rows in Redis. `rows_max` bounds all tenants together."""

    def __init__(self, url: str, *, clock: Clock, rows_max: int) -> None:
        self.counters = StoreCounters()
        self._clock = clock
        self._rows_max = rows_max
        self._link = RedisLink(
            url, counters=self.counters, pool_wait_seconds=_POOL_WAIT_SECONDS, socket_seconds=_SOCKET_SECONDS
        )
        self._indexed: set[int] = set()
        self._added = 0

    async def nearest(
        self,
        tenant: Tenant,
        partition: bytes,
        embedder_id: str,
        vector: Vector,
        *,
        limit: int = NEIGHBOURS,
        cosine_min: float = COSINE_MIN,
    ) -> list[Neighbour]:
        """Return the nearest rows of the scope."""
        shown = shown_vector(tenant, vector).astype("<f4").tobytes()
        return await self._nearest(tenant, partition, embedder_id, shown, limit, cosine_min)

    async def find_normalised(self, tenant: Tenant, partition: bytes, normal_digest: bytes) -> bytes | None:
        """Return the key of the newest row with this normal form."""
        where = f"@m:{{{normal_scope_of(tenant, partition, normal_digest).hex()}}} @x:[({self._clock.now()!r} +inf]"
        # The index of any length of vectors knows all rows.
        dimensions = next(iter(self._indexed), 384)
        found = await self._query(
            dimensions, where, "SORTBY", "s", "DESC", "LIMIT", 0, _SPARE, "RETURN", 4, "key", "n", "k", "e"
        )
        barred = await self._barred(tenant, [row[b"key"] for row in found])
        for row in found:
            is_meant = row[b"key"] not in barred and row[b"n"] == normal_digest
            if is_meant and self._open(tenant, row, partition, row[b"e"].decode()) is not None:
                return bytes(row[b"key"])
        return None

    async def add(self, tenant: Tenant, row: IndexRow) -> None:
        """Keep a row."""
        dimensions = len(row.vector)
        await self._ensure_indexed(dimensions)
        # The vector stands beside it, for the engine to see; what is sealed needs none.
        kept = Kept.of(row)
        stored = pack_kept(tenant, kept, row.key, row.partition, row.embedder_id, row.normal_digest)
        tag = tenant_scope_of(tenant).hex()
        name = self._row(tag, row.key)
        members: tuple[Any, ...] = (
            "w", scope_of(tenant, row.partition, row.embedder_id, len(row.vector)).hex(),
            "m", normal_scope_of(tenant, row.partition, row.normal_digest).hex(),
            "x", repr(row.expires_at), "s", repr(row.stored_at), "key", row.key, "n", row.normal_digest,
            "e", row.embedder_id, "p", row.partition, "k", stored,
            f"v{dimensions}", shown_vector(tenant, row.vector).astype("<f4").tobytes(),
        )  # fmt: skip
        await self._transact(
            ("DEL", name),
            ("HSET", name, *members),
            ("EXPIREAT", name, math.ceil(row.expires_at)),
            ("ZADD", f"{_PREFIX}t:{tag}", repr(row.expires_at), row.key),
            ("ZREMRANGEBYSCORE", f"{_PREFIX}t:{tag}", "-inf", repr(self._clock.now())),
            ("SADD", f"{_PREFIX}tenants", tag),
        )
        if row.repeats:
            await self._follow(tenant, row.key, row.repeats)
        self._added += 1
        if self._added % _ADDED_BETWEEN_LOOKS == 0:
            await self._bound()

    async def remove(self, tenant: Tenant, keys: Sequence[bytes]) -> None:
        """Remove rows."""
        await self._remove(tenant_scope_of(tenant).hex(), keys)

    async def repeat(self, tenant: Tenant, key: bytes, other: bytes) -> None:
        """Note that a row has the answer of another one."""
        rows = await self._rows(tenant, [key, other])
        found, repeated = rows.get(key), rows.get(other)
        if found is None or repeated is None or await self._barred(tenant, [key, other]):
            return
        is_expired = min(float(found.members[b"x"]), float(repeated.members[b"x"])) <= self._clock.now()
        # One scope: partition, embedder and dimensions.
        if not is_expired and found.members[b"w"] == repeated.members[b"w"]:
            await self._set_repeats(tenant, [found], repeated.answer)

    async def quarantine(self, tenant: Tenant, key: bytes, *, until: float | None, reason: str) -> None:
        """Let a key's row be found no more, nor those near it that have its answer."""
        kept = _encode(_Quarantine(until, reason, self._clock.now()))
        await self._ask(("HSET", self._quarantines(tenant), key, kept))
        row = (await self._rows(tenant, [key])).get(key)
        if row is None:
            return
        # With this, what is added from now on with that answer follows; what was added before is found below.
        with_it = [row.answer] if row.answer != key else []
        await self._bar_others(tenant, with_it, until, went_with(key))
        near = await self._nearest(tenant, row.partition, row.embedder_id, row.shown, ALIKE_MAX, COSINE_MIN)
        alike = [one.key for one in near if one.answer == row.answer]
        await self._bar_others(tenant, alike, until, went_with(key))
        await self._set_repeats(tenant, list((await self._rows(tenant, [key, *with_it, *alike])).values()), b"")

    async def release(self, tenant: Tenant, key: bytes) -> None:
        """End a quarantine."""
        with_it = [one.key for one in await self.quarantined(tenant) if one.reason == went_with(key)]
        await self._ask(("HDEL", self._quarantines(tenant), key, *with_it))

    async def quarantined(self, tenant: Tenant) -> list[Quarantined]:
        """Return the quarantines in force; those that are over are removed."""
        (flat,) = await self._ask(("HGETALL", self._quarantines(tenant)))
        now, found, over = self._clock.now(), [], list[tuple[bytes, bytes]]()
        for key, raw in zip(flat[::2], flat[1::2], strict=True):
            kept = _decode_quarantine(raw)
            if kept.until is not None and kept.until <= now:
                over.append((key, raw))
            else:
                found.append(Quarantined(bytes(key), kept.until, kept.reason, kept.at))
        await self._ask(*(("EVAL", _DELETE_IF_SAME, 1, self._quarantines(tenant), *each) for each in over))
        return sorted(found, key=lambda each: (-each.quarantined_at, each.key))

    async def forget_tenant(self, tenant: Tenant) -> None:
        """Remove everything of a tenant."""
        tag = tenant_scope_of(tenant).hex()
        while True:
            (keys,) = await self._ask(("ZRANGE", f"{_PREFIX}t:{tag}", 0, _REMOVED_AT_ONCE - 1))
            if not keys:
                break
            await self._remove(tag, keys)
        await self._transact(
            ("DEL", f"{_PREFIX}t:{tag}", self._quarantines(tenant)), ("SREM", f"{_PREFIX}tenants", tag)
        )

    async def count(self, tenant: Tenant) -> int:
        """Return how many rows a tenant has."""
        tag = tenant_scope_of(tenant).hex()
        (count,) = await self._ask(("ZCOUNT", f"{_PREFIX}t:{tag}", f"({self._clock.now()!r}", "+inf"))
        return int(count)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._link.close()

    async def _nearest(
        self, tenant: Tenant, partition: bytes, embedder_id: str, shown: bytes, limit: int, cosine_min: float
    ) -> list[Neighbour]:
        """Return the rows nearest to a vector as this server sees it."""
        asked, dimensions = limit + _SPARE, len(shown) // 4
        where = (
            f"(@w:{{{scope_of(tenant, partition, embedder_id, dimensions).hex()}}} @x:[({self._clock.now()!r} +inf])"
        )
        while True:
            query = f"{where}=>[KNN {asked} @v{dimensions} $asked HYBRID_POLICY ADHOC_BF AS d]"
            found = await self._query(
                dimensions, query, "PARAMS", 2, "asked", shown, "SORTBY", "d", "LIMIT", 0, asked,
                "RETURN", 5, "d", "key", "n", "k", "s",
            )  # fmt: skip
            barred = await self._barred(tenant, [row[b"key"] for row in found])
            neighbours = []
            for row in found:
                cosine = max(-1.0, min(1.0, 1 - float(row[b"d"])))
                kept = self._open(tenant, row, partition, embedder_id) if cosine >= cosine_min else None
                if kept is not None and row[b"key"] not in barred:
                    neighbours.append(kept.as_neighbour(row[b"key"], cosine, float(row[b"s"])))
            if len(neighbours) >= limit or len(found) < asked or asked >= _ASKED_MAX:
                return neighbours[:limit]
            asked = min(4 * asked, _ASKED_MAX)

    async def _bar_others(self, tenant: Tenant, keys: Sequence[bytes], until: float | None, reason: str) -> None:
        """Put keys into quarantine; what is there already is so for a reason of its own."""
        kept = _encode(_Quarantine(until, reason, self._clock.now()))
        if keys:
            # Those that are over have to go first.
            await self.quarantined(tenant)
            await self._ask(*(("HSETNX", self._quarantines(tenant), key, kept) for key in keys))

    async def _follow(self, tenant: Tenant, key: bytes, other: bytes) -> None:
        """Have a row that was just added, and repeats another one, go where that one is in quarantine."""
        if not await self._barred(tenant, [other]):
            return
        for one in await self.quarantined(tenant):
            if one.key == other:
                await self._bar_others(tenant, [key], one.until, reason_to_follow(other, one.reason))
                await self._set_repeats(tenant, list((await self._rows(tenant, [key])).values()), b"")

    async def _rows(self, tenant: Tenant, keys: Sequence[bytes]) -> dict[bytes, _Row]:
        """Return the rows of these keys; left out are those that are gone, or were put there by an earlier release, and no other."""
        tag, found, partitions = tenant_scope_of(tenant).hex(), {}, dict[bytes, bytes]()
        for key, flat in zip(keys, await self._ask(*(("HGETALL", self._row(tag, key)) for key in keys)), strict=True):
            members = dict(zip(flat[::2], flat[1::2], strict=True))
            if not members:
                continue
            scope = members[b"w"]
            if scope not in partitions:
                partitions[scope] = members.get(b"p") or await self._partition_beside(members)
            # Where no row of the scope has a partition, none says whose answer it has.
            partition = partitions[scope]
            kept = self._open(tenant, members, partition, members[b"e"].decode()) if partition else None
            if kept is not None:
                found[key] = _Row(key, members, partition, kept)
        return found

    async def _partition_beside(self, members: dict[bytes, bytes]) -> bytes:
        """Return the partition of a row of an earlier release, which is that of any other row of its scope; empty for none."""
        dimensions = next(int(name[1:]) for name in members if name[:1] == b"v")
        where = f"@w:{{{members[b'w'].decode()}}}"
        # The newest are of this release, if any are.
        found = await self._query(dimensions, where, "SORTBY", "s", "DESC", "LIMIT", 0, _SPARE, "RETURN", 2, "key", "p")
        return next((one[b"p"] for one in found if b"p" in one), b"")

    async def _set_repeats(self, tenant: Tenant, rows: Sequence[_Row], repeats: bytes) -> None:
        commands: list[Command] = []
        rows = [one for one in rows if one.kept.repeats != repeats]
        for one in rows:
            kept = msgspec.structs.replace(one.kept, repeats=b"" if repeats == one.key else repeats)
            where = one.partition, one.embedder_id, one.members[b"n"]
            name = self._row(tenant_scope_of(tenant).hex(), one.key)
            commands.append(
                ("EVAL", _SET_IF_SAME, 1, name, one.members[b"k"], pack_kept(tenant, kept, one.key, *where))
            )
        await self._ask(*commands)

    @staticmethod
    def _row(tag: str, key: bytes) -> str:
        # In hex, because the engine takes a name to end at its first zero byte.
        return f"{_PREFIX}r:{tag}:{key.hex()}"

    @staticmethod
    def _quarantines(tenant: Tenant) -> str:
        return f"{_PREFIX}q:{tenant_scope_of(tenant).hex()}"

    def _open(self, tenant: Tenant, row: dict[bytes, bytes], partition: bytes, embedder_id: str) -> Kept | None:
        try:
            return unpack(tenant, row[b"k"], row[b"key"], partition, embedder_id, row[b"n"])
        except (Unreadable, KeyError):
            self.counters.corrupt += 1
            return None

    async def _barred(self, tenant: Tenant, keys: Sequence[bytes]) -> set[bytes]:
        if not keys:
            return set()
        (kept,) = await self._ask(("HMGET", self._quarantines(tenant), *keys))
        now, barred = self._clock.now(), set()
        for key, raw in zip(keys, kept, strict=True):
            until = _decode_quarantine(raw).until if raw is not None else now
            if until is None or until > now:
                barred.add(key)
        return barred

    async def _remove(self, tag: str, keys: Sequence[bytes]) -> None:
        if keys:
            names = [self._row(tag, key) for key in keys]
            await self._transact(("DEL", *names), ("ZREM", f"{_PREFIX}t:{tag}", *keys))

    async def _bound(self) -> None:
        """Remove the rows next to expire of the tenant that has most, while there are too many."""
        (tags,) = await self._ask(("SMEMBERS", f"{_PREFIX}tenants"))
        counts = await self._ask(*(("ZCARD", f"{_PREFIX}t:{tag.decode()}") for tag in tags))
        over = sum(counts) - self._rows_max
        if over > 0:
            tag = tags[counts.index(max(counts))].decode()
            (keys,) = await self._ask(("ZRANGE", f"{_PREFIX}t:{tag}", 0, min(over, 10 * _REMOVED_AT_ONCE) - 1))
            for start in range(0, len(keys), _REMOVED_AT_ONCE):
                await self._remove(tag, keys[start : start + _REMOVED_AT_ONCE])
            self.counters.evicted += len(keys)

    async def _query(self, dimensions: int, query: str, *more: Any) -> list[dict[bytes, bytes]]:
        await self._ensure_indexed(dimensions)
        try:
            (reply,) = await self._ask(("FT.SEARCH", f"{_PREFIX}i:{dimensions}", query, *more, "DIALECT", 2))
        except IndexUnavailable as error:
            if "no such index" not in error.message.lower() and "unknown index" not in error.message.lower():
                raise
            # Somebody emptied this Redis, and the index went with the rows.
            self._indexed.discard(dimensions)
            return []
        # Total, then name and members of each. A row that expired on the way has no members any more.
        rows = [dict(zip(flat[::2], flat[1::2], strict=True)) for flat in reply[2::2] if flat]
        return [row for row in rows if b"key" in row]

    async def _ensure_indexed(self, dimensions: int) -> None:
        if dimensions in self._indexed:
            return
        vector = (
            f"v{dimensions}",
            "VECTOR",
            "FLAT",
            6,
            "TYPE",
            "FLOAT32",
            "DIM",
            dimensions,
            "DISTANCE_METRIC",
            "COSINE",
        )
        try:
            await self._ask(
                ("FT.CREATE", f"{_PREFIX}i:{dimensions}", "ON", "HASH", "PREFIX", 1, f"{_PREFIX}r:", "STOPWORDS", 0,
                 "SCHEMA", "w", "TAG", "m", "TAG", "x", "NUMERIC", "s", "NUMERIC", "SORTABLE", *vector)
            )  # fmt: skip
        except IndexUnavailable as error:
            if "already exists" not in error.message.lower():
                raise
        self._indexed.add(dimensions)

    async def _ask(self, *commands: Command) -> list[Any]:
        async def ask(lane: Lane) -> list[Any]:
            return await lane.ask(*commands)

        try:
            return await self._link.run(_PREFIX, ask) if commands else []
        except StoreUnavailable as error:
            raise _translated(error) from error

    async def _transact(self, *commands: Command) -> None:
        async def transact(lane: Lane) -> None:
            await lane.transact(*commands)

        try:
            await self._link.run(_PREFIX, transact)
        except StoreUnavailable as error:
            raise _translated(error) from error


def _translated(error: StoreUnavailable) -> IndexUnavailable:
    if isinstance(error, PartOfCluster):
        return IndexUnavailable(
            "this Redis is part of a cluster, whose nodes search their own rows only; it needs one Redis or PostgreSQL"
        )
    if "unknown command" in error.message.lower():
        return IndexUnavailable("this Redis has no query engine; it needs Redis 8 or Redis Stack")
    return IndexUnavailable(error.message)
