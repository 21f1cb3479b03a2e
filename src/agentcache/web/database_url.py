"""Turns AGENTCACHE_DATABASE_URL into Django's database settings.

Parsed here rather than by dj-database-url: two schemes are supported, and each needs options that a parser does not know.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from agentcache.settings import Settings

#: How long a writer waits for another one, in seconds.
BUSY_SECONDS = 5
#: PostgreSQL gives up on a statement after this many milliseconds, so that a stuck one frees its thread.
STATEMENT_TIMEOUT_MS = 30_000

# FULL, not NORMAL: what was committed here (accounts, keys, usage) must survive a power cut.
_PRAGMAS = f"""
PRAGMA busy_timeout = {BUSY_SECONDS * 1000};
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA temp_store = MEMORY;
PRAGMA journal_size_limit = 67108864;
"""


def django_database(settings: Settings) -> dict[str, Any]:
    """Return Django's settings of the database of accounts, teams, keys and usage."""
    if settings.database_url is None:
        return _sqlite(settings.app_db)
    if settings.database_url.startswith("sqlite:"):
        # sqlite:///app.db is relative, sqlite:////var/lib/app.db absolute, as SQLAlchemy and dj-database-url have it.
        return _sqlite(Path(unquote(settings.database_url.removeprefix("sqlite:///"))))
    return _postgresql(settings.database_url)


def _sqlite(path: Path) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(path.absolute()),
        # IMMEDIATE: a transaction that reads and then writes must not fail half-way because another wrote in between.
        "OPTIONS": {"timeout": BUSY_SECONDS, "transaction_mode": "IMMEDIATE", "init_command": _PRAGMAS},
    }


def _postgresql(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    options: dict[str, Any] = {
        "connect_timeout": 2,
        "tcp_user_timeout": 5_000,
        "options": f"-c statement_timeout={STATEMENT_TIMEOUT_MS}",
        **dict(parse_qsl(parts.query)),
    }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.removeprefix("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        # A Unix socket folder comes as ?host=/path, which psycopg knows under the same name.
        "HOST": options.pop("host", None) or parts.hostname or "",
        "PORT": parts.port or options.pop("port", ""),
        "OPTIONS": options,
    }
