"""Has Django's admin use our console."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class ConsoleConfig(AdminConfig):
    """Replaces `django.contrib.admin` in the list of apps."""

    default_site = "agentcache.operators.console.Console"
    default = False
