"""How long deliveries are kept. Plans are decided above webhooks; `WEBHOOK_DELIVERY_DAYS` in Django's settings names who knows."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings as django_conf
from django.utils.module_loading import import_string

from agentcache.teams.models import Team


def delivery_days_of(team: Team) -> int:
    """Return for how many days the team's plan keeps messages and deliveries."""
    name: str = django_conf.WEBHOOK_DELIVERY_DAYS  # type: ignore[misc]  # put there by web.project
    ask: Callable[[Team], int] = import_string(name)
    return ask(team)
