"""The project for Django's own tools: `DJANGO_SETTINGS_MODULE=agentcache.web.django_settings python -m django …`.

Over an empty database: the server configures Django by `agentcache.web.project.configure` instead.
"""

from __future__ import annotations

from agentcache.web.dry_project import dry_values
from agentcache.web.sqlite import install_sqlite

install_sqlite()
globals().update(dry_values())
