"""C21 on each engine: 25 histories of 20 steps."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from agentcache.engine.stores.port import EntryStore
from agentcache.engine.stores.redis_entries import RedisEntries
from agentcache.engine.stores.redis_keys import TenantKeys
from agentcache.engine.stores.redis_log import pending_in
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from tests.contract.store_model import GRACE_SECONDS, TENANTS, StoreMachine
from tests.support.redis_server import RedisServer
from tests.support.reliability import record
from tests.support.tiers import count

HISTORIES, STEPS = count(25, 500), 20
SETTINGS = settings(
    max_examples=HISTORIES, stateful_step_count=STEPS, deadline=None, suppress_health_check=list(HealthCheck)
)
SIZES = {"max_bytes": 1 << 28, "entry_max_bytes": 1 << 20, "grace_seconds": GRACE_SECONDS}


class SqliteMachine(StoreMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="agentcache-model-"))

    def open_store(self) -> EntryStore:
        store = SqliteEntries(self.folder / "cache.db", clock=self.clock, **SIZES)  # type: ignore[arg-type]
        store.open()
        return store

    def teardown(self) -> None:
        super().teardown()
        shutil.rmtree(self.folder)


class Unfinished(StoreMachine):
    """No invalidation gets to its rows before a sweep does, as if its worker always died right after the reply."""

    def open_store(self) -> EntryStore:
        store = super().open_store()  # type: ignore[safe-super]  # that of the machine it is mixed into
        store._start = self.die  # type: ignore[attr-defined]
        return store

    def die(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        work.close()
        return asyncio.ensure_future(asyncio.sleep(0))


class UnfinishedSqliteMachine(Unfinished, SqliteMachine):
    """As above, in a file."""


def test_sqlite_equals_the_dictionary_while_rows_are_still_there() -> None:
    run_state_machine_as_test(UnfinishedSqliteMachine, settings=SETTINGS)
    record("C21 sqlite, rows still there", steps=HISTORIES * STEPS, divergences=0)


def test_sqlite_equals_the_dictionary() -> None:
    run_state_machine_as_test(SqliteMachine, settings=SETTINGS)
    record("C21 sqlite", steps=HISTORIES * STEPS, divergences=0)


class RedisMachine(StoreMachine):
    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.server.command("FLUSHALL")

    def open_store(self) -> EntryStore:
        return RedisEntries(
            self.server.url, clock=self.clock, pool_wait_seconds=60, socket_seconds=60, connect_seconds=60, **SIZES  # type: ignore[arg-type]
        )  # fmt: skip


class UnfinishedRedisMachine(Unfinished, RedisMachine):
    """As above, in Redis; every other time nothing is told from sums."""

    def die(self, work: Coroutine[Any, Any, None]) -> asyncio.Future[None]:
        for tenant in TENANTS:
            keys = TenantKeys(tenant.id)
            marks = pending_in(self.server.command("GET", keys.marks))
            self.server.command("DEL", keys.summing if self.versions % 2 else keys.log + "-", *map(keys.lease, marks))
        return super().die(work)


def test_redis_equals_the_dictionary_while_rows_are_still_there(redis_server: RedisServer) -> None:
    UnfinishedRedisMachine.server = redis_server
    run_state_machine_as_test(UnfinishedRedisMachine, settings=SETTINGS)
    record("C21 redis, rows still there", steps=HISTORIES * STEPS, divergences=0)


def test_redis_equals_the_dictionary(redis_server: RedisServer) -> None:
    RedisMachine.server = redis_server
    run_state_machine_as_test(RedisMachine, settings=SETTINGS)
    record("C21 redis", steps=HISTORIES * STEPS, divergences=0)
