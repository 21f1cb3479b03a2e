"""The project without a database or secrets, for tools that only look at models: migration checks, the type checker."""

from __future__ import annotations

import secrets
from typing import Any

import django
from django.conf import settings as django_conf

from agentcache.settings import Settings
from agentcache.web.project import django_values
from agentcache.web.sqlite import install_sqlite


def dry_values() -> dict[str, Any]:
    """Return Django's settings over an empty database in memory; nothing is read from or written to this machine."""
    values = django_values(Settings.from_env({}), [secrets.token_hex(32)])
    values["DATABASES"]["default"]["NAME"] = ":memory:"
    return values


def configure_without_database() -> None:
    """Set Django up for such a tool in this process."""
    install_sqlite()
    if not django_conf.configured:
        django_conf.configure(**dry_values())
        django.setup(set_prefix=False)
