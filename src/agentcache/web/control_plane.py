"""The control plane's side of the gateway's ports, opened with one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentcache.settings import Settings
from agentcache.web.asgi import ASGIApp, get_control_plane_app

if TYPE_CHECKING:
    from agentcache.analytics.usage_sink import DjangoUsageSink
    from agentcache.jobs.database import DatabaseThreads
    from agentcache.jobs.queue import DatabaseJobQueue
    from agentcache.teams.directory import DjangoDirectory


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """What a server process needs of the control plane. `close` it after the meter has flushed."""

    app: ASGIApp
    directory: DjangoDirectory
    usage_sink: DjangoUsageSink
    jobs: DatabaseJobQueue
    _look_ups: DatabaseThreads
    _writes: DatabaseThreads

    def close(self) -> None:
        """Finish database work and close its connections."""
        self._look_ups.close()
        self._writes.close()


def open_control_plane(settings: Settings) -> ControlPlane:
    """Set Django up and return its parts. Raises `SchemaTooNew` or `SchemaNotMigrated` for a database that does not fit."""
    app = get_control_plane_app(settings)
    # Only now, for these modules define models.
    from django.db import connections

    from agentcache.analytics.usage_sink import DjangoUsageSink
    from agentcache.jobs.database import DatabaseThreads
    from agentcache.jobs.queue import DatabaseJobQueue
    from agentcache.teams.directory import DjangoDirectory
    from agentcache.teams.secrets import ServerSecrets
    from agentcache.web.schema import require_current_schema

    require_current_schema()
    connections.close_all()
    # Apart, so that a large batch of usage never stands in front of a key that has to be checked.
    look_ups, writes = DatabaseThreads(), DatabaseThreads(threads=1)
    return ControlPlane(
        app=app,
        directory=DjangoDirectory(settings, ServerSecrets.of(settings), look_ups),
        usage_sink=DjangoUsageSink(writes),
        jobs=DatabaseJobQueue(look_ups),
        _look_ups=look_ups,
        _writes=writes,
    )
