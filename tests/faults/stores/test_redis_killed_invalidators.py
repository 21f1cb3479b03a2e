"""C15, C16: a worker is killed between acknowledging an invalidation and removing its rows."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agentcache.engine.freshness import may_serve
from agentcache.engine.stores.redis_entries import RedisEntries
from agentcache.engine.stores.redis_keys import TenantKeys, decode_row
from agentcache.engine.stores.redis_log import pending_in
from tests.faults.stores.redis_stores import TENANT, fresh_entry, open_redis
from tests.support.entries import make_key
from tests.support.redis_server import RedisServer
from tests.support.reliability import record
from tests.support.tiers import before_release, count

ROOT = Path(__file__).parents[3]
#: Ten transactions' worth: longer than an acknowledgement waits for its rows.
ENTRIES, KILLS = 1_000, count(1, 25)
AT_ONCE = 16
KEYS = TenantKeys(TENANT.id)


async def fill(store: RedisEntries, tag: str) -> None:
    for start in range(0, ENTRIES, AT_ONCE):
        names = range(start, min(start + AT_ONCE, ENTRIES))
        await asyncio.gather(*(store.put(TENANT, fresh_entry(f"{tag} {name}", tags=(tag,))) for name in names))


async def served(store: RedisEntries, tag: str) -> int:
    """Count what is served, fresh or stale, of what a tag means."""
    found = [(await store.get(TENANT, make_key(f"{tag} {name}"))).entry for name in range(ENTRIES)]
    return sum(entry is not None and may_serve(entry.meta, time.time()) for entry in found)


def left(server: RedisServer, tag: str) -> int:
    """Count the rows of a tag that nobody has dealt with."""
    packed = server.command("HMGET", KEYS.catalog, *(make_key(f"{tag} {name}") for name in range(ENTRIES)))
    return sum(row is not None and not row.stale_at for row in map(decode_row, packed))


def pending(server: RedisServer) -> list[int]:
    """Return the marks of what is acknowledged and not done."""
    return pending_in(server.command("GET", KEYS.marks))


@pytest.mark.timeout(count(120, 1800))
@pytest.mark.parametrize("soft", [False, pytest.param(True, marks=before_release)], ids=["removed", "marked stale"])
async def test_what_a_killed_worker_has_acknowledged_is_never_served(redis_server: RedisServer, soft: bool) -> None:
    store = open_redis(redis_server.url, socket_seconds=30, connect_seconds=30)
    chance = random.Random(16)
    unfinished = served_old = 0
    for number in range(KILLS):
        tag = f"tag-{number}"
        await fill(store, tag)
        # The first dies at once, later ones at any moment of the removing.
        command = [sys.executable, "-m", "tests.faults.stores.killed_invalidators", redis_server.url, tag]
        command += ["soft" if soft else "hard", str(chance.random() * 0.06 if number else 0.0)]
        ended = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert int(ended.stdout) == ENTRIES
        unfinished += bool(left(redis_server, tag))
        served_old += await served(store, tag)
        # What is asked anew meanwhile stays, whoever removes what the dead worker left.
        await store.put(TENANT, fresh_entry(f"{tag} 0", tags=(tag,)))
        for mark in pending(redis_server):
            # The lease of the dead worker ends by itself after half a minute.
            redis_server.command("DEL", KEYS.lease(mark))
        await store.sweep()
        assert (pending(redis_server), left(redis_server, tag), await served(store, tag)) == ([], 1, 1)
    await store.close()
    assert served_old == 0
    # Or it was finished before anybody died, and nothing has been tried.
    assert unfinished > 0
    name = "marked stale" if soft else "removed"
    record(f"C16 killed {name}", kills=KILLS, died_before_the_end=unfinished, old_after_reply=served_old)
