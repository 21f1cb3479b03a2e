"""Tenants, keys and entries for tests."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from agentcache.engine.entries import Entry, EntryMeta, Selector, Tenant
from agentcache.engine.freshness import may_serve
from agentcache.engine.stores.port import EntryStore

STORED_AT = 1_800_000_000.0


def make_tenant(name: str = "team_a", *, data_key: bytes | None = None) -> Tenant:
    return Tenant(name, sha256(name.encode()).digest(), data_key)


def make_key(name: str | int) -> bytes:
    return sha256(str(name).encode()).digest()


def make_entry(name: str | int = 0, body: bytes = b'{"answer": 42}', **meta: Any) -> Entry:
    facts: dict[str, Any] = {
        "dialect": "openai",
        "endpoint": "chat.completions",
        "model": "gpt-5",
        "label": str(name),
        "stored_at": STORED_AT,
        "lifetime_seconds": 3600.0,
    }
    return Entry(make_key(name), EntryMeta(**(facts | meta)), body)


async def assert_stale(store: EntryStore, tenant: Tenant, key: bytes, *, since: float, now: float) -> None:
    """An entry, and every one that is listed, is marked stale since a moment, and past being served."""
    entry = (await store.get(tenant, key)).entry
    assert entry is not None
    assert entry.stale_at == since
    assert not may_serve(entry.meta, now)
    assert {row.stale_at for row in (await store.list_entries(tenant, Selector())).rows} == {since}
