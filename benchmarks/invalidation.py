"""How long an invalidation takes, by what it matches and by how much is stored.

    python -m benchmarks.invalidation [--small 10000] [--large 1000000] [--folder DIR] [--redis URL] [--json]

Needs about 1.5 GB of disk for the large one; with `--redis` 2.3 GB of memory there, and what the team `bench` has in it is
removed. An invalidation is measured until it is acknowledged, which is when no
worker serves what it means; rows that are then still there are removed while look-ups go on, whose latency in
that time is measured, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec import structs
from rich.console import Console
from rich.table import Table

from agentcache.engine.entries import Entry, EntryMeta, Selector, Tenant
from agentcache.engine.freshness import kept_until
from agentcache.engine.stores.framing import pack_head
from agentcache.engine.stores.redis_entries import RedisEntries
from agentcache.engine.stores.redis_keys import TenantKeys, describe
from agentcache.engine.stores.redis_link import Command, Lane
from agentcache.engine.stores.redis_sums import number_of
from agentcache.engine.stores.redis_writes import Framed, writing
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import SystemClock

TENANT = Tenant("bench", bytes(32))
BODY_BYTES = 600
PUTS_AT_ONCE = 500
MODELS = ("gpt-5-mini", "gpt-5", "claude-sonnet-4-5", "llama-4")
#: Tag -> one entry in how many has it.
TAGS = {"one-in-10": 10, "one-in-1000": 1000}
#: Tags that the same number of entries have, whatever the size of the store.
FIXED_TAG_ENTRIES = 1000
#: So long look-ups are watched while rows are removed.
WATCHED_SECONDS = 10.0
#: Commands of Redis that took less are not noted.
SLOW_COMMAND_US = 100


def make_key(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest()


def make_entry(number: int, entries: int, body: bytes) -> Entry:
    tags = [tag for tag, share in TAGS.items() if number % share == 0]
    if number % (entries // FIXED_TAG_ENTRIES) == 0:
        tags += ["exactly-1000", "soft-1000"]
    meta = EntryMeta(
        namespace="prod" if number % 4 else "eval", dialect="openai", endpoint="chat.completions",
        model=MODELS[number % 4], label=f"prompt-{number}", stored_at=time.time(), lifetime_seconds=604_800,
        tags=tuple(tags), cost_usd_nanos=1_000_000, writer="key_1", parts={"model": b"12345678"},
    )  # fmt: skip
    return Entry(make_key(number), meta, body)


async def open_file(folder: Path, entries: int, body: bytes) -> SqliteEntries:
    store = SqliteEntries(
        folder / "cache.db", clock=SystemClock(), max_bytes=64 << 30, entry_max_bytes=8 << 20, grace_seconds=86_400
    )
    store.open()
    for first in range(0, entries, PUTS_AT_ONCE):
        batch = range(first, min(first + PUTS_AT_ONCE, entries))
        await asyncio.gather(*(store.put(TENANT, make_entry(number, entries, body)) for number in batch))
    return store


async def open_redis(url: str, entries: int, body: bytes) -> RedisEntries:
    """Fill as `put` does, but for many entries at once: one by one, a million takes a quarter of an hour."""
    store = RedisEntries(
        url, clock=SystemClock(), max_bytes=64 << 30, entry_max_bytes=8 << 20, grace_seconds=86_400,
        socket_seconds=10, connect_seconds=10,
    )  # fmt: skip
    await store.invalidate(TENANT, Selector())
    await asyncio.gather(*store._tasks)  # noqa: SLF001 - nothing but a measurement needs to know
    # With this one the tenant is known, and its marks and sums have begun.
    await store.put(TENANT, make_entry(0, entries, body))
    keys = TenantKeys(TENANT.id)

    async def fill(lane: Lane) -> None:
        mark, summing = await lane.ask(("HGET", keys.log, "mark"), ("GET", keys.summing))
        for first in range(1, entries, PUTS_AT_ONCE):
            commands: list[Command] = []
            for number in range(first, min(first + PUTS_AT_ONCE, entries)):
                entry = make_entry(number, entries, body)
                framed = Framed(entry, pack_head(entry.key, entry.meta, body))
                dead_at = kept_until(entry.meta, 86_400)
                row = describe(entry.meta, dead_at, len(body), len(framed.head) + len(body))
                row = structs.replace(row, mark=int(mark), summed=number_of(summing))
                commands += writing(keys, framed, row, None, entry.meta.stored_at)
            await lane.ask(*commands)

    await store.link.run(keys.log, fill)
    return store


async def measure(entries: int, folder: Path, redis_url: str | None) -> dict[str, Any]:
    """Fill a store, and invalidate more and more of it."""
    body = random.Random(1).randbytes(BODY_BYTES)
    store = await (open_redis(redis_url, entries, body) if redis_url else open_file(folder, entries, body))
    figures: dict[str, Any] = {"entries": entries}
    for name, selector, soft in (
        ("pattern, nothing matches", Selector(pattern="*/absent-*"), False),
        ("pattern, 10 match", Selector(pattern="*/prompt-77??7"), False),
        ("tag, 1,000 match", Selector(tags=("exactly-1000",)), False),
        ("tag, 1 in 1,000 matches", Selector(tags=("one-in-1000",)), False),
        ("soft, model and tag, 1 in 40", Selector(tags=("one-in-10",), model=MODELS[0]), True),
        ("tag, 1 in 10 matches", Selector(tags=("one-in-10",)), False),
        ("preview of everything", None, False),
        ("pattern of labels, 1 in 10 matches", Selector(pattern="*/prompt-*3"), False),
        ("pattern, everything matches", Selector(pattern="*/openai/*"), False),
    ):
        # Each by itself: whatever the one before has left is dealt with first.
        await asyncio.gather(*store._tasks)  # noqa: SLF001 - nothing but a measurement needs to know
        if selector is None:
            started = time.perf_counter()
            found = (await store.survey(TENANT, Selector(pattern="*"))).entries
            figures[name] = {"ms": round((time.perf_counter() - started) * 1000, 1), "entries": found}
            continue
        await _forget_slow_commands(store)
        started = time.perf_counter()
        reach = await store.withdraw(TENANT, selector, soft=soft)
        acknowledged = time.perf_counter() - started
        longest = await _longest_command_ms(store)
        looked_up = await _look_ups_meanwhile(store, entries)
        figures[name] = {
            "ms": round(acknowledged * 1000, 1), "entries": reach.entries,
            "rows_seconds": None if store._tasks else round(time.perf_counter() - started, 2),  # noqa: SLF001 - as below
            **looked_up, **longest,
        }  # fmt: skip
    assert (await store.stats(TENANT)).entries == 0
    await store.close()
    return figures


async def _look_ups_meanwhile(store: SqliteEntries | RedisEntries, entries: int) -> dict[str, float]:
    """Look entries up until every row has been dealt with; return how long the slowest took."""
    chance = random.Random(2)
    waits: list[float] = []
    until = time.perf_counter() + WATCHED_SECONDS
    while store._tasks and time.perf_counter() < until:  # noqa: SLF001 - nothing but a measurement needs to know
        started = time.perf_counter()
        await asyncio.sleep(0.001)
        await store.get(TENANT, make_key(chance.randrange(entries)))
        waits.append(time.perf_counter() - started - 0.001)
    if not waits:
        return {}
    waits.sort()
    return {
        "look_up_p99_ms": round(waits[int(len(waits) * 0.99)] * 1000, 2),
        "look_up_max_ms": round(waits[-1] * 1000, 1),
    }


async def _forget_slow_commands(store: SqliteEntries | RedisEntries) -> None:
    if isinstance(store, RedisEntries):
        slower_than: Command = ("CONFIG", "SET", "slowlog-log-slower-than", SLOW_COMMAND_US)
        await _ask(store, slower_than, ("CONFIG", "SET", "slowlog-max-len", 100_000), ("SLOWLOG", "RESET"))


async def _longest_command_ms(store: SqliteEntries | RedisEntries) -> dict[str, float]:
    """Return for how long one command kept Redis from answering anybody else."""
    if not isinstance(store, RedisEntries):
        return {}
    (noted,) = await _ask(store, ("SLOWLOG", "GET", -1))
    # To forget thousands of notes takes its time, too.
    took = [one[2] for one in noted if one[3][0] not in (b"SLOWLOG", b"CONFIG")]
    return {"longest_command_ms": round(max(took, default=SLOW_COMMAND_US) / 1000, 1)}


async def _ask(store: RedisEntries, *commands: Command) -> list[Any]:
    async def ask(lane: Lane) -> list[Any]:
        return list(await lane.ask(*commands))

    return await store.link.run(TenantKeys(TENANT.id).log, ask)


def _shown_seconds(seconds: float | None) -> str:
    return f"> {WATCHED_SECONDS:.0f} s" if seconds is None else f"{seconds:.2f} s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--redis", metavar="URL", help="a Redis to measure instead of a file")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    results = []
    for entries in (given.small, given.large):
        folder = Path(tempfile.mkdtemp(prefix="agentcache-invalidation-", dir=given.folder))
        try:
            results.append(asyncio.run(measure(entries, folder, given.redis)))
        finally:
            shutil.rmtree(folder)
    if given.json:
        print(json.dumps(results))
        return
    table = Table(
        "invalidated",
        "entries",
        "acknowledged",
        "rows dealt with",
        "look-ups meanwhile",
        "longest command",
        title=f"Invalidation in {'Redis' if given.redis else 'a cache file'}",
    )
    for figures in results:
        table.add_section()
        for name, found in figures.items():
            if name == "entries":
                table.add_row(f"[bold]of {found:,} entries[/bold]", "", "", "", "", "")
                continue
            gone = _shown_seconds(found["rows_seconds"]) if "rows_seconds" in found else ""
            meanwhile = (
                f"p99 {found['look_up_p99_ms']} ms, max {found['look_up_max_ms']} ms"
                if "look_up_p99_ms" in found
                else ""
            )
            longest = f"{found['longest_command_ms']} ms" if "longest_command_ms" in found else ""
            table.add_row(name, f"{found['entries']:,}", f"{found['ms']:.1f} ms", gone, meanwhile, longest)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
