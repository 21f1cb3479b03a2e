"""Addresses for mails: built from the configured public URL, never from a request."""

from __future__ import annotations

from django.conf import settings as django_conf
from django.urls import reverse

from agentcache.settings import Settings


def page_link(url_name: str, *args: str) -> str:
    """Return the address of a page as people reach it from outside."""
    settings: Settings = django_conf.AGENTCACHE  # type: ignore[misc]  # put there by `web.project`
    return settings.origin + reverse(url_name, args=args)
