"""Talking to Redis or Valkey: bounded pools, short timeouts, cluster routing.

A connection goes back to its pool only after every reply of the exchange has been read. Whatever ends an exchange
early, a cancelled caller above all, costs the connection: a reply that is still on its way can never be taken for
the answer to the next caller's command.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ClusterDownError,
    ExecAbortError,
    MovedError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)

from agentcache.engine.stores.counting import StoreCounters
from agentcache.engine.stores.port import StoreBusy, StoreFull, StoreUnavailable
from agentcache.kit.errors import AgentCacheError

T = TypeVar("T")
Word: TypeAlias = str | bytes | int | float
#: A command with its arguments, or a reply, which may be an error.
Command: TypeAlias = tuple[Word, ...]
Address: TypeAlias = tuple[str, int]

POOL_SIZE = 32
POOL_WAIT_SECONDS = 0.02
SOCKET_SECONDS = 0.2
CONNECT_SECONDS = 2.0
_REDIRECTS_MAX = 3
#: Attempts at a transaction whose watched keys keep changing.
ATTEMPTS = 12


class PartOfCluster(StoreUnavailable):
    """A node of a Redis Cluster answered where one Redis was expected."""


def socket_seconds(budget_ms: float) -> float:
    """How long one reply may take where a request waits `budget_ms`: longer, so that a late reply still frees its connection."""
    return max(SOCKET_SECONDS, 4 * budget_ms / 1000)


def pool_wait_seconds(budget_ms: float) -> float:
    """How long to wait for a free connection: well within the budget, so that its exchange still fits."""
    return max(POOL_WAIT_SECONDS, 0.4 * budget_ms / 1000)


def translate(error: Exception) -> StoreUnavailable:
    """Return the port's error for one of the client's."""
    if isinstance(error, StoreUnavailable):
        return error
    if isinstance(error, OutOfMemoryError) or (isinstance(error, ExecAbortError) and "OOM" in str(error)):
        return StoreFull("Redis is at its maxmemory and may not evict")
    if isinstance(error, (MovedError, ClusterCrossSlotError)):
        return PartOfCluster("this Redis is part of a cluster; write its URL as redis+cluster://")
    return StoreUnavailable(f"Redis: {str(error) or type(error).__name__}")


async def step_back(attempt: int) -> None:
    """Let others finish first, longer each time; random, so that two do not dance."""
    await asyncio.sleep(random.random() * 0.0005 * (attempt + 1))  # noqa: S311 - no secret


class Lane:
    """One connection, lent for a few exchanges in a row."""

    def __init__(self, connection: AbstractConnection, *, asking: bool = False) -> None:
        self._connection = connection
        self._asking = asking
        #: Set while keys are watched: the connection must not be reused before `EXEC` or `UNWATCH`.
        self.is_watching = False

    async def ask(self, *commands: Command, seconds: float | None = None) -> list[Any]:
        """Send commands in one go and return their replies; the first error among them is raised at the end."""
        replies = await self.ask_each(*commands, seconds=seconds)
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        return replies

    async def ask_each(self, *commands: Command, seconds: float | None = None) -> list[Any]:
        """Send commands in one go and return their replies, errors of the server among them."""
        sent = [word for command in commands for word in (("ASKING",), command)] if self._asking else commands
        await self._connection.send_packed_command(self._connection.pack_commands(sent), check_health=False)
        replies: list[Any] = []
        for _ in sent:
            try:
                replies.append(await self._read(seconds))
            except ResponseError as error:
                replies.append(error)
        return replies[1::2] if self._asking else replies

    async def transact(self, *commands: Command) -> list[Any] | None:
        """Run commands atomically; None when a watched key has changed."""
        if self._asking:
            raise StoreUnavailable("the tenant's slot is being moved to another Redis node")
        replies = await self.ask_each(("MULTI",), *commands, ("EXEC",))
        self.is_watching = False
        # An error while queueing says more than the EXECABORT that follows it.
        for reply in replies:
            if isinstance(reply, ResponseError):
                raise reply
        results: list[Any] | None = replies[-1]
        for result in results or ():
            if isinstance(result, ResponseError):
                raise result
        return results

    async def _read(self, seconds: float | None) -> Any:
        if seconds is None:
            return await self._connection.read_response(disable_decoding=True)
        async with asyncio.timeout(seconds):
            return await self._connection.read_response(disable_decoding=True, timeout=float("inf"))


class Pool:
    """The connections to one server."""

    def __init__(self, make: Callable[[], AbstractConnection], *, size: int, wait_seconds: float) -> None:
        self._make = make
        self._size = size
        self._wait_seconds = wait_seconds
        self._permits = asyncio.Semaphore(size)
        self._idle: list[AbstractConnection] = []
        self._connecting: set[asyncio.Task[AbstractConnection]] = set()
        self._closed = False

    @asynccontextmanager
    async def lend(self, *, asking: bool = False) -> AsyncIterator[Lane]:
        """Lend a connection; it is thrown away unless the block ends well."""
        await self._take_permit()
        try:
            connection = await self._take()
            lane = Lane(connection, asking=asking)
            is_clean = False
            try:
                yield lane
                if lane.is_watching:
                    await lane.ask(("UNWATCH",))
                is_clean = True
            except (ResponseError, AgentCacheError):
                # The server said no in so many words, or we did between two exchanges: all replies have been read.
                is_clean = not lane.is_watching
                raise
            finally:
                if is_clean and not self._closed and len(self._idle) < self._size:
                    self._idle.append(connection)
                else:
                    await connection.disconnect(nowait=True)
        finally:
            self._permits.release()

    async def close(self) -> None:
        """Close idle connections; those on loan are closed when they come back."""
        self._closed = True
        await asyncio.gather(*self._connecting, return_exceptions=True)
        while self._idle:
            await self._idle.pop().disconnect()

    async def _take_permit(self) -> None:
        if self._closed:
            raise StoreUnavailable("the cache store is closed")
        if not self._permits.locked():
            await self._permits.acquire()
            return
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._permits.acquire()
        except TimeoutError:
            raise StoreBusy(f"no free connection to Redis within {self._wait_seconds * 1000:.0f} ms") from None

    async def _take(self) -> AbstractConnection:
        while self._idle:
            connection = self._idle.pop()
            # True for a reply nobody asked for and for a server that hung up: neither may be used.
            if connection.is_connected and not await connection.can_read():
                return connection
            await connection.disconnect(nowait=True)
        # In a task of its own: a caller whose budget is shorter than a handshake still leaves a connection behind.
        task = asyncio.get_running_loop().create_task(self._connect())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(self._keep)
            raise

    async def _connect(self) -> AbstractConnection:
        connection = self._make()
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _keep(self, task: asyncio.Task[AbstractConnection]) -> None:
        if task.cancelled() or task.exception() is not None:
            return
        if self._closed or len(self._idle) >= self._size:
            closing = asyncio.get_running_loop().create_task(task.result().disconnect(nowait=True))
            self._connecting.add(closing)  # type: ignore[arg-type] # only to be awaited by `close`
            closing.add_done_callback(self._connecting.discard)
        else:
            self._idle.append(task.result())


class RedisLink:
    """One Redis, or a cluster of them (`redis+cluster://`, `rediss+cluster://`), which it routes by slot."""

    def __init__(
        self,
        url: str,
        *,
        counters: StoreCounters,
        pool_size: int = POOL_SIZE,
        pool_wait_seconds: float = POOL_WAIT_SECONDS,
        socket_seconds: float = SOCKET_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
    ) -> None:
        self.is_cluster = "+cluster://" in url
        self._counters = counters
        self._pool_size = pool_size
        self._pool_wait_seconds = pool_wait_seconds
        options: dict[str, Any] = dict(parse_url(url.replace("+cluster://", "://")))
        self._connection_class = options.pop("connection_class", Connection)
        self._seed: Address = (options.pop("host", "localhost"), options.pop("port", 6379))
        self._options = options | {
            "socket_timeout": socket_seconds,
            "socket_connect_timeout": connect_seconds,
            "protocol": 2,
            "driver_info": None,
            "retry": Retry(NoBackoff(), 0),
        }
        self._pools: dict[Address, Pool] = {}
        self._slots: dict[int, Address] = {}
        self._learning = asyncio.Lock()

    async def run(self, key: str | bytes, work: Callable[[Lane], Awaitable[T]]) -> T:
        """Run `work` on a connection to the server that owns `key`; follows redirections. Raises `StoreUnavailable`."""
        slot = key_slot(key.encode() if isinstance(key, str) else key) if self.is_cluster else 0
        try:
            return await self._run_in_slot(slot, work)
        except StoreBusy:
            self._counters.pool_waits += 1
            raise
        except (RedisError, OSError, TimeoutError, ValueError, IndexError) as error:
            # ValueError and IndexError come from parsing what is not Redis at all.
            raise translate(error) from error

    async def run_apart(self, key: str | bytes, work: Callable[[Lane], Awaitable[T]]) -> T:
        """As `run`, on a connection of its own outside the pool, for commands that block."""
        slot = key_slot(key.encode() if isinstance(key, str) else key) if self.is_cluster else 0
        try:
            connection = self._make_connection(await self._address_of(slot))
            try:
                await connection.connect()  # type: ignore[no-untyped-call]
                return await work(Lane(connection))
            finally:
                await connection.disconnect(nowait=True)
        except (RedisError, OSError, TimeoutError, ValueError, IndexError) as error:
            raise translate(error) from error

    async def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            await pool.close()
        # One turn of the loop lets the transports finish closing.
        await asyncio.sleep(0)

    async def _run_in_slot(self, slot: int, work: Callable[[Lane], Awaitable[T]]) -> T:
        address = await self._address_of(slot)
        asking = False
        for _ in range(_REDIRECTS_MAX):
            try:
                async with self._pool(address).lend(asking=asking) as lane:
                    return await work(lane)
            except (MovedError, ClusterDownError):  # before AskError, whose subclass MovedError is
                if not self.is_cluster:
                    raise
                asking = False
                self._slots.clear()
                address = await self._address_of(slot)
            except AskError as error:
                address, asking = (error.host, error.port), True
            except (RedisError, OSError):
                # The node may be gone for good; ask the cluster again next time.
                self._slots.clear()
                raise
        raise StoreUnavailable("the Redis cluster is moving slots about")

    async def _address_of(self, slot: int) -> Address:
        if not self.is_cluster:
            return self._seed
        address = self._slots.get(slot)
        if address is None:
            async with self._learning:
                if not self._slots:
                    await self._learn_slots()
            address = self._slots.get(slot)
        if address is None:
            raise StoreUnavailable("no node of the Redis cluster serves this tenant's slot")
        return address

    async def _learn_slots(self) -> None:
        """Ask the seed, or any node known from before, who serves what."""
        failure: Exception = StoreUnavailable("no node of the Redis cluster answers")
        for address in dict.fromkeys([self._seed, *self._pools]):
            try:
                async with self._pool(address).lend() as lane:
                    (ranges,) = await lane.ask(("CLUSTER", "SLOTS"))
            except (RedisError, OSError) as error:
                failure = error
                continue
            for first, last, (host, port, *_), *_ in ranges:
                owner = (host.decode() or address[0], port)
                for slot in range(first, last + 1):
                    self._slots[slot] = owner
            return
        raise failure

    def _pool(self, address: Address) -> Pool:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = Pool(
                lambda: self._make_connection(address), size=self._pool_size, wait_seconds=self._pool_wait_seconds
            )
        return pool

    def _make_connection(self, address: Address) -> AbstractConnection:
        where = {} if "path" in self._options else {"host": address[0], "port": address[1]}
        connection: AbstractConnection = self._connection_class(**self._options, **where)
        return connection
