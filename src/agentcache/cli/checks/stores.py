"""The database of the records and the store of the entries."""

from __future__ import annotations

from collections.abc import Iterator
from secrets import token_hex

from agentcache.cli.checks.finding import Finding, fail, ok, skip, warn
from agentcache.kit.errors import AgentCacheError
from agentcache.settings import Settings
from agentcache.supervisor.preflight import database_file

PART = "stores"
#: A look-up is allowed AGENTCACHE_STORE_BUDGET_MS; a round trip this large a part of it leaves no room.
SLOW_SHARE = 0.5


def check_stores(settings: Settings) -> Iterator[Finding]:
    """Reach the database and the store, without changing either."""
    yield _database(settings)
    yield from _entries(settings)


def _database(settings: Settings) -> Finding:
    path = database_file(settings)
    if path is not None and not path.exists():
        return skip(PART, "database", f"{path} does not exist yet", "Made on the first start: make serve")
    try:
        pending, unknown, place = _schema(settings)
    except AgentCacheError as error:
        wrong, _, mend = error.message.partition("). ")
        return fail(PART, "database", wrong + (")" if mend else ""), mend)
    if unknown:
        return fail(
            PART,
            "database",
            f"{place} was written by a newer release (it has {unknown[-1]})",
            "Install that release, or restore a backup made before the upgrade.",
        )
    if pending:
        return warn(PART, "database", f"{place} lacks {len(pending)} migrations", "Run: agentcache migrate")
    return ok(PART, "database", f"{place}, up to date")


def _schema(settings: Settings) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    from agentcache.supervisor.preparation import database_errors, greet_database

    greet_database(settings)
    _configure_to_look(settings)
    from django.db import connection

    from agentcache.web.schema import schema_state

    with database_errors(settings):
        state = schema_state()
    name = str(connection.settings_dict["NAME"])
    place = name if connection.vendor == "sqlite" else f"PostgreSQL database {name}"
    connection.close()
    return state.pending, state.unknown, place


def _entries(settings: Settings) -> Iterator[Finding]:
    if settings.redis_url is None:
        yield ok(PART, "entries", f"embedded: {settings.cache_db}")
        return
    from agentcache.engine.stores.redis_report import report

    try:
        found = report(settings.redis_url)
    except AgentCacheError as error:
        yield fail(
            PART,
            "entries",
            f"AGENTCACHE_REDIS_URL: no answer ({error.message})",
            "Start Redis, mend the URL, or unset it for the embedded store.",
        )
        return
    what = f"{found.product} {found.version}"
    if found.is_old:
        yield warn(PART, "entries", f"{what} is no longer maintained", "Use Redis 6.2 or Valkey 7.2, or newer.")
    else:
        yield ok(PART, "entries", what)
    if found.round_trip_ms > settings.store_budget_ms * SLOW_SHARE:
        yield warn(
            PART,
            "entries, speed",
            f"one round trip takes {found.round_trip_ms:.1f} ms of the {settings.store_budget_ms} ms budget",
            "Move Redis nearer, or raise AGENTCACHE_STORE_BUDGET_MS.",
        )
    else:
        yield ok(PART, "entries, speed", f"one round trip takes {found.round_trip_ms:.1f} ms")
    yield _memory(found.maxmemory_bytes, found.maxmemory_policy)


def _memory(maxmemory_bytes: int, policy: str) -> Finding:
    if policy != "noeviction" and maxmemory_bytes:
        return warn(
            PART,
            "entries, memory",
            f"maxmemory-policy is {policy}: Redis may drop our indexes without telling",
            "Run: redis-cli config set maxmemory-policy noeviction; AgentCache evicts by itself.",
        )
    bound = f"{maxmemory_bytes / 1024**3:.1f} GiB" if maxmemory_bytes else "no bound"
    return ok(PART, "entries, memory", f"maxmemory {bound}, policy {policy}")


def _configure_to_look(settings: Settings) -> None:
    """Set Django up without making a data directory or a secret, as a server would."""
    from agentcache.web.sqlite import install_sqlite

    install_sqlite()
    import django
    from django.conf import settings as django_conf

    from agentcache.web.project import django_values

    if not django_conf.configured:
        django_conf.configure(**django_values(settings, [token_hex(32)]))
        django.setup(set_prefix=False)
