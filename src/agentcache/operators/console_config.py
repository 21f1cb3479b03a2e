"""Has Django's admin use our console."""

from __future__ import annotations

from django.contrib.admin.apps import SimpleAdminConfig


class ConsoleConfig(SimpleAdminConfig):
    """Replaces `django.contrib.admin` in the list of apps.

    The console is filled where pages are served (`agentcache.web.urls`): the job worker and the preparation have no
    use for it, and it is a third of what they would load.
    """

    default_site = "agentcache.operators.console.Console"
    default = False
