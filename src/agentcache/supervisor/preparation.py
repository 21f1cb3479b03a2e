"""What has to be done once before the processes start; the job worker's first run does it (`supervisor.worker`)."""

from __future__ import annotations

import gc
from typing import Any

from agentcache.settings import Settings
from agentcache.supervisor.errors import CannotStart, DatabaseUnreachable


def bring_up_to_date(settings: Settings) -> dict[str, Any]:
    """Migrate the database; make the local team with its first key, and a link for the first operator, where none is.

    Returns `{"applied": [...], "key": "ac_live_…" or None, "team": "local", "setup_token": "…" or None}`: the migrations
    that were applied, and what was made and nobody else knows.
    """
    # See `server.main`.
    gc.disable()
    open_control_plane(settings)
    from agentcache.operators.queries import has_operator
    from agentcache.operators.services import create_setup_link
    from agentcache.teams.queries import LOCAL_SLUG
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.teams.services import ensure_local_team
    from agentcache.web.schema import migrate

    gc.freeze()
    gc.enable()
    with database_errors(settings):
        applied = migrate()
        first = ensure_local_team(ServerSecrets.of(settings))
        setup_token = None if has_operator() else create_setup_link()
    return {
        "applied": list(applied),
        "key": first.api_key if first else None,
        "team": LOCAL_SLUG,
        "setup_token": setup_token,
    }


def open_control_plane(settings: Settings) -> None:
    """Set Django up in this process, once the database has answered."""
    greet_database(settings)
    from agentcache.web.project import configure

    configure(settings)


class database_errors:  # noqa: N801 - reads as a statement: with database_errors(settings)
    """Turns a database's own errors into one line that says which database and what to do."""

    def __init__(self, settings: Settings) -> None:
        self._is_file = settings.database_url is None or settings.database_url.startswith("sqlite:")
        self._place = str(settings.app_db) if settings.database_url is None else "AGENTCACHE_DATABASE_URL"

    def __enter__(self) -> None:
        """Watch the block."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Translate."""
        from django.db import Error

        if isinstance(error, Error):
            reason = _first_line(error)
            if self._is_file:
                raise CannotStart(
                    f"{self._place}: the database cannot be used ({reason}). Check who owns it and the free space, or "
                    "restore it from your backup."
                ) from None
            raise DatabaseUnreachable(f"{self._place}: the database refused ({reason}). Check its log.") from None


def greet_database(settings: Settings) -> None:
    """Refuse a database server that does not answer, before anything is written on this machine."""
    if settings.database_url is None or settings.database_url.startswith("sqlite:"):
        return
    import psycopg

    try:
        psycopg.connect(settings.database_url, connect_timeout=5).close()
    except (psycopg.Error, ValueError) as error:
        raise DatabaseUnreachable(
            f"AGENTCACHE_DATABASE_URL: no connection to the database ({_first_line(error)}). Start the database, or "
            "mend the URL; without it a file in the data directory is used.",
            param="AGENTCACHE_DATABASE_URL",
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
