"""How a look-up in the embedded store costs at 10,000 entries and at 1,000,000 (2 KB bodies).

    python benchmarks/store_scale.py [--small 10000] [--large 1000000] [--folder DIR] [--json]

Needs about 4.5 GB of disk for the large one. Prints microseconds per hit, per put, and the time of a glob over all.
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

from agentcache.engine.entries import Entry, EntryMeta, Selector, Tenant
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.kit.clock import SystemClock

TENANT = Tenant("bench", bytes(32))
BODY_BYTES = 2048
LOOK_UPS = 5_000
PUTS_AT_ONCE = 500


def make_key(number: int) -> bytes:
    return sha256(number.to_bytes(8, "big")).digest()


def make_entry(number: int, chance: random.Random) -> Entry:
    meta = EntryMeta(
        dialect="openai", endpoint="chat.completions", model="gpt-5-mini", label=f"prompt-{number}",
        stored_at=time.time(), lifetime_seconds=604_800, input_tokens=300, output_tokens=200, cost_usd_nanos=1_000_000,
        writer="key_1", headers=(("x-model-version", "2026-08"),), parts={"model": b"12345678", "messages": b"87654321"},
    )  # fmt: skip
    return Entry(make_key(number), meta, chance.randbytes(BODY_BYTES))


async def measure(entries: int, folder: Path) -> dict[str, Any]:
    store = SqliteEntries(
        folder / "cache.db", clock=SystemClock(), max_bytes=64 << 30, entry_max_bytes=8 << 20, grace_seconds=86_400
    )
    store.open()
    chance = random.Random(1)
    started = time.perf_counter()
    for first in range(0, entries, PUTS_AT_ONCE):
        batch = range(first, min(first + PUTS_AT_ONCE, entries))
        await asyncio.gather(*(store.put(TENANT, make_entry(number, chance)) for number in batch))
    put_us = (time.perf_counter() - started) / entries * 1e6
    wall, cpu = [], []
    for _ in range(9):
        # Each key once and no copies in memory: every hit is read from the file, at both sizes.
        keys = [make_key(number) for number in chance.sample(range(entries), LOOK_UPS)]
        store._recent.clear()  # noqa: SLF001 - nothing but a measurement needs this
        started, cpu_started = time.perf_counter(), time.thread_time()
        for key in keys:
            found = await store.get(TENANT, key)
            assert found.entry is not None
        wall.append((time.perf_counter() - started) / LOOK_UPS * 1e6)
        cpu.append((time.thread_time() - cpu_started) / LOOK_UPS * 1e6)
    started = time.perf_counter()
    assert await store.count(TENANT, Selector(pattern="default/openai/*/prompt-?7")) == 9
    glob_seconds = time.perf_counter() - started
    started = time.perf_counter()
    await store.list_entries(TENANT, Selector())
    list_ms = (time.perf_counter() - started) * 1000
    await store.close()
    return {
        "entries": entries,
        "hit_us_median": round(sorted(wall)[4], 2),
        "hit_cpu_us_median": round(sorted(cpu)[4], 2),
        "put_us": round(put_us, 1),
        "glob_over_all_seconds": round(glob_seconds, 3),
        "list_50_newest_ms": round(list_ms, 2),
        "file_bytes_per_entry": round((folder / "cache.db").stat().st_size / entries),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--small", type=int, default=10_000)
    parser.add_argument("--large", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = []
    for entries in (options.small, options.large):
        folder = Path(tempfile.mkdtemp(prefix="agentcache-scale-", dir=options.folder))
        try:
            results.append(asyncio.run(measure(entries, folder)))
        finally:
            shutil.rmtree(folder)
    # By processor time: on a machine that does other things too, wall time says more about those.
    ratio = round(results[1]["hit_cpu_us_median"] / results[0]["hit_cpu_us_median"], 3)
    if options.json:
        print(json.dumps({"results": results, "hit_cpu_ratio_large_to_small": ratio}))
        return
    for result in results:
        print("  ".join(f"{name}={value}" for name, value in result.items()))
    print(f"a hit read from the file at {options.large} entries costs {ratio} times one at {options.small} (CPU)")


if __name__ == "__main__":
    main()
