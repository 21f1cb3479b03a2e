"""F1: a program that forks writers of one cache file, kills them at random moments, and checks what is left.

python killed_writers.py FOLDER ROUNDS SEED     prints one line of JSON
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import apsw

from agentcache.engine.entries import Entry, EntryMeta, Selector, Tenant
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import SystemClock

TENANT = Tenant("team", bytes(32))
LANES = 8
NAMES_PER_LANE = 6


def make_entry(name: int, version: int) -> Entry:
    body = f"{name}:{version};".encode() * (1 + (name * 37 + version) % 900)
    meta = EntryMeta(
        dialect="openai", endpoint="chat", stored_at=time.time(), lifetime_seconds=3600, tags=(f"n{name}",),
        label=str(version),
    )  # fmt: skip
    return Entry(name.to_bytes(4, "big") * 8, meta, body)


def open_store(folder: Path) -> SqliteEntries:
    store = SqliteEntries(
        folder / "cache.db", clock=SystemClock(), max_bytes=1 << 30, entry_max_bytes=1 << 20, grace_seconds=60
    )
    store.open()
    return store


async def write_for_ever(folder: Path, first_version: int, seed: int) -> None:
    store = open_store(folder)
    log = os.open(folder / "writes.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def lane(number: int) -> None:
        chance = random.Random(seed * 1000 + number)
        for version in range(first_version, first_version + 1_000_000):
            name = number * NAMES_PER_LANE + chance.randrange(NAMES_PER_LANE)
            is_put = chance.random() < 0.8
            after = version if is_put else 0
            os.write(log, f"began {name} {after}\n".encode())
            if is_put:
                await store.put(TENANT, make_entry(name, version))
            else:
                await store.invalidate(TENANT, Selector(tags=(f"n{name}",)))
            os.write(log, f"acked {name} {after}\n".encode())

    await asyncio.gather(*(lane(number) for number in range(LANES)))


async def check(folder: Path) -> dict[str, float]:
    """Compare what is there with the log: the acknowledged state, or that of the one write under way."""
    acked: dict[int, int] = {}
    began: dict[int, int] = {}
    writes = 0
    for line in (folder / "writes.log").read_text().splitlines():
        what, written, state = line.split()
        if what == "began":
            began[int(written)] = int(state)
        else:
            acked[int(written)] = int(state)
            began.pop(int(written), None)
            writes += 1
    started = time.perf_counter()
    store = open_store(folder)
    lost = torn = 0
    for name in range(LANES * NAMES_PER_LANE):
        entry = (await store.get(TENANT, name.to_bytes(4, "big") * 8)).entry
        version = int(entry.meta.label) if entry is not None else 0
        if entry is not None and entry.body != make_entry(name, version).body:
            torn += 1
        if version not in {acked.get(name, 0), began.get(name, acked.get(name, 0))}:
            lost += 1
    seconds = time.perf_counter() - started
    stats = await store.stats(TENANT)
    listed = len((await store.list_entries(TENANT, Selector(), limit=1000)).rows)
    await store.close()
    connection = apsw.Connection(str(folder / "cache.db"))
    healthy = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    total = connection.execute("SELECT (SELECT sum(disk_bytes) FROM catalog), (SELECT value FROM store "
                               "WHERE name = 'bytes'), (SELECT sum(bytes) FROM tenants)").fetchone()  # fmt: skip
    connection.close()
    assert total is not None
    wrong_totals = len({value or 0 for value in total}) != 1 or stats.entries != listed
    return {"lost": lost, "torn": torn + store.counters.corrupt, "damaged": int(not healthy),
            "wrong_totals": int(wrong_totals), "restart_seconds": seconds, "writes": writes}  # fmt: skip


def main() -> None:
    folder, rounds, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    figures: dict[str, float] = {"kills": 0, "lost": 0, "torn": 0, "damaged": 0, "wrong_totals": 0, "writes": 0}
    slowest = 0.0
    for number in range(rounds):
        pid = os.fork()
        if pid == 0:
            asyncio.run(write_for_ever(folder, 1 + number * 1_000_000, chance.randrange(1 << 30)))
        deadline = time.monotonic() + 5
        size = (folder / "writes.log").stat().st_size if (folder / "writes.log").exists() else 0
        while time.monotonic() < deadline:
            if (folder / "writes.log").exists() and (folder / "writes.log").stat().st_size > size:
                break
            time.sleep(0.002)
        time.sleep(chance.random() * 0.08)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        found = asyncio.run(check(folder))
        slowest = max(slowest, found.pop("restart_seconds"))
        figures["kills"] += 1
        for name, value in found.items():
            figures[name] = value if name == "writes" else figures[name] + value
        # The unfinished writes are settled now: what is there counts as acknowledged from here on.
        asyncio.run(settle(folder))
    figures["slowest_restart_seconds"] = round(slowest, 3)
    sys.stdout.write(json.dumps(figures))


async def settle(folder: Path) -> None:
    store = open_store(folder)
    with (folder / "writes.log").open("a") as log:
        for name in range(LANES * NAMES_PER_LANE):
            entry = (await store.get(TENANT, name.to_bytes(4, "big") * 8)).entry
            log.write(f"acked {name} {int(entry.meta.label) if entry is not None else 0}\n")
    await store.close()


if __name__ == "__main__":
    main()
