"""The records of an installation, for commands that work straight in its database."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agentcache.settings import Settings


def open_records() -> Settings:
    """Open the database of this installation, which has to be up to date; Django is set up afterwards."""
    from agentcache.settings import Settings
    from agentcache.supervisor.preflight import preflight
    from agentcache.supervisor.preparation import database_errors, open_control_plane

    settings = Settings.load()
    preflight(settings)
    open_control_plane(settings)
    from agentcache.web.schema import require_current_schema

    with database_errors(settings):
        require_current_schema()
    return settings
