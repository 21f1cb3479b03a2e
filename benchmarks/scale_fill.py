"""Fills a data directory's cache with answers to the benchmark's own questions, through the store.

python -m benchmarks.scale_fill DATA_DIR ENTRIES
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from agentcache.engine.entries import Entry, EntryMeta, Tenant
from agentcache.engine.keys import cache_key
from agentcache.engine.stores.sqlite_entries import SqliteEntries
from agentcache.gateway.calls import key_material
from agentcache.kit.clock import SystemClock
from agentcache.providers.registry import build_dialects
from agentcache.settings import Settings
from benchmarks.hits import CHAT

ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1_800_000_000,
        "model": "gpt-4o-mini",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "It is on its way. " * 40},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 120, "completion_tokens": 160, "total_tokens": 280},
    }
).encode()


async def fill(data_dir: Path, tenant: Tenant, settings: Settings, entries: int) -> None:
    """Put the entries, many at once."""
    clock = SystemClock()
    dialect = build_dialects(settings.upstreams)["openai"]
    found = dialect.find_endpoint("POST", "/v1/chat/completions")
    if found is None:
        raise RuntimeError("the chat endpoint is gone")
    endpoint = found[0]
    store = SqliteEntries(
        settings.cache_db,
        clock=clock,
        max_bytes=settings.cache_max_bytes,
        entry_max_bytes=settings.entry_max_bytes,
        grace_seconds=settings.stale_grace_seconds,
    )
    store.open()
    started = time.monotonic()

    async def put(number: int) -> None:
        material = key_material(dialect, endpoint, json.loads(CHAT % number), namespace="default")
        meta = EntryMeta(
            dialect="openai",
            endpoint=endpoint.name,
            model="gpt-4o-mini",
            label=endpoint.name,
            stored_at=clock.now(),
            lifetime_seconds=604_800.0,
            cost_usd_nanos=114_000,
            upstream_ms=900.0,
        )
        await store.put(tenant, Entry(cache_key(tenant, material), meta, ANSWER))

    for first in range(0, entries, 2000):
        await asyncio.gather(*(put(number) for number in range(first, min(first + 2000, entries))))
    await store.close()
    size = settings.cache_db.stat().st_size / 2**20
    print(f"{entries:,} entries, {size:,.0f} MiB, {time.monotonic() - started:.0f} s")


def main() -> None:
    """Find the first team of the data directory and fill its cache."""
    from agentcache.web.project import configure

    data_dir, entries = Path(sys.argv[1]), int(sys.argv[2])
    settings = Settings.from_env(_environ(data_dir))
    configure(settings)
    from agentcache.teams.queries import find_local_team
    from agentcache.teams.secrets import ServerSecrets

    team = find_local_team()
    if team is None:
        raise SystemExit("start the server once on this data directory")
    tenant = ServerSecrets.of(settings).tenant(team.id, bytes(team.wrapped_data_key), encrypt_entries=False)
    asyncio.run(fill(data_dir, tenant, settings, entries))


def _environ(data_dir: Path) -> dict[str, str]:
    # The provider's address is part of every key, so it has to be the one the server will use.
    upstream = (data_dir / "bench-upstream").read_text()
    return {"AGENTCACHE_DATA_DIR": str(data_dir), "AGENTCACHE_UPSTREAM_OPENAI": upstream}


if __name__ == "__main__":
    main()
