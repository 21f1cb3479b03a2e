"""Asks one filled store for every signed-in page and for the JSON API, in process: ASGI application, sessions, database.

python -m benchmarks.pages_measure ENGINE FOLDER EVENTS ROUNDS RESULT
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agentcache.settings import Settings
from agentcache.web.asgi import get_control_plane_app
from tests.support.asgi_call import call
from tests.support.postgres_server import PostgresServer

ENTRIES = 20_000
_POSTGRES = {
    "shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "30min", "maintenance_work_mem": "256MB",
}  # fmt: skip
#: Addresses that members of the first team's pages lead to, beyond the pages as they open.
_ASKED = (
    "/dashboard?period=24h", "/dashboard?period=90d&compare=1", "/dashboard?period=90d&zone=Europe/Berlin&compare=1",
    "/dashboard?period=90d&model=gpt-5&namespace=prod&compare=1",
    *(f"/dashboard/analytics/{name}?period=90d&compare=1" for name in ("cost", "latency", "tokens", "errors", "freshness")),
    "/dashboard/analytics/cost?period=7d&compare=1", "/dashboard/analytics/cost?period=90d&zone=Europe/Berlin",
    "/dashboard/analytics/cost?period=90d&model=gpt-5",
    "/dashboard/analytics/freshness?period=90d&namespace=prod&agent=agent-03&compare=1",
    "/dashboard/analytics/latency?period=7d&zone=Asia/Kolkata&model=gpt-5",
    "/dashboard/requests?outcome=error", "/dashboard/requests?model=no-such-model", "/dashboard/requests?status=4xx",
    "/dashboard/requests?agent=agent-07&namespace=eval",
    "/api/stats", "/api/stats?period=90d", "/api/stats?period=90d&zone=Europe/Berlin", "/api/stats?period=1h",
    "/api/stats?period=90d&model=gpt-5&namespace=prod",
    "/api/stats/timeseries", "/api/stats/timeseries?period=7d", "/api/stats/timeseries?period=90d&zone=Europe/Berlin",
    *(f"/api/stats/breakdown?period=90d&by={by}" for by in (
        "model", "namespace", "api_key", "member", "agent", "outcome", "status", "freshness", "reason")),
    "/api/stats/breakdown?period=90d&by=agent&namespace=prod", "/api/stats/latency?period=90d",
    "/api/keys", "/api/quotas", "/api/account/me",
)  # fmt: skip
#: Not of the pages: what needs no session, answers without a database, or sends a whole archive to keep.
_LEFT_OUT = re.compile(r"/dev/|/setup/|/invite/|/export|/admin/(login|logout|jsi18n|autocomplete|password_change|r/)")
_GROUP = re.compile(r"<(?:\w+:)?(\w+)>")


def main() -> None:
    """Fill, measure, and write the figures down."""
    engine, folder, events, rounds, result = sys.argv[1:]
    home = Path(folder)
    with _settings(engine, home) as settings:
        app = get_control_plane_app(settings)
        from agentcache.web.schema import migrate
        from benchmarks.pages_fill import fill, size_bytes

        migrate()
        fill(home, int(events))
        if not int(rounds):
            return
        addresses = _addresses(settings)
        measured, odd = asyncio.run(_measure(app, addresses, _session(), int(rounds)))
        from agentcache.analytics.models import UsageEvent
        from agentcache.dashboard.entry_access import close_entry_access

        close_entry_access()

        Path(result).write_text(
            json.dumps({
                "events": UsageEvent.objects.count(),
                "bytes": size_bytes(settings.app_db),
                "measured": measured,
                "odd": odd,
            })
        )  # fmt: skip


@contextmanager
def _settings(engine: str, home: Path) -> Iterator[Settings]:
    # Twenty thousand entries at once take the store longer than any call may wait for it.
    environ = {"AGENTCACHE_DATA_DIR": str(home / "data"), "AGENTCACHE_STORE_BUDGET_MS": "10000"}
    if engine == "sqlite":
        yield Settings.from_env(environ)
        return
    with PostgresServer(home / "server", **_POSTGRES) as server:
        yield Settings.from_env({**environ, "AGENTCACHE_DATABASE_URL": server.url()})


def _session() -> str:
    """Sign the first team's owner in, who is an operator, too; return the cookie."""
    from django.test import Client

    from agentcache.accounts.access import AUTHENTICATED_AT
    from agentcache.accounts.models import User

    client = Client(headers={"host": "127.0.0.1:8787"})
    owner = User.objects.get(email="member-0@bench-00.example")
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    session = client.session
    session[AUTHENTICATED_AT] = time.time()
    session.save()
    return "; ".join(f"{name}={morsel.value}" for name, morsel in client.cookies.items())


async def _measure(
    app: Any, addresses: list[str], cookie: str, rounds: int
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Ask for every page in turn, so many rounds; return milliseconds by address, and what answered no page."""
    found: dict[str, list[float]] = {}
    odd: dict[str, int] = {}
    for number in range(rounds + 1):
        for address in addresses:
            if address in odd:
                continue
            began = time.perf_counter()
            answer = await call(app, address, cookie=cookie)
            taken = (time.perf_counter() - began) * 1000
            if answer.status not in (200, 204):
                odd[address] = answer.status
            elif number:  # the first round compiles templates and opens files
                found.setdefault(address, []).append(taken)
    return found, odd


def _addresses(settings: Settings) -> list[str]:
    from django.urls import get_resolver

    values = _values(settings)
    plain = []
    for address, view in _walk(get_resolver().url_patterns, "/"):
        is_page = getattr(view, "access", None) is not None or address.startswith("/admin/")
        if not is_page or _LEFT_OUT.search(address):
            continue
        names = _GROUP.findall(address)
        # Of the console the lists; of pages, those of which there is one.
        if not set(names) <= ({"name"} if address.startswith("/admin/") else {"name", *values}):
            continue
        for given in [{"name": name} for name in _SECTIONS] if "/analytics/<" in address else [values]:
            filled = _GROUP.sub(lambda match: given.get(match[1], ""), address)  # noqa: B023 - used at once
            plain.append(filled + ("?part=model" if filled.endswith(".csv") else ""))
    return [*dict.fromkeys([*plain, *_ASKED])]


_SECTIONS = ("cost", "latency", "tokens", "errors", "freshness")


def _walk(patterns: list[Any], before: str) -> Iterator[tuple[str, Callable[..., object]]]:
    for pattern in patterns:
        written = str(pattern.pattern)
        if written.startswith("^") or written.endswith(("$", r"\Z")):
            continue
        if hasattr(pattern, "url_patterns"):
            yield from _walk(pattern.url_patterns, before + written)
        elif not before.startswith("/api/"):
            yield before + written, pattern.callback


def _values(settings: Settings) -> dict[str, str]:
    from agentcache.analytics.models import UsageEvent
    from agentcache.teams.models import ApiKey, Membership, Team

    team = Team.objects.get(slug="bench-00")
    member = Membership.objects.filter(team=team, is_owner=False).order_by("pk").first()
    newest = UsageEvent.objects.filter(team_id=team.pk).order_by("-at_ms").first()
    key = ApiKey.objects.filter(team=team).order_by("pk").first()
    assert member is not None
    assert newest is not None
    assert key is not None
    return {
        "key_id": key.pk, "request_id": newest.pk, "member_id": member.pk, "team_id": team.pk,
        "key": asyncio.run(_entries(settings, team.pk)),
    }  # fmt: skip


async def _entries(settings: Settings, team_id: str) -> str:
    """Put entries into the team's cache where there are none; return the key of the newest."""
    from asgiref.sync import sync_to_async

    from agentcache.dashboard.entry_access import tenant_of
    from agentcache.engine.entries import Entry, EntryMeta, Selector
    from agentcache.engine.stores.open_stores import open_stores
    from agentcache.kit.clock import SystemClock
    from agentcache.teams.models import Team

    clock = SystemClock()
    tenant = await sync_to_async(lambda: tenant_of(Team.objects.get(pk=team_id)))()
    stores = open_stores(settings, clock)
    try:
        page = await stores.entries.list_entries(tenant, Selector(), limit=1)
        for first in range(0, 0 if page.rows else ENTRIES, 1000):
            await asyncio.gather(*(
                stores.entries.put(tenant, Entry(number.to_bytes(32, "big"), EntryMeta(
                    dialect="openai", endpoint="chat.completions", model=f"gpt-5-{number % 7}", label="chat.completions",
                    stored_at=clock.now() - number, lifetime_seconds=604_800.0, cost_usd_nanos=114_000, upstream_ms=900.0,
                ), b'{"choices":[{"message":{"role":"assistant","content":"It is on its way."}}]}'))
                for number in range(first, first + 1000)
            ))  # fmt: skip
        page = page if page.rows else await stores.entries.list_entries(tenant, Selector(), limit=1)
        return page.rows[0].key.hex()
    finally:
        await stores.close()


if __name__ == "__main__":
    main()
