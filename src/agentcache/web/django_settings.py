"""The project for Django's own tools (type checker, `python -m django makemigrations`), with the environment's settings.

The server itself configures Django by `agentcache.web.project.configure`.
"""

from __future__ import annotations

import secrets

from agentcache.settings import Settings
from agentcache.web.project import django_values
from agentcache.web.sqlite import install_sqlite

install_sqlite()
# The tools sign nothing that lasts, so the server's secret stays where it is.
globals().update(django_values(Settings.load(), [secrets.token_hex(32)]))
