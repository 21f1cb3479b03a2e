"""An index in a PostgreSQL that has pgvector: it keeps the rows and compares the vectors.

Every search names one scope (tenant, partition, embedder), and all rows of that scope are compared, found by a plain
index on the scope. An approximate index over all vectors would look at the nearest of everybody first and drop what is
not in the scope afterwards: the one row of a small partition would be lost among the rows of large ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

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
from agentcache.kit.clock import Clock

if TYPE_CHECKING:
    import psycopg

#: Two processes that start together would otherwise both create the tables.
_LOCK: Final = 0x4143736D
_TABLES: Final = (
    f"SELECT pg_advisory_xact_lock({_LOCK})",
    "CREATE EXTENSION IF NOT EXISTS vector",
    """CREATE TABLE IF NOT EXISTS agentcache_questions (
        tenant bytea NOT NULL, key bytea NOT NULL, scope bytea NOT NULL, normal_scope bytea NOT NULL,
        normal bytea NOT NULL, embedder text NOT NULL, stored_at float8 NOT NULL, expires_at float8 NOT NULL,
        kept bytea NOT NULL, vector vector NOT NULL, partition bytea, PRIMARY KEY (tenant, key))""",
    "CREATE INDEX IF NOT EXISTS agentcache_questions_scope ON agentcache_questions (scope)",
    "CREATE INDEX IF NOT EXISTS agentcache_questions_normal ON agentcache_questions (normal_scope)",
    "CREATE INDEX IF NOT EXISTS agentcache_questions_expiry ON agentcache_questions (expires_at)",
    """CREATE TABLE IF NOT EXISTS agentcache_question_quarantine (
        tenant bytea NOT NULL, key bytea NOT NULL, until float8, reason text NOT NULL, at float8 NOT NULL,
        PRIMARY KEY (tenant, key))""",
)
#: Rows of earlier releases have no partition; asked first, for to add a column locks the table, if it is there or not.
_HAS_PARTITION: Final = (
    "SELECT FROM pg_attribute WHERE attrelid = 'agentcache_questions'::regclass AND attname = 'partition'"
)
_ADD_PARTITION: Final = "ALTER TABLE agentcache_questions ADD COLUMN partition bytea"
_NEAREST: Final = """
    SELECT key, normal, stored_at, kept, 1 - (vector <=> %(asked)s::vector) AS cosine FROM agentcache_questions r
    WHERE scope = %(scope)s AND expires_at > %(now)s AND NOT EXISTS (
        SELECT FROM agentcache_question_quarantine q
        WHERE q.tenant = r.tenant AND q.key = r.key AND (q.until IS NULL OR q.until > %(now)s))
    ORDER BY vector <=> %(asked)s::vector LIMIT %(limit)s"""
_NORMALISED: Final = """
    SELECT key, normal, embedder, kept FROM agentcache_questions r
    WHERE normal_scope = %(scope)s AND expires_at > %(now)s AND NOT EXISTS (
        SELECT FROM agentcache_question_quarantine q
        WHERE q.tenant = r.tenant AND q.key = r.key AND (q.until IS NULL OR q.until > %(now)s))
    ORDER BY stored_at DESC LIMIT 1"""
_ADD: Final = (
    "INSERT INTO agentcache_questions VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s::vector, %s) "
    "ON CONFLICT (tenant, key) DO UPDATE SET scope = excluded.scope, normal_scope = excluded.normal_scope, "
    "normal = excluded.normal, embedder = excluded.embedder, stored_at = excluded.stored_at, "
    "expires_at = excluded.expires_at, kept = excluded.kept, vector = excluded.vector, "
    "partition = excluded.partition"
)
_EXPIRED: Final = (
    "DELETE FROM agentcache_questions WHERE ctid IN (SELECT ctid FROM agentcache_questions WHERE expires_at <= %s "
    "LIMIT 1000 FOR UPDATE SKIP LOCKED)"
)
_COUNTS: Final = "SELECT tenant, count(*) AS rows FROM agentcache_questions GROUP BY tenant ORDER BY rows DESC"
_OLDEST: Final = (
    "DELETE FROM agentcache_questions WHERE (tenant, key) IN (SELECT tenant, key FROM agentcache_questions "
    "WHERE tenant = %s ORDER BY stored_at LIMIT %s)"
)
#: A row of an earlier release has the partition of any other row of its scope.
_ROWS: Final = """
    SELECT r.key, coalesce(r.partition, (SELECT p.partition FROM agentcache_questions p
        WHERE p.scope = r.scope AND p.partition IS NOT NULL LIMIT 1)),
    embedder, normal, kept, scope, vector::text, expires_at > %(now)s AND q.key IS NULL AS is_found
    FROM agentcache_questions r LEFT JOIN agentcache_question_quarantine q
    ON q.tenant = r.tenant AND q.key = r.key AND (q.until IS NULL OR q.until > %(now)s)
    WHERE r.tenant = %(tenant)s AND r.key = ANY(%(keys)s)"""
_BAR: Final = """
    INSERT INTO agentcache_question_quarantine SELECT %(tenant)s, unnest(%(keys)s::bytea[]), %(until)s, %(reason)s, %(now)s
    ON CONFLICT (tenant, key) DO UPDATE SET until = excluded.until, reason = excluded.reason, at = excluded.at"""
#: What is in quarantine already is so for a reason of its own.
_BAR_OTHERS: Final = f"{_BAR} WHERE agentcache_question_quarantine.until <= %(now)s"
_BARRED: Final = """
    SELECT until, reason FROM agentcache_question_quarantine
    WHERE tenant = %s AND key = %s AND (until IS NULL OR until > %s)"""
#: Only where nobody else changed it meanwhile.
_SET_KEPT: Final = """
    UPDATE agentcache_questions r SET kept = n.changed
    FROM unnest(%s::bytea[], %s::bytea[], %s::bytea[]) AS n(key, kept, changed)
    WHERE r.tenant = %s AND r.key = n.key AND r.kept = n.kept"""
_CONNECTIONS: Final = 8
_CONNECT_SECONDS: Final = 5
_ADDED_BETWEEN_LOOKS: Final = 500


@dataclass(frozen=True, slots=True)
class _Row:
    """A row as it stands in the table."""

    key: bytes
    partition: bytes
    embedder_id: str
    normal: bytes
    stored: bytes
    scope: bytes
    #: Its vector, as this server sees it.
    shown: str
    kept: Kept
    #: Whether a search may find it.
    is_found: bool

    @property
    def answer(self) -> bytes:
        """The same for all rows that are known to have one answer."""
        return self.kept.repeats or self.key


class PgvectorIndex:
    """Keeps rows in PostgreSQL. `rows_max` bounds all tenants together."""

    def __init__(self, url: str, *, clock: Clock, rows_max: int) -> None:
        self.counters = StoreCounters()
        self._url = url
        self._clock = clock
        self._rows_max = rows_max
        self._idle: list[psycopg.AsyncConnection[Any]] = []
        self._permits = asyncio.Semaphore(_CONNECTIONS)
        self._are_tables_there = False
        self._is_closed = False
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
        scope, shown = scope_of(tenant, partition, embedder_id, len(vector)), _literal(shown_vector(tenant, vector))
        return await self._nearest(tenant, partition, embedder_id, scope, shown, limit, cosine_min)

    async def find_normalised(self, tenant: Tenant, partition: bytes, normal_digest: bytes) -> bytes | None:
        """Return the key of the newest row with this normal form."""
        scope = normal_scope_of(tenant, partition, normal_digest)
        for key, normal, embedder_id, stored in await self._run(
            _NORMALISED, {"scope": scope, "now": self._clock.now()}
        ):
            if normal == normal_digest and self._open(tenant, stored, key, partition, embedder_id, normal) is not None:
                return bytes(key)
        return None

    async def add(self, tenant: Tenant, row: IndexRow) -> None:
        """Keep a row."""
        # The vector stands beside it, for PostgreSQL to see; what is sealed needs none.
        kept = Kept.of(row)
        stored = pack_kept(tenant, kept, row.key, row.partition, row.embedder_id, row.normal_digest)
        values = (
            tenant_scope_of(tenant),
            row.key,
            scope_of(tenant, row.partition, row.embedder_id, len(row.vector)),
            normal_scope_of(tenant, row.partition, row.normal_digest),
            row.normal_digest,
            row.embedder_id,
            row.stored_at,
            row.expires_at,
            stored,
            _literal(shown_vector(tenant, row.vector)),
            row.partition,
        )
        await self._run(_ADD, values)
        if row.repeats:
            await self._follow(tenant, row.key, row.repeats)
        self._added += 1
        if self._added % _ADDED_BETWEEN_LOOKS == 0:
            await self._clean()

    async def remove(self, tenant: Tenant, keys: Sequence[bytes]) -> None:
        """Remove rows."""
        query = "DELETE FROM agentcache_questions WHERE tenant = %s AND key = ANY(%s)"
        if keys:
            await self._run(query, (tenant_scope_of(tenant), list(keys)))

    async def repeat(self, tenant: Tenant, key: bytes, other: bytes) -> None:
        """Note that a row has the answer of another one."""
        rows = await self._rows(tenant, [key, other])
        row, repeated = rows.get(key), rows.get(other)
        if row is None or repeated is None or not (row.is_found and repeated.is_found):
            return
        if row.scope == repeated.scope:
            await self._set_repeats(tenant, [row], repeated.answer)

    async def quarantine(self, tenant: Tenant, key: bytes, *, until: float | None, reason: str) -> None:
        """Let a key's row be found no more, nor those near it that have its answer."""
        await self._bar(_BAR, tenant, [key], until, reason)
        row = (await self._rows(tenant, [key])).get(key)
        if row is None:
            return
        # With this, what is added from now on with that answer follows; what was added before is found below.
        with_it = [row.answer] if row.answer != key else []
        await self._bar(_BAR_OTHERS, tenant, with_it, until, went_with(key))
        near = await self._nearest(tenant, row.partition, row.embedder_id, row.scope, row.shown, ALIKE_MAX, COSINE_MIN)
        alike = [one.key for one in near if one.answer == row.answer]
        await self._bar(_BAR_OTHERS, tenant, alike, until, went_with(key))
        await self._set_repeats(tenant, list((await self._rows(tenant, [key, *with_it, *alike])).values()), b"")

    async def release(self, tenant: Tenant, key: bytes) -> None:
        """End a quarantine."""
        query = "DELETE FROM agentcache_question_quarantine WHERE tenant = %s AND (key = %s OR reason = %s)"
        await self._run(query, (tenant_scope_of(tenant), key, went_with(key)))

    async def quarantined(self, tenant: Tenant) -> list[Quarantined]:
        """Return the quarantines in force."""
        query = (
            "SELECT key, until, reason, at FROM agentcache_question_quarantine "
            "WHERE tenant = %s AND (until IS NULL OR until > %s) ORDER BY at DESC, key"
        )
        found = await self._run(query, (tenant_scope_of(tenant), self._clock.now()))
        return [Quarantined(bytes(key), until, reason, at) for key, until, reason, at in found]

    async def forget_tenant(self, tenant: Tenant) -> None:
        """Remove everything of a tenant."""
        for table in ("agentcache_questions", "agentcache_question_quarantine"):
            await self._run(f"DELETE FROM {table} WHERE tenant = %s", (tenant_scope_of(tenant),))  # noqa: S608 - names of our own

    async def count(self, tenant: Tenant) -> int:
        """Return how many rows a tenant has."""
        query = "SELECT count(*) FROM agentcache_questions WHERE tenant = %s AND expires_at > %s"
        return int((await self._run(query, (tenant_scope_of(tenant), self._clock.now())))[0][0])

    async def aclose(self) -> None:
        """Close all connections."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().close()

    async def _nearest(
        self,
        tenant: Tenant,
        partition: bytes,
        embedder_id: str,
        scope: bytes,
        shown: str,
        limit: int,
        cosine_min: float,
    ) -> list[Neighbour]:
        """Return the rows nearest to a vector as this server sees it."""
        values = {"scope": scope, "asked": shown, "now": self._clock.now(), "limit": limit}
        neighbours = []
        for key, normal, stored_at, stored, cosine in await self._run(_NEAREST, values):
            kept = self._open(tenant, stored, key, partition, embedder_id, normal) if cosine >= cosine_min else None
            if kept is not None:
                neighbours.append(kept.as_neighbour(bytes(key), min(1.0, cosine), stored_at))
        return neighbours

    async def _bar(self, query: str, tenant: Tenant, keys: Sequence[bytes], until: float | None, reason: str) -> None:
        values = {"tenant": tenant_scope_of(tenant), "keys": list(keys), "until": until, "reason": reason}
        if keys:
            await self._run(query, {**values, "now": self._clock.now()})

    async def _follow(self, tenant: Tenant, key: bytes, other: bytes) -> None:
        """Have a row that was just added, and repeats another one, go where that one is in quarantine."""
        for until, reason in await self._run(_BARRED, (tenant_scope_of(tenant), other, self._clock.now())):
            await self._bar(_BAR_OTHERS, tenant, [key], until, reason_to_follow(other, reason))
            await self._set_repeats(tenant, list((await self._rows(tenant, [key])).values()), b"")

    async def _rows(self, tenant: Tenant, keys: Sequence[bytes]) -> dict[bytes, _Row]:
        """Return the rows of these keys; left out are those that are gone, or were put there by an earlier release, and no other."""
        found = {}
        values = {"tenant": tenant_scope_of(tenant), "keys": list(keys), "now": self._clock.now()}
        for key, partition, embedder_id, normal, stored, scope, shown, is_found in await self._run(_ROWS, values):
            # Where no row of the scope has a partition, none says whose answer it has.
            kept = self._open(tenant, stored, key, partition, embedder_id, normal) if partition is not None else None
            if kept is not None:
                found[key] = _Row(key, partition, embedder_id, normal, stored, scope, shown, kept, is_found=is_found)
        return found

    async def _set_repeats(self, tenant: Tenant, rows: Sequence[_Row], repeats: bytes) -> None:
        changed = []
        rows = [one for one in rows if one.kept.repeats != repeats]
        for one in rows:
            kept = msgspec.structs.replace(one.kept, repeats=b"" if repeats == one.key else repeats)
            changed.append(pack_kept(tenant, kept, one.key, one.partition, one.embedder_id, one.normal))
        if rows:
            keys, stored = [one.key for one in rows], [one.stored for one in rows]
            await self._run(_SET_KEPT, (keys, stored, changed, tenant_scope_of(tenant)))

    def _open(
        self, tenant: Tenant, stored: bytes, key: bytes, partition: bytes, embedder_id: str, normal: bytes
    ) -> Kept | None:
        try:
            return unpack(tenant, stored, key, partition, embedder_id, normal)
        except Unreadable:
            self.counters.corrupt += 1
            return None

    async def _clean(self) -> None:
        """Remove what has expired, and the oldest rows of the tenant that has most while there are too many."""
        now = self._clock.now()
        await self._run(_EXPIRED, (now,))
        await self._run("DELETE FROM agentcache_question_quarantine WHERE until <= %s", (now,))
        counts = await self._run(_COUNTS, ())
        over = sum(rows for _, rows in counts) - self._rows_max
        if over > 0:
            await self._run(_OLDEST, (counts[0][0], over))
            self.counters.evicted += over

    async def _run(self, query: str, values: Any) -> list[Any]:
        """Run a statement on a connection of the pool and return its rows, if it has any."""
        import psycopg

        try:
            async with self._lent() as connection:
                cursor = await connection.execute(query, values, binary=True)
                return await cursor.fetchall() if cursor.description is not None else []
        except (psycopg.Error, OSError) as error:
            reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
            raise IndexUnavailable(f"PostgreSQL: {reason[0]}") from error

    @asynccontextmanager
    async def _lent(self) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        """Lend a connection; whatever ends the block early costs it, so that no reply is left on the way."""
        if self._is_closed:
            raise IndexUnavailable("the index of questions is closed")
        async with self._permits:
            connection = self._idle.pop() if self._idle else await self._connect()
            is_clean = False
            try:
                yield connection
                is_clean = True
            finally:
                if is_clean and not self._is_closed:
                    self._idle.append(connection)
                else:
                    await connection.close()

    async def _connect(self) -> psycopg.AsyncConnection[Any]:
        import psycopg

        connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=_CONNECT_SECONDS, application_name="agentcache semantic"
        )
        if not self._are_tables_there:
            try:
                async with connection.transaction():
                    for statement in _TABLES:
                        await connection.execute(statement)
                    if await (await connection.execute(_HAS_PARTITION)).fetchone() is None:
                        await connection.execute(_ADD_PARTITION)
            except BaseException:
                await connection.close()
                raise
            self._are_tables_there = True
        return connection


def _literal(vector: Vector) -> str:
    return "[" + ",".join(f"{component:.8g}" for component in vector.tolist()) + "]"


def pgvector_version(url: str) -> tuple[str, bool]:
    """Return the version of pgvector that a database offers, "" for none, and whether it is set up. Changes nothing.

    Blocks; raises `IndexUnavailable`. For `agentcache doctor`.
    """
    import psycopg

    query = "SELECT default_version, installed_version IS NOT NULL FROM pg_available_extensions WHERE name = 'vector'"
    try:
        with psycopg.connect(url, connect_timeout=_CONNECT_SECONDS) as connection:
            found = connection.execute(query).fetchone()
    except (psycopg.Error, OSError) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise IndexUnavailable(f"PostgreSQL: {reason[0]}") from error
    return (str(found[0]), bool(found[1])) if found else ("", False)
